"""PSNR and SSIM, each with the convention that it was measured by: scores of different conventions are not comparable.

Everything is computed in float64, so that a score does not depend on the machine. Frames of a video are scored one by
one, with their flicker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from gsr_app.core import pixels
from gsr_app.core.errors import InvalidArgument, UnknownName

Channel = Literal["rgb", "y", "y-swapped", "luma"]

_PEAK = 255.0
# BT.601 studio swing, R G B, on a 0..255 scale: Y = 16 + (w . rgb) / 255.
_BT601 = (65.481, 128.553, 24.966)
# The rounded weights that the LIIF family uses on 0..1 pictures; the offset cancels in a difference.
_LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)

_SSIM_TAPS, _SSIM_SIGMA = 11, 1.5
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


@dataclass(frozen=True, slots=True)
class Convention:
    """How a score is measured; print `str()` next to the score."""

    name: str
    channel: Channel = "y"
    border_per_scale: float = 1.0  # pixels removed at each side: this times the scale,
    border_extra_px: int = 0  # plus this,
    border_most_px: int | None = None  # and never more than this
    border_cut: bool = False  # a fraction of a pixel is rounded down, not to nearest
    quantised: bool = True  # both pictures are rounded to 8 bits first

    def border_px(self, scale: float) -> int:
        border_px = self.border_per_scale * scale + 1e-6
        border = (math.floor(border_px) if self.border_cut else round(border_px)) + self.border_extra_px
        return border if self.border_most_px is None else min(border, self.border_most_px)

    @property
    def label(self) -> str:
        """The channel, to be printed in a heading: PSNR-Y, PSNR-RGB."""
        return {"rgb": "RGB", "y": "Y", "y-swapped": "swapped Y", "luma": "luma"}[self.channel]

    def __str__(self) -> str:
        channel = {"y": "Y (BT.601)", "y-swapped": "Y with R and B swapped"}.get(self.channel, self.label)
        border = "whole frame"
        if self.border_per_scale or self.border_extra_px:
            terms = ["scale"] * bool(self.border_per_scale) + [str(self.border_extra_px)] * bool(self.border_extra_px)
            border = f"border {' + '.join(terms)}"
            border += "" if self.border_most_px is None else f", at most {self.border_most_px}"
        return f"{channel}, {border}, {'8 bit' if self.quantised else 'not quantised'}"


_ALL = (
    Convention("basicsr"),  # RGT and most of the field
    Convention("basicsr-rgb", channel="rgb"),
    Convention("gsasr", border_most_px=8, border_cut=True),
    Convention("gsasr-rgb", channel="rgb", border_most_px=8, border_cut=True),
    Convention("liif-div2k", channel="rgb", border_extra_px=6, quantised=False),
    Convention("liif-div2k-luma", channel="luma", border_extra_px=6, quantised=False),
    Convention("liif-benchmark", channel="luma", quantised=False),
    Convention("liif-rgb", channel="rgb", quantised=False),
    Convention("whole-y", border_per_scale=0),  # SAVSR
    Convention("whole-rgb", channel="rgb", border_per_scale=0),  # RT4KSR
    # RT4KSR's own script passes RGB to a formula for BGR; kept so that its published figures can be reproduced.
    Convention("whole-y-swapped", channel="y-swapped", border_per_scale=0),
)
CONVENTIONS = {convention.name: convention for convention in _ALL}


def convention(name: str) -> Convention:
    """The convention of a name."""
    if name not in CONVENTIONS:
        raise UnknownName(name, CONVENTIONS, what="Convention", where="the list of metric conventions")
    return CONVENTIONS[name]


@dataclass(frozen=True, slots=True)
class Score:
    """A picture against its reference."""

    psnr_db: float
    ssim: float
    convention: Convention

    def __str__(self) -> str:
        return f"PSNR {self.psnr_db:.2f} dB, SSIM {self.ssim:.4f} ({self.convention})"


Image = npt.NDArray[Any] | torch.Tensor
"""[H, W] or [H, W, 1 to 4] (alpha is not compared); uint8, uint16, or float in 0..1."""


def measure(image: Image, reference: Image, *, by: Convention, scale: float = 1.0) -> Score:
    """PSNR and SSIM of a picture that was made at `scale`."""
    pair = comparable(image, reference, by, scale)
    return Score(_psnr(*pair), _ssim(*pair), by)


def psnr(image: Image, reference: Image, *, by: Convention, scale: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    return _psnr(*comparable(image, reference, by, scale))


def ssim(image: Image, reference: Image, *, by: Convention, scale: float = 1.0) -> float:
    """Structural similarity: Gaussian of 11 taps, sigma 1.5, no padding, mean over the channels."""
    return _ssim(*comparable(image, reference, by, scale))


def luma(image: Image, *, quantised: bool = False) -> torch.Tensor:  # [H, W] float64
    """BT.601's Y, 16..235; of the picture rounded to 8 bits if `quantised`."""
    return _in_channel(_planes(image, quantised), "y")[0]


def comparable(image: Image, reference: Image, by: Convention, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Both pictures as [C, H, W] float64 on a 0..255 scale, in the convention's channel and crop."""
    one, two = _planes(image, by.quantised), _planes(reference, by.quantised)
    if one.shape != two.shape:
        (h, w), (rh, rw) = one.shape[1:], two.shape[1:]
        raise InvalidArgument(
            f"A picture of {w}x{h} cannot be compared with a reference of {rw}x{rh}.",
            hint="Both must have the same size; crop the reference to a multiple of the scale first.",
        )
    border = by.border_px(scale)
    height, width = one.shape[1:]
    if min(height, width) <= 2 * border:
        raise InvalidArgument(f"A picture of {width}x{height} has nothing left inside a border of {border} pixels.")
    one, two = (plane[:, border : height - border, border : width - border] for plane in (one, two))
    return _in_channel(one, by.channel), _in_channel(two, by.channel)


def _planes(image: Image, quantised: bool) -> torch.Tensor:
    """[3, H, W] float64, 0..255."""
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else image
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InvalidArgument(f"A picture must be [H, W] or [H, W, 1 to 4], found {tuple(array.shape)}.")
    if array.dtype.kind != "f" and array.dtype.name not in {"uint8", "uint16"}:
        raise InvalidArgument(f"A picture must be uint8, uint16 or float, found {array.dtype}.")
    array = pixels.as_rgb(array)
    # float32 pictures are scaled and rounded in float32, as every test script does before it compares.
    is_float = array.dtype.kind == "f"
    scaled = array.clip(0, 1) * array.dtype.type(_PEAK) if is_float else array
    planes = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)).astype(np.float64))
    planes = planes if is_float else planes * (_PEAK / pixels.white(array.dtype))
    return planes.round() if quantised else planes


def _in_channel(planes: torch.Tensor, channel: Channel) -> torch.Tensor:
    if channel == "rgb":
        return planes
    weights, offset = (_LUMA, 0.0) if channel == "luma" else (tuple(w / _PEAK for w in _BT601), 16.0)
    if channel == "y-swapped":
        weights = weights[::-1]
    return torch.einsum("chw,c->hw", planes, planes.new_tensor(weights))[None] + offset


def _psnr(one: torch.Tensor, two: torch.Tensor) -> float:
    error = (one - two).square().mean().item()
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def _ssim(one: torch.Tensor, two: torch.Tensor) -> float:
    height, width = one.shape[1:]
    if min(height, width) < _SSIM_TAPS:
        raise InvalidArgument(
            f"SSIM needs at least {_SSIM_TAPS}x{_SSIM_TAPS} pixels inside the border, found {width}x{height}."
        )
    # One channel at a time: five float64 maps of a 4K picture are a third of a gigabyte.
    return sum(_ssim_of_channel(a, b) for a, b in zip(one, two, strict=True)) / len(one)


def _ssim_of_channel(a: torch.Tensor, b: torch.Tensor) -> float:
    maps = _gaussian_means(torch.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b, square_a, square_b, product = maps
    mean_aa, mean_bb, mean_ab = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    structure = (2 * (product - mean_ab) + _C2) / (square_a - mean_aa + square_b - mean_bb + _C2)
    return (structure * (2 * mean_ab + _C1) / (mean_aa + mean_bb + _C1)).mean().item()


def _gaussian_means(maps: torch.Tensor) -> torch.Tensor:
    """Local Gaussian means of [N, H, W], without padding."""
    at = torch.arange(_SSIM_TAPS, dtype=torch.float64) - _SSIM_TAPS // 2
    taps = torch.exp(-at.square() / (2 * _SSIM_SIGMA**2))
    taps = taps / taps.sum()
    rows = F.conv2d(maps[:, None], taps.view(1, 1, -1, 1))
    return F.conv2d(rows, taps.view(1, 1, 1, -1))[:, 0]


# ---- videos -----------------------------------------------------------------------------------------------------

FRAME_CONVENTION = CONVENTIONS["whole-y"]


@dataclass(frozen=True, slots=True)
class FrameScore:
    """A frame against its reference."""

    psnr_db: float  # by FRAME_CONVENTION
    flicker: float | None  # in 8-bit levels of Y; None for the first frame, which has no frame before it


class VideoScorer:
    """PSNR and flicker, frame by frame in order.

    Flicker is the mean absolute difference between two changes of Y from the frame before: the result's and the
    reference's. Motion is in both and cancels.
    """

    def __init__(self) -> None:
        self._error_before: torch.Tensor | None = None

    def score(self, result: Image, reference: Image) -> FrameScore:
        """What the reference does not cover is left out."""
        height, width = reference.shape[:2]
        error = luma(result[:height, :width]) - luma(reference)
        before, self._error_before = self._error_before, error
        flicker = None if before is None else (error - before).abs().mean().item()
        return FrameScore(psnr(result[:height, :width], reference, by=FRAME_CONVENTION), flicker)
