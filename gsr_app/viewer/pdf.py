"""A page of pictures and lines as a PDF for papers: text as text with its font embedded, pictures without loss."""

from __future__ import annotations

import functools
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageFont

TEXT_PT = 7.0
_FONT = "Aileron"  # comes with Pillow, free to embed
_CODES = "cp1252"  # PDF calls it WinAnsiEncoding
_NEAREST = str.maketrans({"×": "x", "–": "-", "—": "-", "ß": "ss", "æ": "ae", "ø": "o", "’": "'", "“": '"', "”": '"'})


@dataclass(frozen=True)
class Box:
    """In points from the top left corner of the page."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, eq=False)
class Placed:
    """A picture, which is stored pixel for pixel."""

    picture: Image.Image
    box: Box
    smooth: bool = False  # whether it may be smoothed where it is enlarged


@dataclass(frozen=True)
class Line:
    """A centred line of text, narrowed to `most` where it is longer."""

    x: float  # of its centre
    baseline: float
    parts: tuple[tuple[str, bool], ...]  # (text, whether it is bold)
    most: float


@dataclass(frozen=True)
class Outline:
    box: Box
    colour: tuple[float, float, float]  # 0..1
    width: float = 0.9


@dataclass(frozen=True, eq=False)
class Sheet:
    width: float
    height: float
    pictures: Sequence[Placed]
    lines: Sequence[Line]
    outlines: Sequence[Outline]


def text_width(text: str) -> float:
    """In points."""
    return _font().getlength(_shown(text)) * TEXT_PT / 1000


def write_pdf(sheet: Sheet) -> bytes:
    document = _Document()
    names: dict[str, int] = {}
    drawing: list[str] = []
    for placed in sheet.pictures:
        name, box = f"I{len(names)}", placed.box
        names[name] = document.add_image(placed.picture.convert("RGB"), placed.smooth)
        bottom = sheet.height - box.y - box.height
        drawing.append(f"q {box.width:.3f} 0 0 {box.height:.3f} {box.x:.3f} {bottom:.3f} cm /{name} Do Q")
    for outline in sheet.outlines:
        box, colour = outline.box, " ".join(f"{value:.3f}" for value in outline.colour)
        bottom = sheet.height - box.y - box.height
        drawing.append(
            f"{colour} RG {outline.width:g} w {box.x:.3f} {bottom:.3f} {box.width:.3f} {box.height:.3f} re S"
        )
    drawing.append("0 0 0 RG 0.25 w")
    drawing += [_line(line, sheet.height) for line in sheet.lines]
    return document.finish("\n".join(drawing).encode(_CODES), names, (sheet.width, sheet.height))


def _line(line: Line, height: float) -> str:
    length = sum(text_width(text) for text, _ in line.parts)
    squeeze = min(1.0, line.most / length) if length else 1.0
    left = line.x - length * squeeze / 2
    # Bold is the outline drawn, too: the embedded font has one weight.
    parts = " ".join(f"{2 if bold else 0} Tr ({_escaped(_shown(text))}) Tj" for text, bold in line.parts)
    return f"BT /F {TEXT_PT:g} Tf {100 * squeeze:.2f} Tz {left:.3f} {height - line.baseline:.3f} Td {parts} ET"


def _shown(text: str) -> str:
    """The text in the letters that the font has: those of ASCII, and of others their nearest."""
    plain = unicodedata.normalize("NFKD", text.translate(_NEAREST))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).encode("ascii", "replace").decode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(1000)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


class _Document:
    def __init__(self) -> None:
        self._objects: list[bytes] = []

    def add(self, body: str, stream: bytes | None = None) -> int:
        """Add an object; returns its number."""
        data = body.encode()
        if stream is not None:
            packed = zlib.compress(stream, 9)
            data = (
                f"<< {body} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream"
            )
        self._objects.append(data)
        return len(self._objects)

    def add_image(self, image: Image.Image, smooth: bool) -> int:
        form = f"/Type /XObject /Subtype /Image /Interpolate {str(smooth).lower()} /ColorSpace /DeviceRGB"
        form += " /BitsPerComponent 8"
        return self.add(f"{form} /Width {image.width} /Height {image.height}", image.tobytes())

    def finish(self, drawing: bytes, images: dict[str, int], size: tuple[float, float]) -> bytes:
        font = _font()
        file = self.add(f"/Length1 {len(font.font_bytes)}", font.font_bytes)
        described = self.add(
            f"<< /Type /FontDescriptor /FontName /{_FONT} /Flags 32 /FontBBox [-200 -250 1200 1000] /ItalicAngle 0 "
            f"/Ascent 950 /Descent -250 /CapHeight 700 /StemV 80 /FontFile2 {file} 0 R >>"
        )
        letters = (bytes([code]).decode(_CODES, "replace") for code in range(32, 256))
        widths = " ".join(f"{font.getlength(letter):.0f}" for letter in letters)
        text = self.add(
            f"<< /Type /Font /Subtype /TrueType /BaseFont /{_FONT} /FirstChar 32 /LastChar 255 /Widths [{widths}] "
            f"/Encoding /WinAnsiEncoding /FontDescriptor {described} 0 R >>"
        )
        content = self.add("", drawing)
        shown = " ".join(f"/{name} {number} 0 R" for name, number in images.items())
        page = len(self._objects) + 1
        self.add(
            f"<< /Type /Page /Parent {page + 1} 0 R /MediaBox [0 0 {size[0]:.3f} {size[1]:.3f}] "
            f"/Contents {content} 0 R "
            f"/Resources << /Font << /F {text} 0 R >> /XObject << {shown} >> >> >>"
        )
        self.add(f"<< /Type /Pages /Kids [{page} 0 R] /Count 1 >>")
        root = self.add(f"<< /Type /Catalog /Pages {page + 1} 0 R >>")
        out, places = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"), list[int]()
        for number, body in enumerate(self._objects, 1):
            places.append(len(out))
            out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
        table = "".join(f"{place:010d} 00000 n \n" for place in places)
        start, count = len(out), len(places) + 1
        out += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
        out += f"trailer\n<< /Size {count} /Root {root} 0 R >>\n".encode()
        return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())
