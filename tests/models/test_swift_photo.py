"""What swift-photo achieves on degraded photographs, and that it changes nothing at strength 0.

The degradation is seeded: noise of sigma 8 whose variance half grows with the light, then JPEG at quality 50.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.folders import ASSETS
from gsr_app.engine.metrics import convention, psnr
from gsr_app.engine.session import Session
from gsr_app.io.images import read_image
from gsr_app.ops.resize import resize
from gsr_app.training.degrade import add_noise, compress

_NOISE, _QUALITY = 8.0, 50
_CROP_PX = 480  # of the high resolution


def worn(path: Path, scale: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(the middle of a photograph, it at 1/scale with noise and compression), uint8."""
    image = read_image(path).pixels
    image = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    height, width = (min(side, _CROP_PX) // scale * scale for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    reference = image[top : top + height, left : left + width]
    rng = np.random.default_rng((11, number))
    hr = torch.from_numpy(reference.astype(np.float32) / 255).permute(2, 0, 1)
    lr = add_noise(rng, resize(hr[None], scale=1 / scale)[0], _NOISE, grey_share=0.3)
    lr = compress(rng, (lr.clamp(0, 1) * 255).round(), _QUALITY, "jpeg")
    return reference, lr.permute(1, 2, 0).numpy().astype(np.uint8)


def gain_db(files: list[Path], scale: int, over: str, method: str = "swift-photo@1") -> float:
    """How much better a method is than another on worn pictures, PSNR of luma."""
    session, gains = Session("cpu"), []
    for number, path in enumerate(files):
        reference, lr = worn(path, scale, number)
        scores = [
            psnr(session.upscale(lr, method=one, scale=scale).image, reference, by=convention("basicsr"), scale=scale)
            for one in (method, over)
        ]
        gains.append(scores[0] - scores[1])
    return float(np.mean(gains))


def held_out(shared: Path) -> list[Path]:
    with (ASSETS / "swift-held-out.csv").open(encoding="utf-8") as lines:
        names = [row["file"] for row in csv.DictReader(lines)]
    found = {path.name: path for path in (shared / "data" / "photos").rglob("*.jpg")}
    return [found[name] for name in names]


@pytest.mark.shared
def test_worn_pictures_of_set5_gain_over_swift_and_bicubic(shared: Path) -> None:
    files = sorted((shared / "data" / "val" / "Set5").glob("*.png"))
    assert gain_db(files, 2, "swift") > 0.8
    assert gain_db(files, 2, "bicubic") > 0.8
    assert gain_db(files, 2, "swift-photo@0.5") > 0.1


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("scale", [2, 4])
def test_worn_pictures_gain_a_decibel_over_swift(shared: Path, scale: int) -> None:
    set14 = sorted((shared / "data" / "val" / "Set14").glob("*.png"))
    photographs = held_out(shared)
    assert len(set14) == 14
    assert len(photographs) == 40
    for files in (set14, photographs):
        gain = gain_db(files, scale, "swift")
        print(f"x{scale}, {files[0].parent.name}: {gain:+.2f} dB over swift")
        assert gain >= 0.8
