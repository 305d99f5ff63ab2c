"""Files that once became a wrong picture or an unclear error, with what is to be read from them or said of them.

The command line and the app are tested with the same list.
"""

from __future__ import annotations

import functools
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.files import bmp_of, heif_with, jpeg_with, pack_bits, png_chunk, png_of, qoi_of, rle4, tga_of, tiff_of


@dataclass(frozen=True, eq=False)
class RealFile:
    name: str
    data: bytes
    pixels: np.ndarray | None = None  # 8 bits, as a screen shows them; None: it is refused
    words: str = ""  # of the error

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        path.write_bytes(self.data)
        return path


def real_files() -> list[RealFile]:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (70, 50, 3), dtype=np.uint8)
    xmp = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    )
    index = rng.integers(0, 4, (40, 37), dtype=np.uint8)
    palette = rng.integers(0, 256, (16, 3), dtype=np.uint8)
    lab = np.zeros((6, 7, 3), np.uint8)
    lab[:3, :, 0] = 255  # L* 100: white
    twelve = rng.integers(0, 4096, (20, 15, 3), dtype=np.uint16)
    return [
        RealFile("zstd.tif", tiff_of(rgb, compression=50000, tile=32), words="compressed with Zstandard"),
        RealFile("lerc.tif", tiff_of(rgb, compression=34887, tile=32), words="compressed with LERC"),
        RealFile("lzma.tif", tiff_of(rgb, compression=34925, compress=lzma.compress, tile=32), rgb),
        RealFile("damaged.tif", tiff_of(rgb, compression=5, tile=32), words="cannot be decoded"),
        RealFile("planes.tif", tiff_of(rgb, planar=True, tile=32), rgb),
        RealFile(
            "12.tif",
            tiff_of(twelve, bits=12, pack=functools.partial(pack_bits, bits=12)),
            np.rint(np.rint(twelve * (65535 / 4095)) / 257).astype(np.uint8),
        ),
        RealFile("double.tif", tiff_of(rgb / 255), rgb),
        RealFile("complex.tif", tiff_of(np.ones((5, 6), np.complex64)), words="complex numbers"),
        RealFile("rle4.bmp", bmp_of(rle4(index), index.shape, 4, compression=2, palette=palette), palette[index]),
        RealFile("lab.tif", tiff_of(lab, tags={262: (3, [8])}), lab[..., :1].repeat(3, 2)),
        RealFile("a.ppm", b"P6 50 70 255\n" + rgb.tobytes(), rgb),
        RealFile("a.tga", tga_of(rgb), rgb),
        RealFile("a.qoi", qoi_of(rgb), rgb),
        RealFile("a.ico", b"\0\0\1\0\1\0\x10\x10" + bytes(40), words="an ICO icon"),
        RealFile("a.svg", b"<?xml version='1.0'?>\n<svg/>", words="an SVG drawing"),
        RealFile("a.heic", heif_with(b"hvc1"), words="a HEIC image"),
        RealFile("12.jpg", jpeg_with(0xC1, 12), words="a JPEG of 12 bits"),
        RealFile("begun.png", b"\x89PNG\r\n\x1a\n", words="its beginning is damaged"),
        RealFile("text.png", png_of(rgb, png_chunk(b"tEXt", "Größe\0drei Meter".encode("latin-1"))), rgb),
        RealFile("xmp.png", png_of(rgb, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)), np.rot90(rgb, -1)),
    ]


KEPT_CHUNKS = b"".join(
    [
        png_chunk(b"cICP", bytes([9, 16, 0, 1])),
        png_chunk(b"mDCV", bytes(range(24))),
        png_chunk(b"cLLI", bytes(range(8))),
        png_chunk(b"cHRM", bytes.fromhex("00007a26000080840000fa00000080e80000520800011558 00003a98 00001770")),
        png_chunk(b"gAMA", (45000).to_bytes(4, "big")),
    ]
)
KEPT_TEXT = png_chunk(b"iTXt", b"Title\0\0\0ja\0" + "題\0写真".encode())


def described_png() -> RealFile:
    """What a result says, too: `KEPT_CHUNKS` and `KEPT_TEXT`."""
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    return RealFile("described.png", png_of(pixels, KEPT_CHUNKS + KEPT_TEXT), pixels)


def write_broken_weights(path: Path, method: str, change: str) -> str:
    """Write weights that cannot be used; returns words of the error."""
    import torch

    from gsr_app.models import registry

    state: dict[Any, Any] = dict(registry.build(registry.method(method).arch).state_dict())
    key = next(key for key, value in state.items() if value.ndim == 4)
    words = "does not hold a state dict"
    if change == "integers":
        state[key], words = (state[key] * 100).to(torch.int8), f"{key} holds int8"
    elif change == "not finite":
        state[key].view(-1)[3], words = float("nan"), f"{key} holds values that are not numbers"
    elif change == "itself":
        state = {}
        state["params"] = state
    else:
        state = dict(enumerate(state.values()))
    torch.save(state, path)
    return words
