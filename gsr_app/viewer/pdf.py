"""The figure of a report as a PDF for papers: text as text with its font embedded, crops without loss."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageFont

PAGE_WIDTH_PT = 7.16 * 72  # two columns of a usual paper
TEXT_PT = 7.0
_GAP_PT, _LEAD_PT = 4.0, 8.5
_FONT = "Aileron"  # comes with Pillow, free to embed


@dataclass(frozen=True, eq=False)
class Cell:
    """A crop with the lines below it."""

    crop: Image.Image | None
    aspect: float  # width / height
    lines: tuple[str, ...]
    bold: bool = False  # the last line: the best score of its row


def write_pdf(rows: Sequence[Sequence[Cell]]) -> bytes:
    """One row of cells per region; every crop is stored pixel for pixel."""
    columns = max(len(row) for row in rows)
    width = (PAGE_WIDTH_PT - (columns - 1) * _GAP_PT) / columns
    heights = [width / row[0].aspect + _LEAD_PT * max(len(cell.lines) for cell in row) + 2 * _GAP_PT for row in rows]
    top = sum(heights)
    document, font = _Document(), ImageFont.load_default(1000)
    assert isinstance(font, ImageFont.FreeTypeFont)
    images: dict[str, int] = {}
    drawing: list[str] = []
    y = top
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            x, tall = column * (width + _GAP_PT), width / cell.aspect
            if cell.crop is not None:
                name = f"I{len(images)}"
                images[name] = document.add_image(cell.crop.convert("RGB"))
                drawing.append(f"q {width:.3f} 0 0 {tall:.3f} {x:.3f} {y - tall:.3f} cm /{name} Do Q")
            for number, line in enumerate(cell.lines):
                text = line.encode("cp1252", "replace").decode("cp1252")
                left = x + (width - font.getlength(text) * TEXT_PT / 1000) / 2
                # Bold is the outline drawn, too: the embedded font has one weight.
                strong = cell.bold and number == len(cell.lines) - 1
                mode = "2 Tr 0.25 w" if strong else "0 Tr"
                base = y - tall - _LEAD_PT * (number + 1)
                drawing.append(f"BT /F {TEXT_PT} Tf {mode} {left:.3f} {base:.3f} Td ({_escaped(text)}) Tj ET")
        y -= height
    return document.finish("\n".join(drawing).encode("cp1252"), images, (PAGE_WIDTH_PT, top), font)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


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

    def add_image(self, image: Image.Image) -> int:
        form = "/Type /XObject /Subtype /Image /ColorSpace /DeviceRGB /BitsPerComponent 8 /Interpolate false"
        return self.add(f"{form} /Width {image.width} /Height {image.height}", image.tobytes())

    def finish(
        self, drawing: bytes, images: dict[str, int], size: tuple[float, float], font: ImageFont.FreeTypeFont
    ) -> bytes:
        file = self.add(f"/Length1 {len(font.font_bytes)}", font.font_bytes)
        described = self.add(
            f"<< /Type /FontDescriptor /FontName /{_FONT} /Flags 32 /FontBBox [-200 -250 1200 1000] /ItalicAngle 0 "
            f"/Ascent 950 /Descent -250 /CapHeight 700 /StemV 80 /FontFile2 {file} 0 R >>"
        )
        letters = (bytes([code]).decode("cp1252", "replace") for code in range(32, 256))
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
