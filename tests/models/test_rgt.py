"""RGT and RGT-S against the published code's outputs, and the parts of them against their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gsr_app.models import rgt
from gsr_app.models.registry import build
from gsr_app.models.rgt import RGT, RGTConfig
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill

IDS = [f"{name}-x{scale}" for name in ("rgt", "rgt-s") for scale in (2, 3, 4)]
SMALL = RGTConfig(scale=2, groups=2, blocks=3, channels=12, heads=2)


@pytest.mark.parametrize("arch", IDS)
def test_keys_and_shapes_are_the_checkpoints(arch: str) -> None:
    assert digest(shapes(build(arch))) == expected_digest(arch)


@pytest.mark.parametrize("arch", ["rgt-x4", "rgt-s-x2"])
def test_outputs_equal_the_published_code(arch: str) -> None:
    golden = load(arch)
    with torch.inference_mode():
        assert_same(fill(build(arch))(golden["input"]), golden["output"])


@pytest.mark.shared
def test_blocks_equal_the_published_code(shared: Path) -> None:
    golden = {key: torch.from_numpy(v) for key, v in np.load(shared / "golden/others/rgt/rgt_s_x2.npz").items()}
    net: Any = fill(build("rgt-s-x2"))
    seen: dict[str, torch.Tensor] = {}
    watched = {f"g0b{number}": net.layers[0].blocks[number] for number in range(3)} | {"group0": net.layers[0]}
    for name, module in watched.items():
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out[..., :12].flatten(1, 2)))
    with torch.inference_mode():
        net(golden["input"])
    for name, found in seen.items():
        assert_same(found, golden[f"{name}_ch0_12"])


def regions_mask(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> torch.Tensor:
    """The mask as Swin defines it: nine numbered regions of the rolled picture, cut into windows, compared."""
    numbers = torch.zeros(size)
    for i, rows in enumerate((slice(0, -window[0]), slice(-window[0], -shift[0]), slice(-shift[0], None))):
        for j, columns in enumerate((slice(0, -window[1]), slice(-window[1], -shift[1]), slice(-shift[1], None))):
            numbers[rows, columns] = 3 * i + j
    cut = numbers.unflatten(0, (-1, window[0])).unflatten(2, (-1, window[1])).transpose(1, 2).flatten(2).flatten(0, 1)
    return (cut[:, :, None] != cut[:, None]).float() * -100


@pytest.mark.parametrize("window", [(8, 32), (32, 8)])
def test_four_edge_masks_cover_every_window_of_every_size(window: tuple[int, int]) -> None:
    one = rgt._Window.of(*window)
    assert torch.equal(one.checkpoint_mask, regions_mask((64, 64), window, one.shift))
    for size in ((32, 32), (96, 64), (32, 128)):
        rows, columns = size[0] // window[0], size[1] // window[1]
        expected = regions_mask(size, window, one.shift).unflatten(0, (rows, columns))
        for row in range(rows):
            for column in range(columns):
                mask = one.edge_masks[int(row == rows - 1), int(column == columns - 1)]
                assert torch.equal(mask, expected[row, column])


def test_window_attention_equals_attention_over_the_whole_picture_with_everything_else_masked() -> None:
    torch.manual_seed(5)
    size, window = (16, 12), rgt._Window.of(4, 6)
    attend = rgt._WindowAttention(window, 2, shifted=True).double()
    qkv = torch.randn(1, *size, 3, 10, dtype=torch.float64)
    found = attend(qkv)

    # Where each pixel lies after the roll, which window that is, and which side of the seam it came from.
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    rolled = torch.stack([(y - 2) % size[0], (x - 3) % size[1]], dim=-1).flatten(0, 1)
    cell = torch.stack([rolled[:, 0] // 4, rolled[:, 1] // 6, (y < 2).flatten(), (x < 3).flatten()], dim=-1)
    together = (cell[:, None] == cell[None]).all(-1)
    between = (rolled[:, None] - rolled[None]).double()
    bias = attend.pos(between).permute(2, 0, 1)  # [heads, N, N]
    q, k, v = qkv[0].flatten(0, 1).unflatten(-1, (2, 5)).permute(1, 2, 0, 3)
    scores = q @ k.transpose(1, 2) / 5**0.5 + bias
    weights = scores.masked_fill(~together, -torch.inf).softmax(-1)
    expected = (weights @ v).permute(1, 0, 2).flatten(1).unflatten(0, size)
    assert torch.allclose(found[0], expected, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 16), (17, 45), (16, 1024)])
def test_any_size_from_sixteen_up_runs(size: tuple[int, int]) -> None:
    net = fill(RGT(config=SMALL)).eval()
    with torch.inference_mode():
        out = net(torch.rand(1, 3, *size))
    assert out.shape == (1, 3, 2 * size[0], 2 * size[1])
    assert out.isfinite().all()


def test_the_summary_is_downsampled_as_published() -> None:
    def times(height: int, width: int, training: bool = False) -> int:
        return rgt._reductions(height, width, training=training)

    assert [times(side, side) for side in (16, 64, 255, 256, 1023, 1024, 4096)] == [2, 2, 2, 2, 2, 3, 4]
    assert times(1024, 64) == 3
    assert times(1024, 48) == 2  # where the original is left with an empty map
    assert [times(side, side, training=True) for side in (16, 64, 255, 256)] == [1, 2, 2, 3]


def test_training_reaches_every_parameter_and_drops_branches() -> None:
    torch.manual_seed(2)
    net = RGT(config=SMALL).train()
    lr = torch.rand(1, 3, 32, 32)
    net(lr).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    outputs = [net.eval()(lr), net.eval()(lr), net.train()(lr)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_all_blocks_share_one_copy_of_the_window_constants() -> None:
    buffers = [buffer for name, buffer in build("rgt-x2").named_buffers() if "attn_mask_0" in name]
    assert len({buffer.data_ptr() for buffer in build("rgt-x2").buffers()}) <= 8
    assert len(buffers) == 1  # named once: torch reports a shared buffer under its first name
