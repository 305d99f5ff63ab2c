"""The density of a fit's Gaussians: the training target of a start network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

_NEIGHBOURS = 10


def measure_density(centres_px: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:  # [N, 2] -> [H, W]
    """1 over the root of the distance to the tenth nearest centre, clipped to three deviations, scaled to 0..1."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x.ravel(), y.ravel()], 1)
    nearest = min(_NEIGHBOURS, len(centres_px))
    distance = KDTree(centres_px).query(pixels, k=nearest)[0].reshape(len(pixels), -1)[:, -1]
    density = _NEIGHBOURS / np.sqrt(np.maximum(distance, 1e-9))
    mean, std = density.mean(), density.std()
    low, high = max(density.min(), mean - 3 * std), min(density.max(), mean + 3 * std)
    held = np.clip(density, low, high)
    return ((held - low) / max(high - low, 1e-12)).reshape(height, width).astype(np.float32)
