"""The picture that everything works on: RGB float32 in [0, 1], alpha apart, and what its file said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import InvalidArgument

Depth = Literal[8, 16, 32]
"""Bits per channel; 8 and 16 are integers, 32 is float."""

DTYPES: dict[Depth, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}
FULL: dict[Depth, float] = {8: 255.0, 16: 65535.0, 32: 1.0}  # the stored value of white
MM_PER_INCH = 25.4
UNKNOWN_DPI = 72.0  # what a file says whose resolution nobody has set
_LUMA = np.array([0.299, 0.587, 0.114])  # BT.601: what grey is when the three channels are not equal

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file said besides its pixels, and how to store them again."""

    format: str = ""  # "png", "jpeg", …; empty for an array
    depth: Depth = 8
    grey: bool = False  # one colour channel: written back as one where the format can
    palette: bool = False  # it had a palette; written back in true colour
    icc: bytes | None = None  # RGB and grey profiles stay with their values, which are not converted
    exif: bytes | None = None  # orientation already reset, embedded thumbnail dropped
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # (x, y)
    comments: Mapping[str, str] = field(default_factory=dict[str, str])  # text chunks of a PNG
    text: Mapping[str, str] = field(default_factory=dict[str, str])  # what this program wrote: method, scale, …
    source: Path | None = None  # the file itself; a result is never written onto it
    notes: tuple[str, ...] = ()  # what the reader should tell the user


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """RGB as stored (no colour conversion), not multiplied by alpha."""

    rgb: Floats  # [H, W, 3]
    alpha: Floats | None = None  # [H, W]
    meta: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.float32 or not self.rgb.size:
            raise InvalidArgument(
                f"rgb must be float32 of shape [H, W, 3], found {self.rgb.dtype} {list(self.rgb.shape)}."
            )
        if self.alpha is not None and (self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != np.float32):
            raise InvalidArgument(
                f"alpha must be float32 of shape {list(self.rgb.shape[:2])}, "
                f"found {self.alpha.dtype} {list(self.alpha.shape)}."
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @classmethod
    def from_array(cls, array: NDArray[Any], *, meta: Metadata | None = None) -> Picture:
        """[H, W], [H, W, 3] or [H, W, 4] of uint8, uint16, or float32 in [0, 1].

        With the `meta` of a grey file with alpha, which as an array has four channels, it stays grey with alpha.
        """
        depth = _depth_of(array.dtype)
        shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
        if depth is None or not shaped or not array.size:
            raise InvalidArgument(
                f"An image array must be [H, W], [H, W, 3] or [H, W, 4] of uint8, uint16 or float32, "
                f"found {array.dtype} {list(array.shape)}."
            )
        rgb, alpha = unpack_pixels(array if array.ndim == 3 else array[..., None], FULL[depth])
        meta = meta or Metadata()
        grey = array.ndim == 2 or (meta.grey and alpha is not None)
        return cls(rgb, alpha, replace(meta, depth=depth, grey=grey))

    def to_array(self, dtype: Any = None) -> NDArray[Any]:
        """The picture as its source was stored: [H, W] when it was grey, else [H, W, 3], or [H, W, 4] with alpha."""
        depth = self.meta.depth if dtype is None else _depth_of(np.dtype(dtype))
        if depth is None:
            raise InvalidArgument(f"A picture becomes uint8, uint16 or float32, not {np.dtype(dtype)}.")
        grey = self.meta.grey and self.alpha is None
        packed = pack_pixels(self.rgb, self.alpha, depth, grey=grey)
        return packed[..., 0] if grey else packed

    def with_pixels(self, rgb: Floats, alpha: Floats | None = None) -> Picture:
        """Other pixels, same metadata."""
        return Picture(rgb, alpha, self.meta)


def _depth_of(dtype: np.dtype[Any]) -> Depth | None:
    for depth, known in DTYPES.items():
        if dtype == known:
            return depth
    return None


def unpack_pixels(stored: NDArray[Any], full: float) -> tuple[Floats, Floats | None]:
    """Stored values [H, W, 1..4] as (rgb [H, W, 3], alpha [H, W] or None) in [0, 1]."""
    bands = stored.shape[2]
    values: Floats = np.array(stored, np.float32)
    if full != 1:
        values /= np.float32(full)
    alpha = np.ascontiguousarray(values[..., -1]) if bands in (2, 4) else None
    rgb = np.repeat(values[..., :1], 3, axis=2) if bands < 3 else np.ascontiguousarray(values[..., :3])
    return rgb, alpha


def pack_pixels(rgb: Floats, alpha: Floats | None, depth: Depth, *, grey: bool) -> NDArray[Any]:
    """Values to store, [H, W, 1..4] of the depth's dtype, rounded to nearest and clipped (float is left alone)."""
    height, width = rgb.shape[:2]
    colours = 1 if grey else 3
    packed = np.empty((height, width, colours + (alpha is not None)), DTYPES[depth])
    # Rows by the hundred: the float temporaries stay small beside the picture.
    for top in range(0, height, 256):
        rows = slice(top, top + 256)
        colour = _to_grey(rgb[rows]) if grey else rgb[rows]
        packed[rows, :, :colours] = _quantise(colour, depth)
        if alpha is not None:
            packed[rows, :, colours] = _quantise(alpha[rows], depth)
    return packed


def _quantise(values: Floats, depth: Depth) -> NDArray[Any]:
    if depth == 32:
        return values
    shown = np.nan_to_num(np.clip(values, 0.0, 1.0), nan=0.0)
    return np.rint(shown * np.float32(FULL[depth])).astype(DTYPES[depth])


def _to_grey(rgb: Floats) -> Floats:  # [h, W, 1]
    first = rgb[..., :1]
    if np.array_equal(rgb, np.broadcast_to(first, rgb.shape), equal_nan=True):
        return first  # exactly: a weighted sum of equal values need not round back to them
    return (rgb @ _LUMA).astype(np.float32)[..., None]


def flatten_pixels(rgb: Floats, alpha: Floats | None) -> tuple[Floats, None]:
    """The picture on white."""
    if alpha is None:
        return rgb, None
    cover = alpha[..., None]
    return (rgb * cover + (1 - cover)).astype(np.float32, copy=False), None
