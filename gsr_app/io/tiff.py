"""TIFF files that libvips does not read, or reads wrongly.

libvips makes a tile that it cannot decode black and says nothing, but an unreadable strip is an error. Here tiles are
given to it as the strips of a narrow, tall picture in another directory. In the same way the bytes of values of any
depth are read: as strips of a grey picture of 8 bits.
"""

from __future__ import annotations

import itertools
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.pixels import Stored, convert, white
from gsr_app.io import tiff_tags as t
from gsr_app.io.formats import check_pixels
from gsr_app.io.picture import MM_PER_INCH
from gsr_app.io.tiff_tags import Directory
from gsr_app.io.vips import load_vips, with_density

_NONE, _DEFLATE, _LZMA, _ZSTD = 1, (8, 32946), 34925, 50000
_NAMES = {2: "CCITT", 3: "CCITT fax", 4: "CCITT fax", 5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "deflate", 9: "JBIG",
          10: "JBIG", 22610: "JPEG XR", 32773: "PackBits", 32809: "ThunderScan", 32909: "PixarLog", 32946: "deflate",
          33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGILog", 34677: "SGILog",
          34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard",
          50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}  # fmt: skip
_PLAIN = {_NONE, 5, *_DEFLATE, 32773, _LZMA, _ZSTD}  # what they compress are bytes, whatever these mean
_DECODED_BY_LIBVIPS = {7, 33003, 33004, 33005}  # not by libtiff: an unreadable tile of these is an error
_UINT, _INT, _FLOAT = 1, 2, 3
_KINDS = {_INT: "signed integers", 5: "complex integers", 6: "complex numbers"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_SPACES = {10: "ITU L*a*b*", 32803: "the raw values of a camera", 34892: "the raw values of a camera"}
_KEPT_TAGS = (t.BITS, t.COMPRESSION, t.PHOTOMETRIC, t.FILL_ORDER, t.SAMPLES, t.PREDICTOR, t.EXTRA_SAMPLES,
              t.SAMPLE_FORMAT, 292, 293, 320, 347, 529, 530, 532)  # fmt: skip
_SAVE_HINT = "Save it again as an 8- or 16-bit TIFF with LZW or deflate compression, or as PNG."
_BLOCK_VALUES = 1 << 20  # unpacked at once
_BATCH_BYTES = 1 << 24

Places = Sequence[tuple[int, int]]  # (offset, bytes) of segments


@dataclass(frozen=True)
class Page:
    """The first page of a file, as its directory describes it."""

    path: Path
    found: Directory
    size: tuple[int, int]  # (height, width)
    bands: int
    bits: int
    kind: int
    compression: int
    photometric: int
    planar: bool
    tiled: bool

    @classmethod
    def of(cls, path: Path) -> Page:
        """Raises `ImageError` where the values of the file are not colours."""
        found = t.read_directory(path)
        name = printable(path.name)
        bands = max(1, found.one(t.SAMPLES, 1))
        depths, kinds = set(found.all(t.BITS) or (1,)), set(found.all(t.SAMPLE_FORMAT) or (_UINT,))
        photometric = found.one(t.PHOTOMETRIC, _BLACK_IS_ZERO)
        if len(depths) > 1 or len(kinds) > 1:
            raise ImageError(f"{name} is a TIFF whose channels differ in depth, which is not read.", hint=_SAVE_HINT)
        kind = kinds.pop()
        if kind in _KINDS and photometric != _CIELAB:
            raise ImageError(f"{name} is a TIFF of {_KINDS[kind]}, which are not colours.", hint=_SAVE_HINT)
        if photometric in _SPACES:
            raise ImageError(f"{name} is a TIFF of {_SPACES[photometric]}, which is not read.", hint=_SAVE_HINT)
        compression = found.one(t.COMPRESSION, 1)
        if photometric == _YCBCR and compression in _PLAIN:  # where it is JPEG, its decoder makes RGB of it
            raise ImageError(
                f"{name} is a TIFF of YCbCr that is not compressed as JPEG, which is not read.",
                hint=f"Convert it to RGB. {_SAVE_HINT}",
            )
        return cls(
            path,
            found,
            (found.one(t.HEIGHT), found.one(t.WIDTH)),
            bands,
            depths.pop(),
            kind if kind in {_INT, _FLOAT} else _UINT,
            compression,
            photometric,
            found.one(t.PLANAR, 1) == 2 and bands > 1,
            t.TILE_OFFSETS in found.tags,
        )

    @property
    def is_left_to_libvips(self) -> bool:
        if self.photometric not in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _CIELAB, _ICCLAB}:
            return True
        planes = self.found.one(t.PLANAR, 1) == 2
        mixed = self.tiled or self.compression in _PLAIN or self.bands == 2
        if self.compression in {_LZMA, _ZSTD} or (planes and mixed):
            return False  # of some planes it mixes up the rows: grey and alpha, floats of 16 bits
        if self.photometric in {_CIELAB, _ICCLAB}:
            return self.photometric == _CIELAB and self.bits == 16 and self.bands == 3  # it loses alpha
        if self.photometric == _PALETTE and self.bands > 1 and self.bits < 8:
            return False  # it does not stretch alpha to 255
        if self.photometric == _CMYK and (self.kind == _FLOAT or self.bits > 16):
            return False  # it takes 255 as their white
        if self.photometric == _CMYK and self.bits == 16 and self.has_associated_alpha:
            return False  # it takes 255 as an alpha that is opaque
        if self.has_associated_alpha and (self.kind == _FLOAT or self.bits > 16):
            return False  # and here 255 or 65535
        if self.kind == _FLOAT and self.photometric == _WHITE_IS_ZERO:
            return False  # it does not invert them
        if self.kind == _FLOAT:
            return self.bits in {16, 32}
        return self.bits in ({1, 2, 4, 8, 16, 32} if self.bands == 1 else {8, 16, 32})

    @property
    def has_associated_alpha(self) -> bool:
        """Colours are stored times alpha."""
        return self.bands > self.colors and self.found.all(t.EXTRA_SAMPLES)[:1] == (1,)

    @property
    def colors(self) -> int:
        """The channels before alpha."""
        return min(self.bands, 4) if self.photometric == _CMYK else self.bands - (self.bands in {2, 4})

    @property
    def segment(self) -> tuple[int, int]:
        """(height, width) of a tile or strip."""
        height, width = self.size
        if self.tiled:
            return self.found.one(t.TILE_HEIGHT), self.found.one(t.TILE_WIDTH)
        return min(height, self.found.one(t.ROWS_PER_STRIP, height) or height), width

    @property
    def segment_bands(self) -> int:
        return 1 if self.planar else self.bands

    @property
    def row_bytes(self) -> int:
        return -(-self.segment[1] * self.segment_bands * self.bits // 8)

    def places(self) -> list[tuple[int, int]]:
        """(offset, bytes) of every segment, by planes; raises where the file lacks one."""
        (height, width), (rows, columns) = self.size, self.segment
        name = printable(self.path.name)
        if min(height, width, rows, columns) < 1:
            raise ImageError(f"{name} cannot be read as TIFF: its size is missing.", hint="Get a whole copy of it.")
        count = -(-height // rows) * -(-width // columns) * (self.bands if self.planar else 1)
        offsets = self.found.all(t.TILE_OFFSETS if self.tiled else t.STRIP_OFFSETS)
        lengths = self.found.all(t.TILE_BYTES if self.tiled else t.STRIP_BYTES)
        places = list(zip(offsets, lengths, strict=False))[:count]
        if len(places) < count or any(at < 8 or at + length > self.found.file_bytes for at, length in places):
            raise ImageError(
                f"{name} cannot be decoded: it lacks a part of its pixels.", hint="Get a whole copy of it."
            )
        return places

    @property
    def codec(self) -> str:
        return _NAMES.get(self.compression, f"the compression {self.compression}")


def refuse_unknown_codec(page: Page) -> None:
    """Decode the first segment, and name the compression if libvips lacks it."""
    if page.compression in {_NONE, _LZMA, *_DECODED_BY_LIBVIPS}:
        return
    if page.compression == _ZSTD:
        _zstd(page)
        return
    try:
        image = _stack(page, page.places()[:1], raw=False)
        load_vips().Region.new(image).fetch(0, 0, image.width, 1)
    except load_vips().Error as error:
        if any(words in str(error) for words in ("not configured", "not implemented", "without", "not compiled")):
            raise _lacks(page) from error


def _lacks(page: Page) -> ImageError:
    name = printable(page.path.name)
    return ImageError(f"{name} is a TIFF compressed with {page.codec}, which is not decoded here.", hint=_SAVE_HINT)


def check_tiles(page: Page) -> None:
    """Decode every tile; raises libvips' error, which it does not raise by itself."""
    if not page.tiled or page.compression in _DECODED_BY_LIBVIPS:
        return
    places = page.places()
    if page.compression == _NONE:
        if min(length for _, length in places) < page.segment[0] * page.row_bytes:
            raise ImageError(
                f"{printable(page.path.name)} cannot be decoded: a tile of it is incomplete.",
                hint="Get a whole copy of it.",
            )
        return
    for batch in _batches(places):
        _stack(page, batch, raw=False).avg()


def _batches(places: Places) -> Iterator[Places]:
    """Segments of so many bytes that they can be in memory together."""
    first = total = 0
    for number, (_, length) in enumerate(places):
        if number > first and total + length > _BATCH_BYTES:
            yield places[first:number]
            first, total = number, 0
        total += length
    yield places[first:]


def _stack(page: Page, places: Places, *, raw: bool, rows_before: int = 0) -> Any:
    """Segments below each other as one picture; `raw`: the bytes that they hold, a row of them per row."""
    rows, columns = page.segment
    height = len(places) * rows if page.tiled else min(page.size[0] - rows_before, len(places) * rows)
    tags = {tag: page.found.tags[tag] for tag in _KEPT_TAGS if tag in page.found.tags}
    if raw:
        columns = page.row_bytes
        tags = {tag: tags[tag] for tag in (t.COMPRESSION, t.FILL_ORDER) if tag in tags}
        tags |= {t.BITS: (t.SHORT, (8,)), t.SAMPLES: (t.SHORT, (1,)), t.PHOTOMETRIC: (t.SHORT, (_BLACK_IS_ZERO,))}
    most = 2 * rows * page.row_bytes + 65536  # more cannot be needed, whatever the file claims
    with page.path.open("rb") as file:
        parts = [_read_at(file, at, min(length, most)) for at, length in places]
    starts = [0, *itertools.accumulate(len(part) for part in parts)][: len(parts)]
    tags |= {t.WIDTH: (t.LONG, (columns,)), t.HEIGHT: (t.LONG, (height,)), t.ROWS_PER_STRIP: (t.LONG, (rows,))}
    tags[t.STRIP_BYTES] = t.LONG8, tuple(len(part) for part in parts)
    header = t.make_directory(page.found.order, tags, t.STRIP_OFFSETS, starts)
    return load_vips().Operation.call("tiffload_buffer", header + b"".join(parts), fail_on="error")


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)


# ---- decoding ---------------------------------------------------------------------------------------------------


def load(page: Page) -> tuple[Any, tuple[str, ...]]:
    """(libvips image with its metadata, notes) of a page that is not left to libvips."""
    (height, width), (rows, columns) = page.size, page.segment
    check_pixels(printable(page.path.name), height, width, "whole")
    if page.photometric == _CMYK and (page.kind == _FLOAT or page.bands < 4):
        what = f"{'floats' if page.kind == _FLOAT else 'integers'} in {page.bands} channels"
        raise ImageError(
            f"{printable(page.path.name)} is a TIFF of CMYK as {what}, which is not read.", hint=_SAVE_HINT
        )
    places = page.places()
    each = len(places) // (page.bands if page.planar else 1)
    planes: list[NDArray[Any]] = []
    for first in range(0, len(places), each):
        values = _values(page, _bytes_of(page, places[first : first + each]))
        if page.tiled:
            values = values.reshape(-(-height // rows), -(-width // columns), rows, columns, page.segment_bands)
            values = values.swapaxes(1, 2).reshape(-(-height // rows) * rows, -1, page.segment_bands)
        planes.append(values[:height, :width])
    values = np.concatenate(planes, 2) if page.planar else planes[0]
    if page.photometric in {_CIELAB, _ICCLAB}:
        stored, notes, space = _lab(page, values), ("LAB was converted to sRGB.",), "lab"
    else:
        stored, notes = (_of_palette(page, values), ()) if page.photometric == _PALETTE else _as_stored(page, values)
        names = {np.dtype(np.uint8): ("b-w", "srgb"), np.dtype(np.uint16): ("grey16", "rgb16")}
        space = "cmyk" if page.photometric == _CMYK else names.get(stored.dtype, ("b-w", "scrgb"))[stored.shape[2] > 2]
    image = load_vips().Image.new_from_array(np.ascontiguousarray(stored), interpretation=space)
    if space == "lab":
        image = image.colourspace("srgb" if page.bits == 8 else "rgb16")
        if page.bands > 3:
            image = image.bandjoin(load_vips().Image.new_from_array(_alpha_of_lab(page, values)))
    elif page.has_associated_alpha:
        color = image.unpremultiply(max_alpha=white(stored.dtype))
        image = (color if stored.dtype.kind == "f" else color.rint()).cast(image.format)
    return _with_metadata(image, page.found), notes


def _with_metadata(image: Any, found: Directory) -> Any:
    kinds = load_vips().GValue
    dots_per_mm = {2: 1 / MM_PER_INCH, 3: 0.1}.get(found.one(t.RESOLUTION_UNIT, 2), 0)
    x, y = found.ratio(t.X_RESOLUTION) or 0, found.ratio(t.Y_RESOLUTION) or 0
    image = with_density(image, x * dots_per_mm, y * dots_per_mm)
    for field, tag in (("icc-profile-data", t.ICC), ("xmp-data", t.XMP)):
        if blob := found.blob(tag):
            image.set_type(kinds.blob_type, field, blob)
    if t.ORIENTATION in found.tags:
        image.set_type(kinds.gint_type, "orientation", found.one(t.ORIENTATION, 1))
    image.set_type(kinds.gint_type, "n-pages", found.pages)
    if found.one(t.PHOTOMETRIC) == _PALETTE:
        image.set_type(kinds.gint_type, "palette", 1)
    return image


def _bytes_of(page: Page, places: Places) -> NDArray[np.uint8]:  # [rows, row_bytes]
    rows, height = page.segment[0], page.size[0]
    out: list[NDArray[np.uint8]] = []
    if page.compression not in {_LZMA, _ZSTD}:
        done = 0
        for batch in _batches(places):
            data = _stack(page, batch, raw=True, rows_before=done * rows).write_to_memory()
            out.append(np.frombuffer(data, np.uint8).reshape(-1, page.row_bytes))
            done += len(batch)
        return np.concatenate(out)
    decompress = _zstd(page) if page.compression == _ZSTD else _unlzma
    with page.path.open("rb") as file:
        for number, (at, length) in enumerate(places):
            wanted = (rows if page.tiled else min(rows, height - number * rows)) * page.row_bytes
            try:
                data = decompress(_read_at(file, at, length), wanted)
            except Exception as error:  # each module raises its own kinds
                raise OSError(f"{page.codec}: {error}") from error
            if len(data) < wanted:
                raise OSError("a part of its pixels is incomplete")
            out.append(np.frombuffer(data, np.uint8, wanted).reshape(-1, page.row_bytes))
    return np.concatenate(out)


def _unlzma(data: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=1 << 28).decompress(data, most)


def _zstd(page: Page) -> Any:
    try:  # part of Python from 3.14 on
        from compression import zstd  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _lacks(page) from None
    return lambda data, most: zstd.ZstdDecompressor().decompress(data, most)


def _values(page: Page, data: NDArray[np.uint8]) -> NDArray[Any]:  # [rows, row_bytes] -> [rows, columns, bands]
    """The stored numbers."""
    rows, columns, bands, bits = len(data), page.segment[1], page.segment_bands, page.bits
    predictor = page.found.one(t.PREDICTOR, 1) if page.compression != _NONE else 1
    known = {_UINT: {*range(1, 17), 24, 32, 64}, _INT: {8, 16}, _FLOAT: {16, 24, 32, 64}}[page.kind]
    fitting = {1, 3} if page.kind == _FLOAT and bits != 8 else {1, 2} if bits in {8, 16, 24, 32, 64} else {1}
    if bits not in known or predictor not in fitting or page.compression not in _PLAIN:
        raise ImageError(
            f"{printable(page.path.name)} is a TIFF of {bits} bits{' in planes' * page.planar} with {page.codec}, "
            "which is not read.",
            hint=_SAVE_HINT,
        )
    order = page.found.order
    if predictor == 3:  # the differences of bytes; first the highest of all values of a row, then the second …
        steps = data.reshape(rows, -1, bands)
        data = np.cumsum(steps, 1, np.uint8).reshape(rows, bits // 8, columns * bands)
        data, order = np.ascontiguousarray(data.swapaxes(1, 2)).reshape(rows, -1), ">"
    if bits == 24:
        values = _of_three_bytes(data.reshape(rows, -1, 3), order)
    elif bits in {8, 16, 32, 64}:
        values = np.ascontiguousarray(data).view(f"{order}u{bits // 8}")
        values = values.astype(values.dtype.newbyteorder("="))
    else:
        values = _of_bits(data, columns * bands, bits)
    values = values.reshape(rows, columns, bands)
    if predictor == 2:
        values = np.cumsum(values, 1, values.dtype)
        values = values & np.uint32(0xFFFFFF) if bits == 24 else values
    if page.kind == _UINT:
        return values
    return _float_of_24(values) if bits == 24 else values.view(f"{'f' if page.kind == _FLOAT else 'i'}{bits // 8}")


def _of_three_bytes(data: NDArray[np.uint8], order: str) -> NDArray[np.uint32]:
    low, middle, high = (data[..., place].astype(np.uint32) for place in ((0, 1, 2) if order == "<" else (2, 1, 0)))
    return low | middle << np.uint32(8) | high << np.uint32(16)


def _float_of_24(values: NDArray[Any]) -> NDArray[np.float32]:
    """Floats with 7 bits of exponent and 16 of mantissa."""
    sign, exponent, mantissa = values >> 23, (values >> 16 & 127).astype(np.int32), values & 0xFFFF
    fraction = np.where(exponent > 0, 1, 0) + mantissa / 65536
    found = np.ldexp(fraction, np.maximum(exponent, 1) - 63)
    found = np.where(exponent == 127, np.where(mantissa > 0, np.nan, np.inf), found)
    return np.where(sign > 0, -found, found).astype(np.float32)


def _of_bits(data: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    """Numbers that follow each other without regard to bytes, the highest bit first."""
    out = np.empty((len(data), count), np.uint16)
    step = max(1, _BLOCK_VALUES // max(1, count))
    for top in range(0, len(data), step):
        rows = np.unpackbits(data[top : top + step], axis=1)[:, : count * bits].reshape(-1, count, bits)
        wide = np.zeros((*rows.shape[:2], 16), np.uint8)
        wide[..., 16 - bits :] = rows
        out[top : top + step] = np.packbits(wide, axis=2).view(">u2")[..., 0]
    return out


def _as_stored(page: Page, values: NDArray[Any]) -> tuple[Stored, tuple[str, ...]]:
    """Full range in 8 or 16 bits; floats as float32."""
    full = 1 if values.dtype.kind == "f" else (1 << page.bits) - 1
    if page.photometric == _WHITE_IS_ZERO:
        values = np.concatenate([full - values[..., : page.colors], values[..., page.colors :]], 2)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity is refused where the picture is read
            return values.astype(np.float32), ()
    if page.bits in {8, 16}:
        return values.astype(np.uint8 if page.bits == 8 else np.uint16), ()
    target = np.uint8 if page.bits < 8 else np.uint16
    step = white(target) / full
    if page.bits < 16:
        return np.rint(np.arange(full + 1) * step).astype(target)[values], ()
    reduced = np.rint(values * step).astype(target)
    return reduced, (f"{page.bits}-bit integers were reduced to 16 bits.",)


def _of_palette(page: Page, values: NDArray[Any]) -> NDArray[np.uint8]:
    """8 bits, and grey where the whole palette is, as libvips reads a palette."""
    table = page.found.all(t.COLOR_MAP)
    if page.kind != _UINT or page.bits > 8 or page.bands > 2 or len(table) != 3 << page.bits:
        raise ImageError(
            f"{printable(page.path.name)} is a TIFF with a palette of {len(table) // 3} colours, in {page.bands} "
            f"channels of {page.bits} bits, which is not read.",
            hint=_SAVE_HINT,
        )
    found = np.reshape(table, (3, -1))
    if found.max() > 255:  # some programs write 8 bits
        found = found >> 8
    if (found == found[0]).all():
        found = found[:1]
    alpha = np.rint(values[..., 1:] * (255 / ((1 << page.bits) - 1)))
    return np.concatenate([found.T[values[..., 0]], alpha], 2).astype(np.uint8)


def _lab(page: Page, values: NDArray[Any]) -> NDArray[np.float32]:
    """L* in 0..100, a* and b* in -128..127."""
    name = printable(page.path.name)
    if page.has_associated_alpha:
        raise ImageError(f"{name} is a TIFF of L*a*b* times alpha, which is not read.", hint=_SAVE_HINT)
    if page.bands not in {3, 4} or (page.kind != _FLOAT and page.bits not in {8, 16}):
        raise ImageError(
            f"{name} is a TIFF of L*a*b* in {page.bands} channels of {page.bits} bits, which is not read.",
            hint=_SAVE_HINT,
        )
    if page.kind == _FLOAT:
        return values[..., :3].astype(np.float32)
    bits, offset = page.bits, page.photometric == _ICCLAB
    light = values[..., :1].view(f"u{bits // 8}").astype(np.float32)
    if offset:
        color = values[..., 1:3].astype(np.float32) / (1 << bits - 8) - 128
        light = light * np.float32(100 / (255 << bits - 8))
    else:
        color = np.ascontiguousarray(values[..., 1:3]).view(f"i{bits // 8}").astype(np.float32) / (1 << bits - 8)
        light = light * np.float32(100 / ((1 << bits) - 1))
    return np.concatenate([light, color], 2).astype(np.float32, copy=False)


def _alpha_of_lab(page: Page, values: NDArray[Any]) -> Stored:
    """In the depth of the colours, which are 8 or 16 bits."""
    alpha = np.ascontiguousarray(values[..., 3:])
    return convert(alpha.astype(np.float32), np.uint16) if page.kind == _FLOAT else alpha.view(f"u{page.bits // 8}")
