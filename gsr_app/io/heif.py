"""The boxes of HEIF, AVIF and MP4 files: in which codec a picture is, and what its colours mean."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_BOXES = 10_000
_MOST_BYTES = 1 << 24  # of one box
_UNSPECIFIED = 2


@dataclass(frozen=True)
class Heif:
    """The main picture of a file."""

    codec: str = ""  # the type of its item: "av01", "hvc1", "unci" …; of a grid that of its tiles
    nclx: tuple[int, int] | None = None  # primaries and transfer
    nclx_places: tuple[int, ...] = ()  # of the primaries of every such box, in the file
    mastering: bytes | None = None  # as in PNG's mDCV
    light: bytes | None = None  # as in PNG's cLLI


def read_heif(path: Path) -> Heif:
    found = _find_box(path, b"meta")
    return _read_meta(*found) if found else Heif()


def is_encrypted(path: Path) -> bool:
    """Whether an MP4 says that its pictures are encrypted."""
    try:
        found = _find_box(path, b"moov")
    except OSError:  # the reader reports it
        return False
    return found is not None and b"encv" in found[0] and b"sinf" in found[0]


def _find_box(path: Path, wanted: bytes) -> tuple[bytes, int] | None:
    """(content, place in the file) of a box that no other contains."""
    with path.open("rb") as file:
        size = path.stat().st_size
        at = 0
        for _ in range(_MOST_BOXES):
            file.seek(at)
            head = file.read(16)
            if len(head) < 8:
                return None
            length = _length(head, size - at)
            if head[4:8] == wanted:
                file.seek(at)
                return file.read(min(length, _MOST_BYTES)), at
            at += length
            if length < 8 or at > size:
                return None
    return None


def _length(head: bytes, rest: int) -> int:
    length = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") if length == 1 else length or rest


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte of the content, its end) of the boxes between two places."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        length = _length(data[at : at + 16], end - at)
        wide = data[at : at + 4] == b"\0\0\0\1"
        if length < (16 if wide else 8):
            return
        yield data[at + 4 : at + 8], at + (16 if wide else 8), min(at + length, end)
        at += length


def _read_meta(data: bytes, place: int) -> Heif:
    types: dict[int, str] = {}
    primary: int | None = None
    properties: list[tuple[bytes, int, int]] = []
    owners: dict[int, list[int]] = {}
    for name, start, end in _boxes(data, 12, len(data)):
        if name == b"pitm":
            primary = int.from_bytes(data[start + 4 : start + (8 if data[start : start + 1] > b"\0" else 6)], "big")
        elif name == b"iinf":
            first = start + (6 if data[start : start + 1] == b"\0" else 8)
            types = dict(_item_type(data, here) for kind, here, _ in _boxes(data, first, end) if kind == b"infe")
        elif name == b"iprp":
            for kind, here, until in _boxes(data, start, end):
                if kind == b"ipco":
                    properties = list(_boxes(data, here, until))
                elif kind == b"ipma":
                    owners |= _owners(data, here, until)
    found = types.get(primary or 0, "")
    codec = found
    if found in {"grid", "iovl", "iden"}:
        codec = next((one for one in types.values() if one not in {found, "Exif", "mime"}), found)
    colors = {number: at for number, (kind, at, _) in enumerate(properties, 1)
              if kind == b"colr" and data[at : at + 4] == b"nclx"}  # fmt: skip
    own = [at for number, at in colors.items() if number in owners.get(primary or 0, [])] or list(colors.values())[:1]
    nclx = None
    if own and len(data) >= own[0] + 8:
        primaries, transfer = struct.unpack_from(">HH", data, own[0] + 4)
        if (primaries, transfer) != (_UNSPECIFIED, _UNSPECIFIED) and max(primaries, transfer) < 256:
            nclx = primaries, transfer
    found_boxes = {kind: data[at:end] for kind, at, end in properties}
    places = tuple(place + at + 4 for at in colors.values())
    return Heif(codec, nclx, places, _mastering(found_boxes.get(b"mdcv")), _light(found_boxes.get(b"clli")))


def _mastering(box: bytes | None) -> bytes | None:
    """The same numbers as PNG has them: there red comes first, here green, blue, red."""
    return box[8:12] + box[:8] + box[12:24] if box is not None and len(box) == 24 else None


def _light(box: bytes | None) -> bytes | None:
    """PNG counts ten-thousandths of cd/m²."""
    return struct.pack(">II", *(10_000 * one for one in struct.unpack(">HH", box))) if box and len(box) == 4 else None


def _item_type(data: bytes, start: int) -> tuple[int, str]:
    """(id, type) of an item."""
    version = data[start] if start < len(data) else 0
    wide = version >= 3
    number = int.from_bytes(data[start + 4 : start + (8 if wide else 6)], "big")
    at = start + (10 if wide else 8)
    return number, data[at : at + 4].decode("latin-1")


def _owners(data: bytes, start: int, end: int) -> dict[int, list[int]]:
    """The numbers of the properties of every item."""
    wide_item, wide_index = data[start : start + 1] > b"\0", bool(data[start + 3] & 1) if start + 3 < end else False
    at, found = start + 8, dict[int, list[int]]()
    while at + (4 if wide_item else 2) < end and len(found) < _MOST_BOXES:
        item = int.from_bytes(data[at : at + (4 if wide_item else 2)], "big")
        at += 4 if wide_item else 2
        step, count = 2 if wide_index else 1, data[at]
        numbers = [int.from_bytes(data[at + 1 + step * n : at + 1 + step * (n + 1)], "big") for n in range(count)]
        found[item] = [number & (0x7FFF if wide_index else 0x7F) for number in numbers]
        at += 1 + step * count
    return found


def set_nclx(path: Path, primaries: int, transfer: int) -> bool:
    """Write primaries and transfer into a finished file; its matrix stays. False if it has no place for them."""
    places = read_heif(path).nclx_places
    with path.open("rb+") as file:
        for place in places:
            file.seek(place)
            file.write(struct.pack(">HH", primaries, transfer))
    return bool(places)
