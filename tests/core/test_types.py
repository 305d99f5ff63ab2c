"""Scales, views, fields and timings: what they accept, what they refuse, and the arithmetic between them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsr_app.core.errors import InvalidArgument, InvalidScale, SizeOutOfReach
from gsr_app.core.types import (
    MAX_SCALE,
    MIN_SCALE,
    BackendReport,
    GaussianField,
    Progress,
    Scale,
    Timing,
    View,
)

FACTORS = st.floats(MIN_SCALE, MAX_SCALE)
SIDES = st.integers(1, 4000)


@pytest.mark.parametrize(
    ("text", "y", "x"),
    [
        ("4", 4, 4),
        ("3.7", 3.7, 3.7),
        (".5", 0.5, 0.5),
        ("2.", 2, 2),
        (" 2.5 x 4 ", 2.5, 4),
        ("2.5×4", 2.5, 4),
        ("2X3", 2, 3),
        ("64x64", 64, 64),
        ("x4", 4, 4),
        ("×2.7", 2.7, 2.7),
        ("2x", 2, 2),
    ],
)
def test_factors_are_read_vertical_first(text: str, y: float, x: float) -> None:
    assert Scale.parse(text) == Scale(y, x)


@pytest.mark.parametrize(
    ("text", "y", "x"),
    [
        ("1920x1080", 1080 / 270, 1920 / 640),
        ("1920x", 3, 3),
        ("x1080", 4, 4),
        ("fit:3840x1080", 4, 4),
        ("fit:1280x9999", 2, 2),
        ("FIT: 1280 × 9999", 2, 2),
        ("640x65", 65 / 270, 1),
    ],
)
def test_sizes_are_read_width_first(text: str, y: float, x: float) -> None:
    scale = Scale.parse(text, (270, 640))
    assert (scale.y, scale.x) == pytest.approx((y, x), rel=1e-15)


def test_a_small_pair_is_factors_unless_it_must_be_a_size() -> None:
    assert Scale.parse("48x48", (24, 24)) == Scale(48, 48)
    assert Scale.parse_size("48x48", (24, 24)) == Scale(2, 2)
    assert Scale.parse_size("48x", (24, 24)) == Scale(2, 2)


def test_a_size_that_suits_another_picture_is_told_from_one_that_suits_none() -> None:
    with pytest.raises(SizeOutOfReach, match="too far from the picture's own, 64x48"):
        Scale.parse("9999x", (48, 64))
    with pytest.raises(InvalidScale, match="0x100 has no pixels") as caught:
        Scale.parse_size("0x100", (48, 64))
    assert not isinstance(caught.value, SizeOutOfReach)
    with pytest.raises(InvalidScale, match="the size '1920'"):
        Scale.parse_size("1920", (48, 64))


@pytest.mark.parametrize(
    "text", ["", "x", "fit:", "fit:1920x", "abc", "-2", "2x3x4", "1e3", "2,500", "fit:x", "nan", "inf"]
)
def test_what_cannot_be_read_is_quoted_and_the_forms_are_listed(text: str) -> None:
    with pytest.raises(InvalidScale) as caught:
        Scale.parse(text, (100, 100))
    assert repr(text) in str(caught.value)
    assert "fit:3840x2160" in caught.value.hint


def test_a_size_needs_the_source() -> None:
    with pytest.raises(InvalidScale, match="needs the source's size"):
        Scale.parse("1920x1080")


@pytest.mark.parametrize(
    "text", ["0", "65", "0.001", "0x0", "9" * 400, "9" * 400 + "x", "x" + "9" * 5000, "2x" + "9" * 400]
)
def test_factors_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidScale):
        Scale.parse(text, (100, 100))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0, MIN_SCALE / 2, MAX_SCALE * 2])
def test_a_scale_is_always_finite_and_in_range(value: float) -> None:
    with pytest.raises(InvalidScale, match="The vertical scale"):
        Scale(value, 1)
    with pytest.raises(InvalidScale, match="The horizontal scale"):
        Scale(1, value)


@settings(deadline=None)
@given(st.text(max_size=12), SIDES, SIDES)
def test_any_text_is_a_scale_or_a_clear_refusal(text: str, height: int, width: int) -> None:
    with contextlib.suppress(InvalidScale):
        scale = Scale.parse(text, (height, width))
        assert MIN_SCALE <= scale.y <= MAX_SCALE


@settings(deadline=None)
@given(st.text("0123456789.x×: fit", max_size=14))
def test_text_that_nearly_is_a_scale_is_one_or_refused(text: str) -> None:
    try:
        scale = Scale.parse(text, (37, 53))
    except InvalidScale:
        return
    assert min(scale.y, scale.x) >= MIN_SCALE
    assert max(scale.y, scale.x) <= MAX_SCALE
    assert min(scale.output_size((37, 53))) >= 1


@settings(deadline=None)
@given(FACTORS, FACTORS)
def test_factors_written_out_are_read_back(y: float, x: float) -> None:
    assert Scale.parse(f"{y:.17f}x{x:.17f}", (1, 1)) == Scale(float(f"{y:.17f}"), float(f"{x:.17f}"))
    uniform = Scale(y, y)
    assert uniform.is_uniform
    assert Scale.parse(str(uniform)).y == pytest.approx(y, rel=1e-5)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(65, 8000), st.integers(65, 8000))
def test_a_target_size_is_met_to_the_pixel(height: int, width: int, target_height: int, target_width: int) -> None:
    try:
        scale = Scale.parse(f"{target_width}x{target_height}", (height, width))
    except InvalidScale:
        assert max(target_height / height, target_width / width) > MAX_SCALE or (
            min(target_height / height, target_width / width) < MIN_SCALE
        )
    else:
        assert scale.output_size((height, width)) == (target_height, target_width)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(1, 8000), st.integers(1, 8000))
def test_a_fitted_picture_fits_and_touches(height: int, width: int, box_height: int, box_width: int) -> None:
    try:
        scale = Scale.parse(f"fit:{box_width}x{box_height}", (height, width))
    except InvalidScale:
        return
    fitted = scale.output_size((height, width))
    assert scale.is_uniform
    assert fitted[0] <= box_height
    assert fitted[1] <= box_width
    assert fitted[0] == box_height or fitted[1] == box_width


@settings(deadline=None)
@given(SIDES, SIDES, FACTORS)
def test_output_has_every_whole_pixel_the_source_covers(height: int, width: int, factor: float) -> None:
    out = Scale(factor, factor).output_size((height, width))
    for side, source in zip(out, (height, width), strict=True):
        assert side >= 1
        assert side == 1 or side <= source * factor + 1e-6
        assert side + 1 > source * factor - 1e-6


def test_a_comma_before_one_or_two_digits_is_a_decimal_point() -> None:
    assert Scale.parse("2,7") == Scale(2.7, 2.7)
    assert Scale.parse("2,25x3,5") == Scale(2.25, 3.5)


def test_scales_print_as_they_are_read() -> None:
    assert str(Scale(4, 4)) == "4"
    assert str(Scale(2.5, 4)) == "2.5x4"


@settings(deadline=None)
@given(SIDES, SIDES, FACTORS, FACTORS)
def test_the_whole_view_has_the_scale_it_was_made_with(height: int, width: int, y: float, x: float) -> None:
    view = View.whole((height, width), Scale(y, x))
    assert view.size == Scale(y, x).output_size((height, width))
    assert (view.size[0] / view.span[0], view.size[1] / view.span[1]) == pytest.approx((y, x), rel=1e-12)
    assert view.origin == (0, 0)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.3, 9), st.data())
def test_a_crop_shows_the_same_source_points(height: int, width: int, factor: float, data: st.DataObject) -> None:
    view = View.whole((height, width), Scale(factor, factor))
    top, left = data.draw(st.integers(0, view.size[0] - 1)), data.draw(st.integers(0, view.size[1] - 1))
    rows, columns = data.draw(st.integers(1, view.size[0] - top)), data.draw(st.integers(1, view.size[1] - left))
    crop = view.crop(top, left, rows, columns)
    assert crop.size == (rows, columns)
    # The centre of the crop's pixel (0, 0) is the centre of the view's pixel (top, left).
    step_y, step_x = view.span[0] / view.size[0], view.span[1] / view.size[1]
    assert crop.origin == pytest.approx((left * step_x, top * step_y), abs=1e-9)
    assert crop.span == pytest.approx((rows * step_y, columns * step_x), rel=1e-12)


def test_a_crop_of_a_crop_is_a_crop() -> None:
    view = View((3.0, 5.0), (20.0, 30.0), (50, 60))
    twice, once = view.crop(10, 20, 30, 30).crop(4, 5, 6, 7), view.crop(14, 25, 6, 7)
    assert twice.origin == pytest.approx(once.origin)
    assert twice.span == pytest.approx(once.span)
    assert twice.size == once.size


@pytest.mark.parametrize(
    ("origin", "span", "size"),
    [
        ((math.nan, 0.0), (1.0, 1.0), (1, 1)),
        ((0.0, 0.0), (0.0, 1.0), (1, 1)),
        ((0.0, 0.0), (1.0, math.inf), (1, 1)),
        ((0.0, 0.0), (1.0, 1.0), (0, 1)),
    ],
)
def test_views_of_nothing_are_refused(
    origin: tuple[float, float], span: tuple[float, float], size: tuple[int, int]
) -> None:
    with pytest.raises(InvalidArgument, match="A view needs"):
        View(origin, span, size)


def field_of(count: int, **changes: np.ndarray) -> GaussianField:
    arrays = {
        "mean": np.zeros((count, 2)),
        "sigma": np.ones((count, 2)),
        "rho": np.zeros(count),
        "color": np.zeros((count, 3)),
    }
    return GaussianField(**(arrays | changes), source_size=(4, 6))


def test_a_field_checks_its_shapes() -> None:
    assert len(field_of(5)) == 5
    assert repr(field_of(1234)) == "GaussianField(1,234 additive Gaussians, source 6x4)"
    with pytest.raises(InvalidArgument, match=r"sigma must have shape \(5, 2\), found \(4, 2\)"):
        field_of(5, sigma=np.ones((4, 2)))
    with pytest.raises(InvalidArgument, match="rho must have shape"):
        field_of(5, rho=np.zeros((5, 1)))
    with pytest.raises(InvalidArgument, match=r"color must have shape \(5, C\)"):
        field_of(5, color=np.zeros(5))


def test_timings_add_up() -> None:
    timing = Timing({"read": 1.5, "encode": 10.0}, device="cpu")
    assert timing.total_ms == 11.5
    more = timing.including(encode=5.0, write=2.0)
    assert more.stages_ms == {"read": 1.5, "encode": 15.0, "write": 2.0}
    assert (more.total_ms, more.device) == (18.5, "cpu")
    assert timing.total_ms == 11.5, "the first one has not changed"
    assert Timing().total_ms == 0


def test_progress_has_a_fraction_even_of_nothing() -> None:
    assert Progress("render", 1, 4).fraction == 0.25
    assert Progress("render", 0, 0).fraction == 0.0


def test_a_backend_report_is_true_when_it_fell_back_and_says_why() -> None:
    assert not BackendReport("cuda")
    assert str(BackendReport("cuda")) == "cuda"
    report = BackendReport("reference", True, ("no compiler", "no GPU"))
    assert report
    assert str(report) == "reference (no compiler; no GPU)"


def test_nouns_are_frozen_and_cross_processes() -> None:
    for noun in (Scale(2, 3), View((0, 0), (1, 1), (2, 2)), Progress("read", 1, 2), Timing({"read": 1.0})):
        assert pickle.loads(pickle.dumps(noun)) == noun
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(noun, dataclasses.fields(noun)[0].name, None)
