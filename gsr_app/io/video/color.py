"""Conversion between the Y'CbCr planes of a video and RGB, in floating point.

Chroma is upsampled by linear interpolation and downsampled by the dual of that filter. Downsampling after upsampling is
the identity, so that a video that is read and written at its own size keeps its colours. FFmpeg is not used here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = list[NDArray[Any]]
Floats = NDArray[np.float32]

# Code points of ITU-T H.273, used by all codecs and containers.
UNSPECIFIED = 2
BT709, SMPTE170M, BT2020 = 1, 6, 9
SRGB_TRANSFER = 13
_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, PAL
    6: (0.299, 0.114),  # BT.601, NTSC
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),  # constant luminance, read as non-constant: the values survive a round trip
}
OTHER_MATRICES = {
    8: "YCgCo",
    11: "YDzDx",
    12: "chroma-derived",
    13: "chroma-derived with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
"""What is not converted here. The other code points have no meaning for Y'CbCr."""
_SD_HEIGHT_PX = 576
_USUAL_PRIMARIES = {BT709, UNSPECIFIED, 5, SMPTE170M, 7}
_USUAL_TRANSFERS = {BT709, UNSPECIFIED, 4, 5, SMPTE170M, 7, SRGB_TRANSFER}
_ROWS = 64  # converted at once, so that temporaries stay in the cache


@dataclass(frozen=True, slots=True)
class Coding:
    """The meaning of the stored numbers of a video."""

    model: str = "yuv"  # "yuv", "grey" or "rgb"
    bits: int = 8
    shift: tuple[int, int] = (1, 1)  # (vertical, horizontal): chroma has 1 / 2^shift of the luma's samples
    full_range: bool = False
    matrix: int = BT709
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    centred: bool = False  # chroma is sampled between luma columns (JPEG) instead of on every second one

    @classmethod
    def assumed(cls, found: Coding, height: int) -> Coding:
        """The coding, with a matrix where the file names none: BT.601 up to standard television's height, else BT.709.

        It is written into the result, because players guess it from the height, which upscaling changes.
        """
        if found.matrix in _KR_KB or found.model != "yuv":
            return found
        return replace(found, matrix=SMPTE170M if height <= _SD_HEIGHT_PX else BT709)

    @property
    def is_unusual(self) -> bool:
        """Whether its colours look wrong where the primaries and the transfer are not known."""
        return self.primaries not in _USUAL_PRIMARIES or self.transfer not in _USUAL_TRANSFERS

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name for planes like these."""
        depth = "" if self.bits == 8 else f"{self.bits}le"
        if self.model == "grey":
            return f"gray{depth}"
        if self.model == "rgb":
            return f"gbrp{depth}"
        return f"yuv{_SUBSAMPLING[self.shift]}p{depth}"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.bits == 8 else "<u2")


_SUBSAMPLING = {(0, 0): "444", (0, 1): "422", (1, 1): "420", (1, 0): "440", (0, 2): "411", (2, 2): "410"}


def to_rgb(planes: Planes, coding: Coding) -> Floats:
    """[H, W] luma and two planes of chroma as [H, W, 3]; luma alone as [H, W].

    Black is 0 and white 1. Samples below black and above white, and colours that RGB does not have, lie outside.
    """
    luma = planes[0]
    height, width = luma.shape
    black, white, chroma_span, neutral = _levels(coding)
    if coding.model == "grey":
        return np.divide(luma.astype(np.float32) - np.float32(black), np.float32(white - black), dtype=np.float32)
    if coding.model == "rgb":  # planes G, B, R
        full = np.float32((1 << coding.bits) - 1)
        return np.divide(np.stack([planes[2], planes[0], planes[1]], -1), full, dtype=np.float32)
    kr, kb = _KR_KB[coding.matrix]
    kg = 1 - kr - kb
    to_blue, to_red = 2 * (1 - kb), 2 * (1 - kr)
    blue, red = (_upsample(plane, coding)[:height, :width] for plane in planes[1:3])
    rgb = np.empty((height, width, 3), np.float32)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        y = (luma[rows].astype(np.float32) - np.float32(black)) * np.float32(1 / (white - black))
        b = (blue[rows] - np.float32(neutral)) * np.float32(to_blue / chroma_span)
        r = (red[rows] - np.float32(neutral)) * np.float32(to_red / chroma_span)
        rgb[rows, :, 0] = y + r
        rgb[rows, :, 1] = y - np.float32(kr / kg) * r - np.float32(kb / kg) * b
        rgb[rows, :, 2] = y + b
    return rgb


def to_planes(picture: NDArray[Any], coding: Coding) -> Planes:
    """A picture [H, W] or [H, W, 3] of uint8, uint16 or float32 as planes of `coding`."""
    values = _as_floats(picture)
    grey = values.ndim == 2
    black, white, chroma_span, neutral = _levels(coding)
    if coding.model == "rgb":
        full = np.float32((1 << coding.bits) - 1)
        rgb = np.repeat(values[..., None], 3, 2) if grey else values
        return [_quantise(rgb[..., channel] * full, coding) for channel in (1, 2, 0)]
    kr, kb = _KR_KB.get(coding.matrix, _KR_KB[BT709])
    if grey:
        y = values
    else:
        y = np.float32(kr) * values[..., 0] + np.float32(1 - kr - kb) * values[..., 1] + np.float32(kb) * values[..., 2]
    luma = _quantise(y * np.float32(white - black) + np.float32(black), coding)
    if coding.model == "grey":
        return [luma]
    planes = [luma]
    for channel, weight in ((2, kb), (0, kr)):
        if grey:
            size = [-(-side // (1 << shift)) for side, shift in zip(y.shape, coding.shift, strict=True)]
            planes.append(np.full(size, neutral, coding.dtype))
            continue
        difference = (values[..., channel] - y) * np.float32(chroma_span / (2 * (1 - weight)))
        planes.append(_quantise(_downsample(difference, coding) + np.float32(neutral), coding))
    return planes


def _levels(coding: Coding) -> tuple[float, float, float, float]:
    """Stored values of black and white, the range of chroma, and the chroma of grey."""
    top, step = (1 << coding.bits) - 1, 1 << (coding.bits - 8)
    if coding.full_range:
        return 0.0, float(top), float(top), float(1 << (coding.bits - 1))
    return 16.0 * step, 235.0 * step, 224.0 * step, 128.0 * step


def _as_floats(picture: NDArray[Any]) -> Floats:
    if picture.dtype.kind == "f":
        return picture.astype(np.float32, copy=False)
    return np.divide(picture, np.float32(np.iinfo(picture.dtype).max), dtype=np.float32)


def _quantise(values: Floats, coding: Coding) -> NDArray[Any]:
    return np.clip(np.rint(values), 0, (1 << coding.bits) - 1).astype(coding.dtype)


# ---- chroma -----------------------------------------------------------------------------------------------------
# A factor of 2 along one axis. Chroma on every second sample: linear interpolation [1 2 1] / 2 and its dual
# [-1 2 6 2 -1] / 8; chroma between two samples: [1 3 3 1] / 4 and its dual [-1 3 3 -1] / 4.


def _upsample(plane: NDArray[Any], coding: Coding) -> Floats:
    values = plane.astype(np.float32)
    for axis, centred in ((0, True), (1, coding.centred)):
        for _ in range(coding.shift[axis]):
            values = _double(values, axis, centred=centred)
    return values


def _downsample(values: Floats, coding: Coding) -> Floats:
    for axis, centred in ((1, coding.centred), (0, True)):
        for _ in range(coding.shift[axis]):
            values = _halve(values, axis, centred=centred)
    return values


def _double(values: Floats, axis: int, *, centred: bool) -> Floats:
    values = np.moveaxis(values, axis, 0)
    after = np.concatenate([values[1:], values[-1:]])
    if centred:
        before = np.concatenate([values[:1], values[:-1]])
        pair = 0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after
    else:
        pair = values, 0.5 * (values + after)
    doubled = np.empty((2 * len(values), *values.shape[1:]), np.float32)
    doubled[0::2], doubled[1::2] = pair
    return np.moveaxis(doubled, 0, axis)


def _halve(values: Floats, axis: int, *, centred: bool) -> Floats:
    values = np.moveaxis(values, axis, 0)
    if len(values) % 2:
        values = np.concatenate([values, values[-1:]])
    even, odd = values[0::2], values[1::2]
    odd_before = np.concatenate([even[:1], odd[:-1]])
    even_after = np.concatenate([even[1:], odd[-1:]])
    if centred:
        halved = 0.75 * (even + odd) - 0.25 * (odd_before + even_after)
    else:
        even_before = np.concatenate([even[:1], even[:-1]])
        halved = 0.75 * even + 0.25 * (odd_before + odd) - 0.125 * (even_before + even_after)
    return np.moveaxis(np.ascontiguousarray(halved, np.float32), 0, axis)
