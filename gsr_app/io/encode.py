"""Arrays to image files: convert to what the format can hold, and encode."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.pixels import DTYPES, Depth, Layout, Stored, convert
from gsr_app.io import heif, jpeg, png
from gsr_app.io.formats import SAVE_OPTIONS, Format, output_format
from gsr_app.io.icc import describe, is_srgb, make_profile
from gsr_app.io.metadata import icc_space, xmp_with_text
from gsr_app.io.picture import MM_PER_INCH, UNKNOWN_DPI, Metadata, Picture, Text
from gsr_app.io.vips import explaining, load_vips

_TEXT_PREFIX = "gsr:"
_JPEG_SEGMENT_BYTES = 65000
_CLASSIC_TIFF_BYTES = 3 * 2**30  # leaves room for what compression may add below TIFF's 4 GiB


@dataclass(frozen=True)
class Written:
    """A complete file, and notes about it for the user."""

    path: Path
    bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Storage:
    """How a picture is stored in its file, with a note for everything that the format cannot hold."""

    format: Format
    size: tuple[int, int]  # (height, width)
    layout: Layout
    meta: Metadata
    notes: tuple[str, ...]

    def pack(self, array: Stored) -> Stored:
        """Rows as the file stores them; alpha that the format cannot hold is composited on white."""
        return convert(array, self.layout.dtype, self.layout.channels, background=1.0)

    @classmethod
    def plan(cls, path: Path, size: tuple[int, int], layout: Layout, meta: Metadata, *, overwrite: bool) -> Storage:
        """How a picture will be stored; raises `ImageError` if it must not or cannot be, before any work is done."""
        fmt = check_target(path, overwrite=overwrite, source=meta.source)
        check_size(fmt, size)
        notes: list[str] = []
        depth = fmt.deepest(layout.depth)
        if depth != layout.depth:
            found = "floating point" if layout.is_float else f"{layout.depth} bits"
            notes.append(f"{fmt.name} cannot hold {found}: written with {depth} bits. TIFF keeps it.")
        if fmt.id == "avif" and depth == 16:
            notes.append("AVIF holds at most 12 bits: the lowest 4 of 16 are lost. PNG and TIFF keep them.")
        if not fmt.lossless:
            notes.append(f"{fmt.name} loses detail (quality 95, full chroma). PNG, TIFF and WebP are lossless.")
        if layout.has_alpha and not fmt.holds_alpha:
            notes.append(f"{fmt.name} has no alpha: transparent parts became white.")
        grey = layout.colors == 1 and fmt.holds_grey
        if meta.icc is not None and not _fits(meta.icc, grey=grey):
            notes.append(f"The {icc_space(meta.icc)} profile does not fit the written channels and was left out.")
            meta = replace(meta, icc=None)
        meta, color_notes = _fit_color(meta, fmt, grey=grey, depth=layout.depth)
        notes += color_notes
        channels = (1 if grey else 3) + (layout.has_alpha and fmt.holds_alpha)
        return cls(fmt, size, Layout(DTYPES[depth], 0 if channels == 1 else channels), meta, tuple(notes))


def _fits(icc: bytes, *, grey: bool) -> bool:
    return icc_space(icc) == ("GRAY" if grey else "RGB")


def _fit_color(meta: Metadata, fmt: Format, *, grey: bool, depth: Depth) -> tuple[Metadata, list[str]]:
    """What the colours mean, as the format can say it: a profile where it knows nothing else."""
    color = meta.color
    if fmt.id == "png":
        return meta, []
    notes: list[str] = []
    if color.mastering or color.light:
        notes.append(f"{fmt.name} is written without the light levels of the display it was made on. PNG keeps them.")
    if (color.cicp is None and meta.icc is not None) or (meta.icc is None and is_srgb(color)):
        return meta, notes
    # A profile beside cICP is only for readers that do not know cICP.
    if fmt.id == "avif" and color.cicp is not None and color.cicp[2]:
        if meta.icc is not None:
            notes.append(f"AVIF says what the colours mean ({describe(color)}) by code points, without the profile.")
        return replace(meta, icc=None), notes
    profile = make_profile(color, grey=grey, depth=depth)
    if profile is None:
        notes.append(f"{fmt.name} cannot say what the colours mean ({describe(color)}). PNG keeps that.")
    else:
        notes.append(f"{fmt.name} says what the colours mean ({describe(color)}) by an ICC profile.")
    # Without code points: those of AVIF cannot say that decoded values have a narrow range.
    return replace(meta, icc=profile or meta.icc, color=replace(color, cicp=None)), notes


def save(
    image: Any, storage: Storage, path: Path, *, strip_metadata: bool, text: Mapping[str, str], name: str
) -> tuple[str, ...]:
    """Encode a libvips image of `storage`'s layout into a file. Returns notes."""
    fmt, meta = storage.format, storage.meta
    spaces = {8: "srgb", 16: "rgb16", 32: "scrgb"}
    greys = {8: "b-w", 16: "grey16", 32: "b-w"}
    layout = storage.layout
    interpretation = (greys if layout.colors == 1 else spaces)[layout.depth]
    options = dict(SAVE_OPTIONS[fmt.id])
    if fmt.id == "tiff":
        height, width = storage.size
        bytes_total = height * width * layout.bands * layout.dtype.itemsize
        options |= {"predictor": "float"} if layout.is_float else {}
        options |= {"bigtiff": bytes_total > _CLASSIC_TIFF_BYTES}
    if fmt.id == "avif":
        options |= {"bitdepth": 12 if layout.depth == 16 else 8}
    with explaining(f"{name} cannot be written as {fmt.name}", "Is the disk full? Nothing was left behind."):
        x_dpi, y_dpi = (None if strip_metadata else meta.dpi) or (UNKNOWN_DPI, UNKNOWN_DPI)
        image = image.copy(interpretation=interpretation, xres=x_dpi / MM_PER_INCH, yres=y_dpi / MM_PER_INCH)
        if meta.icc is not None:
            _set_blob(image, "icc-profile-data", meta.icc)
        if fmt.id == "png":
            first = png.color_chunks(meta.color, has_profile=meta.icc is not None)
            png.save(image, path, options, first, b"" if strip_metadata else _png_chunks(meta, text))
            return ()
        notes, exif = ((), None) if strip_metadata else _attach(image, storage, text)
        options["keep"] = "icc" if strip_metadata else "all"
        if fmt.id == "jpeg" and exif is not None:
            jpeg.save(image, path, options, exif, meta.dpi)
            return notes
        load_vips().Operation.call(fmt.saver, image, os.fsencode(path), **options)
        if fmt.id == "avif" and meta.color.cicp is not None and not heif.set_nclx(path, *meta.color.cicp[:2]):
            notes += (f"AVIF was written without what the colours mean ({describe(meta.color)}). PNG keeps that.",)
    return notes


def add_metadata(data: bytes, picture: Picture) -> bytes:
    """The file of an 8-bit picture as PNG, with all that `write_image` would write beside the pixels."""
    meta = picture.meta
    icc = meta.icc if meta.icc is not None and _fits(meta.icc, grey=picture.layout.colors == 1) else None
    profile = b"" if icc is None else png.profile_chunk(icc)
    colors = png.color_chunks(meta.color, has_profile=icc is not None)
    return png.insert(data, colors + profile, _png_chunks(meta, {}))


def _png_chunks(meta: Metadata, text: Mapping[str, str]) -> bytes:
    xmp = xmp_with_text(meta.xmp, text)
    kept = [one for one in meta.comments if not one.keyword.startswith(_TEXT_PREFIX)]
    texts = [*kept, *(Text(_TEXT_PREFIX + key, value) for key, value in text.items())]
    return b"".join(
        [
            png.density_chunk(meta.dpi) if meta.dpi else b"",
            png.exif_chunk(meta.exif) if meta.exif else b"",
            png.xmp_chunk(xmp) if xmp else b"",
            *map(png.text_chunk, texts),
        ]
    )


def _attach(image: Any, storage: Storage, text: Mapping[str, str]) -> tuple[tuple[str, ...], bytes | None]:
    """(notes, the EXIF)."""
    fmt, meta = storage.format, storage.meta
    notes: tuple[str, ...] = ()
    xmp = xmp_with_text(meta.xmp, text)
    if fmt.id == "jpeg" and xmp is not None and len(xmp) > _JPEG_SEGMENT_BYTES:
        notes += ("The source's XMP is too large for JPEG and was left out.",)
        xmp = xmp_with_text(None, text)
    exif = meta.exif
    if fmt.id == "jpeg" and exif is not None and len(exif) > _JPEG_SEGMENT_BYTES:
        notes += ("The source's EXIF is too large for JPEG and was left out.",)
        exif = None
    if fmt.id == "tiff" and exif is not None:
        notes += ("TIFF files are written without EXIF; the other formats keep it.",)
        exif = None
    if xmp is not None:
        _set_blob(image, "xmp-data", xmp)
    if exif is not None:
        _set_blob(image, "exif-data", exif)
    return notes, exif


def _set_blob(image: Any, field: str, data: bytes) -> None:
    image.set_type(load_vips().GValue.blob_type, field, data)


def check_size(fmt: Format, size: tuple[int, int]) -> None:
    """Refuse a picture with more pixels per side than its format can hold."""
    if max(size) > fmt.max_side:
        raise ImageError(
            f"A {fmt.name} file holds at most {fmt.max_side} pixels per side, the picture is {size[1]} x {size[0]}.",
            hint="Write a .png or .tif.",
        )


def check_target(path: Path, *, overwrite: bool, source: Path | None) -> Format:
    """The output's format; raises `ImageError` if it must not or cannot be written, before any work is done."""
    name = printable(path.name)
    if path.is_dir():
        raise ImageError(f"The output {name} is a folder.", hint="Name a file in it.")
    fmt = output_format(path)
    if not path.parent.is_dir():
        raise ImageError(f"The output folder {printable(str(path.parent))} does not exist.", hint="Create it first.")
    if path.exists():
        if source is not None and source.exists() and path.samefile(source):
            raise ImageError(f"The output {name} is the input itself.", hint="Choose another name or folder.")
        if not path.is_file():
            raise ImageError(f"The output {name} is not a regular file.", hint="Choose another name.")
        if not overwrite:
            raise ImageError(
                f"The output {name} exists already.",
                hint="Choose another name, or allow it: --overwrite, in Python overwrite=True.",
            )
    return fmt
