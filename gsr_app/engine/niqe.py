"""NIQE: the distance of a picture's local statistics from those of pristine photographs. It needs no reference.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE SPL 2013. Written from the
paper. The pristine model (mean and covariance of 36 features) is a file published by its authors; without it only the
features can be computed, not the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.ops.resize import resize

BLOCK = 96  # pixels per side of a block at full size, half of it at the second scale
_BLUR_TAPS, _BLUR_SIGMA = 7, 7 / 6

# Shapes for which the moment ratios are tabulated, for the grid search of the paper.
_SHAPES = np.arange(0.2, 10.001, 0.001)


@dataclass(frozen=True)
class PristineModel:
    """Mean and covariance of the features over pristine photographs."""

    mean: NDArray[np.float64]  # [36]
    covariance: NDArray[np.float64]  # [36, 36]


def niqe(y: Tensor, model: PristineModel) -> float:
    """The score of a luma picture `[H, W]` in 0..255 (float64 or uint8 values); lower is better."""
    features = extract_features(y)
    textured = features[~np.isnan(features).any(1)]
    if len(textured) < 2:
        raise InvalidArgument("NIQE needs at least two textured blocks; this picture is flat or too small.")
    mean = np.nanmean(features, axis=0)  # as the authors' program: what a flat block has of features counts
    covariance = np.cov(textured, rowvar=False)
    difference = model.mean - mean
    pooled = np.linalg.pinv((model.covariance + covariance) / 2)
    return float(np.sqrt(difference @ pooled @ difference))


def extract_features(y: Tensor) -> NDArray[np.float64]:
    """Eighteen statistics per block and scale, `[blocks, 36]`; the picture is cropped to whole blocks."""
    height, width = (side // BLOCK * BLOCK for side in y.shape)
    if height == 0 or width == 0:
        raise InvalidArgument(
            f"NIQE needs a picture of at least {BLOCK}x{BLOCK} pixels, found {y.shape[1]}x{y.shape[0]}."
        )
    plane = y[:height, :width].to(torch.float64)[None, None]
    columns: list[NDArray[np.float64]] = []
    for block in (BLOCK, BLOCK // 2):
        columns.append(_block_statistics(_normalise_contrast(plane), block))
        plane = resize(plane / 255, scale=0.5) * 255
    return np.concatenate(columns, 1)


def _normalise_contrast(plane: Tensor) -> Tensor:
    """(y - local mean) / (local deviation + 1), borders replicated."""
    offsets = torch.arange(_BLUR_TAPS, dtype=torch.float64) - _BLUR_TAPS // 2
    taps = torch.exp(-(offsets**2) / (2 * _BLUR_SIGMA**2))
    kernel = torch.outer(taps, taps)[None, None] / taps.sum() ** 2

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [_BLUR_TAPS // 2] * 4, mode="replicate"), kernel)

    mean = blur(plane)
    deviation = (blur(plane**2) - mean**2).abs().sqrt()
    return (plane - mean) / (deviation + 1)


def _block_statistics(plane: Tensor, block: int) -> NDArray[np.float64]:
    """In column-major order of the blocks, as in the published model."""
    pixels = plane[0, 0].numpy()
    rows, columns = pixels.shape[0] // block, pixels.shape[1] // block
    return np.array(
        [
            _statistics(pixels[i * block : (i + 1) * block, j * block : (j + 1) * block])
            for j in range(columns)
            for i in range(rows)
        ]
    )


def _statistics(block: NDArray[np.float64]) -> list[float]:
    shape, left, right = _fit_asymmetric_gaussian(block)
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        products = block * np.roll(block, shift, (0, 1))
        shape, left, right = _fit_asymmetric_gaussian(products)
        mean = (right - left) * float(_gamma(2 / shape) / _gamma(1 / shape))
        found += [shape, mean, left, right]
    return found


def _fit_asymmetric_gaussian(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Shape and the two scale parameters of an asymmetric generalised Gaussian, by moment matching."""
    negative, positive = values[values < 0], values[values > 0]
    with np.errstate(all="ignore"):
        left = np.sqrt(np.mean(negative**2)) if len(negative) else np.nan
        right = np.sqrt(np.mean(positive**2)) if len(positive) else np.nan
        ratio = left / right
        moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
        target = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    # Where nothing is to be fitted, the least shape, as in the authors' program; the scales are not numbers there.
    shape = float(_SHAPES[np.argmin((_MOMENT_RATIOS - target) ** 2)])
    spread = np.sqrt(_gamma(1 / shape) / _gamma(3 / shape))
    return shape, float(left * spread), float(right * spread)


def _gamma(x: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.exp(torch.lgamma(torch.as_tensor(x, dtype=torch.float64))).numpy()


_MOMENT_RATIOS = _gamma(2 / _SHAPES) ** 2 / (_gamma(1 / _SHAPES) * _gamma(3 / _SHAPES))
