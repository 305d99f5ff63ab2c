"""BMP, PNM, TGA and QOI, and the names of what is not read; all files are made byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from gsr_app.core.errors import ImageError
from gsr_app.io.images import read_image, write_image
from tests.files import bmp_of, bmp_rows, heif_with, jpeg_with, pack_bits, qoi_of, rle4, tga_of, tiff_of

Pixels = Callable[..., np.ndarray]


def read(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return read_image(path).pixels


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("header_bytes", [12, 40, 64, 108])
@pytest.mark.parametrize("gap", [0, 6])
def test_bmp_with_a_palette(tmp_path: Path, random_pixels: Pixels, bits: int, header_bytes: int, gap: int) -> None:
    palette, index = random_pixels(1 << bits, 3), random_pixels(7, 13) & ((1 << bits) - 1)
    packed = np.frombuffer(pack_bits(index, bits), np.uint8).reshape(7, -1)
    data = bmp_of(bmp_rows(packed), index.shape, bits, palette=palette, header_bytes=header_bytes, gap=gap)
    assert np.array_equal(read(tmp_path / "a.bmp", data), palette[index])


def test_bmp_of_rle4_with_odd_runs_literals_and_rows(tmp_path: Path, random_pixels: Pixels) -> None:
    index = random_pixels(40, 37) // 64  # few values make runs
    index[3], index[4, ::2], index[4, 1::2] = 5, 9, 2
    palette = random_pixels(16, 3, seed=1)
    data = bmp_of(rle4(index), index.shape, 4, compression=2, palette=palette)
    assert np.array_equal(read(tmp_path / "a.bmp", data), palette[index])


def test_bmp_of_rle8_with_skips(tmp_path: Path, random_pixels: Pixels) -> None:
    palette = random_pixels(256, 3)
    runs = b"\3\7\0\3\1\2\3\0\0\0\2\4\0\2\1\1\1\5\0\1"  # of 6, then 2, one row and one column further 1
    index = np.zeros((3, 6), np.uint8)
    index[2] = 7, 7, 7, 1, 2, 3
    index[1, :2], index[0, 3] = 4, 5
    data = bmp_of(runs, index.shape, 8, compression=1, palette=palette)
    assert np.array_equal(read(tmp_path / "a.bmp", data), palette[index])


@pytest.mark.parametrize("header_bytes", [40, 56, 124])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, ()),
        (16, (0xF800, 0x07E0, 0x001F, 0)),
        (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
        (32, ()),
        (32, (0xFF, 0xFF00, 0xFF0000, 0)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    ],
)
def test_bmp_with_masks(tmp_path: Path, bits: int, masks: tuple[int, ...], header_bytes: int) -> None:
    words = np.random.default_rng(0).integers(0, 1 << bits, (6, 7), dtype=np.uint32)
    body = bmp_rows(words.astype(f"<u{bits // 8}"))
    kind = 0 if not masks else 3 if header_bytes > 40 or not masks[3] else 6
    written = masks[:3] if kind == 3 and header_bytes == 40 else masks
    data = bmp_of(body, words.shape, bits, compression=kind, masks=written, header_bytes=header_bytes)
    used = masks or ((0x7C00, 0x03E0, 0x001F, 0) if bits == 16 else (0xFF0000, 0xFF00, 0xFF, 0))
    full = 65535 if max(bin(mask).count("1") for mask in used) > 8 else 255
    channels = [np.rint((words & mask) / mask * full) for mask in used if mask]
    assert np.array_equal(read(tmp_path / "a.bmp", data), np.stack(channels, -1))


def test_bmp_from_the_top_down_in_grey_with_resolution(tmp_path: Path, random_pixels: Pixels) -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    index = random_pixels(5, 8)
    data = bmp_of(bmp_rows(index[::-1]), (-5, 8), 8, palette=grey, dots_per_metre=(11811, 5906))
    (tmp_path / "a.bmp").write_bytes(data)
    picture = read_image(tmp_path / "a.bmp")
    assert np.array_equal(picture.pixels, index)
    assert picture.meta.dpi == pytest.approx((300, 150), rel=1e-3)
    write_image(tmp_path / "b.png", picture)
    assert Image.open(tmp_path / "b.png").info["dpi"] == pytest.approx((300, 150), rel=1e-3)


def test_an_impossible_resolution_is_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bmp_of(bytes(16), (4, 4), 8, palette=np.zeros((256, 3), np.uint8), dots_per_metre=(2**31 - 1, 1))
    (tmp_path / "a.bmp").write_bytes(data)
    (tmp_path / "a.tif").write_bytes(tiff_of(np.zeros((4, 4)), tags={282: (5, [2**31, 1]), 283: (5, [2**31, 1])}))
    for name in ("a.bmp", "a.tif"):
        assert read_image(tmp_path / name).meta.dpi is None
    assert capfd.readouterr().err == "", "libraries must not write to the user's terminal"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp_of(b"\xff\xd8\xff", (4, 4), 0, compression=4), "a BMP that contains a JPEG file"),
        (bmp_of(b"", (4, 4), 24, compression=4, header_bytes=64), "a BMP with runs of 24 bits"),
        (bmp_of(bytes(64), (4, 4), 64), "a BMP of 64 bits"),
        (bmp_of(bytes(20), (4, 4), 24), "its pixels end too early"),
        (bmp_of(b"\4\0", (4, 4), 8, compression=1), "its pixels end too early"),
        (bmp_of(b"", (4, -4), 24), "impossible"),
        (b"BM" + bytes(14), "its header is cut off"),
    ],
)
def test_bmp_that_is_not_read_is_explained(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(tmp_path / "a.bmp", data)


# ---- PNM, TGA, QOI ------------------------------------------------------------------------------------------------


GREY = np.arange(30, dtype=np.uint8).reshape(5, 6)
RGB = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P5\n6 5\n255\n" + GREY.tobytes(), GREY),
        (b"P5 # a comment\n#another 7\n 6\t5\n100 " + GREY.tobytes(), np.rint(GREY * 2.55)),
        (b"P5\n6 5\n65535\n" + (GREY * np.uint16(2000)).astype(">u2").tobytes(), GREY * np.uint16(2000)),
        (b"P6\n6 5\n255\n" + RGB.tobytes(), RGB),
        (b"P2\n6 5\n29\n" + b" ".join(b"%d" % value for value in GREY.ravel()), np.rint(GREY * (255 / 29))),
        (b"P3\n6 5 #x\n255\n" + b"\n".join(b"%d" % value for value in RGB.ravel()) + b"\n", RGB),
        (b"P4\n10 2\n" + bytes([0b10110000, 0b01000000, 0, 0]), [[0, 255, 0, 0, *[255] * 5, 0], [255] * 10]),
        (b"P1\n3 2\n10 1\n0#c\n11", [[0, 255, 0], [255, 0, 0]]),
        (b"P7\nWIDTH 6\nHEIGHT 5\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + RGB.tobytes(), RGB),
        (b"P7\nHEIGHT 5\nWIDTH 3\nDEPTH 2\n#c\nMAXVAL 255\nENDHDR\n" + GREY.tobytes(), GREY.reshape(5, 3, 2)),
        (b"Pf\n6 5\n-1.0\n" + (GREY[::-1] / 7 - 1).astype("<f4").tobytes(), (GREY / 7 - 1).astype(np.float32)),
        (b"PF\n6 5\n1\n" + RGB[::-1].astype(">f4").tobytes(), RGB.astype(np.float32)),
    ],
)  # fmt: skip
def test_pnm_of_every_kind(tmp_path: Path, data: bytes, expected: np.ndarray) -> None:
    found = read(tmp_path / "a.pnm", data)
    assert np.array_equal(found, expected)
    assert found.dtype == (expected.dtype if data[:2] in {b"Pf", b"PF"} or b"65535" in data else np.uint8)


@pytest.mark.parametrize(
    "data",
    [b"P5\n6 5\n255\n" + bytes(29), b"P5\n6 x\n255\n", b"P2\n2 1\n255\n1", b"P2\n2 1\n9\n1 10",
     b"P6\n6 5\n70000\n" + bytes(90), b"P3\n1 1\n9\n1 2 a", b"P7\nWIDTH 6\nENDHDR\n",
     b"P5\n0 5\n255\n", b"PF\n6 5\n1\n" + bytes(10)],
)  # fmt: skip
def test_damaged_pnm_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be read as PNM"):
        read(tmp_path / "a.ppm", data)


def test_pnm_claims_are_checked_and_eight_channels_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="claims 100000 x 100000"):
        read(tmp_path / "a.ppm", b"P6\n100000 100000\n255\n")
    with pytest.raises(ImageError, match="a PAM of 8 channels"):
        read(tmp_path / "a.pam", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 8\nMAXVAL 255\nENDHDR\n" + bytes(8))


def test_tga_and_qoi(tmp_path: Path, random_pixels: Pixels) -> None:
    pixels = random_pixels(5, 7, 3)
    assert np.array_equal(read(tmp_path / "a.tga", tga_of(pixels)), pixels)
    assert np.array_equal(read(tmp_path / "a.qoi", qoi_of(pixels)), pixels)
    for name, data in (("cut.tga", tga_of(pixels)), ("cut.qoi", qoi_of(pixels))):
        with pytest.raises(ImageError, match="cannot be read as"):
            read(tmp_path / name, data[:40])


def small_tga(kind: int, bits: int, flags: int, body: bytes, palette: bytes = b"", palette_bits: int = 0) -> bytes:
    """A TGA of 5 x 6 pixels, from the top down."""
    count = len(palette) // -(-palette_bits // 8) if palette else 0
    head = struct.pack("<BBBHHBHHHHBB", 0, bool(palette), kind, 0, count, palette_bits, 0, 0, 6, 5, bits, flags | 0x20)
    return head + palette + body


@pytest.mark.parametrize("bits", [15, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_tga_of_15_bits_has_no_alpha_where_its_header_names_none(tmp_path: Path, bits: int, packed: bool) -> None:
    words = np.random.default_rng(0).integers(0, 1 << 16, (5, 6), dtype=np.uint16)
    expected = np.stack([(words >> shift & 31) * 255 // 31 for shift in (10, 5, 0)], -1)
    runs = (b"\x05" + row.astype("<u2").tobytes() for row in words)  # each row is literal
    body = b"".join(runs) if packed else words.astype("<u2").tobytes()
    found = read(tmp_path / "a.tga", small_tga(10 if packed else 2, bits, 0, body))
    assert found.shape == (5, 6, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1
    if bits == 16:
        assert read(tmp_path / "a.tga", small_tga(10 if packed else 2, bits, 1, body)).shape == (5, 6, 4)


def test_tga_with_palettes_of_15_and_32_bits(tmp_path: Path, random_pixels: Pixels) -> None:
    palette, index = random_pixels(32, 4), random_pixels(5, 6) & 31
    data = small_tga(1, 8, 8, index.tobytes(), palette[:, [2, 1, 0, 3]].tobytes(), 32)
    assert np.array_equal(read(tmp_path / "a.tga", data), palette[index])
    words = np.arange(32, dtype="<u2") * 0x401  # red and blue
    data = small_tga(1, 8, 0, index.tobytes(), words.tobytes(), 15)
    found = read(tmp_path / "a.tga", data)
    expected = np.stack([index * 255.0 / 31, index * 0.0, index * 255.0 / 31], -1)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    "claim", [9500, 14000]
)  # Pillow would warn of the first, on the terminal, and refuse the other
def test_the_limit_of_pixels_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: int) -> None:
    import warnings

    monkeypatch.setenv("GSR_MAX_PIXELS", "1e6")
    data = bytearray(tga_of(np.zeros((4, 4, 3), np.uint8)))
    data[12:16] = struct.pack("<HH", claim, claim)
    with warnings.catch_warnings(record=True) as seen, pytest.raises(ImageError):
        read(tmp_path / "a.tga", bytes(data))
    assert not seen


# ---- what is not read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.heic", heif_with(b"hvc1"), "a HEIC image (HEVC inside), which is not decoded here"),
        ("a.heif", heif_with(b"unci"), "an uncompressed HEIF image, which is not decoded here"),
        ("a.jpg", jpeg_with(0xC1, 12), "a JPEG of 12 bits, which is not read"),
        ("a.jpg", jpeg_with(0xC3, 8), "a JPEG without loss, which is not read"),
        ("a.ico", b"\0\0\1\0\1\0\x10\x10" + bytes(40), "an ICO icon"),
        ("a.pcx", b"\x0a\x05\x01\x08" + bytes(124), "a PCX image"),
        ("a.icns", b"icns" + bytes(40), "an ICNS icon"),
        ("a.svg", b"<?xml version='1.0'?>\n<!DOCTYPE svg>\n<!-- c -->\n<svg width='3'/>", "an SVG drawing"),
        ("a.svg", "\ufeff<?xml version='1.0'?><svg:svg/>".encode(), "an SVG drawing"),
        ("a.html", b"<!doctype html><html><body>", "a web page, not an image"),
        ("a.avi", b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
        ("a.tga", bytes(18), "not an image"),
        ("a.exr", b"\x76\x2f\x31\x01" + bytes(40), "an OpenEXR image"),
    ],
)
def test_what_is_not_read_is_named_and_not_called_damaged(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read(tmp_path / name, data)
    assert words in str(caught.value)
    assert "damaged" not in str(caught.value) + caught.value.hint
    assert caught.value.hint


def test_every_reason_has_words(tmp_path: Path) -> None:
    for name, head in (("a.png", b"\x89PNG\r\n\x1a\n"), ("a.gif", b"GIF89a"), ("a.webp", b"RIFF\0\0\0\0WEBP")):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / name, head)
        assert "unable to call" not in str(caught.value)
        assert len(str(caught.value).rpartition(": ")[2]) > 5


def test_a_jpeg_of_ordinary_kind_is_read_behind_fill_bytes(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    data = pyvips.Image.new_from_array(smooth_photo).jpegsave_buffer(Q=95)
    assert read(tmp_path / "a.jpg", data[:2] + b"\xff\xff" + data[2:]).shape == (48, 64, 3)
