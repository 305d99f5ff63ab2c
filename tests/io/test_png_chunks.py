"""Texts, resolution and EXIF of PNG files, read and written as the specification has them."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.io.images import read_image, read_metadata, write_image
from gsr_app.io.vips import encode_through, load_vips
from tests.files import png_chunk

ROOT = Path(__file__).resolve().parents[2]
Encode = Callable[..., bytes]
PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        assert zlib.crc32(data[at + 4 : at + 8 + length]) == int.from_bytes(
            data[at + 8 + length : at + 12 + length], "big"
        )
        at += 12 + length
    return found


TEXTS = (
    png_chunk(b"tEXt", "Größe\0drei Meter, ±5 µm".encode("latin-1"))
    + png_chunk(b"zTXt", b"Author\0\0" + zlib.compress("Æsop".encode("latin-1")))
    + png_chunk(b"iTXt", b"Title\0\0\0ja\0" + "題\0写真".encode())
    + png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress("first é".encode()))
    + png_chunk(b"tEXt", b"Comment\0second")
)


def test_texts_are_read_in_their_encodings_and_written_back(tmp_path: Path, encode_png: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=TEXTS))
    for name in ("a.png", "b.png"):
        picture = read_image(tmp_path / name)
        assert np.array_equal(picture.pixels, PIXELS)
        assert [(text.keyword, text.value, text.language, text.translated) for text in picture.meta.comments] == [
            ("Größe", "drei Meter, ±5 µm", "", ""),
            ("Author", "Æsop", "", ""),
            ("Title", "写真", "ja", "題"),
            ("Comment", "first é", "", ""),
            ("Comment", "second", "", ""),
        ]
        if name == "a.png":
            write_image(tmp_path / "b.png", picture)
    other = Image.open(tmp_path / "b.png")
    other.load()
    assert other.info["Größe"] == "drei Meter, ±5 µm"
    assert other.info["Title"] == "写真"


def test_our_own_texts_of_any_characters_are_written_rightly(tmp_path: Path, encode_png: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS))
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"), text={"method": "naïve 写真", "version": "1"})
    other = Image.open(tmp_path / "b.png")
    other.load()
    assert (other.info["gsr:method"], other.info["gsr:version"]) == ("naïve 写真", "1")
    write_image(tmp_path / "c.png", read_image(tmp_path / "b.png"), text={"method": "next"})
    assert [name for name, data in chunks_of((tmp_path / "c.png").read_bytes()) if data.startswith(b"gsr:")] == [
        b"tEXt"
    ]


def test_no_resolution_and_no_exif_are_made_up(tmp_path: Path, encode_png: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS))
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"))
    assert {name for name, _ in chunks_of((tmp_path / "b.png").read_bytes())} == {b"IHDR", b"IDAT", b"IEND"}
    density = png_chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=density))
    write_image(tmp_path / "c.png", read_image(tmp_path / "a.png"))
    assert (b"pHYs", struct.pack(">IIB", 11811, 5906, 1)) in chunks_of((tmp_path / "c.png").read_bytes())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_the_shape_of_a_pixel_is_no_resolution(tmp_path: Path, encode_png: Encode, suffix: str) -> None:
    shape = png_chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0))
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=shape))
    picture = read_image(tmp_path / "a.png")
    assert picture.meta.dpi is None
    assert np.array_equal(picture.pixels, PIXELS)
    write_image(tmp_path / f"b.{suffix}", picture)
    assert read_metadata(tmp_path / f"b.{suffix}")[1].dpi is None


def test_exif_is_kept_byte_for_byte_with_tags_in_unusual_places(tmp_path: Path, encode_png: Encode) -> None:
    exposure = struct.pack("<HHI", 0x829A, 5, 1) + struct.pack("<I", 26)  # a tag of EXIF's own directory in the first
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + exposure + bytes(4) + struct.pack("<II", 1, 60)
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=png_chunk(b"eXIf", exif)))
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"))
    assert (b"eXIf", exif) in chunks_of((tmp_path / "b.png").read_bytes())


def test_jpeg_keeps_exif_byte_for_byte(tmp_path: Path, encode_png: Encode) -> None:
    exposure = struct.pack("<HHI", 0x829A, 5, 1) + struct.pack("<I", 26)
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + exposure + bytes(4) + struct.pack("<II", 1, 60)
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=png_chunk(b"eXIf", exif)))
    write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.png"), text={"method": "m"})
    data = (tmp_path / "b.jpg").read_bytes()
    assert data.count(exif) == 1
    assert data.count(b"Exif\0\0") == 1
    picture = Image.open(tmp_path / "b.jpg")
    picture.load()
    assert picture.getexif()[0x829A] == pytest.approx(1 / 60)
    assert read_image(tmp_path / "b.jpg").meta.text == {"method": "m"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_texts_that_expand_to_gigabytes_are_left_out(tmp_path: Path, encode_png: Encode) -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)
    chunks = b"".join(png_chunk(b"zTXt", f"k{number}\0\0".encode() + bomb) for number in range(12))
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=chunks + TEXTS))
    code = (
        "import re, sys; from gsr_app.io.images import read_metadata\n"
        "def peak(): return int(re.search('VmHWM:(.*)kB', open('/proc/self/status').read())[1]) // 1024\n"
        "read_metadata(sys.argv[1]); before = peak(); read_metadata(sys.argv[2]); print(peak() - before)"
    )
    (tmp_path / "small.png").write_bytes(encode_png(PIXELS))
    words = [sys.executable, "-c", code, str(tmp_path / "small.png"), str(tmp_path / "a.png")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150, "megabytes"
    size, meta = read_metadata(tmp_path / "a.png")
    assert size == (4, 5)
    assert [text.keyword for text in meta.comments] == ["Größe", "Author", "Title", "Comment", "Comment"]
    assert any("too large" in note for note in meta.notes)


def test_damaged_texts_do_not_make_the_picture_unreadable(tmp_path: Path, encode_png: Encode) -> None:
    broken = [
        b"tEXtno zero",
        b"zTXtk\0\0not zlib",
        b"iTXtk\0\1\0\0\0not zlib",
        b"iTXtk\0\0\0\xff\0\xff\0\xff",
        b"tEXt\0x",
    ]
    chunks = b"".join(png_chunk(one[:4], one[4:]) for one in broken)
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=chunks))
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), PIXELS)


@pytest.mark.parametrize("keyword", ["exif", "APP1"])
def test_the_orientation_in_imagemagicks_raw_exif_text_is_applied(
    tmp_path: Path, encode_png: Encode, keyword: str
) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 6, 0) + bytes(4)
    digits = exif.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    raw = f"\nexif\n{len(exif):8}\n{lines}\n".encode()
    chunks = png_chunk(b"zTXt", f"Raw profile type {keyword}\0\0".encode() + zlib.compress(raw))
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=chunks))
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, np.rot90(PIXELS, -1))
    write_image(tmp_path / "b.png", picture)
    other = Image.open(tmp_path / "b.png")
    assert np.array_equal(np.asarray(other), np.rot90(PIXELS, -1))
    assert other.getexif()[0x0112] == 1
    assert not any("Raw profile" in key for key in other.info)


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:{0}="http://ns.adobe.com/tiff/1.0/"{1}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("prefix", ["tiff", "t"])
@pytest.mark.parametrize("form", [' {0}:Orientation="6">', "><{0}:Orientation>6</{0}:Orientation>"])
def test_the_orientation_in_xmp_is_applied(tmp_path: Path, encode_png: Encode, prefix: str, form: str) -> None:
    xmp = XMP.format(prefix, form.format(prefix))
    chunks = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=chunks))
    assert read_metadata(tmp_path / "a.png")[0] == (5, 4)
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, np.rot90(PIXELS, -1))
    write_image(tmp_path / "b.png", picture)
    assert np.array_equal(read_image(tmp_path / "b.png").pixels, np.rot90(PIXELS, -1)), "it is not turned twice"


def test_the_orientation_of_exif_counts_more_than_that_of_xmp(tmp_path: Path, encode_png: Encode) -> None:
    exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 1, 0) + bytes(4)
    xmp = XMP.format("tiff", ' tiff:Orientation="6">').encode()
    chunks = png_chunk(b"eXIf", exif) + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=chunks))
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, PIXELS)


def test_xmp_of_jpeg_turns_the_picture_as_well(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    xmp = XMP.format("tiff", ' tiff:Orientation="8">').encode()
    Image.fromarray(smooth_photo).save(tmp_path / "a.jpg", quality=95, xmp=xmp)
    expected = np.rot90(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int))
    found = read_image(tmp_path / "a.jpg")
    assert found.size == (64, 48)
    assert np.abs(found.pixels - expected).max() <= 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("operation", ["pngsave_target", "jpegsave_target"])
def test_a_full_disk_is_the_systems_error(operation: str) -> None:
    image = load_vips().Image.gaussnoise(300, 300).cast("uchar")
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        encode_through(operation, image, full.write, {})
