"""The rule for pixels, against arithmetic written out here in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.pixels import Layout, as_rgb, convert, from_planes, store, to_planes

DTYPES = (np.uint8, np.uint16, np.float32)


def stored(*shape: int, dtype: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is np.float32:
        return rng.uniform(-1.5, 2.5, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_integer_becomes_the_float_nearest_to_its_share_of_white_and_comes_back(dtype: Any) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]
    planes = to_planes(levels)
    assert (planes[0] == (levels.astype(np.float64) / np.iinfo(dtype).max).astype(np.float32)).all()
    assert (from_planes(planes, dtype)[..., 0] == levels).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_floats_are_neither_clipped_nor_rounded(channels: int) -> None:
    image = stored(9, 7, channels, dtype=np.float32)
    assert (from_planes(to_planes(image), np.float32) == image).all()


def test_floats_become_the_nearest_integer_and_what_is_beyond_becomes_black_or_white() -> None:
    values = np.array([[-np.inf, -0.5, 0, 0.4999 / 255, 0.5001 / 255, 0.5, 1, 1.5, np.inf, np.nan]], np.float32)
    assert from_planes(values[None], np.uint8)[0, :, 0].tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_is_exactly_the_value_that_three_equal_channels_have(dtype: Any) -> None:
    grey = stored(50, 40, dtype=dtype)
    assert (convert(convert(grey, channels=3), channels=0) == grey).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_colours_become_their_bt601_luma(dtype: Any) -> None:
    rgb = stored(20, 30, 3, dtype=dtype)
    exact = rgb.astype(np.float64) @ [0.299, 0.587, 0.114]
    most = 1e-6 if dtype is np.float32 else 0.51
    assert np.abs(convert(rgb, channels=0) - exact).max() <= most


def test_each_pixel_is_converted_alike_wherever_the_picture_is_cut() -> None:
    rgb = stored(64, 9, 3, dtype=np.float32)
    rgb[::3] = rgb[::3, :, :1]  # grey rows among coloured ones
    whole = convert(rgb, channels=1)
    assert (np.concatenate([convert(rgb[top : top + 5], channels=1) for top in range(0, 64, 5)]) == whole).all()


@pytest.mark.parametrize(("one", "two"), list(itertools.product(DTYPES, DTYPES)))
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_a_deeper_dtype_keeps_every_level(one: Any, two: Any, channels: int) -> None:
    if np.dtype(two).itemsize < np.dtype(one).itemsize:
        one, two = two, one
    image = stored(*((6, 5, channels) if channels else (6, 5)), dtype=one)
    deep = convert(image, two)
    assert (deep.dtype, deep.shape) == (two, image.shape)
    assert (convert(deep, one) == image).all()


def test_an_alpha_that_is_left_out_is_ignored_or_laid_on_a_background() -> None:
    image = np.array([[[100, 50, 200, 0], [100, 50, 200, 255], [100, 50, 200, 51]]], np.uint8)
    assert (convert(image, channels=3) == image[..., :3]).all()
    assert convert(image, channels=3, background=1.0)[0].tolist() == [[255] * 3, [100, 50, 200], [224, 214, 244]]
    assert convert(image, channels=3, background=0.0)[0].tolist() == [[0] * 3, [100, 50, 200], [20, 10, 40]]


def test_channels_that_a_picture_lacks_are_grey_three_times_and_an_opaque_alpha() -> None:
    grey = stored(4, 5, dtype=np.uint16)
    assert (convert(grey, channels=4) == np.dstack([grey, grey, grey, np.full_like(grey, 65535)])).all()
    assert (as_rgb(np.dstack([grey, grey // 2])) == np.dstack([grey] * 3)).all()


def test_a_picture_that_needs_no_change_is_not_copied() -> None:
    image = stored(4, 5, 3, dtype=np.uint8)
    assert convert(image, np.uint8, 3) is image


def test_storing_into_a_part_of_an_array_leaves_the_rest() -> None:
    out = np.full((4, 3, 4), 7, np.uint8)
    store(np.zeros((3, 2, 3), np.float32), out[1:3, :, :3])
    assert (out[1:3, :, :3] == 0).all()
    assert (out[[0, 3]] == 7).all()
    assert (out[..., 3] == 7).all()


@pytest.mark.parametrize("image", [np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4)), [[1]]])
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(InvalidArgument, match="image must be"):
        Layout.of(image)
