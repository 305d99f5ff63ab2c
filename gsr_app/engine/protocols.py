"""How the published tables were measured: what is compared, under which convention, and how the LR was made.

A protocol is a row of the table in core/conventions.md. Numbers of different protocols do not mix, so whoever prints a
number prints `str(protocol)` with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.types import Scale
from gsr_app.engine.metrics import CONVENTIONS, Convention, Score, measure
from gsr_app.ops.resize import resize


@dataclass(frozen=True, slots=True)
class Protocol:
    name: str
    y: Convention
    rgb: Convention
    lr: str = "MATLAB bicubic, 8 bit"  # how the LR is made when it is not given
    lr_multiple_of: int = 1  # the LR is cropped to a multiple of this, as the original's loader does

    def __str__(self) -> str:
        return f"{self.name}: PSNR/SSIM on {self.y}; LR by {self.lr}"


_ALL = (
    Protocol("basicsr", CONVENTIONS["basicsr"], CONVENTIONS["basicsr-rgb"]),
    Protocol("gsasr", CONVENTIONS["gsasr"], CONVENTIONS["gsasr-rgb"]),
    # The official LR of these sets was made by MATLAB's bicubic; a folder of it can be given.
    Protocol("liif-div2k", CONVENTIONS["liif-div2k-luma"], CONVENTIONS["liif-div2k"], lr="MATLAB bicubic (official)"),
    Protocol("liif-benchmark", CONVENTIONS["liif-benchmark"], CONVENTIONS["liif-rgb"], lr="MATLAB bicubic (official)"),
    Protocol("rt4ksr", CONVENTIONS["whole-y"], CONVENTIONS["whole-rgb"], lr_multiple_of=2),
    Protocol("savsr", CONVENTIONS["whole-y"], CONVENTIONS["whole-rgb"], lr="antialiased bicubic"),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}


def protocol(name: str) -> Protocol:
    """The protocol of a name."""
    if name not in PROTOCOLS:
        raise UnknownName(name, PROTOCOLS, what="Protocol", where="the list of protocols")
    return PROTOCOLS[name]


Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What a method is given and what it is judged by, both `[H, W, 3]` uint8."""

    lr: Array
    reference: Array
    scale: float


def make_pair(reference: Array, scale: float, by: Protocol, lr: Array | None = None) -> Pair:
    """The LR of a reference picture, and the part of the reference that the drawn LR will cover."""
    if reference.dtype != np.uint8 or reference.ndim != 3:
        raise InvalidArgument(f"A reference is [H, W, 3] uint8, found {reference.dtype} {reference.shape}.")
    if lr is None:
        reference = _crop(reference, round(scale)) if float(scale).is_integer() else reference
        lr = shrink(reference, scale)
    lr = _crop(lr, by.lr_multiple_of)
    if 0 in lr.shape:
        raise InvalidArgument(f"A reference of {_size(reference)} is too small to be shrunk by {scale:g}.")
    height, width = Scale(scale, scale).output_size(lr.shape[:2])
    slack_px = math.ceil(scale) * by.lr_multiple_of  # what cropping to whole LR pixels may cost
    if max(abs(height - reference.shape[0]), abs(width - reference.shape[1])) > slack_px:
        raise InvalidArgument(
            f"An LR of {_size(lr)} at x{scale:g} does not cover a reference of {_size(reference)}.",
            hint="Check that the LR folder belongs to this scale.",
        )
    reference = reference[:height, :width]
    return Pair(lr, reference, scale)


def shrink(picture: Array, scale: float) -> Array:
    """A picture 1/scale its size, as MATLAB's imresize and an 8-bit file leave it. `[H, W, 3]` uint8."""
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].double() / 255
    small = resize(planes, scale=1 / scale)
    # MATLAB rounds halves up.
    return (small * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()


def judge(picture: Array, pair: Pair, by: Protocol) -> tuple[Score, Score]:
    """The scores of a drawn picture on luma and on RGB."""
    height, width = pair.reference.shape[:2]
    picture = picture[:height, :width]
    return (
        measure(picture, pair.reference, by=by.y, scale=pair.scale),
        measure(picture, pair.reference, by=by.rgb, scale=pair.scale),
    )


def _size(picture: Array) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _crop(picture: Array, multiple_of: int) -> Array:
    height, width = (side // multiple_of * multiple_of for side in picture.shape[:2])
    return picture[:height, :width]


# ---- clips ------------------------------------------------------------------------------------------------------


def crop_frame_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """What SAVSR's tests leave of a reference frame: per axis a whole number of source pixels, in whole steps.

    A step is the fewest source pixels whose size at the scale is whole, of 1, 2, 5, 10, 20, 50.
    """
    return _crop_side(size[0], scale.y), _crop_side(size[1], scale.x)


def _crop_side(side: int, scale: float) -> int:
    step = next((one for one in (1, 2, 5, 10, 20, 50) if abs(scale * one - round(scale * one)) < 1e-3), 50)
    return round(math.floor(side / step / scale) * step * scale)


def shrink_frames(frames: torch.Tensor, scale: Scale) -> torch.Tensor:  # [B, 3, H, W] in 0..1 -> [B, 3, h, w]
    """As SAVSR's tests and training make their input: torch's antialiased bicubic, neither clipped nor rounded."""
    height, width = frames.shape[-2:]
    size = (round(height / scale.y), round(width / scale.x))
    if 0 in size:
        raise InvalidArgument(f"A frame of {width}x{height} is too small to be shrunk by {scale}.")
    return F.interpolate(frames, size=size, mode="bicubic", antialias=True, align_corners=False)
