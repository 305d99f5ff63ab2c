"""A picture as its file stores it, with the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gsr_app.core.pixels import Layout, Stored

MM_PER_INCH = 25.4
UNKNOWN_DPI = 72.0  # what files without a set resolution say


@dataclass(frozen=True, slots=True)
class Text:
    """A text chunk of a PNG."""

    keyword: str
    value: str
    language: str = ""
    translated: str = ""  # the keyword in that language


@dataclass(frozen=True, slots=True)
class ColorTags:
    """How the values of a file are to be shown, as far as it says so by other means than an ICC profile."""

    cicp: tuple[int, int, bool] | None = None  # primaries and transfer as in ITU-T H.273; whether the range is full
    gamma: int | None = None  # exponent from light to value, times 100,000
    chromaticities: tuple[int, ...] | None = None  # white, red, green, blue: x and y each, times 100,000
    srgb_intent: int | None = None  # it is sRGB, with this rendering intent
    mastering: bytes | None = None  # colours and light of the display on which it was made, as in PNG's mDCV
    light: bytes | None = None  # its brightest and its mean light, as in PNG's cLLI


NO_COLOR_TAGS = ColorTags()


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file holds apart from its pixels."""

    format: str = ""  # "png", "jpeg", …; empty for an array
    palette: bool = False  # it had a palette; written back in true colour
    icc: bytes | None = None  # RGB and grey profiles are kept, and the values are not converted
    exif: bytes | None = None  # orientation already reset, embedded thumbnail dropped
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # (x, y)
    color: ColorTags = NO_COLOR_TAGS
    jpeg_quality: int | None = None  # as libjpeg counts it: 1 to 100
    comments: tuple[Text, ...] = ()  # text chunks of a PNG
    text: Mapping[str, str] = field(default_factory=dict[str, str])  # entries of this program: method, scale, …
    source: Path | None = None  # the file itself; a result is never written onto it
    state: tuple[int, ...] = field(default=(), compare=False)  # of that file when it was read
    notes: tuple[str, ...] = ()  # what the user should know


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels as stored: no colour conversion, alpha not multiplied in."""

    pixels: Stored
    meta: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        Layout.of(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def layout(self) -> Layout:
        return Layout.of(self.pixels)
