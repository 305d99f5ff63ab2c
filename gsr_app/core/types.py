"""The types that all parts share: small, frozen, and free of torch.

Sizes are (height, width); points are (x, y). Source-pixel units put pixel centres at +0.5 and y down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gsr_app.core.errors import InvalidArgument, InvalidScale, SizeOutOfReach

MIN_SCALE, MAX_SCALE = 0.01, 64.0
# "2.5x4" is two factors and "2x" is one; from this value on, integers next to an x are pixels ("1920x1080", "1920x").
_SMALLEST_PIXELS = 65

# Room for the rounding of `target / source * source` in float64, far below any real fraction of a pixel.
_SIZE_SLACK = 1e-6

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SIZES = "a size in pixels, width first: 1920x1080, 1920x, x1080, fit:3840x2160"
_FORMS = f"Write a factor (3.7), one per axis, vertical first (2.5x4), or {_SIZES}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Output pixels per input pixel, per axis."""

    y: float
    x: float

    def __post_init__(self) -> None:
        axes = [("scale", self.y)] if self.is_uniform else [("vertical scale", self.y), ("horizontal scale", self.x)]
        for name, value in axes:
            if not math.isfinite(value):
                raise InvalidScale(f"The {name} must be a finite number, found {value!r}.", hint=_FORMS)
            if not MIN_SCALE <= value <= MAX_SCALE:
                raise InvalidScale(
                    f"The {name} must be between {MIN_SCALE:g} and {MAX_SCALE:g}, found {value:g}.",
                    hint=_FORMS,
                )

    @classmethod
    def of(cls, scale: Scale | float) -> Scale:
        """A scale from one factor for both axes; a `Scale` is returned unchanged."""
        return scale if isinstance(scale, Scale) else cls(scale, scale)

    @classmethod
    def parse(cls, text: str, source_size: tuple[float, float] | None = None) -> Scale:
        """Read "3.7", "x4", "2.5x4" (y, x), or, given the source's (height, width), a target size in pixels.

        A comma before one or two digits is a decimal point, as in "2,7".

        Target sizes are written width first, as everywhere: "1920x1080", "1920x" and "x1080" (the other side
        keeps the aspect), "fit:3840x2160" (the largest that fits inside).
        """
        form = text.strip().lower().replace("×", "x").replace(" ", "")
        form = re.sub(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", form)
        if match := re.fullmatch(rf"x?{_NUMBER}|{_NUMBER}x", form):
            factor = float(match[1] or match[2])
            if "x" not in form or factor < _SMALLEST_PIXELS or not factor.is_integer():
                return cls(factor, factor)
        if match := re.fullmatch(rf"{_NUMBER}x{_NUMBER}", form):
            first, second = float(match[1]), float(match[2])
            in_pixels = first.is_integer() and second.is_integer() and max(first, second) >= _SMALLEST_PIXELS
            if not in_pixels:
                return cls(first, second)
        return cls._parse_size(text, form, source_size, _FORMS)

    @classmethod
    def parse_size(cls, text: str, source_size: tuple[float, float]) -> Scale:
        """Like `parse`, for text that can only be a size in pixels: "48x48" is 48 by 48 pixels here."""
        form = text.strip().lower().replace("×", "x").replace(" ", "")
        return cls._parse_size(text, form, source_size, f"Write {_SIZES}")

    @classmethod
    def _parse_size(cls, text: str, form: str, source_size: tuple[float, float] | None, forms: str) -> Scale:
        match = re.fullmatch(r"(fit:)?(\d*)x(\d*)", form)
        if match is None or not (match[2] or match[3]) or (match[1] and not (match[2] and match[3])):
            raise InvalidScale(f"Cannot read the {'scale' if forms is _FORMS else 'size'} {text!r}.", hint=forms)
        if not all(float(side) for side in match.groups()[1:] if side):
            raise InvalidScale(f"A picture of {text} has no pixels.", hint=forms)
        if source_size is None:
            raise InvalidScale(f"The size {text!r} needs the source's size to become a scale.", hint=forms)
        height, width = source_size
        x = float(match[2]) / width if match[2] else None
        y = float(match[3]) / height if match[3] else None
        if match[1] and x is not None and y is not None:
            x = y = min(x, y)
        try:
            return cls(y=x if y is None else y, x=y if x is None else x)  # type: ignore[arg-type]
        except InvalidScale as error:
            raise SizeOutOfReach(
                f"The size {text!r} is too far from the picture's own, {width:.10g}x{height:.10g}: {error}",
                hint=f"Choose one from {MIN_SCALE:g} to {MAX_SCALE:g} times as large.",
            ) from None

    @property
    def is_uniform(self) -> bool:
        return self.y == self.x

    def output_size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the picture: every whole output pixel that the source covers, at least one."""
        height, width = source_size
        return max(1, math.floor(height * self.y + _SIZE_SLACK)), max(1, math.floor(width * self.x + _SIZE_SLACK))

    def __str__(self) -> str:
        return f"{self.y:.6g}" if self.is_uniform else f"{self.y:.6g}x{self.x:.6g}"


@dataclass(frozen=True, slots=True)
class View:
    """Which rectangle of the source plane to draw, and into how many pixels. A tile and a zoom are Views, too."""

    origin: tuple[float, float]  # (x, y) of the rectangle's top left corner, source pixels
    span: tuple[float, float]  # (height, width), source pixels
    size: tuple[int, int]  # (height, width), output pixels

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (*self.origin, *self.span)) or min(self.span) <= 0:
            raise InvalidArgument(f"A view needs a finite origin and a positive span, found {self}.")
        if min(self.size) < 1:
            raise InvalidArgument(f"A view needs at least one pixel, found size {self.size}.")

    @classmethod
    def whole(cls, source_size: tuple[int, int], scale: Scale) -> View:
        """The whole picture at a scale, in exact geometry: a fraction of a pixel at the far edge is left out."""
        size = scale.output_size(source_size)
        return cls((0.0, 0.0), (size[0] / scale.y, size[1] / scale.x), size)

    @property
    def scale(self) -> Scale:
        return Scale(self.size[0] / self.span[0], self.size[1] / self.span[1])

    def crop(self, top: int, left: int, height: int, width: int) -> View:
        """The view of a rectangle of this view's pixels."""
        sy, sx = self.size[0] / self.span[0], self.size[1] / self.span[1]
        origin = (self.origin[0] + left / sx, self.origin[1] + top / sy)
        return View(origin, (height / sy, width / sx), (height, width))


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a picture, in whole source pixels."""

    x: int
    y: int
    width: int
    height: int

    def check(self, source_size: tuple[int, int]) -> None:
        """An error unless it is a part of a picture of this (height, width)."""
        height, width = source_size
        is_inside = self.x >= 0 and self.y >= 0 and self.x + self.width <= width and self.y + self.height <= height
        if not is_inside or min(self.width, self.height) < 1:
            raise InvalidArgument(
                f"The part of {self.width}x{self.height} pixels at ({self.x}, {self.y}) is not inside the picture of "
                f"{width}x{height}."
            )

    def pixels(self, source_size: tuple[int, int], scale: Scale) -> tuple[slice, slice]:
        """The rows and columns of the picture at another scale that show any of this part: at least one of each."""
        height, width = scale.output_size(source_size)
        return _covered(self.y, self.height, scale.y, height), _covered(self.x, self.width, scale.x, width)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} pixels at ({self.x}, {self.y})"


def _covered(start: int, length: int, factor: float, size: int) -> slice:
    first = min(math.floor(start * factor + _SIZE_SLACK), size - 1)
    return slice(first, max(first + 1, min(math.ceil((start + length) * factor - _SIZE_SLACK), size)))


@dataclass(frozen=True, slots=True, eq=False)
class GaussianField:
    """An image as 2-D Gaussians. Scale-free: drawing at scale s multiplies means and sigmas by s.

    The arrays are all numpy arrays or all torch tensors; the renderer converts them.
    """

    mean: Any  # [N, 2] (x, y), source pixels, pixel centres at +0.5, y down
    sigma: Any  # [N, 2] (x, y), source pixels
    rho: Any  # [N] correlation, within -1..1
    color: Any  # [N, C], opacity already multiplied in
    source_size: tuple[int, int]  # (height, width)
    normalize: bool = False  # divide by the summed weights when drawing
    window: tuple[float, float] | None = None  # (x, y) hard half-widths that a checkpoint was run with, source pixels

    def __post_init__(self) -> None:
        count = len(self.mean)
        shapes = {"mean": (count, 2), "sigma": (count, 2), "rho": (count,)}
        for name, expected in shapes.items():
            if tuple(getattr(self, name).shape) != expected:
                raise InvalidArgument(f"{name} must have shape {expected}, found {tuple(getattr(self, name).shape)}.")
        if self.color.ndim != 2 or len(self.color) != count:
            raise InvalidArgument(f"color must have shape ({count}, C), found {tuple(self.color.shape)}.")

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        kind = "normalised" if self.normalize else "additive"
        return f"GaussianField({len(self):,} {kind} Gaussians, source {self.source_size[1]}x{self.source_size[0]})"


STAGES = ("read", "encode", "decode", "bin", "render", "resize", "write")


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds per stage; of several runs, the median."""

    stages_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    peak_bytes: int | None = None
    backend: str = ""
    device: str = ""
    repeats: int = 1
    cold: bool = False  # the first run of a model in this process: loading included

    @property
    def total_ms(self) -> float:
        return sum(self.stages_ms.values())

    def including(self, **stages_ms: float) -> Timing:
        """A copy with the times of further stages added."""
        merged = dict(self.stages_ms)
        for name, value in stages_ms.items():
            merged[name] = merged.get(name, 0.0) + value
        return replace(self, stages_ms=merged)


@dataclass(frozen=True, slots=True)
class Progress:
    """The next piece of long work, reported before it starts, because it can take minutes."""

    stage: str
    done: int  # finished pieces of the stage
    total: int

    @property
    def fraction(self) -> float:
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Upscaled:
    """An upscaled picture, and how it was made."""

    image: Any  # same kind as the input: dtype, channels
    timing: Timing
    method: str
    scale: Scale
    done: str  # what was actually done, e.g. "x2 network, then resized to x2.7"
    field: FieldHandle | None = None
    weights_id: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A drawn view."""

    image: Any
    timing: Timing
    backend: str


@dataclass(frozen=True, slots=True)
class FieldHandle:
    """A picklable reference to an encoded image that a session keeps."""

    id: str
    method: str
    count: int
    source_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BackendReport:
    """Which backend runs an op, and why not a faster one. Truthy means it fell back."""

    backend: str
    fell_back: bool = False
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.fell_back

    def __str__(self) -> str:
        return self.backend + (f" ({'; '.join(self.reasons)})" if self.reasons else "")
