"""The rule for pixels: the only place where pictures change dtype, range, grey, alpha or channel count.

A stored picture is an array [H, W] or [H, W, C] of uint8, uint16 or float32, as a file holds it: C is 1 (grey), 2 (grey
and alpha), 3 (RGB) or 4 (RGB and alpha). Planes are float32 [C, H, W], the form to compute in. conventions.md has the
rule under "Pixels".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gsr_app.core.errors import InvalidArgument

Stored = NDArray[Any]  # [H, W] or [H, W, 1..4] of uint8, uint16 or float32
Floats = NDArray[np.float32]

Depth = Literal[8, 16, 32]
"""Bits per channel; 8 and 16 are integers, 32 is float."""

_DEPTHS: dict[str, Depth] = {"uint8": 8, "uint16": 16, "float32": 32}
DTYPES: dict[Depth, np.dtype[Any]] = {depth: np.dtype(name) for name, depth in _DEPTHS.items()}
NAMES = tuple(_DEPTHS)
"""Of the dtypes that a stored picture has."""

_BT601 = 0.299, 0.587, 0.114
_BLOCK_PIXELS = 1 << 17  # converted at once, so that the temporaries stay in the cache


@dataclass(frozen=True, slots=True)
class Layout:
    """The dtype and the channels of a stored picture."""

    dtype: np.dtype[Any]
    channels: int  # 1 to 4; 0: grey without a channel axis

    @classmethod
    def of(cls, array: Stored) -> Layout:
        """The layout of an array; raises `InvalidArgument` where it is not a picture."""
        if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers from outside
            raise InvalidArgument(f"image must be a path or a numpy array, found {type(array).__name__}.")
        channels = array.shape[2] if array.ndim == 3 else 0
        shaped = array.ndim == 2 or (array.ndim == 3 and 1 <= channels <= 4)
        if array.dtype.name not in _DEPTHS or not shaped or 0 in array.shape:
            raise InvalidArgument(
                "image must be an array [H, W] or [H, W, 1 to 4] of uint8, uint16 or float32, "
                f"found {array.dtype} {list(array.shape)}."
            )
        return cls(np.dtype(array.dtype.name), channels)

    @property
    def bands(self) -> int:
        return max(1, self.channels)

    @property
    def has_alpha(self) -> bool:
        return self.channels in {2, 4}

    @property
    def colors(self) -> int:
        """1 or 3."""
        return self.bands - self.has_alpha

    @property
    def depth(self) -> Depth:
        return _DEPTHS[self.dtype.name]

    @property
    def is_float(self) -> bool:
        return self.depth == 32

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        return (*size, self.channels) if self.channels else size


def white(dtype: DTypeLike) -> float:
    """The stored value of white."""
    dtype = np.dtype(dtype)
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def to_planes(array: Stored) -> Floats:  # [H, W] or [H, W, C] -> [C, H, W]
    """Stored values as floats: k / 255 or k / 65535, the float nearest to it; floats as they are."""
    bands = array[..., None] if array.ndim == 2 else array
    planes = np.empty((bands.shape[2], *bands.shape[:2]), np.float32)
    if array.dtype.kind == "f":
        planes[:] = bands.transpose(2, 0, 1)
    else:  # divided, not multiplied by a reciprocal, which would miss the nearest float
        np.divide(bands.transpose(2, 0, 1), np.float32(white(array.dtype)), out=planes, dtype=np.float32)
    return planes


def store(planes: Floats, out: Stored) -> None:  # [C, h, W] -> [h, W, C]; three colours may become one grey
    """Put planes into (a part of) an array. Integers are clipped and rounded to nearest, NaN is 0; floats stay."""
    step = max(1, _BLOCK_PIXELS // max(1, out.shape[1]))
    for top in range(0, out.shape[0], step):
        block = planes[:, top : top + step]
        if out.shape[2] < len(block):
            block = _to_grey(block)
        if out.dtype.kind != "f":
            full = np.float32(white(out.dtype))
            block = np.fmax(block, np.float32(0))  # of NaN and 0 it takes the 0
            np.minimum(block, np.float32(1), out=block)
            block *= full
            np.rint(block, out=block)
            block = block.astype(out.dtype)  # in one run, before it is spread over the channels
        for channel, plane in enumerate(block):
            out[top : top + step, :, channel] = plane


def from_planes(planes: Floats, dtype: DTypeLike) -> Stored:  # [C, H, W] -> [H, W, C]
    """Planes as a stored picture."""
    out = np.empty((*planes.shape[1:], planes.shape[0]), dtype)
    store(planes, out)
    return out


def _to_grey(rgb: Floats) -> Floats:  # [3, h, W] -> [1, h, W]
    """BT.601 luma; where the three are equal exactly their value, to which a weighted sum need not round."""
    red, green, blue = rgb
    luma = np.float32(_BT601[0]) * red + np.float32(_BT601[1]) * green + np.float32(_BT601[2]) * blue
    return np.where((red == green) & (green == blue), red, luma)[None]


def convert(
    array: Stored,
    dtype: DTypeLike | None = None,
    channels: int | None = None,
    *,
    background: float | None = None,  # 0 black to 1 white, blended under an alpha that is left out; None: it is ignored
) -> Stored:
    """The picture in another dtype or with other channels; the array itself where nothing changes."""
    source = Layout.of(array)
    wanted = Layout(
        source.dtype if dtype is None else np.dtype(dtype), source.channels if channels is None else channels
    )
    if wanted == source:
        return array
    size = (array.shape[0], array.shape[1])
    out = np.empty((*size, wanted.bands), wanted.dtype)
    step = max(1, _BLOCK_PIXELS // size[1])
    for top in range(0, size[0], step):
        planes = to_planes(array[top : top + step])
        color, alpha = planes[: source.colors], planes[source.colors :]
        if wanted.has_alpha and not source.has_alpha:
            alpha = np.ones_like(color[:1])
        elif source.has_alpha and not wanted.has_alpha and background is not None:
            color = color * alpha + np.float32(background) * (1 - alpha)
        if wanted.colors > source.colors:
            color = np.repeat(color, 3, 0)
        store(color, out[top : top + step, :, : wanted.colors])
        if wanted.has_alpha:
            store(alpha, out[top : top + step, :, wanted.colors :])
    return out.reshape(wanted.shape(size))


def as_rgb(array: Stored) -> Stored:  # [H, W, 3] of the same dtype, whatever it is
    """Three channels: a grey one repeated, alpha left out."""
    bands = array[..., None] if array.ndim == 2 else array
    return bands[..., :3] if bands.shape[2] >= 3 else bands[..., :1].repeat(3, axis=2)


def has_alpha(array: Stored) -> bool:
    return array.ndim == 3 and array.shape[2] in (2, 4)


def stretch(array: Stored, full: float) -> Stored:
    """uint16 values whose white is `full` as values whose white is 65535."""
    return np.rint(np.minimum(array, full) * (white(np.uint16) / full)).astype(np.uint16)
