"""Read and write image files without loss. core/conventions.md lists what is kept, converted and refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import ImageError, printable
from gsr_app.io.decode import FileChanged, file_state, open_image
from gsr_app.io.encode import Storage, Written, add_metadata, check_size, check_target, save
from gsr_app.io.formats import readable_suffixes, writable_suffixes
from gsr_app.io.picture import Metadata, Picture
from gsr_app.io.rows import RowReader, RowWriter
from gsr_app.io.vips import load_vips


def read_image(path: str | os.PathLike[str]) -> Picture:
    """The whole picture, upright. Raises `ImageError` if any part of it is missing or damaged.

    One that changes meanwhile is read once more: two visitors may upload the same picture, which has one place.
    """
    try:
        return _read(path)
    except FileChanged:
        return _read(path)


def _read(path: str | os.PathLike[str]) -> Picture:
    opened = open_image(path, "whole")
    return Picture(opened.read_all(), opened.meta)


def write_image(
    path: str | os.PathLike[str],
    picture: Picture,
    *,
    overwrite: bool = False,
    strip_metadata: bool = False,  # leaves out EXIF, XMP, texts and resolution; the ICC profile is part of the colours
    text: Mapping[str, str] | None = None,
) -> Written:
    """Write in the format of the name, with the source's depth, channels and metadata as far as it can hold them."""
    path = Path(path)
    storage = Storage.plan(path, picture.size, picture.layout, picture.meta, overwrite=overwrite)
    image = load_vips().Image.new_from_array(np.ascontiguousarray(storage.pack(picture.pixels)))
    with replacing(path, overwrite=overwrite, error=ImageError) as temporary:
        notes = save(
            image, storage, temporary, strip_metadata=strip_metadata, text=text or {}, name=printable(path.name)
        )
        bytes_written = temporary.stat().st_size
    return Written(path, bytes_written, storage.notes + notes)


def check_output(path: Path, size: tuple[int, int], *, overwrite: bool = False, source: Path | None = None) -> None:
    """Raise `ImageError` if a picture of this (height, width) cannot be written there, before any work is done."""
    check_size(check_target(path, overwrite=overwrite, source=source), size)


def read_metadata(path: str | os.PathLike[str]) -> tuple[tuple[int, int], Metadata]:
    """((height, width), metadata) from the header alone."""
    opened = open_image(path, "strips")
    return opened.size, opened.meta


def read_text(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """The entries that `write_image(text=…)` put into a file."""
    return open_image(path, "strips").meta.text


__all__ = [
    "Metadata",
    "Picture",
    "RowReader",
    "RowWriter",
    "Written",
    "add_metadata",
    "check_output",
    "file_state",
    "read_image",
    "read_metadata",
    "read_text",
    "readable_suffixes",
    "writable_suffixes",
    "write_image",
]
