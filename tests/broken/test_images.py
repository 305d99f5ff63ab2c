"""Damaged images: each is read, or refused in one line."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.broken.damage import damage_bytes
from tests.broken.worker import try_damaged
from tests.files import bmp_of, bmp_rows, pack_bits, png_chunk, png_of, qoi_of, rle4, tga_of, tiff_of


def seeds(folder: Path) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 56, 4), dtype=np.uint8)
    deep = rng.integers(0, 65536, (40, 56), dtype=np.uint16)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    rich = {"exif": exif, "icc_profile": profile}
    images = [
        ("rgb.png", Image.fromarray(pixels[..., :3]), rich),
        ("rgba.png", Image.fromarray(pixels), {}),
        ("palette.png", Image.fromarray(pixels[..., :3]).quantize(16), {"transparency": 3}),
        ("deep.png", Image.fromarray(deep), {}),
        ("rgb.jpg", Image.fromarray(pixels[..., :3]), rich),
        ("progressive.jpg", Image.fromarray(pixels[..., :3]), {"progressive": True}),
        ("cmyk.jpg", Image.fromarray(pixels, mode="CMYK"), {"icc_profile": profile}),
        ("lossless.webp", Image.fromarray(pixels), {"lossless": True} | rich),
        ("lossy.webp", Image.fromarray(pixels[..., :3]), {"quality": 70}),
        ("rgb.tif", Image.fromarray(pixels[..., :3]), rich),
        ("lzw.tif", Image.fromarray(pixels), {"compression": "tiff_lzw"}),
        ("float.tif", Image.fromarray(rng.random((40, 56), dtype=np.float32)), {"compression": "tiff_deflate"}),
        ("rgb.gif", Image.fromarray(pixels[..., :3]), {}),
        ("rgb.avif", Image.fromarray(pixels[..., :3]), {"quality": 60} | rich),
    ]
    for name, image, options in images:
        image.save(folder / name, **options)
    rgb, index = pixels[..., :3], pixels[..., 0] // 16
    twelve = deep >> 4
    texts = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"text")) + png_chunk(b"iTXt", b"k\0\0\0en\0\0text")
    ours = [
        ("tiled.tif", tiff_of(rgb, compression=8, compress=zlib.compress, tile=16)),
        ("planes.tif", tiff_of(rgb, planar=True, tile=16)),
        ("lzma.tif", tiff_of(rgb, compression=34925, compress=lzma.compress)),
        ("12.tif", tiff_of(twelve, bits=12, pack=lambda part: pack_bits(part, 12))),
        ("lab.tif", tiff_of(rgb, tags={262: (3, [8])})),
        ("texts.png", png_of(rgb, texts + png_chunk(b"cICP", b"\x09\x10\0\1") + png_chunk(b"cHRM", bytes(range(32))))),
        ("rle4.bmp", bmp_of(rle4(index), index.shape, 4, compression=2, palette=rgb[0, :16])),
        ("masks.bmp", bmp_of(bmp_rows(twelve), index.shape, 16, compression=3, masks=(0xF800, 0x7E0, 0x1F))),
        ("rgb.ppm", b"P6\n56 40\n255\n" + rgb.tobytes()),
        ("text.pgm", b"P2\n56 40\n15\n" + b" ".join(b"%d" % value for value in index.ravel())),
        ("rgb.tga", tga_of(rgb)),
        ("rgb.qoi", qoi_of(rgb)),
    ]
    return [*((name, (folder / name).read_bytes()) for name, _, _ in images), *ours]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [120, pytest.param(4000, marks=pytest.mark.slow)])
def test_damaged_images_are_read_or_refused(tmp_path: Path, count: int) -> None:
    damages = [damage_bytes()]
    try_damaged("read_picture", seeds(tmp_path), damages, tmp_path, count=count, read=count // 20, refused=count // 5)
