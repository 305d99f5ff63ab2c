"""Image files to arrays: detect the format, check, decode, turn upright, convert to grey or RGB."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gsr_app.core.errors import ImageError
from gsr_app.core.pixels import Depth, Layout, Stored, stretch, white
from gsr_app.io import png
from gsr_app.io.formats import Format, check_pixels
from gsr_app.io.jpeg_quality import read_quality
from gsr_app.io.loaders import loader_for, recognise
from gsr_app.io.metadata import (
    icc_space,
    orientation_of_exif,
    orientation_of_xmp,
    text_of_xmp,
    upright_exif,
    upright_xmp,
)
from gsr_app.io.picture import MM_PER_INCH, UNKNOWN_DPI, Metadata
from gsr_app.io.vips import explaining, load_vips, printable

_BROKEN_HINT = "The file is damaged or was cut off; get a whole copy of it."
_DTYPES: dict[str, type[np.generic]] = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}


@dataclass(frozen=True)
class Opened:
    """An open image file: the header is read, pixels are decoded on demand."""

    image: Any  # a libvips image of 1 to 4 bands: grey or RGB, then alpha; uchar, ushort or float
    full: float  # the value of white in the file; in an array it is `core.pixels.white`
    meta: Metadata
    path: Path
    check: Callable[[], object] = bool  # raises for unreadable pixels that libvips would make black
    state: tuple[int, ...] = ()  # of the file when it was opened

    @property
    def size(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    @property
    def layout(self) -> Layout:
        bands = self.image.bands
        return Layout(np.dtype(_DTYPES[self.image.format]), 0 if bands == 1 else bands)

    def read_all(self) -> Stored:
        with _unchanged(self.path, self.state), explaining(f"{self.name} cannot be decoded", _BROKEN_HINT):
            self.check()
            return self._shape(self.image.write_to_memory(), self.image.height)

    def start_strips(self) -> Any:
        """The region that `read_strip` reads through. Only one may be in use, from top to bottom."""
        with explaining(f"{self.name} cannot be decoded", _BROKEN_HINT):
            self.check()
            return load_vips().Region.new(self.image)

    def read_strip(self, region: Any, top: int, rows: int) -> Stored:
        what = f"{self.name} cannot be decoded at row {top}"
        with _unchanged(self.path, self.state), explaining(what, _BROKEN_HINT):
            return self._shape(region.fetch(0, top, self.image.width, rows), rows)

    @property
    def name(self) -> str:
        return printable(self.path.name)

    def _shape(self, buffer: Any, rows: int) -> Stored:
        layout = self.layout
        flat = np.frombuffer(buffer, layout.dtype)
        if flat.dtype == np.float32 and not np.isfinite(flat).all():
            raise ImageError(f"{self.name} holds values that are not numbers.", hint="Replace NaN and infinity in it.")
        array = flat.reshape(layout.shape((rows, self.image.width)))
        return array if self.full == white(layout.dtype) else stretch(array, self.full)


def open_image(path: str | os.PathLike[str], use: Literal["whole", "strips"]) -> Opened:
    """Open a file by its content, not its name. Raises `ImageError` if the header is bad or the picture too large."""
    path = Path(path)
    state = file_state(path)
    fmt, notes = recognise(path)
    name = printable(path.name)
    with _unchanged(path, state), explaining(f"{name} cannot be read as {fmt.name}", _BROKEN_HINT):
        loader = loader_for(fmt, path)
        image = loader.load("sequential")
        height, width = image.height, image.width
        # An interlaced PNG is decoded in passes over the whole picture: the decoder holds all of it.
        check_pixels(name, height, width, "whole" if fmt.id == "png" and _get(image, "interlaced", 0) else use)
        pages = _get(image, "n-pages", 1)
        if pages > 1:
            notes += (f"{name} has {pages} frames or pages; the first one is used.",)
        orientation = _orientation(image, loader.side)
        if 3 <= orientation <= 8:  # the output's rows are not in the order of the file's
            image = loader.load("random")
        dpi = _dpi(image, turned=5 <= orientation <= 8)
        image = image.copy()
        image.set_type(load_vips().GValue.gint_type, "orientation", orientation)
        image = image.autorot()
        image, colour_notes = _to_working_space(image)
        meta = _read_metadata(path, image, fmt, loader.side)
    full = white(_DTYPES[image.format])
    bits = _get(image, "bits-per-sample", 0)
    if fmt.id == "avif" and full > 255 and 8 <= bits <= 16:
        full = float(((1 << bits) - 1) << (16 - bits))  # libvips shifts 10 and 12 bits up: white is not 65535
    meta = replace(meta, dpi=dpi, source=path, state=state, notes=notes + loader.notes + colour_notes)
    return Opened(image, full, meta, path, loader.check, state)


class FileChanged(ImageError):
    """The file was written to or replaced while it was read."""


def file_state(path: Path) -> tuple[int, ...]:
    """What differs once a file was written to or replaced; nothing where it cannot be told."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):  # recognise() says why
        return ()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


@contextmanager
def _unchanged(path: Path, state: tuple[int, ...]) -> Generator[None, None, None]:
    """Refuse what was read from a file that has changed since it was opened: it may be parts of two pictures.

    A file that was deleted is read to its end where it is open already.
    """
    problem: ImageError | None = None
    try:
        yield
    except ImageError as error:
        problem = error
    now = file_state(path)
    if now and state and now != state:
        raise FileChanged(
            f"{printable(path.name)} was changed while it was read.", hint="Wait until it is complete, then run again."
        ) from problem
    if problem is not None:
        raise problem


def _get(image: Any, field: str, default: Any) -> Any:
    return image.get(field) if image.get_typeof(field) else default


def _blob(image: Any, field: str) -> bytes | None:
    blob = _get(image, field, None)
    return None if blob is None else bytes(blob)


def _orientation(image: Any, side: png.Chunks) -> int:
    """How the stored picture is to be turned, as EXIF or the TIFF says it, else as XMP does."""
    if image.get_typeof("orientation"):
        return image.get("orientation")
    xmp = side.xmp or _blob(image, "xmp-data") or b""
    return (side.exif and orientation_of_exif(side.exif)) or orientation_of_xmp(xmp) or 1


def _dpi(image: Any, *, turned: bool) -> tuple[float, float] | None:
    x, y = image.xres * MM_PER_INCH, image.yres * MM_PER_INCH  # libvips counts pixels per mm
    # Loaders report 1 per mm or 72 dpi for a file without a resolution, so a real 72 dpi counts as unknown, too.
    unknown = x == y and (image.xres == 1 or abs(x - UNKNOWN_DPI) < 0.1)
    if unknown or not (0 < x < 1e6 and 0 < y < 1e6):
        return None
    return (y, x) if turned else (x, y)


def _to_working_space(image: Any) -> tuple[Any, tuple[str, ...]]:
    """Grey or RGB, perhaps with alpha, in uchar, ushort or float. RGB of any profile is not converted."""
    notes: tuple[str, ...] = ()
    space, stored = str(image.interpretation), str(image.format)
    if image.coding != "none":
        image = image.colourspace("srgb")
    elif space == "cmyk":
        # The networks need RGB. Without a valid profile, libvips' own CMYK profile is used.
        depth: Depth = 16 if stored == "ushort" else 8
        embedded = icc_space(_blob(image, "icc-profile-data") or b"") == "CMYK"
        inks, others = image.extract_band(0, n=4), image.bands - 4
        color = inks.icc_transform("srgb", embedded=embedded, input_profile="cmyk", depth=depth)
        # It would take 255 as an alpha of 16 bits that is opaque.
        image = color.bandjoin(image.extract_band(4, n=others)) if others > 0 else color
        notes += ("CMYK was converted to sRGB.",)
    elif space in {"lab", "labs", "labq", "lch", "xyz", "yxy", "cmc", "hsv"}:
        image = image.colourspace("rgb16" if stored != "uchar" else "srgb")
        notes += (f"{space.upper()} was converted to sRGB.",)
    stored = str(image.format)
    if image.bands > 4:
        notes += (f"It has {image.bands} channels; the first three were taken as RGB.",)
        image = image.extract_band(0, n=3)
    if stored == "uint":
        image, stored = (image / 65537).rint().cast("ushort"), "ushort"
        notes += ("32-bit integers were reduced to 16 bits.",)
    elif stored == "double":
        image, stored = image.cast("float"), "float"
    if stored not in _DTYPES:
        raise ImageError(
            f"The file stores {stored} values, which are not colours.", hint="Convert it to 8-bit, 16-bit or float."
        )
    return image, notes


def _read_metadata(path: Path, image: Any, fmt: Format, side: png.Chunks) -> Metadata:
    grey = image.bands < 3
    icc = _blob(image, "icc-profile-data")
    if icc is not None and icc_space(icc) != ("GRAY" if grey else "RGB"):
        # It is damaged, or of the colour space before the conversion to sRGB.
        icc = None
    exif = _blob(image, "exif-data") or side.exif
    xmp = side.xmp or _blob(image, "xmp-data")
    return Metadata(
        format=fmt.id,
        palette=fmt.id == "gif" or bool(_get(image, "palette", 0)),
        icc=icc,
        exif=upright_exif(exif) if exif else None,
        xmp=upright_xmp(xmp) if xmp else None,
        color=side.color,
        jpeg_quality=read_quality(path) if fmt.id == "jpeg" else None,
        comments=side.texts,
        text=text_of_xmp(xmp) if xmp else {},
    )
