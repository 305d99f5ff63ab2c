"""What the colours of a file mean goes with them: as code points, by gamma and primaries, or as a profile."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from gsr_app.io.icc import make_profile
from gsr_app.io.images import Metadata, Picture, read_image, read_metadata, write_image
from gsr_app.io.picture import ColorTags
from tests.files import png_chunk

Encode = Callable[..., bytes]
PIXELS = np.arange(0, 240, dtype=np.uint8).reshape(8, 10, 3)
P3, BT2020_PQ = bytes([12, 13, 0, 1]), bytes([9, 16, 0, 1])
ADOBE = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
HDR = {b"cICP": BT2020_PQ, b"mDCV": bytes(range(24)), b"cLLI": bytes(range(8))}
TAGS = {
    "HDR": HDR,
    "P3": {b"cICP": P3},
    "gamma": {b"gAMA": struct.pack(">I", 45000), b"cHRM": ADOBE},
    "sRGB": {b"sRGB": b"\0"},
}


def png_with(encode_png: Encode, tags: dict[bytes, bytes], pixels: np.ndarray = PIXELS) -> bytes:
    return encode_png(pixels, chunks=b"".join(png_chunk(name, data) for name, data in tags.items()))


@pytest.mark.parametrize("kind", TAGS)
def test_a_png_keeps_what_another_said_of_its_colours(tmp_path: Path, encode_png: Encode, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(png_with(encode_png, TAGS[kind]))
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, PIXELS)
    for strip in (False, True):
        written = write_image(tmp_path / "b.png", picture, overwrite=True, strip_metadata=strip)
        assert not written.notes
        data = (tmp_path / "b.png").read_bytes()
        for name, content in TAGS[kind].items():
            assert 0 < data.find(png_chunk(name, content)) < data.index(b"IDAT")


def avif_bytes(primaries: int, transfer: int, icc: bytes | None = None) -> bytes:
    y, x = np.mgrid[0:48, 0:64]
    photo = (np.dstack([y, x, x]) * 3).astype(np.uint8)
    image = pyvips.Image.new_from_array(photo)
    if icc is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    data = image.heifsave_buffer(compression="av1", lossless=True, subsample_mode="off")
    if icc is not None:  # libheif writes one of the two
        return with_properties(data, struct.pack(">I8sHHHB", 19, b"colrnclx", primaries, transfer, 0, 128))
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def with_properties(file: bytes, boxes: bytes) -> bytes:
    """An AVIF with more boxes beside those of its picture."""
    data = bytearray(file)
    pixels, place = data.index(b"mdat") + 4, data.index(b"iloc")
    at = data.index(struct.pack(">I", pixels), place)  # the picture's place in the file
    data[at : at + 4] = struct.pack(">I", pixels + len(boxes))
    start = data.index(b"ipco") + 4
    for name in (b"ipco", b"iprp", b"meta"):  # the boxes around the new ones
        at = data.index(name) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(boxes)).to_bytes(4, "big")
    end = start - 8 + int.from_bytes(data[start - 8 : start - 4], "big") - len(boxes)
    return bytes(data[:end]) + boxes + bytes(data[end:])


def test_the_code_points_of_avif_go_to_png_and_back(tmp_path: Path) -> None:
    (tmp_path / "a.avif").write_bytes(avif_bytes(9, 16))
    picture = read_image(tmp_path / "a.avif")
    write_image(tmp_path / "b.png", picture)
    assert png_chunk(b"cICP", BT2020_PQ) in (tmp_path / "b.png").read_bytes()
    write_image(tmp_path / "c.avif", read_image(tmp_path / "b.png"))
    data = (tmp_path / "c.avif").read_bytes()
    at = data.index(b"colrnclx") + 8
    assert struct.unpack_from(">HH", data, at) == (9, 16)
    assert np.array_equal(read_image(tmp_path / "c.avif").pixels, picture.pixels)


def test_the_light_levels_of_avif_go_to_png(tmp_path: Path) -> None:
    green, blue, red, white = (13250, 34500), (7500, 3000), (34000, 16000), (15635, 16450)
    mdcv = struct.pack(">8HII", *green, *blue, *red, *white, 10_000_000, 50)
    boxes = struct.pack(">I4s24s", 32, b"mdcv", mdcv) + struct.pack(">I4sHH", 12, b"clli", 1000, 400)
    (tmp_path / "a.avif").write_bytes(with_properties(avif_bytes(9, 16), boxes))
    color = read_metadata(tmp_path / "a.avif")[1].color
    assert color.mastering == struct.pack(">8HII", *red, *green, *blue, *white, 10_000_000, 50)
    assert color.light == struct.pack(">II", 10_000_000, 4_000_000)
    picture = Picture(PIXELS, Metadata(color=color))
    assert write_image(tmp_path / "b.png", picture).notes == ()
    assert png_chunk(b"cLLI", color.light) in (tmp_path / "b.png").read_bytes()
    assert any("light levels" in note for note in write_image(tmp_path / "b.webp", picture).notes)


def test_an_ordinary_avif_says_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "a.avif").write_bytes(avif_bytes(1, 13))
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.avif"))
    assert b"cICP" not in (tmp_path / "b.png").read_bytes()


def profile_of(path: Path) -> bytes:
    return Image.open(path).info["icc_profile"]


def seen_in_srgb(profile: bytes, color: tuple[int, ...], mode: str = "RGB") -> tuple[int, ...]:
    """What a colour management system makes of it."""
    source, target = ImageCms.getOpenProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    picture = Image.new(mode, (1, 1), color if mode == "RGB" else color[0])
    shown = ImageCms.profileToProfile(picture, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB")
    assert shown is not None
    return shown.getpixel((0, 0))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
@pytest.mark.parametrize(
    ("tags", "color", "expected"),
    [
        ({b"cICP": P3}, (234, 51, 35), (255, 0, 0)),  # sRGB's red in Display P3
        ({b"cICP": bytes([9, 1, 0, 1])}, (202, 59, 19), (255, 0, 0)),  # and in BT.2020, by the matrix of BT.2087
        ({b"cICP": BT2020_PQ}, (148, 148, 148), (39, 39, 39)),  # 203 cd/m² of 10,000
        ({b"gAMA": struct.pack(">I", 100000)}, (55, 55, 55), (128, 128, 128)),  # linear light
        ({b"gAMA": struct.pack(">I", 45455), b"cHRM": ADOBE}, (219, 0, 0), (255, 0, 0)),  # Adobe RGB: 219 is sRGB's red
    ],
)
def test_formats_that_know_profiles_only_get_one(
    tmp_path: Path,
    encode_png: Encode,
    suffix: str,
    tags: dict[bytes, bytes],
    color: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    (tmp_path / "a.png").write_bytes(png_with(encode_png, tags))
    written = write_image(tmp_path / f"b.{suffix}", read_image(tmp_path / "a.png"))
    assert any("by an ICC profile" in note for note in written.notes)
    found = seen_in_srgb(profile_of(tmp_path / f"b.{suffix}"), color)
    assert np.abs(np.subtract(found, expected)).max() <= 3


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
@pytest.mark.parametrize(
    ("code_points", "color", "expected"),
    [(P3, (234, 51, 35), (255, 0, 0)), (bytes([1, 13, 0, 1]), (200, 90, 30), (200, 90, 30))],
)
def test_code_points_of_a_png_overrule_its_profile(
    tmp_path: Path,
    encode_png: Encode,
    suffix: str,
    code_points: bytes,
    color: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    icc = make_profile(ColorTags((9, 16, True)), grey=False)
    assert icc
    tags = {b"cICP": code_points, b"iCCP": b"icc\0\0" + zlib.compress(icc)}
    (tmp_path / "a.png").write_bytes(png_with(encode_png, tags))
    picture = read_image(tmp_path / "a.png")
    written = write_image(tmp_path / f"b.{suffix}", picture)
    assert any("by an ICC profile" in note for note in written.notes)
    found = seen_in_srgb(profile_of(tmp_path / f"b.{suffix}"), color)
    assert np.abs(np.subtract(found, expected)).max() <= 3
    write_image(tmp_path / "c.png", picture)
    data = (tmp_path / "c.png").read_bytes()
    assert png_chunk(b"cICP", code_points) in data
    assert profile_of(tmp_path / "c.png") == icc
    assert any("without the profile" in note for note in write_image(tmp_path / "d.avif", picture).notes)
    data = (tmp_path / "d.avif").read_bytes()
    assert struct.unpack_from(">HH", data, data.index(b"colrnclx") + 8) == tuple(code_points[:2])
    assert read_metadata(tmp_path / "d.avif")[1].icc is None


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif", "avif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_narrow_range_becomes_a_profile_that_widens_it(
    tmp_path: Path, encode_png: Encode, suffix: str, dtype: type
) -> None:
    pixels = PIXELS.astype(dtype) << 8 * (dtype().itemsize - 1)
    (tmp_path / "a.png").write_bytes(png_with(encode_png, {b"cICP": bytes([1, 13, 0, 0])}, pixels))
    picture = read_image(tmp_path / "a.png")
    written = write_image(tmp_path / f"b.{suffix}", picture)
    assert any("(BT.709, sRGB, narrow range) by an ICC profile" in note for note in written.notes)
    top = np.iinfo(dtype).max
    for level, expected in ((16, 0), (126, 128), (235, 255)):  # 126: 219 / 2 above 16, rounded
        value = round(level * (1 if dtype is np.uint8 else 256) / top * 255)
        found = seen_in_srgb(profile_of(tmp_path / f"b.{suffix}"), (value,) * 3)
        assert np.abs(np.subtract(found, expected)).max() <= 2
    assert read_metadata(tmp_path / f"b.{suffix}")[1].color.cicp is None
    assert not write_image(tmp_path / "c.png", picture).notes
    assert png_chunk(b"cICP", bytes([1, 13, 0, 0])) in (tmp_path / "c.png").read_bytes()


def test_the_profile_stays_where_the_code_points_cannot_be_said(tmp_path: Path, encode_png: Encode) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = {b"cICP": bytes([10, 99, 0, 1]), b"iCCP": b"icc\0\0" + zlib.compress(icc)}
    (tmp_path / "a.png").write_bytes(png_with(encode_png, tags))
    written = write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.png"))
    assert any("cannot say what the colours mean (primaries 10, transfer 99)" in note for note in written.notes)
    assert profile_of(tmp_path / "b.jpg") == icc


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_the_profile_of_an_avif_overrules_its_code_points(tmp_path: Path, rgb_profile: bytes, suffix: str) -> None:
    (tmp_path / "a.avif").write_bytes(avif_bytes(9, 16, rgb_profile))
    written = write_image(tmp_path / f"b.{suffix}", read_image(tmp_path / "a.avif"))
    assert not any("what the colours mean" in note for note in written.notes)
    assert profile_of(tmp_path / f"b.{suffix}") == rgb_profile
    assert b"cICP" not in (tmp_path / f"b.{suffix}").read_bytes()


def test_grey_gets_a_grey_profile(tmp_path: Path, encode_png: Encode) -> None:
    tags = {b"gAMA": struct.pack(">I", 100000)}
    (tmp_path / "a.png").write_bytes(png_with(encode_png, tags, PIXELS[..., :1]))
    write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.png"))
    assert profile_of(tmp_path / "b.jpg")[16:20] == b"GRAY"
    assert np.abs(np.subtract(seen_in_srgb(profile_of(tmp_path / "b.jpg"), (55,), "L"), 128)).max() <= 3


def test_what_cannot_be_kept_is_said(tmp_path: Path, encode_png: Encode) -> None:
    (tmp_path / "a.png").write_bytes(png_with(encode_png, HDR | {b"cICP": bytes([10, 99, 0, 1])}))
    written = write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.png"))
    assert any("light levels" in note for note in written.notes)
    assert any("cannot say what the colours mean (primaries 10, transfer 99)" in note for note in written.notes)


def test_plain_files_get_no_profile_and_no_note(tmp_path: Path, encode_png: Encode) -> None:
    tags = {b"gAMA": struct.pack(">I", 45455), b"sRGB": b"\0"}
    (tmp_path / "a.png").write_bytes(png_with(encode_png, tags))
    written = write_image(tmp_path / "b.tif", read_image(tmp_path / "a.png"))
    assert not written.notes
    assert "icc_profile" not in Image.open(tmp_path / "b.tif").info


@pytest.mark.parametrize(
    "chunk", [b"cHRM" + bytes(32), b"cHRM" + b"\xff" * 32, b"gAMA" + bytes(4), b"cICP" + b"\xff" * 4]
)
def test_nonsense_about_colours_does_no_harm(tmp_path: Path, encode_png: Encode, chunk: bytes) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS, chunks=png_chunk(chunk[:4], chunk[4:])))
    picture = read_image(tmp_path / "a.png")
    for suffix in ("png", "tif", "webp", "avif"):
        write_image(tmp_path / f"b.{suffix}", picture)
        assert read_image(tmp_path / f"b.{suffix}").pixels.shape == PIXELS.shape
