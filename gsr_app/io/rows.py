"""Reading and writing pictures larger than memory, from top to bottom."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import ImageError, InvalidArgument, printable
from gsr_app.core.pixels import Layout, Stored
from gsr_app.io import tiff_tags as t
from gsr_app.io.decode import open_image
from gsr_app.io.encode import Storage, Written, save
from gsr_app.io.formats import check_pixels
from gsr_app.io.picture import Metadata
from gsr_app.io.vips import explaining, load_vips

_FETCH_ROWS = 256
_SPOOL_STRIP_BYTES = 2**20
_OWN_FIELDS = 10  # width … yres: every libvips image has them; those of the loader follow


class RowReader:
    """Rows of a file as they are stored, each decoded once.

    reader = RowReader(path)
    array = reader.rows(0, 300)
    array = reader.rows(250, 550)  # may overlap the rows before, but not start before their first
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._opened = open_image(path, "strips")
        self.size = self._opened.size  # (height, width)
        self.meta, self.layout = self._opened.meta, self._opened.layout
        self._region: Any = None
        self._first = 0
        self._kept: Stored | None = None  # rows [_first, _first + len)

    def read_all(self) -> Stored:
        """The whole picture at once, instead of `rows`."""
        check_pixels(self._opened.name, *self.size, "whole")
        return self._opened.read_all()

    def rows(self, first: int, last: int) -> Stored:
        """Rows [first, last)."""
        if not self._first <= first < last <= self.size[0]:
            raise InvalidArgument(
                f"Rows {first} to {last} cannot be read from rows {self._first} to {self.size[0]}: "
                "a reader of rows does not go back."
            )
        self._region = self._region or self._opened.start_strips()
        pieces: list[Stored] = []
        decoded = self._first
        if self._kept is not None:
            decoded += len(self._kept)
            pieces = [self._kept[first - self._first : last - self._first]]
        for top in range(max(first, decoded), last, _FETCH_ROWS):
            pieces.append(self._opened.read_strip(self._region, top, min(_FETCH_ROWS, last - top)))
        self._kept = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        self._first = first
        return self._kept


class RowWriter:
    """A file written some rows at a time; it appears when the block ends without an error.

    The rows go to a temporary file next to the output, which libvips then encodes in one pass: every format and
    option of `write_image` works, in little memory. That file is an uncompressed TIFF and not just raw numbers, because
    libvips maps raw files into memory, where 40000 x 40000 pixels count as 5 GB.

        with RowWriter(path, size, layout, meta) as writer:
            writer.append(array[:300])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],  # (height, width)
        layout: Layout,  # of the rows to come
        meta: Metadata | None = None,
        *,
        overwrite: bool = False,
        strip_metadata: bool = False,
        text: Mapping[str, str] | None = None,
    ) -> None:
        self._path = Path(path)
        self._storage = Storage.plan(self._path, size, layout, meta or Metadata(), overwrite=overwrite)
        self._layout, self._overwrite = layout, overwrite
        self._strip_metadata, self._text = strip_metadata, text or {}
        self._rows = 0
        self._cleanup = ExitStack()
        self.written: Written | None = None  # set when the file is complete

    def __enter__(self) -> RowWriter:
        folder = Path(os.path.realpath(self._path)).parent
        self._spool_path = folder / f".gsr-{os.getpid()}-{secrets.token_hex(4)}.rows"
        with explaining(f"{self._name} cannot be written", "Check the folder's permissions."):
            self._spool = open(self._spool_path, "xb")
        self._cleanup.callback(self._spool_path.unlink, missing_ok=True)
        self._cleanup.callback(self._spool.close)
        self._spool.write(_spool_header(self._storage))
        return self

    def append(self, array: Stored) -> None:
        """Add the next rows."""
        height, width = self._storage.size
        rows, left = len(array), height - self._rows
        if array.shape[1] != width or rows > left or Layout.of(array) != self._layout:
            raise InvalidArgument(
                f"Expected up to {left} rows of {width} pixels, {self._layout.bands} x {self._layout.dtype} each, "
                f"found {array.dtype} {list(array.shape)}."
            )
        packed = np.ascontiguousarray(self._storage.pack(array))
        with explaining(f"{self._name} cannot be written", "Is the disk full? Nothing was left behind."):
            self._spool.write(packed.data)
        self._rows += rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if kind is None and self.written is None:
                self.finish()

    @property
    def _name(self) -> str:
        return printable(self._path.name)

    def finish(self) -> Written:
        """Encode the file. The end of the block calls it, unless it has been called."""
        height = self._storage.size[0]
        if self._rows != height:
            raise InvalidArgument(f"{self._name} got {self._rows} of its {height} rows.")
        with explaining(f"{self._name} cannot be written", "Is the disk full? Nothing was left behind."):
            self._spool.flush()
            image = load_vips().Operation.call("tiffload", os.fsencode(self._spool_path), access="sequential")
            image = image.copy()
            for field in image.get_fields()[_OWN_FIELDS:]:  # the spool's fields do not belong in the output
                image.remove(field)
        with replacing(self._path, overwrite=self._overwrite, error=ImageError) as temporary:
            notes = save(
                image,
                self._storage,
                temporary,
                strip_metadata=self._strip_metadata,
                text=self._text,
                name=self._name,
            )
            size_bytes = temporary.stat().st_size
        self.written = Written(self._path, size_bytes, self._storage.notes + notes)
        return self.written


def _spool_header(storage: Storage) -> bytes:
    """All of an uncompressed BigTIFF that comes before its rows; its layout is known before the first of them."""
    (height, width), layout = storage.size, storage.layout
    bands = layout.bands
    row_bytes = width * bands * layout.dtype.itemsize
    strip_rows = min(height, max(1, _SPOOL_STRIP_BYTES // row_bytes))
    tags: dict[int, tuple[int, list[int]]] = {
        t.WIDTH: (t.LONG, [width]),
        t.HEIGHT: (t.LONG, [height]),
        t.BITS: (t.SHORT, [layout.depth] * bands),
        t.COMPRESSION: (t.SHORT, [1]),
        t.PHOTOMETRIC: (t.SHORT, [1 if layout.colors == 1 else 2]),  # grey, black is zero; or RGB
        t.SAMPLES: (t.SHORT, [bands]),
        t.ROWS_PER_STRIP: (t.LONG, [strip_rows]),
        t.STRIP_BYTES: (
            t.LONG8,
            [min(strip_rows, height - top) * row_bytes for top in range(0, height, strip_rows)],
        ),
        t.SAMPLE_FORMAT: (t.SHORT, [3 if layout.is_float else 1] * bands),  # float, or unsigned
    }
    if layout.has_alpha:
        tags[t.EXTRA_SAMPLES] = (t.SHORT, [2])  # the extra channel is an alpha that is not multiplied in
    offsets = [top * row_bytes for top in range(0, height, strip_rows)]
    return t.make_directory("<" if sys.byteorder == "little" else ">", tags, t.STRIP_OFFSETS, offsets)
