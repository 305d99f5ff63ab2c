"""Which reader a file gets: by its first bytes, and by what libvips reads of its format."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.reading import check_has_end
from gsr_app.io import bmp, foreign, heif, png, pnm, tiff
from gsr_app.io.formats import FORMATS, Format, check_pixels, format_of_name, sniff_format
from gsr_app.io.icc import is_srgb
from gsr_app.io.metadata import icc_space
from gsr_app.io.picture import ColorTags
from gsr_app.io.vips import load_vips

# libvips maps files of these formats into memory: a file that is cut off meanwhile would end the process (SIGBUS). They
# are compressed, so that the file fits into memory where its pixels do.
_MAPPED = {"jpeg", "webp", "avif", "gif"}
# Bytes of a TGA's header.
_TGA_KIND, _TGA_PALETTE_DEPTH, _TGA_DEPTH, _TGA_FLAGS = 2, 7, 16, 17
_TGA_TRUE_COLOR, _TGA_ALPHA_BITS = 2, 0x0F


@dataclass(frozen=True)
class Loader:
    """How one file is loaded."""

    load: Callable[[str], Any]  # from libvips' word for the order of access to its image
    check: Callable[[], object] = bool  # raises for unreadable pixels that libvips would make black
    side: png.Chunks = png.Chunks()  # noqa: RUF009  # frozen: what the file says beside its pixels
    notes: tuple[str, ...] = ()


def recognise(path: Path) -> tuple[Format, tuple[str, ...]]:
    """The format by content, with a note when the name says another."""
    name = printable(path.name)
    try:
        if path.is_dir():
            raise ImageError(
                f"{name} is a folder, not an image.", hint="Name one of its files; `gsr upscale` takes folders."
            )
        check_has_end(path, name, "image", ImageError)
        with open(path, "rb") as file:
            head = file.read(foreign.HEAD_BYTES)
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
    named = format_of_name(path)
    fmt = sniff_format(head, named)
    if fmt is None:
        what, is_video = foreign.describe_foreign(head)
        known = ", ".join(known.name for known in FORMATS.values())
        hint = "`gsr video` and the Video tab read videos." if is_video else f"Images that are read: {known}."
        raise ImageError(f"{name} is {what}.", hint=hint)
    if path.suffix and named is not fmt:
        return fmt, (f"{name} is a {fmt.name} file by its content; its name's ending was ignored.",)
    return fmt, ()


def loader_for(fmt: Format, path: Path) -> Loader:
    """Raises `ImageError` for what no reader here knows."""
    if fmt.id == "png":
        chunks = png.read_chunks(path)
        return Loader(lambda access: png.load(path, chunks, access), side=chunks, notes=chunks.notes)
    if fmt.id == "tiff":
        page = tiff.Page.of(path)
        tiff.refuse_unknown_codec(page)
        if not page.is_left_to_libvips:
            image, notes = tiff.load(page)
            return Loader(lambda _: image, notes=notes)
        return Loader(partial(_load_by_libvips, fmt, path), partial(tiff.check_tiles, page))
    if fmt.id == "avif":
        return _loader_of_heif(fmt, path)
    if fmt.id == "jpeg":
        foreign.check_jpeg(path)
        return Loader(partial(_load_by_libvips, fmt, path), partial(_check_jpeg_is_whole, fmt, path))
    own = {"bmp": bmp.load, "pnm": pnm.load, "tga": _load_by_pillow, "qoi": _load_by_pillow}.get(fmt.id)
    if own is not None:
        image = own(path)
        return Loader(lambda _: image)
    return Loader(partial(_load_by_libvips, fmt, path))


def _load_by_libvips(fmt: Format, path: Path, access: str, fail_on: str = "error") -> Any:
    # The loader is called by name: the general one would read "photo[1].png" as a file with options.
    call, options = load_vips().Operation.call, {"access": access, "fail_on": fail_on}
    if fmt.id in _MAPPED:
        return call(f"{fmt.loader}_buffer", path.read_bytes(), **options)
    return call(fmt.loader, os.fsencode(path), **options)


def _check_jpeg_is_whole(fmt: Format, path: Path) -> None:
    """Raise for pixels that end before the end mark: libjpeg makes the rest grey, with a mere warning.

    Its other warnings are of bytes that it skips, as some cameras write them. It needs a pass of its own in full size:
    libvips looks for warnings every 8 rows, before it decodes them.
    """
    try:
        _load_by_libvips(fmt, path, "sequential", "warning").avg()
    except load_vips().Error as error:
        if "premature end" in str(error.detail):
            raise


def _loader_of_heif(fmt: Format, path: Path) -> Loader:
    found = heif.read_heif(path)
    what = foreign.describe_heif(found.codec)
    if what is not None:  # some builds of libvips decode it
        try:
            load_vips().Region.new(_load_by_libvips(fmt, path, "sequential")).fetch(0, 0, 1, 1)
        except load_vips().Error as error:
            raise ImageError(
                f"{printable(path.name)} is {what}, which is not decoded here.", hint="Convert it to PNG, JPEG or AVIF."
            ) from error
    # As they are decoded, values have the full range.
    cicp = (*found.nclx, True) if found.nclx else None
    if is_srgb(ColorTags(cicp)) or _has_profile(fmt, path):  # readers of AVIF prefer the profile, those of PNG cICP
        cicp = None
    color = ColorTags(cicp, mastering=found.mastering, light=found.light)
    side = png.Chunks(color=color)
    return Loader(partial(_load_by_libvips, fmt, path), side=side)


def _has_profile(fmt: Format, path: Path) -> bool:
    image = _load_by_libvips(fmt, path, "sequential")
    if not image.get_typeof("icc-profile-data"):
        return False
    return icc_space(bytes(image.get("icc-profile-data"))) == ("GRAY" if image.bands < 3 else "RGB")


def _load_by_pillow(path: Path) -> Any:
    """The whole picture: these formats are simple, and files of them are small."""
    from PIL import Image

    data = bytearray(path.read_bytes())
    has_alpha = data.startswith(b"qoif") or _fit_tga_to_pillow(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is that of check_pixels
            picture = Image.open(io.BytesIO(data), formats=("TGA", "QOI"))
        with picture:
            check_pixels(printable(path.name), picture.height, picture.width, "whole")
            mode = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA", "PA": "RGBA"}.get(picture.mode, "RGB")
            if picture.palette is not None and picture.palette.rawmode == "BGRA":
                picture.palette.mode = mode = "RGBA"  # Pillow leaves it at RGB, and then fails
            pixels = np.asarray(picture.convert(mode if has_alpha else "RGB"))
    except (ValueError, SyntaxError, IndexError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error
    return load_vips().Image.new_from_array(pixels)


def _fit_tga_to_pillow(header: bytearray) -> bool:
    """Change the header to what Pillow knows. False where Pillow would take a bit for alpha that is none."""
    is_words = header[_TGA_KIND] & 7 == _TGA_TRUE_COLOR and header[_TGA_DEPTH] in {15, 16}
    has_alpha = not is_words or (header[_TGA_DEPTH] == 16 and header[_TGA_FLAGS] & _TGA_ALPHA_BITS > 0)
    for place in (_TGA_PALETTE_DEPTH, _TGA_DEPTH):
        if header[place] == 15:
            header[place] = 16  # the same words
    return has_alpha
