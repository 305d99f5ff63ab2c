"""BMP files: every depth, masks of bits, both run-length codes, OS/2 headers, resolution and profile."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.pixels import Stored
from gsr_app.io.formats import check_pixels
from gsr_app.io.vips import load_vips, with_density

_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_NOT_READ = {4: "that contains a JPEG file", 5: "that contains a PNG file", 11: "in CMYK", 12: "in CMYK", 13: "in CMYK"}
_OS2_NOT_READ = {3: "with a fax code", 4: "with runs of 24 bits"}
_BITS = {_RGB: {1, 2, 4, 8, 16, 24, 32}, _RLE8: {8}, _RLE4: {4}, _BITFIELDS: {16, 32}, _ALPHA_BITFIELDS: {16, 32}}
_DEFAULT_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_CORE_HEADER, _OS2_HEADERS, _V5_HEADER = 12, {16, 64}, 124
_EMBEDDED_PROFILE = b"DEBM"
_HINT = "Save it again as PNG or as a plain BMP."


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    pixels_at: int
    palette: NDArray[np.uint8]  # [n, 3] RGB
    masks: tuple[int, ...]  # red, green, blue, alpha
    dots_per_metre: tuple[int, int]
    profile: bytes


def load(path: Path) -> Any:
    """The libvips image, with resolution and profile. Raises `OSError` where the file is damaged."""
    vips = load_vips()
    data = path.read_bytes()
    try:
        header = _read_header(data, printable(path.name))
    except struct.error:
        raise OSError("its header is cut off") from None
    check_pixels(printable(path.name), header.height, header.width, "whole")
    image = vips.Image.new_from_array(np.ascontiguousarray(_read_pixels(data, header)))
    x, y = header.dots_per_metre
    image = with_density(image, x / 1000, y / 1000)
    if header.profile:
        image.set_type(vips.GValue.blob_type, "icc-profile-data", header.profile)
    return image


def _read_header(data: bytes, name: str) -> _Header:
    pixels_at, size = struct.unpack_from("<II", data, 10)
    compression, used, dots, masks, profile = _RGB, 0, (0, 0), (), b""
    if size == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif size in {16, 40, 52, 56, 64, 108, 124}:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        if size > 16:
            compression, _, *dots, used, _ = struct.unpack_from("<IIiiII", data, 30)
    else:
        raise OSError(f"a header of {size} bytes is unknown")
    not_read = _OS2_NOT_READ if size in _OS2_HEADERS else _NOT_READ
    if compression in not_read:
        raise ImageError(f"{name} is a BMP {not_read[compression]}, which is not read.", hint=_HINT)
    if bits not in _BITS.get(compression, set()):
        raise ImageError(
            f"{name} is a BMP of {bits} bits with compression {compression}, which is not read.", hint=_HINT
        )
    if width < 1 or height == 0:
        raise OSError(f"a size of {width} x {height} is impossible")
    at = 14 + size
    if compression in {_BITFIELDS, _ALPHA_BITFIELDS}:
        count = 3 if compression == _BITFIELDS and size < 56 else 4
        masks = struct.unpack_from(f"<{count}I", data, 54)
        at += 4 * count if size == 40 else 0
    if size == _V5_HEADER and data[14 + 56 : 14 + 60] == _EMBEDDED_PROFILE:
        place, length = struct.unpack_from("<II", data, 14 + 112)
        profile = data[14 + place : 14 + place + length]
    entry = 3 if size == _CORE_HEADER else 4
    count = min(used or 1 << bits, 1 << bits) if bits <= 8 else 0
    stored = data[at : min(at + entry * count, max(at, pixels_at))]
    palette = np.zeros((1 << bits if bits <= 8 else 0, 3), np.uint8)
    found = np.frombuffer(stored, np.uint8, len(stored) // entry * entry).reshape(-1, entry)[:, 2::-1]
    palette[: len(found)] = found
    x, y = dots
    return _Header(
        width, abs(height), height < 0, bits, compression, pixels_at, palette, (*masks, 0)[:4], (x, y), profile
    )


def _read_pixels(data: bytes, header: _Header) -> Stored:
    if header.compression in {_RLE8, _RLE4}:
        index = _unpack_runs(data, header)
    else:
        rows = _rows(data, header)
        if header.bits > 8:
            colors = _of_masks(rows, header) if header.bits != 24 else rows[:, : 3 * header.width]
            colors = colors.reshape(header.height, header.width, -1)
            return _upright(colors[..., ::-1] if header.bits == 24 else colors, header)
        index = _indices(rows, header)
    palette = header.palette
    if (palette == palette[:, :1]).all():
        return _upright(palette[:, 0][index], header)
    return _upright(palette[index], header)


def _upright(rows: NDArray[Any], header: _Header) -> NDArray[Any]:
    return rows if header.top_down else rows[::-1]


def _rows(data: bytes, header: _Header) -> NDArray[np.uint8]:  # [H, bytes of a row]
    used, stride = -(-header.width * header.bits // 8), -(-header.width * header.bits // 32) * 4
    wanted = stride * header.height
    stored = data[header.pixels_at : header.pixels_at + wanted]
    if len(stored) < wanted - stride + used:  # the padding of the last row may be missing
        raise OSError("its pixels end too early")
    return np.frombuffer(stored.ljust(wanted, b"\0"), np.uint8).reshape(header.height, stride)


def _indices(rows: NDArray[np.uint8], header: _Header) -> NDArray[np.uint8]:
    per_byte = 8 // header.bits
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(header.bits)
    values = rows[..., None] >> shifts & np.uint8((1 << header.bits) - 1)
    return values.reshape(header.height, -1)[:, : header.width]


def _of_masks(rows: NDArray[np.uint8], header: _Header) -> NDArray[Any]:  # [H, W, 3 or 4]
    """Channels by their masks, each stretched to the full range: 8 bits, or 16 where one has more than 8."""
    masks = header.masks if any(header.masks) else _DEFAULT_MASKS[header.bits]
    words = rows.view(f"<u{header.bits // 8}")[:, : header.width].astype(np.uint32)
    depth = max(mask.bit_count() for mask in masks)
    target = np.uint8 if depth <= 8 else np.uint16
    channels = 4 if masks[3] else 3
    out = np.zeros((*words.shape, channels), target)
    for channel, mask in enumerate(masks[:channels]):
        if mask:
            low = (mask & -mask).bit_length() - 1
            values = (words & np.uint32(mask)) >> np.uint32(low)
            out[..., channel] = np.rint(values * (np.iinfo(target).max / (mask >> low)))
    return out


def _unpack_runs(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """The indices of RLE8 or RLE4. What the runs skip is 0."""
    width, height, nibbles = header.width, header.height, header.compression == _RLE4
    out = bytearray(width * height)
    x = y = 0
    at = header.pixels_at
    while y < height:
        if at + 2 > len(data):
            raise OSError("its pixels end too early")
        count, value = data[at], data[at + 1]
        at += 2
        if count:  # a run of one index, or of two in turn
            both = bytes((value >> 4, value & 15)) if nibbles else bytes((value, value))
            run = (both * (count // 2 + 1))[:count]
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            if at + 2 > len(data):
                raise OSError("its pixels end too early")
            x, y, at = x + data[at], y + data[at + 1], at + 2
            continue
        else:  # so many indices as they are, padded to an even number of bytes
            length = (value + 1) // 2 if nibbles else value
            stored = data[at : at + length]
            if len(stored) < length:
                raise OSError("its pixels end too early")
            at += length + length % 2
            run = bytes(one for byte in stored for one in (byte >> 4, byte & 15))[:value] if nibbles else stored
        kept = run[: max(0, width - x)]
        out[y * width + x : y * width + x + len(kept)] = kept
        x += len(run)
    return np.frombuffer(out, np.uint8).reshape(height, width)
