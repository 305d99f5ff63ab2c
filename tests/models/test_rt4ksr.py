"""RT4KSR against the published code's outputs, and the released weights against their Set5 figures."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine.metrics import Convention, convention, psnr, ssim
from gsr_app.models.registry import architecture, build
from gsr_app.models.rt4ksr import RT4KSR, ExpandReduce, RT4KSRConfig
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill
from tests.oracles import rt4ksr as oracle


def released(shared: Path, scale: int) -> RT4KSR:
    file = torch.load(shared / f"weights/rt4ksr_x{scale}.pth", map_location="cpu", weights_only=True)
    net = build(f"rt4ksr-x{scale}")
    net.load_state_dict({key.removeprefix("module."): value for key, value in file["state_dict"].items()})
    return net


@pytest.fixture(params=[2, 3])
def scale(request: pytest.FixtureRequest) -> int:
    return request.param


def test_keys_and_shapes_are_the_checkpoints(scale: int) -> None:
    net = build(f"rt4ksr-x{scale}")
    assert digest(shapes(net)) == expected_digest(f"rt4ksr-x{scale}")
    assert digest(shapes(net.fuse())) == expected_digest(f"rt4ksr-x{scale}-fused")
    assert sum(p.numel() for p in net.parameters()) == {2: 152_233, 3: 165_253}[scale]
    assert sum(p.numel() for p in net.fuse().parameters()) == {2: 44_521, 3: 57_541}[scale]


def test_both_forms_equal_the_published_code(scale: int) -> None:
    golden = load(f"rt4ksr-x{scale}")
    net = fill(build(f"rt4ksr-x{scale}"))
    height, width = (side * scale // 2 for side in golden["input"].shape[2:])
    with torch.inference_mode():
        assert_same(net(golden["input"])[..., :height, :width], golden["train"])
        assert_same(net.fuse()(golden["input"])[..., -height:, -width:], golden["rep"])


def test_the_network_is_the_described_one_without_switches(scale: int) -> None:
    net, full = fill(build(f"rt4ksr-x{scale}")), fill(oracle.RT4KSR(config=oracle.RT4KSRConfig(scale=scale)))
    lr = torch.rand(1, 3, 6, 10, generator=torch.Generator().manual_seed(4))
    assert torch.equal(net(lr), full(lr))


def test_the_high_frequency_branch_attention_and_residual_equal_the_published_code() -> None:
    golden = load("rt4ksr-x2-variant")
    net = fill(oracle.RT4KSR(config=oracle.RT4KSRConfig(use_hfb=True, eca_gamma=2, residual=True)))
    assert digest(shapes(net)) == expected_digest("rt4ksr-x2-variant")
    with torch.inference_mode():
        assert_same(net(golden["input"]), golden["output"])
        assert_same(net.fuse()(golden["input"]), golden["output"])


@pytest.mark.shared
def test_whole_outputs_and_stages_equal_the_published_code(shared: Path, scale: int) -> None:
    folder = shared / "golden/others/rt4ksr"
    golden = {key: torch.from_numpy(value) for key, value in np.load(folder / f"rt4ksr_x{scale}.npz").items()}
    net = fill(build(f"rt4ksr-x{scale}"))
    with torch.inference_mode():
        assert_same(net(golden["input"]), golden["out_train"])
        assert_same(net.fuse()(golden["input"]), golden["out_rep"])
        assert_same(net.body(net.head(torch.nn.functional.pixel_unshuffle(golden["input"], 2))), golden["body_out"])
    fused = net.fuse().state_dict()
    for key, value in np.load(folder / f"rt4ksr_x{scale}_rep_weights.npz").items():
        assert_same(fused[key], torch.from_numpy(value))


def test_fusing_is_exact_borders_included() -> None:
    torch.manual_seed(3)
    block = ExpandReduce(6).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    folded = block.fold()
    assert folded.rep_conv.weight.dtype == torch.float64
    assert torch.allclose(block(x), folded(x), rtol=0, atol=1e-13)


def test_fusing_leaves_the_trained_network_as_it_was(scale: int) -> None:
    net = fill(build(f"rt4ksr-x{scale}"))
    before = copy.deepcopy(net.state_dict())
    first, second = net.fuse().state_dict(), net.fuse().state_dict()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    assert all(torch.equal(first[key], second[key]) for key in first)


SWITCHES = [
    *(
        {"type": kind, "block": block}
        for kind in ("rep", "base")
        for block in ("simplified", "repbase", "base", "dconvbase", "nafbase")
    ),
    {"channels": 16, "blocks": 1},
    {"activation": "relu"},
    {"activation": "lrelu"},
    *(
        {"use_hfb": hfb, "unshuffle": grid, "layernorm": norm, "residual": residual}
        for hfb, grid, norm, residual in itertools.product((False, True), repeat=4)
    ),
    {"eca_gamma": 1},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()))
def test_every_switch_makes_a_network_that_runs_trains_and_fuses(switches: dict) -> None:
    torch.manual_seed(0)
    net = oracle.RT4KSR(config=oracle.RT4KSRConfig(scale=3, **switches))
    x = torch.rand(1, 3, 6, 10)
    y = net(x)
    assert y.shape == (1, 3, 18, 30)
    assert torch.allclose(net.fuse()(x), y, atol=1e-5)
    y.square().mean().backward()
    assert all(p.grad is not None for p in net.body.parameters())


def test_each_switch_changes_the_network() -> None:
    def outcome(**switches: object) -> torch.Tensor:
        net = fill(oracle.RT4KSR(config=oracle.RT4KSRConfig(**switches)))
        return net(torch.linspace(0, 1, 3 * 6 * 8).view(1, 3, 6, 8))

    plain = outcome()
    for switches in (
        {"activation": "relu"},
        {"activation": "lrelu"},
        {"use_hfb": True},
        {"unshuffle": False},
        {"layernorm": False},
        {"residual": True},
        {"eca_gamma": 2},
        {"block": "base"},
        {"type": "base"},
    ):
        assert not torch.allclose(outcome(**switches), plain, atol=1e-3), switches


def test_a_typo_in_a_switch_is_an_error() -> None:
    with pytest.raises(TypeError):
        RT4KSRConfig(layer_norm=True)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument, match="channels=0"):
        RT4KSRConfig(channels=0)


def test_overlap_covers_the_receptive_field() -> None:
    net = fill(build("rt4ksr-x2")).fuse()
    lr = torch.rand(1, 3, 80, 8, generator=torch.Generator().manual_seed(1))
    far = lr.clone()
    far[..., 48:, :] = 0.5  # more than the overlap below row 32
    assert architecture("rt4ksr-x2").overlap == 16
    assert torch.equal(net(lr)[..., :64, :], net(far)[..., :64, :])


@pytest.mark.shared
def test_released_weights_equal_the_published_outputs(shared: Path, scale: int) -> None:
    golden = np.load(shared / f"golden/others/rt4ksr/rt4ksr_x{scale}_real.npz")
    net = released(shared, scale)
    with torch.inference_mode():
        lr = torch.from_numpy(golden["input"])
        assert_same(net(lr), torch.from_numpy(golden["out_train"]))
        assert_same(net.fuse()(lr), torch.from_numpy(golden["out_rep"]))


@pytest.mark.shared
def test_released_weights_reach_their_set5_figures_in_both_forms(shared: Path, scale: int) -> None:
    expected = json.loads((shared / f"golden/others/rt4ksr/set5_x{scale}.json").read_text())["average"]["rt4ksr"]
    pairs = shared / f"data/val/Set5_pairs/x{scale}"
    net = released(shared, scale)
    for form in (net, net.fuse()):
        found: dict[str, list[float]] = {}
        for path in sorted((pairs / "LR").glob("*.png")):
            lr, hr = (np.asarray(Image.open(p).convert("RGB")) for p in (path, pairs / "HR" / path.name))
            height, width = (side // 2 * 2 for side in lr.shape[:2])
            lr, hr = lr[:height, :width], hr[: height * scale, : width * scale]
            with torch.inference_mode():
                sr = form(torch.from_numpy(lr / np.float32(255)).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
            for name, value in {
                "official_psnr_rgb": psnr(sr, hr, by=convention("whole-rgb")),
                "official_psnr_y": psnr(sr, hr, by=convention("whole-y-swapped")),
                "official_ssim_y": ssim(sr, hr, by=convention("whole-y-swapped")),
                "psnr_y_border0": psnr(sr, hr, by=Convention("y", border_per_scale=0)),
                "psnr_y_shave": psnr(sr, hr, by=convention("basicsr"), scale=scale),
                "ssim_y_shave_bgrfixed": ssim(sr, hr, by=convention("basicsr"), scale=scale),
            }.items():
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            tolerance = 0.001 if "psnr" in name else 1e-4
            assert np.mean(values) == pytest.approx(expected[name], abs=tolerance), name
