"""The smaller form of a run's state: small enough to be sent, and close to the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gsr_app.models.checkpoint import read_state
from gsr_app.models.registry import architecture
from gsr_app.training.optim import Soap, orthonormalize
from gsr_app.training.state import lengthen, shorten
from tests.conftest import ROOT


def train_a_little(steps: int) -> tuple[Soap, nn.Conv2d, Tensor]:
    torch.manual_seed(5)
    layer, x = nn.Conv2d(6, 8, 3, bias=False), torch.randn(4, 6, 9, 9)
    optimizer = Soap(layer.parameters(), 1e-2, (0.9, 0.9))
    for _ in range(steps):
        take_step(optimizer, layer, x)
    return optimizer, layer, x


def take_step(optimizer: Soap, layer: nn.Conv2d, x: Tensor) -> float:
    optimizer.zero_grad()
    loss = (layer(x) - x[:, :1, 1:-1, 1:-1]).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_a_run_goes_on_from_it_as_from_the_whole_state() -> None:
    optimizer, layer, x = train_a_little(24)
    other, copy, _ = train_a_little(24)
    other.load_state_dict(lengthen(shorten(optimizer.state_dict())))
    before = layer.weight.detach().clone()
    for _ in range(12):  # past an update of the bases
        one, two = take_step(optimizer, layer, x), take_step(other, copy, x)
        assert two == pytest.approx(one, rel=2e-3)
    assert (copy.weight - layer.weight).norm() <= 0.1 * (layer.weight - before).norm()


def test_the_state_of_a_larger_swift_is_small_enough_to_be_sent(tmp_path: Path) -> None:
    module = architecture("swift-12").build()
    full = {"state": {}, "param_groups": []}
    for name, weight in module.named_parameters():
        rows, columns = len(weight), weight[0].numel()
        random = torch.randn(1, rows, columns)
        state: dict[str, object] = {"step": 3, "mean": random, "square": random.square()}
        for side, size in (("left", rows), ("right", columns)):
            basis = torch.eye(size)[None]
            state |= {side: basis * 0.5, f"{side}_basis": basis}
        full["state"][name] = state
    short = shorten(full)
    torch.save([module.state_dict(), module.state_dict(), short], tmp_path / "last.pt")
    assert (tmp_path / "last.pt").stat().st_size < 14 << 20
    back = lengthen(short)["state"]["blocks.0.first.weight"]
    assert torch.allclose(back["right"], torch.eye(360)[None] * 0.5)
    assert torch.allclose(back["right_basis"] @ back["right_basis"].mT, torch.eye(360), atol=1e-5)
    assert torch.equal(orthonormalize(torch.eye(3)[None]), torch.eye(3)[None])


def test_a_larger_swift_begins_as_the_shipped_one() -> None:
    state = read_state(ROOT / "assets" / "swift.safetensors")
    small, large = (architecture(name).build().eval() for name in ("swift", "swift-12"))
    small.load_state_dict(state)
    large.load_state_dict(large.extend(state))  # type: ignore[operator]
    lr = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(large.encode(lr), small.encode(lr))  # type: ignore[operator]
    assert sum(weight.numel() for weight in large.parameters()) == 286_200 + 6 * 40 * 40 * 9
    assert all(block.first.weight.std() > 0.01 for block in large.blocks)  # type: ignore[union-attr]
