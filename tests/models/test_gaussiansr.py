"""GaussianSR against the published code's outputs, with the classes that were drawn there."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.types import Scale, View
from gsr_app.models import gaussiansr
from gsr_app.models.gaussiansr import GaussianSR, GaussianSRConfig, _cubic, _stretch
from gsr_app.models.layers.lattice import whole
from gsr_app.models.registry import build
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill

LEARNED_SHAPES = ("sigma_x", "sigma_y", "opacity", "rho")


@pytest.fixture(scope="module")
def net() -> GaussianSR:
    return fill(build("gaussiansr-edsr"), leave=LEARNED_SHAPES)


def check(net: GaussianSR, golden: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, where only the published code's rounding is left, by what one ulp of its float32 coordinates changes.

    Frequencies of thirty turn that ulp into up to 7e-4 of the output.
    """
    exact, source = copy.deepcopy(net).double(), golden["input"].shape[2:]
    features = exact.encode(golden["input"].double(), golden["class_index"][0])
    view, offsets = whole(source, tuple(golden["image"].shape[2:])), gaussiansr._offsets
    found = exact.decode(features, view)
    monkeypatch.setattr(gaussiansr, "_offsets", lambda *at: offsets(*at) + 2**-24 * at[2][at[1]])
    change = (exact.decode(features, view) - found).abs()
    monkeypatch.undo()
    picture = exact.query(features, view).flatten(2).transpose(1, 2)
    for name, ours, scale in (("raw_pred", found.flatten(0, 1)[None], 1.0), ("image", picture, 0.5)):
        expected = golden[name] if name == "raw_pred" else golden[name].flatten(2).transpose(1, 2)
        difference = (ours - expected).abs()
        assert difference.max() <= scale * change.max(), name
        assert difference.mean() <= scale * change.mean(), name


@torch.inference_mode()
def test_keys_and_outputs_equal_the_published_code(net: GaussianSR, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digest(shapes(net)) == expected_digest("gaussiansr-edsr")
    golden = load("gaussiansr-edsr")
    check(net, golden, monkeypatch)
    image = net(golden["input"], tuple(golden["image"].shape[2:]), golden["class_index"])
    assert (image - golden["image"]).abs().mean() <= 1e-4 * golden["image"].std()  # in float32, as it is used


@pytest.mark.shared
@torch.inference_mode()
def test_outputs_at_an_integer_scale_equal_the_published_code(
    net: GaussianSR, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = np.load(shared / "golden/others/gaussiansr/gaussiansr_public.npz")
    golden = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    check(net, golden, monkeypatch)
    logits = net.encoder.segmentation_head(net.encoder.edsr((golden["input"] - 0.5) / 0.5))
    assert_same(logits[0].flatten(1).t()[:8], golden["logits_first8"])


def test_the_draw_repeats_follows_the_seed_and_can_be_given() -> None:
    logits = torch.zeros(1, 100, 40, 50)
    one, other = (GaussianSR(config=GaussianSRConfig(seed=seed)).draw(logits) for seed in (0, 1))
    assert torch.equal(one, GaussianSR(config=GaussianSRConfig()).draw(logits))
    assert not torch.equal(one, other)


def test_classes_are_drawn_as_often_as_their_logits_say(net: GaussianSR) -> None:
    wanted = torch.arange(1.0, 101) / 5050
    drawn = net.draw(wanted.log()[None, :, None, None].expand(1, 100, 300, 300))
    assert torch.allclose(drawn.flatten().bincount(minlength=100) / 90_000, wanted, atol=2e-3)


def test_cubic_weights_are_torch_interpolation() -> None:
    for source, target in ((5, 12), (9, 4), (1, 3)):
        at = (torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5
        assert torch.allclose(_cubic(at, source).float(), _stretch(source, target), atol=1e-5)


@pytest.mark.parametrize("scale", [(2.3, 3.6), (1, 1), (0.6, 0.5)])
def test_parts_of_a_picture_are_the_same_as_those_of_the_whole(net: GaussianSR, scale: tuple[float, float]) -> None:
    lr = torch.rand(1, 3, 16, 19, generator=torch.Generator().manual_seed(2))
    view = View.whole((16, 19), Scale(*scale))
    height, width = view.size
    with torch.inference_mode():
        features = net.encode(lr)
        picture = net.query(features, view)
        part = net.query(features, view.crop(2, 3, height - 4, width - 5))
        strips = net.query(features, view, pixels_at_once=1)
    # Frequencies of thirty turn the last bit of a coordinate into some 1e-4 of the colour.
    assert (part - picture[..., 2 : height - 2, 3 : width - 2]).abs().max() < 2e-3
    assert (strips - picture).abs().max() < 2e-3
