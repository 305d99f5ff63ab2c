"""GSASR's networks against the original program's outputs, on weights that both sides make by one rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gsr_app.core.types import Scale
from gsr_app.models import gsasr_decoder
from gsr_app.models.gsasr import GSASR, activate
from gsr_app.models.gsasr_decoder import CrossLayer, DecoderConfig, GaussianDecoder, ScaleAttention
from gsr_app.models.gsasr_swinir import Layer
from gsr_app.models.layers.window_grid import WindowGrid, gather, inverse
from gsr_app.models.registry import architecture, build
from tests.golden.gsasr_weights import describe_state, digest, digest_state, fill, make_input

GOLDEN = Path(__file__).parents[1] / "golden" / "gsasr"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "models.json").read_text())
SHAPE_LIMIT, POSITION_LIMIT = 2e-4, 3e-6  # columns 0-6 reach 20, columns 7-8 reach 1
FEATURE_LIMIT = 1e-5  # of the largest feature


@dataclass
class Run:
    """One network with its weights filled, and what it makes of the golden's input."""

    arch: str
    module: GSASR
    features: Tensor
    raw: Tensor


@pytest.fixture(scope="module", params=CASES)
def run(request: pytest.FixtureRequest) -> Run:
    case = CASES[request.param]
    module = build(request.param)
    assert isinstance(module, GSASR)
    fill(module.encoder)
    fill(module.decoder)
    with torch.inference_mode():
        features = module.encode(make_input(case["input"], (1, 3, *case["lr"])))
        raw = module.decoder(features, case["scale"])
    return Run(request.param, module, features, raw)


def assert_gaussians_equal(found: Tensor, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    difference = np.abs(found.numpy() - expected).reshape(-1, 9).max(axis=0)
    assert difference[:7].max() <= SHAPE_LIMIT
    assert difference[7:].max() <= POSITION_LIMIT


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_keys_shapes_and_values_are_the_checkpoints(run: Run, part: str) -> None:
    expected, module = CASES[run.arch][part], run.module.get_submodule(part)
    assert digest_state(describe_state(module)) == expected["state"]
    assert sum(p.numel() for p in module.parameters()) == expected["parameters"]
    assert digest(module, filled=True) == expected["filled"]
    assert digest(module, filled=False) == expected["left"]


def test_features_and_gaussians_are_the_originals(run: Run) -> None:
    golden = np.load(GOLDEN / f"{run.arch}.npz")  # every eleventh value
    difference = np.abs(run.features.numpy().reshape(-1)[::11] - golden["features"]).max()
    assert difference <= FEATURE_LIMIT * golden["features_max"]
    assert run.raw.shape[1] == CASES[run.arch]["gaussians"]
    assert_gaussians_equal(run.raw[0, ::11], golden["gaussians"])


@pytest.mark.shared
def test_every_feature_and_gaussian_is_the_originals(run: Run, shared: Path) -> None:
    name = run.arch.removeprefix("gsasr-").upper().replace("-", "_")
    golden = shared / "golden" / "gsasr"
    features = np.load(golden / f"{name}_encoder.npz")["output"]
    assert np.abs(run.features.numpy() - features).max() <= FEATURE_LIMIT * np.abs(features).max()
    assert_gaussians_equal(run.raw, np.load(golden / f"{name}_decoder.npz")["gaussians"])
    for part in ("encoder", "decoder"):
        keys = json.loads((golden / f"keys/{name}_{part}.json").read_text())
        assert describe_state(run.module.get_submodule(part)) == sorted(keys["entries"])


# ---- what the rewritten arithmetic must not change ----------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder() -> GaussianDecoder:
    """The enhanced decoder, small enough to run many times."""
    torch.manual_seed(5)
    return GaussianDecoder(DecoderConfig(channels=24, heads=2, window=4, self_blocks=2, self_layers=2)).eval()


def test_attention_to_one_repeated_vector_is_a_constant() -> None:
    torch.manual_seed(1)
    ours = ScaleAttention(24).double()
    full = torch.nn.MultiheadAttention(24, 6, batch_first=True).double()
    full.load_state_dict(ours.state_dict())
    e, query = torch.randn(1, 24, dtype=torch.float64), torch.randn(1, 10, 24, dtype=torch.float64)
    tokens = e[:, None].expand(1, 10, 24)
    torch.testing.assert_close(ours(e)[0].expand(1, 10, 24), full(query, tokens, tokens)[0])


def test_reading_out_in_strips_changes_nothing(decoder: GaussianDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(2, 64, 24, 8)
    with torch.inference_mode():
        whole = decoder(features, 3.0)
        for pixels, rows in ((32, 100), (80, 7), (160, 1000)):
            monkeypatch.setattr(gsasr_decoder, "PIXELS_PER_STRIP", pixels)
            monkeypatch.setattr(gsasr_decoder, "ROWS_PER_READOUT", rows)
            torch.testing.assert_close(decoder(features, 3.0), whole, rtol=1e-4, atol=1e-5)


def test_a_batch_equals_its_images_one_by_one_each_at_its_own_scale(decoder: GaussianDecoder) -> None:
    features, scales = torch.randn(3, 64, 8, 12), torch.tensor([1.5, 2.0, 7.3])
    with torch.inference_mode():
        together = decoder(features, scales)
        for i, scale in enumerate(scales.tolist()):
            torch.testing.assert_close(together[i], decoder(features[i : i + 1], scale)[0], rtol=1e-4, atol=1e-5)


def test_a_scale_may_be_a_number_a_tensor_or_one_per_axis(decoder: GaussianDecoder) -> None:
    features = torch.randn(1, 64, 4, 4)
    with torch.inference_mode():
        expected = decoder(features, 2.5)
        for scale in (torch.tensor([2.5]), Scale(2.5, 2.5), Scale(1.25, 5.0)):
            torch.testing.assert_close(decoder(features, scale), expected)


def test_two_runs_are_equal_bit_by_bit(decoder: GaussianDecoder) -> None:
    features = torch.randn(1, 64, 20, 28)
    with torch.inference_mode():
        assert torch.equal(decoder(features, 3.3), decoder(features, 3.3))


@pytest.mark.parametrize("paper", [False, True])
def test_every_weight_that_can_matter_gets_a_gradient(paper: bool) -> None:
    torch.manual_seed(2)
    window = 12 if paper else 4
    config = DecoderConfig(channels=24, heads=2, window=window, self_blocks=1, self_layers=2, paper=paper)
    decoder = GaussianDecoder(config)
    decoder(torch.randn(1, 64, 2 * window, window), 2.0).square().sum().backward()
    # The constant that scale attention adds has no query; a shift of all logits of a softmax is no change.
    dead = ("window_crossattn_blocks.0.blocks.{}.norm1", "gs_selfattn_blocks.0.blocks.{}.norm3")
    dead = tuple(name.format(layer) for name in dead for layer in range(2))
    for name, parameter in decoder.named_parameters():
        if name.startswith(dead):
            assert parameter.grad is None, name
        elif "khead.bias" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (24, 16), (48, 48)])
def test_masks_by_edge_equal_the_mask_of_every_window(size: tuple[int, int]) -> None:
    torch.manual_seed(3)
    height, width = size
    layer = Layer(12, 2, 24, shifted=True).double().eval()
    x = torch.randn(2 * height * width, 12, dtype=torch.float64)
    grid = WindowGrid(2, height, width, 8, x.device)
    order, counts = grid.order_by_edge(4)

    # The textbook form: number the nine regions of the rolled plane, mask every window by them.
    def region(length: int) -> Tensor:
        position = torch.arange(length)
        return (position >= length - 8).long() + (position >= length - 4).long()

    regions = (3 * region(height)[:, None] + region(width)).repeat(2, 1, 1).flatten()
    plain = grid.order(4)
    named = regions[grid.order(0)].view(-1, 64)
    masks = torch.where(named[:, None] == named[:, :, None], 0.0, -100.0).double()
    windows = gather(layer.norm1(x), plain).view(-1, 64, 12)
    attended = torch.cat([layer.attn(w[None], m[None], (1,)) for w, m in zip(windows, masks, strict=True)])
    y = x + gather(attended, inverse(plain))
    expected = y + layer.mlp(layer.norm2(y))
    torch.testing.assert_close(layer(x, order, inverse(order), counts), expected)


# ---- the field ------------------------------------------------------------------------------------------------------


def test_a_field_is_in_source_pixels_with_x_before_y() -> None:
    raw = torch.zeros(1, 9)
    raw[0, :2] = torch.tensor([-20.0, 20.0])  # thin vertically, as wide as can be
    raw[0, 2:7] = torch.tensor([20.0, 20.0, 20.0, -20.0, 0.0])
    raw[0, 7:] = torch.tensor([0.25, 0.5])
    field = activate(raw, (10, 40))
    assert field.mean[0].tolist() == [10.0, 5.0]
    assert field.sigma[0].tolist() == pytest.approx([1 / 1.2, 1e-6 / 1.2], rel=3e-3)
    assert 0.99999 < field.rho[0] < 1
    assert field.color[0].tolist() == pytest.approx([1.0, 0.0, 0.5], abs=1e-6)
    assert field.source_size == (10, 40)


@pytest.mark.parametrize("run", ["gsasr-edsr"], indirect=True)
def test_the_field_of_an_image_is_its_raw_gaussians_activated(run: Run) -> None:
    scale = CASES[run.arch]["scale"]
    with torch.inference_mode():
        field = run.module.field(run.features, Scale(scale, scale))
    assert len(field) == CASES[run.arch]["gaussians"]
    torch.testing.assert_close(field.mean, activate(run.raw[0], field.source_size).mean)
    assert field.source_size == tuple(CASES[run.arch]["lr"])


@pytest.mark.parametrize("arch_id", CASES)
def test_architectures_are_fields_with_the_multiples_of_their_windows(arch_id: str) -> None:
    arch = architecture(arch_id)
    assert (arch.kind, arch.lattice, arch.scale_conditioned, arch.window_fraction) == ("field", 4, True, 0.1)
    assert arch.parts == ("encoder", "decoder")
    assert arch.multiple_of == {"swin": 16, "hatl": 16, "paper-swin": 24}.get(arch_id.removeprefix("gsasr-"), 12)


def test_cross_layers_do_not_depend_on_dead_weights() -> None:
    torch.manual_seed(4)
    config = DecoderConfig(channels=16, heads=2, window=4)
    layer = CrossLayer(config)
    inputs = (torch.randn(1, 1, 16, 16), torch.randn(1, 16), torch.randn(16, 16), torch.randn(1, 6, 16, 16))
    before = layer(*inputs)
    with torch.no_grad():
        layer.norm1.weight.normal_()
        layer.gs_cross_attn_scale.in_proj_weight[:32].normal_()
    torch.testing.assert_close(layer(*inputs), before, rtol=0, atol=0)
