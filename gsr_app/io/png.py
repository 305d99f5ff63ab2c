"""The chunks of a PNG that libvips does not read or write rightly: texts, what its colours mean, its resolution."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from gsr_app.io.picture import NO_COLOR_TAGS, ColorTags, Text
from gsr_app.io.vips import encode_through, load_vips

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_CHUNKS = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}  # name: bytes
_DENSITY, _PER_METRE = (b"pHYs", 9), 1
_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
_XMP_KEYWORD = "XML:com.adobe.xmp"
_MOST_CHUNKS = 200_000
_MOST_TEXT_BYTES = 1 << 24  # of one text, and of all
_MOST_PACKED_BYTES = 1 << 15  # compressed texts up to this are left in the file for libvips, which expands them all
_COMPRESSED_FROM_BYTES = 1 << 10
_KEYWORD = re.compile(r"[\x21-\x7e\xa1-\xff]+( [\x21-\x7e\xa1-\xff]+)*")


@dataclass(frozen=True)
class Chunks:
    """What a file holds beside its pixels."""

    texts: tuple[Text, ...] = ()
    xmp: bytes | None = None
    exif: bytes | None = None  # from the text in which old versions of ImageMagick store it
    color: ColorTags = NO_COLOR_TAGS
    packed_bytes: int = 0  # of the compressed texts
    notes: tuple[str, ...] = ()
    has_aspect_only: bool = False  # its pHYs gives the shape of a pixel, not its size


def read_chunks(path: Path) -> Chunks:
    """The texts and the meaning of the colours. Damage is left to the decoder to report."""
    stored: list[tuple[bytes, bytes]] = []
    with path.open("rb") as file:
        file.seek(len(SIGNATURE))
        for _ in range(_MOST_CHUNKS):
            name, length = _next_chunk(file)
            if name in {b"", b"IEND"}:
                break
            if name in _TEXT_CHUNKS or length == _COLOR_CHUNKS.get(name) or (name, length) == _DENSITY:
                data = file.read(min(length, _MOST_TEXT_BYTES))
                if name in _TEXT_CHUNKS or len(data) == length:  # else the file ends here
                    stored.append((name, data))
                length -= len(data)
            file.seek(length + 4, 1)
    colors = {name: data for name, data in stored if name in _COLOR_CHUNKS}
    packed = sum(len(data) for name, data in stored if name in {b"zTXt", b"iTXt"})
    density = next((data for name, data in stored if name == b"pHYs"), None)
    has_aspect_only = density is not None and density[-1] != _PER_METRE
    return replace(_sorted_texts(stored, _color_tags(colors), packed), has_aspect_only=has_aspect_only)


def _next_chunk(file: BinaryIO) -> tuple[bytes, int]:
    head = file.read(8)
    return (head[4:], int.from_bytes(head[:4], "big")) if len(head) == 8 else (b"", 0)


def _color_tags(chunks: Mapping[bytes, bytes]) -> ColorTags:
    cicp = tuple(chunks[b"cICP"]) if b"cICP" in chunks else None
    return ColorTags(
        cicp=(cicp[0], cicp[1], bool(cicp[3])) if cicp else None,
        gamma=int.from_bytes(chunks.get(b"gAMA", b""), "big") or None,
        chromaticities=struct.unpack(">8I", chunks[b"cHRM"]) if b"cHRM" in chunks else None,
        srgb_intent=chunks[b"sRGB"][0] if b"sRGB" in chunks else None,
        mastering=chunks.get(b"mDCV"),
        light=chunks.get(b"cLLI"),
    )


def _sorted_texts(stored: Iterable[tuple[bytes, bytes]], color: ColorTags, packed: int) -> Chunks:
    texts: list[Text] = []
    xmp: bytes | None = None
    exif: bytes | None = None
    left, dropped = _MOST_TEXT_BYTES, False
    for name, data in stored:
        if name not in _TEXT_CHUNKS:
            continue
        text = _read_text(name, data, left)
        if text is None:
            dropped = True
            continue
        left -= len(text.value)
        if text.keyword == _XMP_KEYWORD:
            xmp = xmp or text.value.encode()
        elif text.keyword in {"Raw profile type exif", "Raw profile type APP1", "Raw profile type xmp"}:
            profile = _raw_profile(text.value)
            if text.keyword.endswith("xmp"):
                xmp = xmp or profile
            else:
                exif = exif or (profile if profile and profile.startswith((b"Exif", b"II", b"MM")) else None)
        else:
            texts.append(text)
    notes = ("Texts that are damaged or too large were left out.",) if dropped else ()
    return Chunks(tuple(texts), xmp, exif, color, packed, notes)


def _read_text(name: bytes, data: bytes, most: int) -> Text | None:
    """None for a text that is damaged or has more characters than `most`."""
    keyword, zero, rest = data.partition(b"\0")
    if not zero:
        return None
    packed, encoding, language, translated = name == b"zTXt", "latin-1", "", ""
    if packed:
        rest = rest[1:]
    elif name == b"iTXt":
        encoding, packed, rest = "utf-8", rest[:1] == b"\1", rest[2:]
        tag, _, rest = rest.partition(b"\0")
        title, _, rest = rest.partition(b"\0")
        language, translated = tag.decode("latin-1"), title.decode("utf-8", "replace")
    if packed:
        unpacker = zlib.decompressobj()
        try:
            rest = unpacker.decompress(rest, most)
        except zlib.error:
            return None
        if not unpacker.eof:
            return None
    if len(rest) > most:
        return None
    return Text(keyword.decode("latin-1"), rest.decode(encoding, "replace"), language, translated)


def _raw_profile(text: str) -> bytes | None:
    """The bytes of ImageMagick's form: a name, a length and hexadecimal digits, on lines of their own."""
    words = text.split()
    with suppress(ValueError):
        return bytes.fromhex("".join(words[2:]))
    return None


def load(path: Path, chunks: Chunks, access: str) -> Any:
    """The libvips image, with the resolution that libvips has for unknown where the file has none."""
    image = _load(path, chunks, access)
    return image.copy(xres=1, yres=1) if chunks.has_aspect_only else image


def _load(path: Path, chunks: Chunks, access: str) -> Any:
    """The libvips image. Large compressed texts are kept from libvips, which would expand them without a limit."""
    vips = load_vips()
    options = {"access": access, "fail_on": "error"}
    if chunks.packed_bytes <= _MOST_PACKED_BYTES:
        return vips.Operation.call("pngload", bytes(path), **options)
    kept = [SIGNATURE]
    with path.open("rb") as file:
        file.seek(len(SIGNATURE))
        while True:
            name, length = _next_chunk(file)
            if not name:
                break
            if name in _TEXT_CHUNKS:
                file.seek(length + 4, 1)
            else:
                kept += [struct.pack(">I", length), name, file.read(length + 4)]
    return vips.Operation.call("pngload_buffer", b"".join(kept), **options)


# ---- writing ----------------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def color_chunks(color: ColorTags, *, has_profile: bool) -> bytes:
    found: dict[bytes, bytes] = {}
    if color.cicp is not None:
        primaries, transfer, full = color.cicp
        found[b"cICP"] = bytes([primaries, transfer, 0, full])
    if color.mastering:
        found[b"mDCV"] = color.mastering
    if color.light:
        found[b"cLLI"] = color.light
    if color.chromaticities:
        found[b"cHRM"] = struct.pack(">8I", *color.chromaticities)
    if color.gamma:
        found[b"gAMA"] = struct.pack(">I", color.gamma)
    if color.srgb_intent is not None and not has_profile:  # a file may have one of the two
        found[b"sRGB"] = bytes([color.srgb_intent])
    return b"".join(chunk(name, data) for name, data in found.items())


def text_chunk(text: Text) -> bytes:
    """A text of any characters; nothing where the keyword is not one that PNG allows."""
    keyword = text.keyword.encode("latin-1", "ignore")
    if not (len(keyword) <= 79 and _KEYWORD.fullmatch(text.keyword)):
        return b""
    value = text.value.replace("\0", "")
    if not text.language and not text.translated:
        with suppress(UnicodeEncodeError):
            data = value.encode("latin-1")
            if len(data) < _COMPRESSED_FROM_BYTES:
                return chunk(b"tEXt", keyword + b"\0" + data)
            return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(data))
    data = value.encode("utf-8", "replace")
    packed = len(data) >= _COMPRESSED_FROM_BYTES
    titles = text.language.encode("latin-1", "ignore") + b"\0" + text.translated.encode("utf-8", "replace") + b"\0"
    body = zlib.compress(data) if packed else data
    return chunk(b"iTXt", keyword + (b"\0\1\0" if packed else b"\0\0\0") + titles + body)


def profile_chunk(icc: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))


def xmp_chunk(xmp: bytes) -> bytes:
    return chunk(b"iTXt", _XMP_KEYWORD.encode() + b"\0\0\0\0\0" + xmp)


def density_chunk(dpi: tuple[float, float]) -> bytes:
    return chunk(b"pHYs", struct.pack(">IIB", *(round(one / 0.0254) for one in dpi), _PER_METRE))


def exif_chunk(exif: bytes) -> bytes:
    return chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))


def save(image: Any, path: Path, options: Mapping[str, Any], first: bytes, others: bytes) -> None:
    """Encode by libvips, with chunks of ours: `first` after the header, `others` before the pixels.

    What libvips would write beside pixels, palette and profile is left out: it makes a resolution up, and stores texts
    in the wrong encoding.
    """
    with path.open("wb") as file:
        encode_through("pngsave_target", image, _Output(file, first, others).write, {**options, "keep": "icc"})


def insert(data: bytes, first: bytes, others: bytes) -> bytes:
    """A complete file with more chunks: `first` after the header, `others` before the pixels."""
    file = io.BytesIO()
    _Output(file, first, others).write(data)
    return file.getvalue()


class _Output:
    """Takes the bytes of a file as they are made, and changes the part before the pixels."""

    def __init__(self, file: BinaryIO, first: bytes, others: bytes) -> None:
        self._file, self._first, self._others = file, first, others
        self._head: bytes | None = b""  # not yet written; None: the pixels have begun

    def write(self, data: Any) -> None:
        if self._head is None:
            self._file.write(data)
        else:
            self._head += bytes(data)
            self._try_to_begin(self._head)

    def _try_to_begin(self, head: bytes) -> None:
        out, at = [SIGNATURE], len(SIGNATURE)
        while at + 8 <= len(head):
            name, end = head[at + 4 : at + 8], at + 12 + int.from_bytes(head[at : at + 4], "big")
            if name == b"IDAT":
                self._file.write(b"".join([*out, self._others, head[at:]]))
                self._head = None
                return
            if name != b"pHYs":
                out.append(head[at:end])
            if name == b"IHDR":
                out.append(self._first)
            at = end
