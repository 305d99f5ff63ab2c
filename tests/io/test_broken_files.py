"""Whatever is wrong with a file is said in one line: what was found, and what to do."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import GsrError, ImageError, InvalidArgument
from gsr_app.io import foreign, heif, png, tiff_tags
from gsr_app.io.images import RowReader, read_image
from tests.files import (
    heif_with,
    jpeg_with,
    png_chunk,
    png_of,
    tiff_of,
)

Pixels = Callable[..., np.ndarray]


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "a.png is empty (zero bytes)."),
        ("a.png", b"hello, this is text", "a.png is not an image."),
        ("a.psd", b"8BPS" + b"\0" * 60, "a.psd is a Photoshop document."),
        ("a.bmp", b"BM" + b"\0" * 60, "a.bmp cannot be read as BMP"),
        ("a.png", b"%PDF-1.7", "a.png is a PDF document."),
        ("a.mp4", b"\0\0\0\x20ftypisom", "a.mp4 is a video or another ISO media file."),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a.png cannot be read as PNG"),
        ("a.png", b"\xff\xd8\xff\xe0", "a.png cannot be read as JPEG"),
        ("a.tif", b"II*\0\0\0\0\0", "a.tif cannot be read as TIFF"),
        ("a.csv", b"1,2,3\n4,5,6\n", "a.csv is not an image."),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg is an SVG drawing."),
    ],
)
def test_what_is_not_a_readable_image_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_missing_folders_devices_and_bad_names(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"There is no file gone\.png in"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder, not an image"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path / "a\0.png")
    with pytest.raises(ImageError, match="cannot be opened: File name too long"):
        read_image(tmp_path / ("n" * 300))
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="device, pipe or socket"):
            read_image(tmp_path / "pipe.png")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # a real one would not stop root
    with pytest.raises(ImageError, match=r"a\.png may not be read: permission denied"):
        read_image(tmp_path / "a.png")


def test_a_header_that_claims_100_gigapixels_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(1_000_000, 100_000))
    for read in (read_image, RowReader):
        with pytest.raises(ImageError, match=r"claims 1000000 x 100000 pixels \(100 gigapixels\)"):
            read(tmp_path / "a.png")


def test_the_limit_can_be_set_and_strips_may_go_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_pixels: Pixels
) -> None:
    Image.fromarray(random_pixels(20, 30, 3)).save(tmp_path / "a.png")
    monkeypatch.setenv("GSR_MAX_PIXELS", "599")
    with pytest.raises(ImageError, match="claims 30 x 20") as caught:
        read_image(tmp_path / "a.png")
    assert "GSR_MAX_PIXELS" in caught.value.hint
    assert RowReader(tmp_path / "a.png").rows(0, 20).shape == (20, 30, 3)
    monkeypatch.setenv("GSR_MAX_PIXELS", "6e2")
    assert read_image(tmp_path / "a.png").size == (20, 30)
    monkeypatch.setenv("GSR_MAX_PIXELS", "lots")
    with pytest.raises(InvalidArgument, match="GSR_MAX_PIXELS is 'lots'"):
        read_image(tmp_path / "a.png")


FORMATS = {
    "png": {},
    "jpg": {"quality": 90},
    "progressive.jpg": {"quality": 90, "progressive": True},
    "webp": {"lossless": True},
    "lossy.webp": {"quality": 80},
    "tif": {"compression": "tiff_lzw"},
    "plain.tif": {},
    "gif": {},
    "avif": {"quality": 80},
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_was_cut_off_is_an_error_not_grey_rows(
    tmp_path: Path, random_pixels: Pixels, kind: str, part: float
) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(random_pixels(120, 90, 3)).save(path, **FORMATS[kind])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match=r"cannot be (read|decoded)"):
        read_image(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("part", [0.5, 0.95])
@pytest.mark.parametrize("behind", [b"", b"more" * 100])
def test_a_jpeg_whose_pixels_end_before_its_end_mark_is_an_error(
    tmp_path: Path, random_pixels: Pixels, options: dict, part: float, behind: bytes
) -> None:
    Image.fromarray(random_pixels(120, 90, 3)).save(tmp_path / "a.jpg", **options)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: int(len(data) * part)] + b"\xff\xd9" + behind)
    with pytest.raises(ImageError, match="premature end"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="premature end"):
        RowReader(tmp_path / "a.jpg").rows(0, 120)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_with_more_bytes_than_needed_is_read(tmp_path: Path, random_pixels: Pixels, options: dict) -> None:
    Image.fromarray(random_pixels(120, 90, 3)).save(tmp_path / "a.jpg", **options)
    data, expected = (tmp_path / "a.jpg").read_bytes(), read_image(tmp_path / "a.jpg").pixels
    scan = data.index(b"\xff\xda")
    for more in (
        data + b"more" * 100,
        data + data,
        data[:-2] + bytes(100) + data[-2:],
        data[:scan] + b"ab" + data[scan:],
    ):
        (tmp_path / "a.jpg").write_bytes(more)
        assert np.array_equal(read_image(tmp_path / "a.jpg").pixels, expected)


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_damaged_headers_are_no_problem_for_our_own_parsers(tmp_path: Path, count: int) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    text = png_chunk(b"iTXt", b"k\0\1\0en\0t\0" + zlib.compress(b"x" * 100))
    seeds: list[tuple[Callable[[Path], object], bytes]] = [
        (heif.read_heif, heif_with(b"hvc1")),
        (heif.is_encrypted, heif_with(b"av01").replace(b"meta", b"moov")),
        (tiff_tags.read_directory, tiff_of(pixels, tile=16)),
        (png.read_chunks, png_of(pixels, text)),
        (foreign.check_jpeg, jpeg_with(0xC0, 8)),
    ]
    rng = np.random.default_rng(int(os.environ.get("GSR_FUZZ_SEED", "20240607")))
    for number in range(count):
        parse, data = seeds[number % len(seeds)]
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(0, min(len(broken), 600)))
            broken[at : at + int(rng.integers(0, 5))] = rng.bytes(int(rng.integers(0, 6)))
        (tmp_path / "a").write_bytes(broken)
        with suppress(GsrError):
            parse(tmp_path / "a")
