"""The test protocols of published tables: how the LR picture is made, what is compared, and by which conventions.

`make_pair` is the only place where a picture or a frame is cropped and shrunk for a comparison. Scores of different
protocols cannot be compared: print `str(protocol)` next to each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gsr_app.core import pixels
from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.types import Scale
from gsr_app.engine.flip import flip
from gsr_app.engine.metrics import CONVENTIONS, Convention, Score, measure
from gsr_app.engine.planes import stack, unstack
from gsr_app.engine.rows import split_rows
from gsr_app.ops.resize import Resampling

_LEAST_LR_PX = 8  # per side, of what networks are given
_STRIP_PIXELS = 1 << 18  # of the LR at once: a large picture is not held in float64


@dataclass(frozen=True, slots=True)
class Protocol:
    name: str
    y: Convention
    rgb: Convention
    lr: str = "MATLAB bicubic, 8 bit"  # how the LR is made when it is not given
    lr_multiple_of: int = 1  # the LR is cropped to a multiple of this, as the original's loader does
    rgb_first: bool = False  # whether its tables print RGB scores
    torch_resize: bool = False  # crop and shrink as SAVSR's tests do, instead of as MATLAB does

    @property
    def main(self) -> Convention:
        """The convention of the scores that its tables print."""
        return self.rgb if self.rgb_first else self.y

    def __str__(self) -> str:
        return f"{self.name}: PSNR/SSIM on {self.main}; LR by {self.lr}"


_ALL = (
    Protocol("basicsr", CONVENTIONS["basicsr"], CONVENTIONS["basicsr-rgb"]),
    Protocol("gsasr", CONVENTIONS["gsasr"], CONVENTIONS["gsasr-rgb"]),
    # The official LR of these sets was made by MATLAB's bicubic; a folder of it can be given.
    Protocol(
        "liif-div2k",
        CONVENTIONS["liif-div2k-luma"],
        CONVENTIONS["liif-div2k"],
        lr="MATLAB bicubic (official)",
        rgb_first=True,
    ),
    Protocol("liif-benchmark", CONVENTIONS["liif-benchmark"], CONVENTIONS["liif-rgb"], lr="MATLAB bicubic (official)"),
    Protocol("rt4ksr", CONVENTIONS["whole-y"], CONVENTIONS["whole-rgb"], lr_multiple_of=2),
    Protocol(
        "savsr", CONVENTIONS["whole-y"], CONVENTIONS["whole-rgb"], lr="antialiased bicubic, float", torch_resize=True
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}


def protocol(name: str) -> Protocol:
    """The protocol of a name."""
    if name not in PROTOCOLS:
        raise UnknownName(name, PROTOCOLS, what="Protocol", where="the list of protocols")
    return PROTOCOLS[name]


def choices() -> tuple[str, ...]:
    """All names that `find` knows: the protocols, then the conventions."""
    return tuple(dict.fromkeys((*PROTOCOLS, *CONVENTIONS)))


def find(name: str) -> tuple[Protocol, Convention]:
    """A protocol with its main convention; or a convention with the first protocol that uses it."""
    if name in PROTOCOLS:
        return PROTOCOLS[name], PROTOCOLS[name].main
    if name not in CONVENTIONS:
        raise UnknownName(name, choices(), what="Protocol", where="the list of protocols and metric conventions")
    by = CONVENTIONS[name]
    user = next((one for one in _ALL if by in (one.y, one.rgb)), PROTOCOLS["rt4ksr"])
    return user, by


# ---- pairs ------------------------------------------------------------------------------------------------------

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The picture that a method gets and the one that its result is compared with, both [H, W] or [H, W, C].

    `lr` has the dtype of the reference, or float32 where the protocol does not round it.
    """

    lr: Array
    reference: Array
    scale: Scale

    @property
    def float_lr(self) -> NDArray[np.float32]:
        """What a method gets: its answer is float32, too, and is not rounded before it is scored."""
        return pixels.convert(self.lr, np.float32)

    @property
    def factor(self) -> float:
        """The scale that borders are multiples of."""
        return max(self.scale.y, self.scale.x)


@dataclass(frozen=True, slots=True)
class PairSize:
    """The (height, width) of each step of `make_pair`."""

    cropped: tuple[int, int]  # of the picture before it is shrunk
    lr: tuple[int, int]
    output: tuple[int, int]  # of a method's result
    reference: tuple[int, int]  # of the part of the picture that the result is compared with


def pair_size(size: tuple[int, int], scale: Scale | float, by: Protocol) -> PairSize:
    """The sizes of the pair that `make_pair` would make of a picture of that size, without making it."""
    scale = Scale.of(scale)
    if min(scale.y, scale.x) < 1:
        raise InvalidArgument(f"A round trip needs a scale of at least 1, found {scale}.")
    factors = (scale.y, scale.x)
    if by.torch_resize:
        cropped = crop_frame_size(size, scale)
        lr = round(cropped[0] / scale.y), round(cropped[1] / scale.x)
    else:
        whole = [round(factor) if float(factor).is_integer() else 1 for factor in factors]
        cropped = _multiple(size[0], whole[0]), _multiple(size[1], whole[1])
        # As MATLAB's imresize: ceil of the product with the reciprocal, rounding errors included.
        lr = math.ceil(1 / scale.y * cropped[0]), math.ceil(1 / scale.x * cropped[1])
    lr = _multiple(lr[0], by.lr_multiple_of), _multiple(lr[1], by.lr_multiple_of)
    if 0 in (*cropped, *lr):
        raise InvalidArgument(
            f"A picture of {size[1]}x{size[0]} is too small to be shrunk by {scale}.", hint="Choose a smaller scale."
        )
    output = scale.output_size(lr)
    return PairSize(cropped, lr, output, (min(output[0], cropped[0]), min(output[1], cropped[1])))


def check_pair_size(size: tuple[int, int], scale: Scale | float, by: Protocol) -> PairSize:
    """As `pair_size`, but an LR that is too small for the networks is refused."""
    found = pair_size(size, scale, by)
    if min(found.lr) < _LEAST_LR_PX:
        raise InvalidArgument(
            f"At x{Scale.of(scale)} this picture would shrink to {found.lr[1]}x{found.lr[0]}.",
            hint="Choose a smaller scale.",
        )
    return found


def as_tested(picture: Array, channels: int | None = None) -> Array:
    """A picture as published tests read it: 8 bits, whatever its file holds."""
    return pixels.convert(picture, np.uint8, channels)


def make_pair(reference: Array, scale: Scale | float, by: Protocol, lr: Array | None = None) -> Pair:
    """The LR of a picture (made, unless it is given), and the part of the picture that a result will cover.

    The picture is [H, W] or [H, W, 1 to 4] of uint8, uint16 or float32 in 0..1.
    """
    scale = Scale.of(scale)
    if lr is None:
        size = pair_size((reference.shape[0], reference.shape[1]), scale, by)
        lr = _shrink(reference[: size.cropped[0], : size.cropped[1]], scale, by)[: size.lr[0], : size.lr[1]]
        return Pair(lr, reference[: size.reference[0], : size.reference[1]], scale)
    lr = lr[: _multiple(lr.shape[0], by.lr_multiple_of), : _multiple(lr.shape[1], by.lr_multiple_of)]
    if 0 in lr.shape:
        raise InvalidArgument(f"The given LR of a reference of {_size(reference)} is empty.")
    height, width = scale.output_size(lr.shape[:2])
    slack_px = math.ceil(max(scale.y, scale.x)) * by.lr_multiple_of  # the most that cropping to whole LR pixels removes
    if max(abs(height - reference.shape[0]), abs(width - reference.shape[1])) > slack_px:
        raise InvalidArgument(
            f"An LR of {_size(lr)} at x{scale} does not cover a reference of {_size(reference)}.",
            hint="Check that the LR folder belongs to this scale.",
        )
    return Pair(lr, reference[:height, :width], scale)


def judge(picture: Array, pair: Pair, by: Protocol) -> tuple[Score, Score]:
    """The scores of a result on luma and on RGB."""
    return score(picture, pair, by.y), score(picture, pair, by.rgb)


def score(picture: Array, pair: Pair, by: Convention) -> Score:
    """The score of a result by one convention; what the reference does not cover is left out."""
    height, width = pair.reference.shape[:2]
    return measure(picture[:height, :width], pair.reference, by=by, scale=pair.factor)


def score_flip(picture: Array, pair: Pair, by: Convention) -> float:
    """FLIP of a result, inside the border of a convention."""
    height, width = pair.reference.shape[:2]
    return flip(picture[:height, :width], pair.reference, by=by, scale=pair.factor)


def _shrink(picture: Array, scale: Scale, by: Protocol) -> Array:
    """A picture 1 / scale its size. Where alpha varies, colours count by their alpha."""
    layers = picture if picture.ndim == 3 else picture[..., None]
    alpha = layers[..., -1] if layers.shape[2] in (2, 4) else None
    blended = alpha is not None and alpha.min() != alpha.max()
    peak = pixels.white(picture.dtype)

    def planes(rows: Array) -> torch.Tensor:  # [1, C, h, W] float64
        values = torch.from_numpy(np.ascontiguousarray(rows.transpose(2, 0, 1)).astype(np.float64))[None] / peak
        return stack(values[:, :-1], values[:, -1:], "bicubic") if blended else values

    if by.torch_resize:
        small = shrink_frames(planes(layers).float(), scale)
        small = _separate(small) if blended else small
        result = small[0].permute(1, 2, 0).contiguous().numpy()
        return result if picture.ndim == 3 else result[..., 0]
    plan = Resampling.plan((picture.shape[0], picture.shape[1]), scale=Scale(1 / scale.y, 1 / scale.x))
    result = np.empty((*plan.size, layers.shape[2]), picture.dtype)
    for start, stop in split_rows(*plan.size, _STRIP_PIXELS):
        first, last = plan.source_rows(start, stop)
        small = plan.rows(planes(layers[first:last]), first=first, start=start, stop=stop)
        values = (_separate(small) if blended else small)[0].permute(1, 2, 0).numpy()
        if picture.dtype.kind == "f":
            result[start:stop] = values.clip(0, 1)
        else:  # MATLAB rounds halves up
            result[start:stop] = np.floor(values * peak + 0.5).clip(0, peak)
    return result if picture.ndim == 3 else result[..., 0]


def _separate(planes: torch.Tensor) -> torch.Tensor:  # what `stack` made, resized -> [1, C, h, w], alpha last
    color, alpha = unstack(planes, "bicubic", has_alpha=True)
    assert alpha is not None
    return torch.cat([color, alpha], 1)


def _size(picture: Array) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _multiple(side: int, of: int) -> int:
    return side // of * of


# ---- SAVSR's clips ----------------------------------------------------------------------------------------------


def crop_frame_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """The size that SAVSR's tests crop a reference frame to: per axis a whole number of source pixels, in whole steps.

    A step is the smallest of 1, 2, 5, 10, 20 and 50 source pixels whose size at the scale is whole.
    """
    return _crop_side(size[0], scale.y), _crop_side(size[1], scale.x)


def _crop_side(side: int, scale: float) -> int:
    step = next((one for one in (1, 2, 5, 10, 20, 50) if abs(scale * one - round(scale * one)) < 1e-3), 50)
    return round(math.floor(side / step / scale) * step * scale)


def shrink_frames(frames: torch.Tensor, scale: Scale) -> torch.Tensor:  # [B, C, H, W] in 0..1 -> [B, C, h, w]
    """As SAVSR's tests and training make their input: torch's antialiased bicubic, neither clipped nor rounded."""
    height, width = frames.shape[-2:]
    size = (round(height / scale.y), round(width / scale.x))
    if 0 in size:
        raise InvalidArgument(f"A frame of {width}x{height} is too small to be shrunk by {scale}.")
    return F.interpolate(frames, size=size, mode="bicubic", antialias=True, align_corners=False)
