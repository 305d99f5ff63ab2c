"""Image files to arrays: detect the format, check, decode, turn upright, convert to grey or RGB."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.pixels import Depth, Layout, Stored, stretch, white
from gsr_app.io import heif, png, tiff
from gsr_app.io.formats import FORMATS, Format, check_pixels, describe_foreign, format_of_name, sniff_format
from gsr_app.io.icc import is_srgb
from gsr_app.io.metadata import (
    icc_space,
    orientation_of_exif,
    orientation_of_xmp,
    text_of_xmp,
    upright_exif,
    upright_xmp,
)
from gsr_app.io.picture import MM_PER_INCH, UNKNOWN_DPI, ColorTags, Metadata
from gsr_app.io.vips import explaining, load_vips

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

    @property
    def size(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    @property
    def layout(self) -> Layout:
        bands = self.image.bands
        return Layout(np.dtype(_DTYPES[self.image.format]), 0 if bands == 1 else bands)

    def read_all(self) -> Stored:
        with explaining(f"{self.name} cannot be decoded", _BROKEN_HINT):
            self.check()
            return self._shape(self.image.write_to_memory(), self.image.height)

    def start_strips(self) -> Any:
        """The region that `read_strip` reads through. Only one may be in use, from top to bottom."""
        with explaining(f"{self.name} cannot be decoded", _BROKEN_HINT):
            self.check()
            return load_vips().Region.new(self.image)

    def read_strip(self, region: Any, top: int, rows: int) -> Stored:
        with explaining(f"{self.name} cannot be decoded at row {top}", _BROKEN_HINT):
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
    fmt, notes = _recognise(path)
    name = printable(path.name)
    with explaining(f"{name} cannot be read as {fmt.name}", _BROKEN_HINT):
        side = _read_side(fmt, path)
        load, check = _loader(fmt, path, side)
        image, load_notes = load("sequential")
        height, width = image.height, image.width
        # An interlaced PNG is decoded in passes over the whole picture: the decoder holds all of it.
        check_pixels(name, height, width, "whole" if fmt.id == "png" and _get(image, "interlaced", 0) else use)
        pages = _get(image, "n-pages", 1)
        if pages > 1:
            notes += (f"{name} has {pages} frames or pages; the first one is used.",)
        orientation = _orientation(image, side)
        if 3 <= orientation <= 8:  # the output's rows are not in the order of the file's
            image, _ = load("random")
        dpi = _dpi(image, turned=5 <= orientation <= 8)
        image = image.copy()
        image.set_type(load_vips().GValue.gint_type, "orientation", orientation)
        image = image.autorot()
        image, colour_notes = _to_working_space(image)
        meta = _read_metadata(image, fmt, side)
    full = white(_DTYPES[image.format])
    bits = _get(image, "bits-per-sample", 0)
    if fmt.id == "avif" and full > 255 and 8 <= bits <= 16:
        full = float(((1 << bits) - 1) << (16 - bits))  # libvips shifts 10 and 12 bits up: white is not 65535
    meta = replace(meta, dpi=dpi, source=path, notes=notes + load_notes + side.notes + colour_notes)
    return Opened(image, full, meta, path, check)


def _recognise(path: Path) -> tuple[Format, tuple[str, ...]]:
    """The format by content, with a note when the name says another."""
    name = printable(path.name)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(
                f"{name} is a folder, not an image.", hint="Name one of its files; `gsr upscale` takes folders."
            )
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name} is a device, pipe or socket, not a file.", hint="Save the image to a file first.")
        with open(path, "rb") as file:
            head = file.read(64)
    except FileNotFoundError as error:
        raise ImageError(
            f"There is no file {name} in {printable(str(path.parent))}.", hint="Check the path's spelling."
        ) from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read: permission denied.", hint="Check the file's permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}.") from error
    if not head:
        raise ImageError(f"{name} is empty (zero bytes).", hint="Get a whole copy of the file.")
    fmt = sniff_format(head)
    if fmt is None:
        known = ", ".join(known.name for known in FORMATS.values())
        raise ImageError(f"{name} is {describe_foreign(head)}.", hint=f"Images that are read: {known}.")
    named = format_of_name(path)
    if path.suffix and named is not fmt:
        return fmt, (f"{name} is a {fmt.name} file by its content; its name's ending was ignored.",)
    return fmt, ()


Load = Callable[[str], "tuple[Any, tuple[str, ...]]"]  # from libvips' access to its image, and notes


def _read_side(fmt: Format, path: Path) -> png.Chunks:
    """What the file says beside its pixels, where libvips does not tell."""
    if fmt.id == "png":
        return png.read_chunks(path)
    nclx = heif.read_heif(path).nclx if fmt.id == "avif" else None
    color = ColorTags(cicp=(*nclx, True)) if nclx else ColorTags()  # as they are decoded, values have the full range
    return png.Chunks() if is_srgb(color) else png.Chunks(color=color)


def _loader(fmt: Format, path: Path, side: png.Chunks) -> tuple[Load, Callable[[], object]]:
    """What loads the file, and what checks its pixels before they are used."""
    if fmt.id == "bmp":
        return lambda _access: (_load_bmp(path), ()), bool
    check: Callable[[], object] = bool
    if fmt.id == "tiff":
        page = tiff.Page.of(path)
        tiff.refuse_unknown_codec(page)
        if not page.is_left_to_libvips:
            return lambda _access: tiff.load(page), bool
        check = partial(tiff.check_tiles, page)
    if fmt.id == "png":
        return lambda access: (png.load(path, side, access), ()), check

    def load(access: str) -> tuple[Any, tuple[str, ...]]:
        # The loader is called by name: the general one would read "photo[1].png" as a file with options.
        return load_vips().Operation.call(fmt.loader, os.fsencode(path), access=access, fail_on="error"), ()

    return load, check


def _load_bmp(path: Path) -> Any:
    """The whole picture: the format is simple, and files of it are small."""
    from PIL import Image

    try:
        with Image.open(path, formats=("BMP",)) as bmp:
            check_pixels(printable(path.name), bmp.height, bmp.width, "whole")
            mode = {"1": "L", "L": "L", "RGBA": "RGBA"}.get(bmp.mode, "RGB")
            return load_vips().Image.new_from_array(np.asarray(bmp.convert(mode)))
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


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
        image = image.icc_transform("srgb", embedded=embedded, input_profile="cmyk", depth=depth)
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


def _read_metadata(image: Any, fmt: Format, side: png.Chunks) -> Metadata:
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
        comments=side.texts,
        text=text_of_xmp(xmp) if xmp else {},
    )
