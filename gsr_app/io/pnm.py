"""PBM, PGM, PPM, PAM and PFM files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.errors import ImageError, printable
from gsr_app.core.pixels import Stored, white
from gsr_app.io.formats import check_pixels
from gsr_app.io.vips import load_vips

_TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*([^\s#]+)")
_MOST_HEADER_BYTES = 1 << 12
_BANDS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3, b"Pf": 1, b"PF": 3}
_CUT = "its pixels end too early"


def load(path: Path) -> Any:
    """The libvips image. Raises `OSError` where the file is damaged."""
    data = path.read_bytes()
    kind = data[:2]
    if kind == b"P7":
        height, width, bands, top, at = _read_pam_header(data)
    else:
        words, at = _tokens(data, 3 if kind in {b"P1", b"P4"} else 4)
        width, height = _whole(words[1]), _whole(words[2])
        bands, top = _BANDS[kind], words[3] if len(words) > 3 else b"1"
    name = printable(path.name)
    if min(height, width, bands) < 1:
        raise OSError(f"a size of {width} x {height} is impossible")
    if bands > 4:
        raise ImageError(f"{name} is a PAM of {bands} channels, which is not read.", hint="Save it with 1 to 4.")
    check_pixels(name, height, width, "whole")
    shape = height, width, bands
    if kind in {b"Pf", b"PF"}:
        pixels = _read_floats(data, at, shape, top)
    elif kind == b"P4":
        pixels = _read_packed(data, at, shape)
    else:
        pixels = _read_integers(data, at, shape, _whole(top), kind)
    return load_vips().Image.new_from_array(np.ascontiguousarray(pixels[..., 0] if bands == 1 else pixels))


def _tokens(data: bytes, count: int) -> tuple[list[bytes], int]:
    """The first words of the header, and where the byte after the blank that ends them is."""
    words, at = list[bytes](), 0
    for _ in range(count):
        match = _TOKEN.match(data[:_MOST_HEADER_BYTES], at)
        if match is None:
            raise OSError("its header is damaged")
        words.append(match[1])
        at = match.end()
    return words, at + 1


def _whole(word: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,9}", word):
        raise OSError("its header is damaged")
    return int(word)


def _read_pam_header(data: bytes) -> tuple[int, int, int, bytes, int]:
    head, found, _ = data[:_MOST_HEADER_BYTES].partition(b"ENDHDR\n")
    lines = (line.split(None, 1) for line in head.splitlines()[1:])
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    height, width, depth = (_whole(fields.get(key, b"")) for key in (b"HEIGHT", b"WIDTH", b"DEPTH"))
    if not found:
        raise OSError("its header is damaged")
    return height, width, depth, fields.get(b"MAXVAL", b""), len(head) + len(found)


def _read_floats(data: bytes, at: int, shape: tuple[int, int, int], scale: bytes) -> Stored:
    """From the last row up; a negative scale says that the low byte comes first. Its size means nothing here."""
    order = "<" if scale.startswith(b"-") else ">"
    count = shape[0] * shape[1] * shape[2]
    if len(data) < at + 4 * count:
        raise OSError(_CUT)
    return np.frombuffer(data, f"{order}f4", count, at).reshape(shape)[::-1].astype(np.float32)


def _read_packed(data: bytes, at: int, shape: tuple[int, int, int]) -> Stored:
    height, width, _ = shape
    stride = -(-width // 8)
    if len(data) < at + height * stride:
        raise OSError(_CUT)
    bits = np.unpackbits(np.frombuffer(data, np.uint8, height * stride, at).reshape(height, stride), axis=1)
    return ((1 - bits[:, :width]) * np.uint8(255))[..., None]  # 1 is black


def _read_integers(data: bytes, at: int, shape: tuple[int, int, int], top: int, kind: bytes) -> Stored:
    """Values up to `top`, which becomes white."""
    count = shape[0] * shape[1] * shape[2]
    if not 1 <= top <= 65535:
        raise OSError(f"its highest value {top} is impossible")
    if kind in {b"P1", b"P2", b"P3"}:
        text = re.sub(rb"#[^\n]*", b"", data[at - 1 :])
        words = re.findall(rb"[01]", text) if kind == b"P1" else text.split()
        if not all(len(word) <= 5 and word.isdigit() for word in words[:count]):
            raise OSError("it holds something that is no number")
        values = np.array([int(word) for word in words[:count]], np.uint32)
    else:
        form = np.dtype(np.uint8 if top < 256 else ">u2")
        if len(data) < at + form.itemsize * count:
            raise OSError(_CUT)
        values = np.frombuffer(data, form, count, at)
    if len(values) < count:
        raise OSError(_CUT)
    if values.max() > top:
        raise OSError(f"it holds values above its highest, {top}")
    target = np.uint8 if top < 256 else np.uint16
    levels = np.rint(np.arange(top + 1) * (white(target) / top)).astype(target)
    levels = levels[::-1] if kind == b"P1" else levels  # 1 is black
    return levels[values].reshape(shape)
