"""A picture as its file stores it, with the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gsr_app.core.pixels import Layout, Stored

MM_PER_INCH = 25.4
UNKNOWN_DPI = 72.0  # what files without a set resolution say


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file holds apart from its pixels."""

    format: str = ""  # "png", "jpeg", …; empty for an array
    palette: bool = False  # it had a palette; written back in true colour
    icc: bytes | None = None  # RGB and grey profiles are kept, and the values are not converted
    exif: bytes | None = None  # orientation already reset, embedded thumbnail dropped
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # (x, y)
    comments: Mapping[str, str] = field(default_factory=dict[str, str])  # text chunks of a PNG
    text: Mapping[str, str] = field(default_factory=dict[str, str])  # entries of this program: method, scale, …
    source: Path | None = None  # the file itself; a result is never written onto it
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
