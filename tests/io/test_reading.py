"""Every kind of image file that people have, read and compared with another decoder or with the pixels put in."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps

from gsr_app.core.errors import ImageError
from gsr_app.core.pixels import convert
from gsr_app.io.images import read_image, read_metadata, write_image

Pixels = Callable[..., np.ndarray]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_png_of_every_depth_and_channel_count(
    tmp_path: Path, random_pixels: Pixels, encode_png: Callable[..., bytes], bands: int, dtype: type
) -> None:
    pixels = random_pixels(13, 17, bands, dtype=dtype)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    picture = read_image(tmp_path / "a.png")
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, pixels if bands > 1 else pixels[..., 0])
    assert picture.meta.format == "png"


def test_bmp_is_read_from_its_last_row_up(tmp_path: Path, random_pixels: Pixels) -> None:
    pixels = random_pixels(5, 4, 3)  # rows of 4 pixels need no padding
    head = struct.pack("<2sIHHI", b"BM", 54 + pixels.nbytes, 0, 0, 54)
    head += struct.pack("<IiiHHIIiiII", 40, 4, 5, 1, 24, 0, pixels.nbytes, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(head + pixels[::-1, :, ::-1].tobytes())
    picture = read_image(tmp_path / "a.bmp")
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.meta.format, picture.pixels.dtype) == ("bmp", np.uint8)
    (tmp_path / "cut.bmp").write_bytes((head + pixels.tobytes())[:-20])
    with pytest.raises(ImageError, match="cannot be read as BMP"):
        read_image(tmp_path / "cut.bmp")


def test_a_picture_with_values_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    values = np.full((4, 5), 0.5, np.float32)
    values[2, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif holds values that are not numbers"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_images_become_true_colour(tmp_path: Path, random_pixels: Pixels, transparent: bool) -> None:
    palette, index = random_pixels(16, 3), random_pixels(20, 30) % 16
    image = Image.fromarray(index, mode="P")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png", **({"transparency": bytes(range(0, 256, 16))} if transparent else {}))
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels[..., :3], palette[index])
    assert picture.meta.palette
    assert picture.layout.has_alpha == transparent
    if transparent:
        assert np.array_equal(picture.pixels[..., 3], index * 16)


def test_one_bit_images_become_black_and_white(tmp_path: Path, random_pixels: Pixels) -> None:
    bits = random_pixels(9, 21) > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, bits * np.uint8(255))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_agrees_with_another_decoder(tmp_path: Path, smooth_photo: np.ndarray, options: dict) -> None:
    Image.fromarray(smooth_photo).save(tmp_path / "a.jpg", quality=92, **options)
    expected = np.asarray(Image.open(tmp_path / "a.jpg")).astype(int)
    found = read_image(tmp_path / "a.jpg").pixels
    assert np.abs(found - expected).max() <= 2


def test_grey_jpeg_stays_grey(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    Image.fromarray(smooth_photo[..., 0]).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").pixels.shape == (48, 64)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_converted_to_srgb_and_said_so(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((8, 24, 4), np.uint8)  # paper, pure black, pure magenta
    inks[:, 8:16, 3] = 255
    inks[:, 16:, 1] = 255
    Image.fromarray(inks, mode="CMYK").save(tmp_path / f"a.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    picture = read_image(tmp_path / f"a.{suffix}")
    paper, black, magenta = (picture.pixels[4, x] / 255 for x in (4, 12, 20))
    assert paper.min() > 0.95
    assert black.max() < 0.25
    assert magenta[0] > 0.7
    assert magenta[1] < 0.35
    assert picture.meta.icc is not None
    assert picture.meta.icc[16:20] == b"RGB "
    assert any("CMYK" in note for note in picture.meta.notes)


@pytest.mark.parametrize("space", ["lab", "labs"])
def test_lab_is_converted_to_srgb(tmp_path: Path, smooth_photo: np.ndarray, space: str) -> None:
    image = pyvips.Image.new_from_array(smooth_photo).copy(interpretation="srgb")
    image.colourspace(space).tiffsave(str(tmp_path / "a.tif"))
    picture = read_image(tmp_path / "a.tif")
    assert np.abs(convert(picture.pixels, np.uint8).astype(int) - smooth_photo).max() <= 1
    assert any(space.upper() in note for note in picture.meta.notes)


@pytest.mark.parametrize("suffix", ["webp", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_and_avif_agree_with_another_decoder(
    tmp_path: Path, smooth_photo: np.ndarray, suffix: str, mode: str
) -> None:
    pixels = np.dstack([smooth_photo, smooth_photo[..., 0]])[..., : len(mode)]
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", quality=90, lossless=suffix == "webp", exact=True)
    expected = np.asarray(Image.open(tmp_path / f"a.{suffix}").convert(mode)).astype(int)
    found = read_image(tmp_path / f"a.{suffix}").pixels
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (0 if suffix == "webp" else 10)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif"])
def test_the_first_frame_is_read_and_the_others_are_mentioned(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_image(tmp_path / f"a.{suffix}")
    assert picture.size == (10, 20)
    assert (picture.pixels[..., :3] == [255, 0, 0]).all()
    assert any("3 frames" in note for note in picture.meta.notes)


def test_sixteen_bit_and_float_tiff(tmp_path: Path, random_pixels: Pixels) -> None:
    grey16, grey_float = random_pixels(11, 7, dtype=np.uint16), random_pixels(11, 7, dtype=np.float32) * 3 - 1
    Image.fromarray(grey16).save(tmp_path / "i.tif")
    Image.fromarray(grey_float).save(tmp_path / "f.tif")
    assert np.array_equal(read_image(tmp_path / "i.tif").pixels, grey16)
    picture = read_image(tmp_path / "f.tif")
    assert picture.pixels.dtype == np.float32
    assert np.array_equal(picture.pixels, grey_float), "float values beyond 0..1 are kept"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_every_exif_orientation_is_applied(
    tmp_path: Path, smooth_photo: np.ndarray, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    Image.fromarray(smooth_photo).save(tmp_path / f"a.{suffix}", exif=exif, quality=95, lossless=True)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / f"a.{suffix}"))).astype(int)
    picture = read_image(tmp_path / f"a.{suffix}")
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels - expected).max() <= 2
    if picture.meta.exif:
        kept = Image.Exif()
        kept.load(picture.meta.exif)
        assert (kept[0x0112], kept[0x010F]) == (1, "Maker")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "code"), [(1, "B3x"), (3, "H2x"), (4, "I")])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_is_turned_once_whatever_the_type_of_its_orientation(
    tmp_path: Path, smooth_photo: np.ndarray, suffix: str, kind: int, code: str, order: str
) -> None:
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, 1)
    exif = head + struct.pack(f"{order}HHI{code}I", 0x0112, kind, 1, 6, 0)
    Image.fromarray(smooth_photo).save(tmp_path / f"a.{suffix}", exif=b"Exif\0\0" + exif)
    assert read_image(tmp_path / f"a.{suffix}").size == (64, 48)
    for target in ("png", "jpg", "webp"):
        write_image(tmp_path / f"b.{target}", read_image(tmp_path / f"a.{suffix}"))
        with Image.open(tmp_path / f"b.{target}") as image:
            assert image.size == (48, 64)
            assert image.getexif().get(0x0112, 1) == 1


def test_an_rgb_profile_is_kept_and_the_values_with_it(
    tmp_path: Path, random_pixels: Pixels, rgb_profile: bytes
) -> None:
    pixels = random_pixels(10, 12, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=rgb_profile)
    picture = read_image(tmp_path / "a.png")
    assert picture.meta.icc == rgb_profile
    assert np.array_equal(picture.pixels, pixels)


def test_a_profile_that_does_not_fit_the_channels_is_dropped(
    tmp_path: Path, random_pixels: Pixels, rgb_profile: bytes
) -> None:
    Image.fromarray(random_pixels(10, 12)).save(tmp_path / "a.png", icc_profile=rgb_profile)
    assert read_image(tmp_path / "a.png").meta.icc is None


def test_a_cmyk_profile_is_used_for_the_conversion(tmp_path: Path, smooth_photo: np.ndarray) -> None:
    lab = ImageCms.createProfile("LAB")  # stands for any profile that is not CMYK: must not be applied
    blob = ImageCms.ImageCmsProfile(lab).tobytes()
    Image.fromarray(smooth_photo).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=blob, quality=95)
    assert read_image(tmp_path / "a.jpg").pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_resolution_is_read(tmp_path: Path, smooth_photo: np.ndarray, suffix: str) -> None:
    Image.fromarray(smooth_photo).save(tmp_path / f"a.{suffix}", dpi=(300, 150))
    assert read_image(tmp_path / f"a.{suffix}").meta.dpi == pytest.approx((300, 150), rel=1e-3)
    Image.fromarray(smooth_photo).save(tmp_path / "none.png")
    assert read_image(tmp_path / "none.png").meta.dpi is None


def test_content_wins_over_the_name_and_the_reader_says_so(tmp_path: Path, random_pixels: Pixels) -> None:
    Image.fromarray(random_pixels(5, 5, 3)).save(tmp_path / "a.jpg", format="png")
    picture = read_image(tmp_path / "a.jpg")
    assert picture.meta.format == "png"
    assert picture.meta.notes == ("a.jpg is a PNG file by its content; its name's ending was ignored.",)


@pytest.mark.parametrize(
    "name", ["photo[1].png", "photo[page=3].png", "ünï çødé 写真.png", "a%20b;c'd.png", "noending"]
)
def test_odd_names_are_only_names(tmp_path: Path, random_pixels: Pixels, name: str) -> None:
    pixels = random_pixels(5, 6, 3)
    with open(tmp_path / name, "wb") as file:
        Image.fromarray(pixels).save(file, format="png")
    assert np.array_equal(read_image(tmp_path / name).pixels, pixels)


def test_a_file_that_changed_is_read_again(tmp_path: Path, random_pixels: Pixels) -> None:
    for seed in (1, 2):
        pixels = random_pixels(5, 6, 3, seed=seed)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)


def test_premultiplied_tiff_is_divided_by_its_alpha(tmp_path: Path) -> None:
    premultiplied = np.full((4, 4, 4), (50, 100, 20, 128), np.uint8)
    Image.fromarray(premultiplied).save(tmp_path / "a.tif")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index(struct.pack("<HHI", 338, 3, 1))  # the tag ExtraSamples; 1 is "associated alpha"
    data[entry + 8] = 1
    (tmp_path / "a.tif").write_bytes(data)
    colour = read_image(tmp_path / "a.tif").pixels[0, 0, :3]
    np.testing.assert_allclose(colour, np.array([50, 100, 20]) * 255 / 128, atol=1)


def test_the_header_alone_tells_size_and_metadata(tmp_path: Path, random_pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random_pixels(5, 9, 3)).save(tmp_path / "a.png", exif=exif)
    size, meta = read_metadata(tmp_path / "a.png")
    assert size == (9, 5)
    assert meta.format == "png"


def test_importing_the_reader_loads_neither_libvips_nor_torch() -> None:
    code = "import sys, gsr_app.io.images; print(sorted({'pyvips', 'torch', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_interlaced_png_is_read(tmp_path: Path, random_pixels: Pixels, mode: str) -> None:
    pixels = random_pixels(19, 23, 4)[..., : {"L": 1, "RGB": 3, "RGBA": 4}[mode]].squeeze()
    image = pyvips.Image.new_from_array(pixels)
    image.copy(interpretation="b-w" if mode == "L" else "srgb").pngsave(str(tmp_path / "a.png"), interlace=True)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)
