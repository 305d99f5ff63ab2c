"""What goes out is what came in: pixels, depth, channels, profile, EXIF, texts; and a file is whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.core.pixels import from_planes, to_planes
from gsr_app.io.formats import SAVE_OPTIONS
from gsr_app.io.images import Picture, read_image, read_text, write_image

Pixels = Callable[..., np.ndarray]
ROOT = Path(__file__).resolve().parents[2]
TEXT = {"method": "gsasr-edsr-df2k", "scale": "3.7", "weights_id": "a_b", "weights licence": "CC BY-NC 4.0 <&> é 漢"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 2), (9, 14, 3), (9, 14, 4), (1, 1), (1, 30, 3)])
def test_arrays_come_back_as_they_went_in(
    tmp_path: Path, random_pixels: Pixels, dtype: type, shape: tuple[int, ...]
) -> None:
    array = random_pixels(*shape, dtype=dtype)
    write_image(tmp_path / "a.tif", Picture(array))
    back = read_image(tmp_path / "a.tif").pixels
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_grey_with_alpha_stays_so_through_an_array(
    tmp_path: Path, random_pixels: Pixels, encode_png: Callable[..., bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(random_pixels(9, 7, 2)))
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", Picture(picture.pixels, picture.meta))
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert after.mode == "LA"
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_every_stored_level_survives_the_way_through_float() -> None:
    for dtype in (np.uint8, np.uint16):
        levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
        planes = to_planes(levels)
        assert np.array_equal(planes[0], (levels / np.iinfo(dtype).max).astype(np.float32))
        assert np.array_equal(from_planes(planes, dtype)[..., 0], levels)


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.float64, (4, 4)), (np.uint8, (4,)), (np.uint8, (4, 4, 5)), (np.uint8, (0, 4, 3))]
)
def test_other_arrays_are_refused_by_name(dtype: type, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"uint8, uint16 or float32, found"):
        Picture(np.zeros(shape, dtype))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    bands=st.sampled_from([1, 2, 3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    orientation=st.integers(1, 8),
    suffix=st.sampled_from(["png", "tif", "webp"]),
    seed=st.integers(0, 2**20),
)
def test_a_picture_goes_through_files_bit_exactly_at_any_depth_and_orientation(
    *,
    tmp_path: Path,
    random_pixels: Pixels,
    encode_png: Callable[..., bytes],
    height: int,
    width: int,
    bands: int,
    dtype: type,
    orientation: int,
    suffix: str,
    seed: int,
) -> None:
    import torch

    from gsr_app.ops.resize import resize

    dtype = np.uint8 if suffix == "webp" else dtype
    pixels = random_pixels(height, width, bands, dtype=dtype, seed=seed)
    source, target = tmp_path / "source.png", tmp_path / f"target.{suffix}"
    source.write_bytes(encode_png(pixels, chunks=exif_chunk(orientation)))

    picture = read_image(source)
    planes = torch.from_numpy(to_planes(picture.pixels))[None]
    resized = from_planes(resize(planes, scale=1.0, kernel="nearest")[0].numpy(), dtype)
    write_image(target, Picture(resized, picture.meta), overwrite=True)

    upright = turn(pixels, orientation)
    result = read_image(target)
    if suffix == "webp" and bands < 3:  # it has no grey
        upright = np.dstack([upright[..., :1]] * 3 + [upright[..., 1:]] * (bands == 2))
    assert result.pixels.dtype == dtype
    assert np.array_equal(result.pixels.reshape(upright.shape), upright)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The EXIF standard's table: which side of the stored picture is the top, and is it mirrored."""
    mirrored = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    quarter_turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    return np.rot90(mirrored, quarter_turns)


def exif_chunk(orientation: int) -> bytes:
    import struct
    import zlib

    body = b"eXIf" + b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_float_tiff_keeps_every_bit(tmp_path: Path, random_pixels: Pixels, bands: int) -> None:
    values = random_pixels(20, 30, bands, dtype=np.float32) * 5 - 2
    write_image(tmp_path / "a.tif", Picture(values))
    result = read_image(tmp_path / "a.tif").pixels
    assert result.dtype == np.float32
    assert np.array_equal(result, values if bands > 1 else values[..., 0])


@pytest.mark.parametrize("bands", [3, 4])
def test_avif_is_lossless_at_eight_bits(tmp_path: Path, random_pixels: Pixels, bands: int) -> None:
    pixels = random_pixels(24, 31, bands)
    written = write_image(tmp_path / "a.avif", Picture(pixels))
    assert written.notes == ()
    assert np.array_equal(read_image(tmp_path / "a.avif").pixels, pixels)


def test_avif_keeps_twelve_of_sixteen_bits_and_says_so(tmp_path: Path, random_pixels: Pixels) -> None:
    pixels = random_pixels(24, 31, 3, dtype=np.uint16)
    pixels[0, 0] = 65535
    written = write_image(tmp_path / "a.avif", Picture(pixels))
    assert "12 bits" in written.notes[0]
    result = read_image(tmp_path / "a.avif")
    assert result.pixels[0, 0].tolist() == [65535] * 3
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 17


def test_jpeg_is_close_and_says_that_it_is_lossy(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    rgba = np.dstack([smooth_photo, np.zeros((48, 64), np.uint8)])
    written = write_image(tmp_path / "a.jpg", Picture(smooth_photo))
    assert "loses detail" in written.notes[0]
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - smooth_photo).max() <= 6
    written = write_image(tmp_path / "b.jpg", Picture(rgba))
    assert "no alpha" in written.notes[1]
    assert read_image(tmp_path / "b.jpg").pixels.min() > 0.98 * 255


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
def test_profile_exif_resolution_and_texts_are_written_back(
    tmp_path: Path, smooth_photo: np.ndarray, rgb_profile: bytes, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = (1, 60)
    Image.fromarray(smooth_photo).save(tmp_path / "a.jpg", exif=exif, icc_profile=rgb_profile, dpi=(300, 300))
    write_image(tmp_path / f"b.{suffix}", read_image(tmp_path / "a.jpg"), text=TEXT)
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.size == (48, 64), "turned upright"
        assert image.info["icc_profile"] == rgb_profile
        kept = image.getexif()
        assert kept.get(0x0112, 1) == 1
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), np.asarray(image))
        if suffix != "tif":
            assert kept[0x010F] == "Maker"
            assert kept.get_ifd(0x8769)[0x829A] == (1, 60)
        if suffix in ("png", "jpg", "tif"):
            assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-4)
        if suffix == "png":
            assert image.text["gsr:method"] == "gsasr-edsr-df2k"  # pyright: ignore[reportAttributeAccessIssue]
    assert read_text(tmp_path / f"b.{suffix}") == TEXT


def test_texts_of_a_second_run_replace_those_of_the_first(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    write_image(tmp_path / "a.png", Picture(smooth_photo), text={"method": "first", "old": "1"})
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"), text={"method": "second"})
    assert read_text(tmp_path / "b.png") == {"method": "second"}
    with Image.open(tmp_path / "b.png") as image:
        assert [key for key in image.text if key.startswith("gsr:")] == ["gsr:method"]  # pyright: ignore[reportAttributeAccessIssue]


def test_other_programs_texts_and_xmp_stay(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a cat, steps 20")
    info.add_itxt(
        "XML:com.adobe.xmp",
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="kept" '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>',
    )
    Image.fromarray(smooth_photo).save(tmp_path / "a.png", pnginfo=info)
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"), text=TEXT)
    with Image.open(tmp_path / "b.png") as image:
        assert image.text["parameters"] == "a cat, steps 20"  # pyright: ignore[reportAttributeAccessIssue]
        xmp = image.text["XML:com.adobe.xmp"]  # pyright: ignore[reportAttributeAccessIssue]
    assert 'dc:format="kept"' in xmp
    assert 'tiff:Orientation="1"' in xmp
    assert read_text(tmp_path / "b.png") == TEXT


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
def test_strip_metadata_leaves_only_the_profile(
    tmp_path: Path, smooth_photo: np.ndarray, rgb_profile: bytes, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(smooth_photo).save(tmp_path / "a.jpg", exif=exif, icc_profile=rgb_profile, dpi=(300, 300))
    write_image(tmp_path / f"b.{suffix}", read_image(tmp_path / "a.jpg"), strip_metadata=True, text=TEXT)
    meta = read_image(tmp_path / f"b.{suffix}").meta
    assert (meta.icc, meta.exif, meta.xmp, meta.text, meta.dpi) == (rgb_profile, None, None, {}, None)
    assert b"Maker" not in (tmp_path / f"b.{suffix}").read_bytes()


def test_what_a_format_cannot_hold_is_said(tmp_path: Path, random_pixels: Pixels) -> None:
    deep = Picture(random_pixels(8, 8, 3, dtype=np.uint16))
    assert "16 bits: written with 8" in write_image(tmp_path / "a.webp", deep).notes[0]
    real = Picture(random_pixels(8, 8, 3, dtype=np.float32))
    assert "floating point: written with 16" in write_image(tmp_path / "a.png", real).notes[0]
    with pytest.raises(ImageError, match="at most 16383 pixels"):
        write_image(tmp_path / "b.webp", Picture(np.zeros((1, 16384, 3), np.uint8)))


def test_values_beyond_white_and_not_a_number_are_stored_as_the_nearest_colour(tmp_path: Path) -> None:
    rgb = np.array([[[-0.5, 1.7, np.nan], [np.inf, -np.inf, 0.5]]], np.float32)
    write_image(tmp_path / "a.webp", Picture(rgb))
    assert np.asarray(Image.open(tmp_path / "a.webp")).tolist() == [[[0, 255, 0], [255, 0, 128]]]


def test_nothing_is_overwritten_unless_asked(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    picture = Picture(smooth_photo)
    (tmp_path / "a.png").write_bytes(b"precious")
    with pytest.raises(ImageError, match="exists already"):
        write_image(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    write_image(tmp_path / "a.png", picture, overwrite=True)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, smooth_photo)


def test_the_input_is_never_written_onto_even_through_a_link(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    Image.fromarray(smooth_photo).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    os.link(tmp_path / "a.png", tmp_path / "hard.png")
    before = (tmp_path / "a.png").read_bytes()
    for name in ("a.png", "link.png", "hard.png", "../" + tmp_path.name + "/a.png"):
        with pytest.raises(ImageError, match="is the input itself"):
            write_image(tmp_path / name, read_image(tmp_path / "a.png"), overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("a.xyz", r"ends in '\.xyz', which is not an output format", r"\.png, \.tif"),
        ("a", "has no ending", r"\.png"),
        ("a.gif", "read, but not written", r"\.png"),
        ("a.bmp", "read, but not written", r"\.png"),
        ("nowhere/a.png", "folder .*nowhere does not exist", "Create it"),
        ("folder.png", "is a folder", "Name a file"),
    ],
)
def test_outputs_that_cannot_be_are_refused(tmp_path: Path, name: str, message: str, hint: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=message) as caught:
        write_image(tmp_path / name, Picture(np.zeros((2, 2, 3), np.float32)))
    assert hint.replace("\\", "") in caught.value.hint


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gsr_app.core.atomic.os.open", refuse)  # a real one would not stop root
    with pytest.raises(ImageError, match=r"a\.png cannot be written: Permission denied"):
        write_image(tmp_path / "a.png", Picture(np.zeros((2, 2, 3), np.float32)))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smooth_photo: np.ndarray
) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setitem(SAVE_OPTIONS, "png", {"no such option": 1})
    with pytest.raises(ImageError, match=r"a\.png cannot be written as PNG"):
        write_image(tmp_path / "a.png", Picture(smooth_photo), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_the_longest_names_can_be_written(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    write_image(path, Picture(smooth_photo))
    assert read_image(path).size == (48, 64)


def test_metadata_keys_must_be_plain(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match="'a<b'"):
        write_image(tmp_path / "a.png", Picture(smooth_photo), text={"a<b": "1"})
    assert not list(tmp_path.iterdir())


def test_a_palette_picture_is_written_in_true_colour(tmp_path: Path, random_pixels: Pixels) -> None:
    image = Image.fromarray(random_pixels(8, 8) % 4, mode="P")
    image.putpalette(random_pixels(4, 3).tobytes())
    image.save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", replace(picture, meta=replace(picture.meta, source=None)))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.asarray(image.convert("RGB")))


FULL_DISK = """
import resource, sys
import numpy as np
from gsr_app.core.errors import ImageError
from gsr_app.core.pixels import Layout
from gsr_app.io.images import Picture, RowWriter, write_image
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))  # what a full disk looks like to a process
rgb = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
try:
    write_image(sys.argv[1], Picture(rgb))
except ImageError as error:
    print(error)
try:
    with RowWriter(sys.argv[1], (200, 300), Layout.of(rgb)) as writer:
        writer.append(rgb)
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg", "avif"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / f"a.{suffix}")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(f"a.{suffix} cannot be written") == 2, done.stdout
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
