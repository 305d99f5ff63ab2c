"""What the shipped weights of swift achieve."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.engine.metrics import convention, psnr
from gsr_app.models import registry, weights
from gsr_app.models.registry import build
from gsr_app.models.swift import Swift
from gsr_app.ops import render
from gsr_app.ops.resize import resize
from gsr_app.training.data import load_pictures, quantise, shrink


@pytest.fixture(scope="module")
def swift() -> Swift:
    from safetensors.torch import load_file

    module = build("swift")
    assert isinstance(module, Swift)
    found = weights.find(registry.method("swift"))
    assert found is not None
    module.load_state_dict(load_file(found.files[""]), strict=True)
    return module


@torch.inference_mode()
def encode(module: Swift, lr: Tensor) -> GaussianField:
    return module.field(module.encode(lr), Scale(2, 2))


def draw(module: Swift, lr: Tensor, scale: float, size: tuple[int, int] | None = None) -> Tensor:
    field = encode(module, lr)
    size = size or Scale(scale, scale).output_size(field.source_size)
    return render(field, View((0.0, 0.0), (size[0] / scale, size[1] / scale), size))


def test_they_are_small_and_come_with_the_package() -> None:
    method = registry.method("swift")
    assert method.is_packaged
    assert weights.verify(method) is True
    assert method.bytes is not None
    assert method.bytes <= 3e6
    assert method.parameters == sum(p.numel() for p in build("swift").parameters())


@pytest.mark.shared
@pytest.mark.parametrize(("scale", "least_db"), [(2, 37.67), (3, 34.0), (4, 31.66)])
def test_set5_reaches_what_the_model_card_says(swift: Swift, shared: Path, scale: int, least_db: float) -> None:
    scores = []
    for picture in load_pictures(shared / "data" / "val" / "Set5"):
        hr = picture[:, : picture.shape[1] // scale * scale, : picture.shape[2] // scale * scale].float() / 255
        sr = draw(swift, shrink(hr, scale), scale, (hr.shape[1], hr.shape[2]))
        by = convention("basicsr")
        scores.append(psnr(sr.permute(1, 2, 0), hr.permute(1, 2, 0), by=by, scale=scale))
    assert sum(scores) / len(scores) >= least_db


@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.1, 0.6, 1.0)])
def test_flat_colours_stay_flat(swift: Swift, color: tuple[float, float, float]) -> None:
    flat = torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 20, 20).contiguous()
    assert float((draw(swift, flat, 3.3) - flat[0, :, :1, :1]).abs().max()) < 1 / 255


@pytest.mark.parametrize(("low", "high"), [(0.25, 0.75), (0.1, 0.9), (0.4, 0.6)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_step_edge_does_not_ring(swift: Swift, low: float, high: float, turned: bool) -> None:
    lr = torch.where(torch.arange(32) < 16, low, high).expand(1, 3, 32, 32).contiguous()
    lr = lr.mT.contiguous() if turned else lr
    for scale in (2.0, 3.0, 4.0):
        sr = draw(swift, lr, scale)
        assert float(sr.max()) <= high + 8 / 255
        assert float(sr.min()) >= low - 8 / 255


def test_the_picture_at_x2_shrinks_back_to_its_source(swift: Swift) -> None:
    """A picture with the detail of photographs: cut from the middle of what was never trained on, made here."""
    lr = picture_with_detail()
    back = resize(quantise(draw(swift, lr, 2.0))[None], scale=0.5)
    assert psnr_rgb(back[0], lr[0]) > 35


def test_noise_shows_no_pattern_of_the_lattice(swift: Swift) -> None:
    """On grey with noise of 2.5 levels, waves with the period of the source pixels or of the lattice stay unseen."""
    torch.manual_seed(3)
    lr = (0.5 + 0.01 * torch.randn(1, 3, 128, 128)).clamp(0, 1)
    sr = 255 * draw(swift, lr, 4.0).mean(0)
    amplitude = 2 * torch.fft.fft2(sr - sr.mean()).abs() / sr.numel()  # levels
    period = len(sr) // 4  # one source pixel is four output pixels
    for column in (period, 2 * period):
        for row in (0, column):
            assert float(amplitude[row, column]) < 0.05
            assert float(amplitude[column, row]) < 0.05


def psnr_rgb(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean()))


def picture_with_detail() -> Tensor:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    rings = torch.sin((x - 40).square() / 90 + (y - 50).square() / 110)
    bars = torch.sigmoid(4 * torch.sin(0.5 * x + 0.2 * y))
    disc = torch.sigmoid(20 - torch.hypot(x - 60, y - 30))
    picture = torch.stack([0.5 + 0.3 * rings, 0.3 + 0.4 * bars, 0.2 + 0.6 * disc])
    return quantise(resize(picture[None], scale=0.5))
