"""How strong the noise and the compression of a picture are, and what strength a method that removes them needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsr_app.core import pixels
from gsr_app.models.registry import Method, with_strength

_BLOCK_PX = 16
_FEWEST_BLOCKS = 8
_SMOOTH_SHARE = 0.1  # of the blocks: those with the least detail show the noise
_SMALLEST_OF_TENTH = 0.87  # the mean deviation of the smoothest tenth of blocks of pure noise, over that of all
_CLIPPED = 0.02  # so near to black or white, noise is cut off
_MOST_PX = 2048  # a part of this size is measured
_GRID_PX = 8  # of JPEG
_WEAK, _STRONG = 1.5, 8.0  # noise, in levels of 255: below the one nothing is removed, from the other on everything
_GOOD, _POOR = 96, 66  # qualities of JPEG, likewise: what is best between was measured on photographs


@dataclass(frozen=True)
class Wear:
    """What a picture has gone through."""

    noise: float  # standard deviation in levels of 255, where the picture is smooth
    jpeg_quality: int | None = None  # of its file

    @property
    def strength(self) -> float:
        """What removes it, 0 to 1."""
        of_noise = (self.noise - _WEAK) / (_STRONG - _WEAK)
        of_jpeg = 0.0 if self.jpeg_quality is None else (_GOOD - self.jpeg_quality) / (_GOOD - _POOR)
        return min(1.0, max(0.0, of_noise, of_jpeg))

    def __str__(self) -> str:
        """Example: "JPEG quality about 60, noise about 4 of 255"."""
        noise = f"noise about {self.noise:.0f} of 255" if self.noise >= 1 else "hardly any noise"
        return noise if self.jpeg_quality is None else f"JPEG quality about {self.jpeg_quality}, {noise}"


def measure_wear(image: NDArray[np.generic], jpeg_quality: int | None = None) -> Wear:
    """The wear of a picture, from its middle and from what its file says."""
    height, width = image.shape[:2]
    top, left = max(0, height - _MOST_PX) // 2, max(0, width - _MOST_PX) // 2
    part = image[top : top + _MOST_PX, left : left + _MOST_PX]
    green = pixels.as_rgb(part)[..., 1]  # a mean of the three would hide noise that differs between them
    return Wear(255 * _noise_of(pixels.to_planes(green)[0]), jpeg_quality)


def choose_strength(method: Method, image: NDArray[np.generic], jpeg_quality: int | None = None) -> tuple[Method, str]:
    """A method with the strength that a picture needs, if it has one and none was chosen; and the reason in words."""
    if not method.blends_with or method.strength is not None:
        return method, ""
    wear = measure_wear(image, jpeg_quality)
    chosen = with_strength(method, wear.strength)
    return chosen, f"strength {chosen.strength:g}: {wear}"


def _noise_of(grey: NDArray[np.float32]) -> float:  # [H, W], 0..1
    """The standard deviation of what changes from pixel to pixel, in the smoothest blocks that are not clipped."""
    height, width = (side // _BLOCK_PX * _BLOCK_PX for side in grey.shape)
    grey = grey[:height, :width]
    # Half the difference of the diagonals: noise keeps its deviation, and edges along an axis vanish.
    detail = (grey[::2, ::2] - grey[1::2, ::2] - grey[::2, 1::2] + grey[1::2, 1::2]) / 2
    side = _BLOCK_PX // 2
    blocks = detail.reshape(height // _BLOCK_PX, side, width // _BLOCK_PX, side).transpose(0, 2, 1, 3)
    levels = grey.reshape(height // _BLOCK_PX, _BLOCK_PX, width // _BLOCK_PX, _BLOCK_PX).mean((1, 3)).ravel()
    deviations = np.sqrt((blocks.reshape(levels.size, side * side) ** 2).mean(1))
    deviations = np.sort(deviations[(levels > _CLIPPED) & (levels < 1 - _CLIPPED)])
    if deviations.size < _FEWEST_BLOCKS:
        return 0.0
    return float(deviations[: max(1, round(_SMOOTH_SHARE * deviations.size))].mean()) / _SMALLEST_OF_TENTH
