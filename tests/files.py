"""Image files byte by byte, as their specifications have them, for what Pillow and libvips do not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

_TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "s", 10: "ii", 11: "f", 12: "d", 16: "Q"}


def tiff_bytes(
    tags: Mapping[int, tuple[int, Sequence[float] | bytes]],  # tag: (type, values)
    segments: Sequence[bytes],  # the strips or tiles
    *,
    tiled: bool = False,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """A classic TIFF with one directory; the places and lengths of the segments are filled in."""
    data, places = b"", []
    for segment in segments:
        places.append(8 + len(data))
        data += segment + b"\0" * (len(segment) % 2)
    where, length = (324, 325) if tiled else (273, 279)
    found = {**tags, where: (4, places), length: (4, [len(segment) for segment in segments])}
    start = 8 + len(data)
    far, entries = b"", b""
    for tag, (kind, values) in sorted(found.items()):
        if isinstance(values, bytes):
            packed, count = values, len(values)
        else:
            code = _TIFF_TYPES[kind]
            packed = b"".join(struct.pack(order + code[0], value) for value in values)
            count = len(values) // len(code)
        if len(packed) > 4:
            packed, far = (
                struct.pack(order + "I", start + 2 + 12 * len(found) + 4 + len(far)),
                far + packed + b"\0" * (len(packed) % 2),
            )
        entries += struct.pack(order + "HHI", tag, kind, count) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(found)) + entries + bytes(4) + far


def tiff_of(
    pixels: np.ndarray,  # [H, W] or [H, W, C], in the dtype that is stored
    *,
    compression: int = 1,
    compress: Callable[[bytes], bytes] = bytes,
    tile: int = 0,  # side; 0: strips
    rows: int = 0,  # of a strip; 0: all
    planar: bool = False,
    order: Literal["<", ">"] = "<",
    tags: Mapping[int, tuple[int, Sequence[float] | bytes]] | None = None,
    pack: Callable[[np.ndarray], bytes] | None = None,  # how values become bytes, where a dtype does not say it
    bits: int = 0,
) -> bytes:
    """A TIFF of these pixels."""
    bands = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, count = bands.shape
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[bands.dtype.kind]
    pack = pack or (lambda part: part.astype(part.dtype.newbyteorder(order)).tobytes())
    segments: list[bytes] = []
    for plane in np.moveaxis(bands, 2, 0)[..., None] if planar else [bands]:
        if tile:
            padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, plane.shape[2]), plane.dtype)
            padded[:height, :width] = plane
            parts = [
                padded[top : top + tile, left : left + tile]
                for top in range(0, height, tile)
                for left in range(0, width, tile)
            ]
        else:
            parts = [plane[top : top + (rows or height)] for top in range(0, height, rows or height)]
        segments += [compress(pack(part)) for part in parts]
    layout = {322: (3, [tile]), 323: (3, [tile])} if tile else {278: (3, [rows or height])}
    found: dict[int, tuple[int, Sequence[float] | bytes]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits or 8 * bands.dtype.itemsize] * count),
        259: (3, [compression]),
        262: (3, [2 if count >= 3 else 1]),
        277: (3, [count]),
        284: (3, [2 if planar else 1]),
        339: (3, [kind] * count),
        **layout,
    }
    if count in {2, 4}:
        found[338] = (3, [2])
    return tiff_bytes({**found, **(tags or {})}, segments, tiled=bool(tile), order=order)


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """Rows of integers of so many bits, the highest bit first, each row padded to a whole byte."""
    rows = values.reshape(len(values), -1).astype(np.uint32)
    each = (rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32)) & 1
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(pixels: np.ndarray, chunks: bytes = b"") -> bytes:
    """A PNG of uint8 or uint16 [H, W, 1..4]; `chunks` come before the pixels."""
    height, width, bands = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    body = png_chunk(b"IHDR", header) + chunks + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp_of(
    body: bytes,  # the rows, from the last one up, or the runs
    size: tuple[int, int],  # (height, width); a negative height: from the first row down
    bits: int,
    *,
    compression: int = 0,
    palette: np.ndarray | None = None,  # [n, 3] RGB
    masks: Sequence[int] = (),
    header_bytes: int = 40,
    dots_per_metre: tuple[int, int] = (0, 0),
    gap: int = 0,  # bytes between palette and pixels
) -> bytes:
    """A BMP as Windows' and OS/2's documentation have it."""
    height, width = size
    count = 0 if palette is None else len(palette)
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IiiHHII", header_bytes, width, height, 1, bits, compression, len(body))
        header += struct.pack("<iiII", *dots_per_metre, count, 0)
        if header_bytes > 40:
            header += struct.pack(f"<{len(masks)}I", *masks)
        header = header.ljust(header_bytes, b"\0")
    if header_bytes == 40:
        header += struct.pack(f"<{len(masks)}I", *masks)
    colors = b""
    if palette is not None:
        fourth = b"" if header_bytes == 12 else b"\0"
        colors = b"".join(bytes(color[::-1]) + fourth for color in palette)
    start = 14 + len(header) + len(colors) + gap
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + header + colors + bytes(gap) + body


def bmp_rows(pixels: np.ndarray) -> bytes:
    """Rows of bytes, from the last one up, each padded to four bytes."""
    rows = pixels.reshape(len(pixels), -1).view(np.uint8)
    return b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in rows[::-1])


def rle4(index: np.ndarray) -> bytes:
    """Runs of equal and of alternating indices, literal ones, skips and an end of every row."""
    out = bytearray()
    for number, row in enumerate(index[::-1].tolist()):
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 255 and row[at + run] == row[at + run % 2]:
                run += 1
            if run >= 3 or len(row) - at < 3:
                out += bytes([run, row[at] << 4 | (row[at + 1] if run > 1 else 0)])
                at += run
                continue
            literal = row[at : at + min(len(row) - at, 7)]
            out += bytes([0, len(literal)])
            padded = literal + [0] * (-len(literal) % 4)
            out += bytes(a << 4 | b for a, b in zip(padded[::2], padded[1::2], strict=True))
            at += len(literal)
        out += b"\0\1" if number == len(index) - 1 else b"\0\0"
    return bytes(out)


def tga_of(pixels: np.ndarray) -> bytes:
    """An uncompressed TGA of [H, W, 3], from the last row up."""
    height, width, _ = pixels.shape
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, 24, 0)
    return head + pixels[::-1, :, ::-1].tobytes()


def qoi_of(pixels: np.ndarray) -> bytes:
    """A QOI of [H, W, 3] in which every pixel has its own values."""
    height, width, _ = pixels.shape
    body = b"".join(b"\xfe" + bytes(pixel) for pixel in pixels.reshape(-1, 3))
    return struct.pack(">4sIIBB", b"qoif", width, height, 3, 0) + body + bytes(7) + b"\1"


def heif_with(item: bytes) -> bytes:
    """The boxes of a HEIF file with one item of this type."""

    def box(name: bytes, content: bytes, full: bool = True) -> bytes:
        content = (bytes(4) if full else b"") + content
        return struct.pack(">I4s", 8 + len(content), name) + content

    entry = struct.pack(">I4sB3sHH", 8 + 4 + 4 + 4 + 1, b"infe", 2, bytes(3), 1, 0) + item + b"\0"
    handler = box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    meta = handler + box(b"pitm", struct.pack(">H", 1)) + box(b"iinf", struct.pack(">H", 1) + entry)
    return box(b"ftyp", b"heic\0\0\0\0mif1heic", full=False) + box(b"meta", meta) + bytes(64)


def jpeg_with(marker: int, bits: int) -> bytes:
    """The beginning of a JPEG with this kind of frame."""
    return b"\xff\xd8\xff" + bytes([marker, 0, 11, bits]) + struct.pack(">HHB", 8, 8, 1) + b"\1\x11\0\xff\xd9"
