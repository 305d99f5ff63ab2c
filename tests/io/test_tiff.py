"""TIFF files that libvips does not read, or reads wrongly; their bytes and pixels do not come from the program."""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import pyvips
from PIL import Image

from gsr_app.core.errors import ImageError
from gsr_app.io.images import RowReader, read_image, read_metadata
from tests.files import pack_bits, tiff_of

Pixels = Callable[..., np.ndarray]
MISSING = {50000: "Zstandard", 34887: "LERC", 34712: "JPEG 2000", 34933: "PNG", 50002: "JPEG XL", 22610: "JPEG XR"}


@pytest.mark.parametrize("compression", MISSING)
@pytest.mark.parametrize("tile", [0, 32])
def test_a_compression_that_is_not_decoded_is_named(
    tmp_path: Path, random_pixels: Pixels, compression: int, tile: int
) -> None:
    pixels = random_pixels(70, 50, 3)
    (tmp_path / "a.tif").write_bytes(tiff_of(pixels, compression=compression, tile=tile))
    for read in (read_image, read_metadata, RowReader):
        with pytest.raises(
            ImageError, match=rf"compressed with {MISSING[compression]}, which is not decoded"
        ) as caught:
            read(tmp_path / "a.tif")
        assert "LZW or deflate" in caught.value.hint


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_lzma_is_decoded(tmp_path: Path, random_pixels: Pixels, dtype: type, tile: int) -> None:
    pixels = random_pixels(70, 50, 3, dtype=dtype)
    (tmp_path / "a.tif").write_bytes(tiff_of(pixels, compression=34925, compress=lzma.compress, tile=tile))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def lzw(data: bytes) -> bytes:
    """Every byte by its own code of 9 bits; the table is cleared before codes become longer."""
    codes = [code for start in range(0, len(data), 200) for code in (256, *data[start : start + 200])]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("damage", ["zeros", "cut"])
@pytest.mark.parametrize(("compression", "compress"), [(5, lzw), (8, zlib.compress), (1, bytes)])
def test_a_damaged_tile_is_an_error_not_a_black_square(
    tmp_path: Path, random_pixels: Pixels, compression: int, compress: Callable[[bytes], bytes], damage: str
) -> None:
    pixels, tiles = random_pixels(64, 64), 0

    def damaged(data: bytes) -> bytes:
        nonlocal tiles
        tiles += 1
        whole = compress(data)
        return whole if tiles != 3 else whole[:20] if damage == "cut" else whole[:20] + bytes(len(whole) - 20)

    (tmp_path / "whole.tif").write_bytes(tiff_of(pixels, compression=compression, compress=compress, tile=32))
    assert np.array_equal(read_image(tmp_path / "whole.tif").pixels, pixels)
    (tmp_path / "a.tif").write_bytes(tiff_of(pixels, compression=compression, compress=damaged, tile=32))
    if compression == 1 and damage == "zeros":
        return  # those zeros are pixels
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="cannot be decoded"):
        RowReader(tmp_path / "a.tif").rows(0, 64)


@pytest.mark.parametrize("bits", [*range(1, 17), 24])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_any_number_of_bits_becomes_the_full_range_of_8_or_16(
    tmp_path: Path, bits: int, bands: int, compressed: bool
) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (21, 13, bands), dtype=np.uint32)
    pack: Callable[[np.ndarray], bytes] = partial(pack_bits, bits=bits)
    if bits == 16:
        pack = lambda values: values.astype("<u2").tobytes()  # noqa: E731
    if bits == 24:
        pack = lambda values: values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()  # noqa: E731
    data = tiff_of(values, bits=bits, pack=pack)
    if compressed:
        data = tiff_of(values, bits=bits, pack=pack, compression=8, compress=zlib.compress, rows=5)
    (tmp_path / "a.tif").write_bytes(data)
    found = read_image(tmp_path / "a.tif").pixels.reshape(values.shape)
    full = 255 if bits <= 8 else 65535
    assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.array_equal(found, np.rint(values / ((1 << bits) - 1) * full))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_every_layout_of_channels_and_bytes(
    tmp_path: Path, dtype: str, order: Literal["<", ">"], tile: int, bands: int
) -> None:
    values = (np.random.default_rng(0).random((21, 33, bands)) * 200).astype(dtype)
    for planar in (False, True):
        (tmp_path / "a.tif").write_bytes(tiff_of(values, order=order, planar=planar, tile=tile))
        found = read_image(tmp_path / "a.tif").pixels.reshape(values.shape)
        assert found.dtype == (values.dtype if dtype.startswith("u") else np.float32)
        assert np.array_equal(found, values.astype(found.dtype)), planar


@pytest.mark.parametrize("predictor", [2, 3])
def test_differences_are_summed_in_float64_and_planar_tiles(tmp_path: Path, predictor: int) -> None:
    values = np.random.default_rng(0).random((16, 32, 1))

    def differences(part: np.ndarray) -> bytes:
        rows = len(part)
        if predictor == 2:
            numbers = (part[..., 0] * 65535).astype("<u2")
            return np.diff(numbers, axis=1, prepend=numbers.dtype.type(0)).astype("<u2").tobytes()
        columns = part[..., 0].astype(">f8").view(np.uint8).reshape(rows, -1, 8).swapaxes(1, 2).reshape(rows, -1)
        return np.diff(columns, axis=1, prepend=np.uint8(0)).astype(np.uint8).tobytes()

    data = tiff_of(
        values,
        bits=16 if predictor == 2 else 64,
        tile=16,
        planar=True,
        compression=8,
        compress=zlib.compress,
        tags={317: (3, [predictor]), 339: (3, [1 if predictor == 2 else 3])},
        pack=differences,
    )
    (tmp_path / "a.tif").write_bytes(data)
    expected = (values[..., 0] * 65535).astype(np.uint16) if predictor == 2 else values[..., 0].astype(np.float32)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, expected)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "c8", "c16"])
def test_numbers_that_are_no_colours_are_named(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(np.ones((5, 6), dtype)))
    what = "signed integers" if dtype.startswith("i") else "complex numbers"
    with pytest.raises(ImageError, match=rf"a\.tif is a TIFF of {what}, which are not colours") as caught:
        read_image(tmp_path / "a.tif")
    assert "damaged" not in caught.value.hint


def test_channels_of_different_depth_and_raw_camera_values_are_named(tmp_path: Path, random_pixels: Pixels) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(random_pixels(5, 6, 3), tags={258: (3, [5, 6, 5])}))
    with pytest.raises(ImageError, match="channels differ in depth"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(tiff_of(random_pixels(5, 6, dtype=np.uint16), tags={262: (3, [32803])}))
    with pytest.raises(ImageError, match="the raw values of a camera"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize(("compression", "compress"), [(1, bytes), (5, lzw), (8, zlib.compress)])
@pytest.mark.parametrize("side", [1, 2])  # of a block of pixels that share a Cb and a Cr
def test_ycbcr_without_jpeg_is_named(
    tmp_path: Path, compression: int, compress: Callable[[bytes], bytes], side: int, tile: int
) -> None:
    blocks = np.full((16 // side, 16 // side, side * side + 2), (*[100] * side * side, 90, 200), np.uint8)
    tags = {262: (3, [6]), 530: (3, [side, side]), 277: (3, [3]), 258: (3, [8] * 3), 339: (3, [1] * 3)}
    size = {256: (4, [16]), 257: (4, [16]), **({322: (3, [16]), 323: (3, [16])} if tile else {278: (3, [16])})}
    data = tiff_of(blocks, compression=compression, compress=compress, tile=tile and 16 // side, tags=tags | size)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif is a TIFF of YCbCr that is not compressed as JPEG") as caught:
        read_image(tmp_path / "a.tif")
    assert "Convert it to RGB" in caught.value.hint


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9])  # a* and b* signed (CIE), or with an offset (ICC)
def test_lab_of_8_and_16_bits_becomes_srgb(tmp_path: Path, bits: int, photometric: int) -> None:
    y, x = np.mgrid[:24, :32]
    rgb = np.stack([x * 8, y * 10, 255 - x * 3 - y], -1).astype(np.uint8)
    lab = pyvips.Image.new_from_array(rgb, interpretation="srgb").colourspace("lab").numpy()
    unit = 1 << bits - 8
    light = lab[..., 0] / 100 * (255 * unit if photometric == 9 else (1 << bits) - 1)
    color = lab[..., 1:] * unit + (128 * unit if photometric == 9 else 0)
    stored = np.rint(np.dstack([light, color])).astype(np.int64).astype(f"u{bits // 8}")
    (tmp_path / "a.tif").write_bytes(tiff_of(stored, tags={262: (3, [photometric])}))
    picture = read_image(tmp_path / "a.tif")
    assert picture.pixels.dtype == f"u{bits // 8}"
    error = np.abs(picture.pixels.astype(float) / (257 if bits == 16 else 1) - rgb)
    assert error.mean() < (1.5 if bits == 8 else 1)  # a* and b* of 8 bits are whole numbers
    assert any("sRGB" in note for note in picture.meta.notes)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize(("photometric", "dtype"), [(8, "u1"), (8, "u2"), (8, "f4"), (9, "u1"), (9, "u2")])
def test_lab_keeps_its_alpha(tmp_path: Path, photometric: int, dtype: str, rows: int, *, planar: bool) -> None:
    full = 1 if dtype == "f4" else np.iinfo(dtype).max
    values = np.zeros((5, 6, 4), dtype)  # without a* and b* it is grey
    values[..., 0] = 100 if dtype == "f4" else full if photometric == 8 else 255 << 8 * (values.itemsize - 1)
    values[..., 1:3] = 0 if photometric == 8 else 128 << 8 * (values.itemsize - 1)
    values[..., 3] = np.linspace(0, 1, 30).reshape(5, 6) * full
    values[2:, :, 0] = 0
    (tmp_path / "a.tif").write_bytes(tiff_of(values, planar=planar, rows=rows, tags={262: (3, [photometric])}))
    found = read_image(tmp_path / "a.tif").pixels
    white = np.iinfo(found.dtype).max
    assert found.dtype == (np.uint8 if dtype == "u1" else np.uint16)
    assert np.array_equal(found[..., 3], np.rint(values[..., 3] * (white / full)))
    np.testing.assert_allclose(found[:2, :, :3], white, atol=0.001 * white)
    np.testing.assert_allclose(found[2:, :, :3], 0, atol=0.001 * white)
    associated = tiff_of(values, planar=planar, rows=rows, tags={262: (3, [photometric]), 338: (3, [1])})
    (tmp_path / "a.tif").write_bytes(associated)
    with pytest.raises(ImageError, match=r"L\*a\*b\* times alpha, which is not read"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("bits", "bands"), [(4, 3), (12, 3), (8, 2), (8, 5), (16, 5)])
def test_lab_of_other_layouts_is_named(tmp_path: Path, bits: int, bands: int) -> None:
    values = np.ones((4, 6, bands), np.uint16)
    data = tiff_of(values, bits=bits, pack=partial(pack_bits, bits=bits), tags={262: (3, [8])})
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=rf"L\*a\*b\* in {bands} channels of {bits} bits"):
        read_image(tmp_path / "a.tif")


def test_associated_alpha_orientation_profile_and_resolution_of_unusual_depths(
    tmp_path: Path, rgb_profile: bytes
) -> None:
    values = np.zeros((4, 6, 4), np.float64)
    values[...] = 0.25, 0.5, 0.125, 0.5
    values[0, 0] = 0.5, 0.5, 0.5, 1
    tags = {338: (3, [1]), 274: (3, [6]), 34675: (7, rgb_profile), 282: (5, [300, 1]), 283: (5, [150, 1])}
    (tmp_path / "a.tif").write_bytes(tiff_of(values, tags=tags))
    picture = read_image(tmp_path / "a.tif")
    assert picture.size == (6, 4)
    np.testing.assert_allclose(picture.pixels[3, 1], [0.5, 1, 0.25, 0.5], atol=1e-6)
    np.testing.assert_allclose(picture.pixels[0, 3], [0.5, 0.5, 0.5, 1], atol=1e-6)
    assert picture.meta.icc == rgb_profile
    assert picture.meta.dpi == pytest.approx((150, 300))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("colors", [(0.25,), (0.25, 0.5, 0.125)])
def test_associated_alpha_of_every_depth(
    tmp_path: Path, dtype: str, colors: tuple[float, ...], *, planar: bool
) -> None:
    full = 1 if dtype.startswith("f") else np.iinfo(dtype).max
    values = np.broadcast_to([*colors, 0.5], (4, 6, len(colors) + 1)) * full
    (tmp_path / "a.tif").write_bytes(tiff_of(values.astype(dtype), planar=planar, tags={338: (3, [1])}))
    found = read_image(tmp_path / "a.tif").pixels
    white = 1 if found.dtype == np.float32 else np.iinfo(found.dtype).max
    expected = [*(2 * color for color in colors), 0.5]
    np.testing.assert_allclose(found[2, 3] / white, expected, atol=1e-6 if white == 1 else 2 / white)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("alpha", [(), (0.25,)])
def test_where_0_is_white_grey_is_inverted_and_alpha_is_not(
    tmp_path: Path, dtype: str, alpha: tuple[float, ...], *, planar: bool
) -> None:
    full = 1 if dtype.startswith("f") else np.iinfo(dtype).max
    values = (np.broadcast_to([0.125, *alpha], (4, 6, 1 + len(alpha))) * full).astype(dtype)
    (tmp_path / "a.tif").write_bytes(tiff_of(values, planar=planar, tags={262: (3, [0])}))
    expected = values.astype(float)
    expected[..., 0] = full - expected[..., 0]
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels.reshape(values.shape), expected)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("compressed", [False, True])
def test_cmyk_is_the_same_with_every_alpha_depth_and_layout(
    tmp_path: Path, dtype: str, tile: int, *, planar: bool, compressed: bool
) -> None:
    full = np.iinfo(dtype).max
    inks = np.random.default_rng(0).integers(0, 128, (21, 33, 4), np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff_of(inks, tags={262: (3, [5]), 338: (3, [])}))
    expected = read_image(tmp_path / "a.tif").pixels.astype(float) / 255
    write = partial(tiff_of, tile=tile, planar=planar)
    if compressed:
        write = partial(write, compression=8, compress=zlib.compress)
    whole = np.dstack([inks.astype(np.int64) * (full // 255), np.full((21, 33), full // 255 * 192)]).astype(dtype)
    for values, extra in ((whole[..., :4], []), (whole, [0]), (whole, [2])):
        (tmp_path / "a.tif").write_bytes(write(values, tags={262: (3, [5]), 338: (3, extra)}))
        found = read_image(tmp_path / "a.tif").pixels
        white = np.iinfo(found.dtype).max
        np.testing.assert_allclose(found[..., :3] / white, expected, atol=2 / 255)
        if extra:
            assert (found[..., 3] == white // 255 * 192).all()
    half = np.dstack([inks.astype(np.int64) * (full // 255), np.full((21, 33), full - full // 2)]).astype(dtype)
    half[..., :4] //= 2
    (tmp_path / "a.tif").write_bytes(write(half, tags={262: (3, [5]), 338: (3, [1])}))
    found = read_image(tmp_path / "a.tif").pixels
    np.testing.assert_allclose(found[..., :3] / np.iinfo(found.dtype).max, expected, atol=4 / 255)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("dtype", "bands"), [("f4", 4), ("f2", 5)])
def test_cmyk_of_floats_is_named(tmp_path: Path, dtype: str, bands: int, *, planar: bool) -> None:
    data = tiff_of(np.full((4, 6, bands), 0.25, dtype), planar=planar, tags={262: (3, [5])})
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=rf"CMYK as floats in {bands} channels, which is not read"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_a_palette_with_alpha_in_every_depth_and_layout(
    tmp_path: Path, bits: int, tile: int, *, planar: bool, alpha: bool, grey: bool
) -> None:
    random = np.random.default_rng(bits)
    values = random.integers(0, 1 << bits, (21, 33, 1 + alpha), np.uint8)
    table = random.integers(0, 256, (3, 1 << bits))
    table[:, 0] = 10, 200, 100  # not grey
    if grey:
        table[:] = table[0]
    tags = {262: (3, [3]), 320: (3, (table * 257).ravel().tolist()), 338: (3, [2] * alpha)}
    pack = partial(pack_bits, bits=bits)
    write = partial(tiff_of, bits=bits, pack=pack, tile=tile, planar=planar, tags=tags)
    colors = table.T[values[..., 0]][..., : 1 if grey else 3]
    expected = np.dstack([colors, values[..., 1:] * (255 // ((1 << bits) - 1))])
    for compression, compress in ((1, bytes), (8, zlib.compress)):
        (tmp_path / "a.tif").write_bytes(write(values, compression=compression, compress=compress))
        assert np.array_equal(read_image(tmp_path / "a.tif").pixels.reshape(expected.shape), expected)


def test_a_palette_without_its_colours_is_named(tmp_path: Path) -> None:
    values = np.zeros((4, 6, 2), np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff_of(values, planar=True, tags={262: (3, [3]), 320: (3, [0] * 6)}))
    with pytest.raises(ImageError, match=r"a palette of 2 colours, in 2 channels of 8 bits, which is not read"):
        read_image(tmp_path / "a.tif")


def jpeg(data: bytes, size: tuple[int, int], mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.frombytes(mode, size, data).save(out, "jpeg", quality=95)
    return out.getvalue()


@pytest.mark.parametrize("tile", [0, 16])
def test_jpeg_of_grey_and_alpha_in_planes_is_named(tmp_path: Path, tile: int) -> None:
    values = np.full((32, 16, 2), (10, 200), np.uint8)
    data = tiff_of(values, planar=True, tile=tile, rows=16, compression=7, compress=partial(jpeg, size=(16, 16)))
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match="8 bits in planes with JPEG, which is not read"):
        read_image(tmp_path / "a.tif")


@pytest.mark.filterwarnings("error")
def test_values_beyond_float32_are_an_error_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(np.full((4, 6), 1e300)))
    with pytest.raises(ImageError, match="values that are not numbers"):
        read_image(tmp_path / "a.tif")


def test_a_huge_claim_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    small = tiff_of(np.zeros((4, 4), np.float64), tags={256: (4, [1 << 20]), 257: (4, [1 << 20])})
    (tmp_path / "a.tif").write_bytes(small)
    with pytest.raises(ImageError, match="claims 1048576 x 1048576"):
        read_image(tmp_path / "a.tif")
