"""Degradations of real photographs: blur, resizing by other programs, sensor noise, JPEG once or twice, WebP."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.ops.resize import resize
from gsr_app.training.recipe import Degradation

_BLOCK_PX = 8  # of JPEG
Format = Literal["jpeg", "webp"]


def is_degraded(rng: np.random.Generator, how: Degradation) -> bool:
    """Whether a patch is degraded. Draws no number where the recipe degrades nothing."""
    return how.share > 0 and rng.random() < how.share


def degrade(rng: np.random.Generator, hr: Tensor, size: tuple[int, int], how: Degradation) -> Tensor:
    """[3, H, W], 0..1 -> [3, h, w], 0..1 in steps of 1/255. Each step happens with a probability of its own."""
    if rng.random() < how.blur_share:
        hr = blur(hr, *_draw_sigmas(rng, hr.shape[1] / size[0], how), angle=rng.uniform(0, math.pi))
    lr = resize(hr[None], size=size)[0]
    if rng.random() < how.resized_share:
        lr = resize_twice(rng, lr, rng.uniform(*how.resized))
    if rng.random() < how.noise_share:
        lr = add_noise(rng, lr, level=rng.uniform(*how.noise), grey_share=float(rng.random()))
    lr = (lr.clamp(0, 1) * 255).round()
    if rng.random() < how.compressed_share:
        for _ in range(2 if rng.random() < how.twice_share else 1):
            quality = int(rng.integers(how.quality[0], how.quality[1] + 1))
            lr = compress(rng, lr, quality, "webp" if rng.random() < how.webp_share else "jpeg")
    return lr / 255


def _draw_sigmas(rng: np.random.Generator, scale: float, how: Degradation) -> tuple[float, float]:
    """Of a blur along two axes, in pixels of the high resolution; the range is in pixels of the low one."""
    along = rng.uniform(*how.blur)
    across = along if rng.random() < 0.5 else rng.uniform(*how.blur)
    return along * scale, across * scale


def blur(picture: Tensor, along: float, across: float, angle: float) -> Tensor:  # [3, H, W]
    """A Gaussian blur with two widths, turned by an angle; the border is mirrored."""
    reach = min(math.ceil(3 * max(along, across)), min(picture.shape[1:]) - 1)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    u = at * math.cos(angle) + at[:, None] * math.sin(angle)
    v = at[:, None] * math.cos(angle) - at * math.sin(angle)
    kernel = torch.exp(-0.5 * ((u / max(along, 1e-3)) ** 2 + (v / max(across, 1e-3)) ** 2))
    padded = F.pad(picture[:, None], (reach,) * 4, mode="reflect")
    return F.conv2d(padded, (kernel / kernel.sum())[None, None])[:, 0]


def resize_twice(rng: np.random.Generator, picture: Tensor, factor: float) -> Tensor:
    """By a factor and back, each time with a filter that programs use; shrinking without antialiasing is among them."""
    size = (picture.shape[1], picture.shape[2])
    other = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    for target in (other, size):
        mode = str(rng.choice(["bilinear", "bicubic"]))
        picture = F.interpolate(picture[None], target, mode=mode, antialias=bool(rng.random() < 0.7))[0]
    return picture


def add_noise(rng: np.random.Generator, picture: Tensor, level: float, grey_share: float) -> Tensor:
    """Sensor noise: half of its variance is constant, half grows with the light. `level` is its sigma at mid-grey in
    levels of 255; some of it is the same in all three colours."""
    noise = rng.standard_normal((3, *picture.shape[1:]), dtype=np.float32)
    grey = rng.standard_normal((1, *picture.shape[1:]), dtype=np.float32)
    mixed = torch.from_numpy(math.sqrt(1 - grey_share) * noise + math.sqrt(grey_share) * grey)
    return picture + level / 255 * (0.5 + picture.clamp(0, 1)).sqrt() * mixed


def compress(rng: np.random.Generator, picture: Tensor, quality: int, kind: Format) -> Tensor:
    """Through a file and back, [3, H, W] of whole levels. The grid of blocks has a random phase, as in a crop."""
    import pyvips

    height, width = picture.shape[1:]
    top, left = (int(one) for one in rng.integers(_BLOCK_PX, size=2))
    padded = F.pad(picture[None], (left, 0, top, 0), mode="reflect")[0].to(torch.uint8)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(padded.permute(1, 2, 0).numpy()))
    image = image.copy(interpretation="srgb")
    # Full chroma in a fifth of the files; cameras and web services halve it.
    options = {"subsample_mode": "off" if rng.random() < 0.2 else "on"} if kind == "jpeg" else {}
    buffer: bytes = image.write_to_buffer(f".{'jpg' if kind == 'jpeg' else 'webp'}", Q=quality, **options)
    decoded: np.ndarray = pyvips.Image.new_from_buffer(buffer, "").numpy()
    return torch.from_numpy(decoded[top:, left:].transpose(2, 0, 1).astype(np.float32)).view(3, height, width)
