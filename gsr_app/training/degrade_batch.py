"""The degradations of `degrade.py` for all patches of a step at once, on their device.

What happens to which patch is drawn on the CPU, so that nothing waits for a GPU; pixels and noise stay on the device.
Two things differ from files: every compression is JPEG's, and noise is the device's own.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.ops.resize import resize
from gsr_app.training.data import quantise
from gsr_app.training.jpeg import BLOCK_PX, compress_all
from gsr_app.training.recipe import Degradation
from gsr_app.training.sending import send

_MODES = (("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True))
_ANTIALIASED = 0.7  # share of the resizes by other programs, and
_FULL_CHROMA = 0.2  # of the files, as in degrade.py
_FAST_SIDE = 32  # a Fourier transform is fast where sides are multiples of this


def degrade_batch(rng: np.random.Generator, hr: Tensor, size: tuple[int, int], how: Degradation) -> Tensor:
    """[n, 3, H, W], 0..1 -> [n, 3, h, w], 0..1 in steps of 1/255. A share of the patches is degraded."""
    if how.share <= 0:  # without touching the sequence of random numbers
        return quantise(resize(hr, size=size))
    chosen = _choose(rng, len(hr), how.share)
    hr = _change(hr, chosen[rng.random(len(chosen)) < how.blur_share], lambda x: _blur(rng, x, size, how))
    lr = resize(hr, size=size)
    resized = chosen[rng.random(len(chosen)) < how.resized_share]
    lr = _change(lr, resized, lambda x: resize_twice_each(rng, x, rng.uniform(*how.resized, len(x))))
    noisy = chosen[rng.random(len(chosen)) < how.noise_share]
    lr = _change(lr, noisy, lambda x: _add_noise(rng, x, how))
    lr = (lr.clamp(0, 1) * 255).round()
    compressed = chosen[rng.random(len(chosen)) < how.compressed_share]
    for again in (compressed, compressed[rng.random(len(compressed)) < how.twice_share]):
        is_full = rng.random(len(again)) < _FULL_CHROMA
        for part, is_halved in ((again[~is_full], True), (again[is_full], False)):
            quality = rng.integers(how.quality[0], how.quality[1] + 1, len(part))
            phase = rng.integers(BLOCK_PX, size=(len(part), 2))
            lr = _change(lr, part, lambda x: compress_all(x, quality, phase, is_halved=is_halved))  # noqa: B023
    return lr / 255


def _choose(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    return np.flatnonzero(rng.random(count) < share)


def _change(pictures: Tensor, which: np.ndarray, change: Any) -> Tensor:
    """Only the patches that are named."""
    if not len(which):
        return pictures
    index = send(which, pictures.device)
    return pictures.index_copy(0, index, change(pictures[index]))


def _blur(rng: np.random.Generator, hr: Tensor, size: tuple[int, int], how: Degradation) -> Tensor:
    count, scale = len(hr), hr.shape[2] / size[0]
    along = rng.uniform(*how.blur, count)
    across = np.where(rng.random(count) < 0.5, along, rng.uniform(*how.blur, count))
    return blur_each(hr, along * scale, across * scale, rng.uniform(0, math.pi, count))


def blur_each(pictures: Tensor, along: np.ndarray, across: np.ndarray, angle: np.ndarray) -> Tensor:
    """`degrade.blur` of [n, 3, H, W], each with its own widths and angle."""
    height, width = pictures.shape[2:]
    reaches = np.minimum(np.ceil(3 * np.maximum(along, across)), min(height, width) - 1)
    reach = int(reaches.max())
    sides = [math.ceil((side + 2 * reach) / _FAST_SIDE) * _FAST_SIDE for side in (height, width)]
    numbers = np.stack([along, across, np.cos(angle), np.sin(angle), reaches]).astype(np.float32)
    one, other, cos, sin, own_reach = send(numbers, pictures.device)[:, :, None, None]
    at = torch.arange(-reach, reach + 1, dtype=torch.float32, device=pictures.device)
    x, y = at, at[:, None]
    u, v = x * cos + y * sin, y * cos - x * sin
    kernels = torch.exp(-0.5 * ((u / one.clamp(min=1e-3)) ** 2 + (v / other.clamp(min=1e-3)) ** 2))
    kernels = kernels * (torch.maximum(x.abs(), y.abs()) <= own_reach)
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    padded = F.pad(pictures, (reach,) * 4, mode="reflect")
    spectrum = torch.fft.rfft2(padded, s=sides) * torch.fft.rfft2(kernels, s=sides)[:, None]
    # The kernel begins at the corner, not in the middle: the result is moved by its whole side.
    return torch.fft.irfft2(spectrum, s=sides)[:, :, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def resize_twice_each(rng: np.random.Generator, pictures: Tensor, factors: np.ndarray) -> Tensor:
    """`degrade.resize_twice` of [n, 3, h, w], each by its own factor and filters."""
    modes = [2 * (rng.random(len(factors)) < 0.5) + (rng.random(len(factors)) < _ANTIALIASED) for _ in range(2)]
    for axis in (2, 3):
        side = pictures.shape[axis]
        others = np.maximum(1, np.round(side * factors)).astype(int)
        names = list(zip(others.tolist(), modes[0].tolist(), modes[1].tolist(), strict=True))
        matrices = torch.stack([_round_trip(side, *name, pictures.device) for name in names])  # [n, side, side]
        mixed = matrices[:, None] @ (pictures if axis == 2 else pictures.mT).double()
        pictures = (mixed if axis == 2 else mixed.mT).to(pictures.dtype)
    return pictures


@functools.lru_cache(4096)
def _round_trip(side: int, other: int, there: int, back: int, device: torch.device) -> Tensor:  # [side, side] float64
    """The matrix of a resize to another side and back, which is the same for rows and columns."""
    matrix = torch.eye(side, dtype=torch.float64)[None, None]
    for target, number in ((other, there), (side, back)):
        mode, antialias = _MODES[number]
        matrix = F.interpolate(matrix, (target, side), mode=mode, antialias=antialias)
    return matrix[0, 0].to(device)


def _add_noise(rng: np.random.Generator, lr: Tensor, how: Degradation) -> Tensor:
    """`degrade.add_noise`, each patch with its own level and share of grey."""
    numbers = np.stack([rng.uniform(*how.noise, len(lr)), rng.random(len(lr))]).astype(np.float32)
    generator = torch.Generator(lr.device).manual_seed(int(rng.integers(1 << 62)))
    level, grey_share = send(numbers, lr.device)[:, :, None, None, None]
    noise = torch.randn(lr.shape, generator=generator, device=lr.device)
    grey = torch.randn((len(lr), 1, *lr.shape[2:]), generator=generator, device=lr.device)
    mixed = (1 - grey_share).sqrt() * noise + grey_share.sqrt() * grey
    return lr + level / 255 * (0.5 + lr.clamp(0, 1)).sqrt() * mixed
