"""Pictures larger than memory: read from top to bottom, written from top to bottom."""

from __future__ import annotations

import os
import secrets
import struct
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.io.decode import open_image
from gsr_app.io.encode import Storage, Written, check_target, save
from gsr_app.io.picture import Floats, Metadata, flatten_pixels, pack_pixels, unpack_pixels
from gsr_app.io.vips import explaining, load_vips, printable

_FETCH_ROWS = 256
_SPOOL_STRIP_BYTES = 2**20
_OWN_FIELDS = 10  # width … yres: what every libvips image has; the loader's findings come after


class StripReader:
    """Rows of a file as float32, each decoded once.

    reader = StripReader(path)
    rgb, alpha = reader.rows(0, 300)
    rgb, alpha = reader.rows(250, 550)  # may overlap the rows before, but not go back behind their first
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._opened = open_image(path, "strips")
        self._region = self._opened.start_strips()
        self._first = 0
        self._kept: NDArray[Any] | None = None  # stored values of rows [_first, _first + len)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._opened.size

    @property
    def meta(self) -> Metadata:
        return self._opened.meta

    @property
    def has_alpha(self) -> bool:
        return self._opened.image.bands in (2, 4)

    def rows(self, first: int, last: int) -> tuple[Floats, Floats | None]:  # [last - first, W, 3], [last - first, W]
        """Rows [first, last) as (rgb, alpha)."""
        if not self._first <= first < last <= self.size[0]:
            raise InvalidArgument(
                f"Rows {first} to {last} cannot be read from rows {self._first} to {self.size[0]}: "
                "a strip reader does not go back."
            )
        pieces: list[NDArray[Any]] = []
        decoded = self._first
        if self._kept is not None:
            decoded += len(self._kept)
            pieces = [self._kept[first - self._first : last - self._first]]
        for top in range(max(first, decoded), last, _FETCH_ROWS):
            pieces.append(self._opened.read_strip(self._region, top, min(_FETCH_ROWS, last - top)))
        self._kept = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        self._first = first
        return unpack_pixels(self._kept, self._opened.full)


class StripWriter:
    """A file written in strips of any height; it appears when the block ends well.

    The rows wait beside the output in a temporary file, which libvips then encodes in one pass: every format and
    option of `write_image` works, in little memory. That file is an uncompressed TIFF and not just raw numbers, because
    libvips maps raw files into memory, where 40000 x 40000 pixels count as 5 GB.

        with StripWriter(path, size, meta) as writer:
            writer.append(rgb)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],  # (height, width)
        meta: Metadata,
        *,
        has_alpha: bool = False,
        overwrite: bool = False,
        strip_metadata: bool = False,
        text: Mapping[str, str] | None = None,
    ) -> None:
        self._path = Path(path)
        fmt = check_target(self._path, overwrite=overwrite, source=meta.source)
        self._storage = Storage.plan(fmt, meta, size, has_alpha=has_alpha)
        self._has_alpha, self._overwrite = has_alpha, overwrite
        self._strip_metadata, self._text = strip_metadata, text or {}
        self._rows = 0
        self._cleanup = ExitStack()
        self.written: Written | None = None  # set when the file is there

    def __enter__(self) -> StripWriter:
        folder = Path(os.path.realpath(self._path)).parent
        self._spool_path = folder / f".gsr-{os.getpid()}-{secrets.token_hex(4)}.rows"
        with explaining(f"{self._name} cannot be written", "Check the folder's permissions."):
            self._spool = open(self._spool_path, "xb")
        self._cleanup.callback(self._spool_path.unlink, missing_ok=True)
        self._cleanup.callback(self._spool.close)
        self._spool.write(_spool_header(self._storage))
        return self

    def append(self, rgb: Floats, alpha: Floats | None = None) -> None:  # [h, W, 3], [h, W]
        """The next rows."""
        height, width = self._storage.size
        rows = len(rgb)
        if rgb.shape[1:] != (width, 3) or self._rows + rows > height or (alpha is not None) != self._has_alpha:
            raise InvalidArgument(
                f"Expected up to {height - self._rows} rows of {width} RGB pixels "
                f"{'with' if self._has_alpha else 'without'} alpha, found {list(rgb.shape)}"
                f"{' with alpha' if alpha is not None else ''}."
            )
        if self._storage.flatten:
            rgb, alpha = flatten_pixels(rgb, alpha)
        packed = pack_pixels(rgb, alpha, self._storage.depth, grey=self._storage.grey)
        with explaining(f"{self._name} cannot be written", "Is the disk full? Nothing was left behind."):
            self._spool.write(packed.data)
        self._rows += rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if kind is None:
                self._finish()

    @property
    def _name(self) -> str:
        return printable(self._path.name)

    def _finish(self) -> None:
        height = self._storage.size[0]
        if self._rows != height:
            raise InvalidArgument(f"{self._name} got {self._rows} of its {height} rows.")
        with explaining(f"{self._name} cannot be written", "Is the disk full? Nothing was left behind."):
            self._spool.flush()
            image = load_vips().Operation.call("tiffload", os.fsencode(self._spool_path), access="sequential")
            image = image.copy()
            for field in image.get_fields()[_OWN_FIELDS:]:  # nothing of the spool's own goes into the output
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


def _spool_header(storage: Storage) -> bytes:
    """All of an uncompressed BigTIFF that comes before its rows; its layout is known before the first of them."""
    (height, width), bands = storage.size, storage.bands
    order = "<" if sys.byteorder == "little" else ">"
    row_bytes = width * bands * storage.depth // 8
    strip_rows = min(height, max(1, _SPOOL_STRIP_BYTES // row_bytes))
    strips = -(-height // strip_rows)
    short, long, long8 = (3, "H"), (4, "I"), (16, "Q")
    tags: list[tuple[int, tuple[int, str], list[int]]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [storage.depth] * bands),
        (259, short, [1]),  # not compressed
        (262, short, [1 if storage.grey else 2]),  # grey, black is zero; or RGB
        (273, long8, []),  # where each strip starts: filled in below
        (277, short, [bands]),
        (278, long, [strip_rows]),
        (279, long8, [min(strip_rows, height - top) * row_bytes for top in range(0, height, strip_rows)]),
        (339, short, [3 if storage.depth == 32 else 1] * bands),  # float, or unsigned
    ]
    if storage.alpha:
        tags.insert(-1, (338, short, [2]))  # the extra channel is an alpha that is not multiplied in
    directory_bytes = 16 + 8 + 20 * len(tags) + 8
    first_row = directory_bytes + 2 * 8 * strips
    tags[5] = (273, long8, [first_row + strip * strip_rows * row_bytes for strip in range(strips)])

    out = struct.pack(order + "2sHHHQQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16, len(tags))
    arrays = b""
    for tag, (kind, code), values in tags:
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 8:
            arrays, packed = arrays + packed, struct.pack(order + "Q", directory_bytes + len(arrays))
        out += struct.pack(order + "HHQ", tag, kind, len(values)) + packed.ljust(8, b"\0")
    return (out + struct.pack(order + "Q", 0) + arrays).ljust(first_row, b"\0")
