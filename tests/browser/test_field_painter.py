"""The painter of fields alone: equal to the op, quick, and small."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.io.fields import pack_field
from tests.browser.fields import SOURCE, drawn, field_of, packed_url, reference

pytestmark = pytest.mark.browser


def views() -> dict[str, View]:
    """The whole at several scales; corners, where Gaussians reach in from outside; one axis stretched."""
    found = {f"x{scale:g}": View.whole(SOURCE, Scale(scale, scale)) for scale in (0.5, 1, 3.7)}
    for name, origin in {"middle": (20.37, 11.71), "first corner": (-1.5, -1.25), "last corner": (52.5, 36.5)}.items():
        found[f"x64 {name}"] = View(origin, (300 / 64, 400 / 64), (300, 400))
    found["2.5x4"] = View.whole(SOURCE, Scale(2.5, 4))
    return found


@pytest.mark.parametrize("normalize", [False, True], ids=["additive", "normalised"])
def test_what_the_browser_draws_equals_the_op(alone: Callable[..., Any], normalize: bool) -> None:
    field = field_of(normalize=normalize)
    page = alone(field)
    for name, view in views().items():
        error = np.abs(drawn(page, view) - reference(field, view))
        print(f"{name:>18}: max {error.max():.2f}/255, mean {error.mean():.3f}/255")
        assert error.max() <= 2
        assert error.mean() <= 0.3


def test_a_window_cuts_at_the_same_pixels(alone: Callable[..., Any]) -> None:
    """Where an edge meets a pixel's centre to the last bit of a float it may fall on either side: a pixel or two."""
    whole = field_of()
    field = GaussianField(whole.mean, whole.sigma, whole.rho, whole.color, SOURCE, window=(1.3, 1.05))
    page = alone(field)
    for name, view in views().items():
        error = np.abs(drawn(page, view) - reference(field, view)).max(-1)
        print(f"{name:>18}: {(error > 2).sum()} of {error.size} pixels beyond 2/255")
        assert (error > 2).sum() <= 2
        assert error.mean() <= 0.5


@pytest.mark.parametrize("window", [None, (1.3, 1.05)], ids=["normalised", "windowed"])
def test_the_processor_draws_what_the_op_does(alone: Callable[..., Any], window: tuple[float, float] | None) -> None:
    whole = field_of(2000, normalize=window is None)
    field = GaussianField(whole.mean, whole.sigma, whole.rho, whole.color, SOURCE, whole.normalize, window)
    page = alone(field, "processor")
    for name, view in views().items():
        error = np.abs(drawn(page, view) - np.rint(reference(field, view)))
        print(f"{name:>18}: max {error.max():.0f}/255, mean {error.mean():.3f}/255")
        assert (error.max(-1) > 1).sum() <= (2 if window else 0)  # an edge may fall on either side of a pixel's centre
        assert error.mean() <= 0.1


@pytest.mark.parametrize("normalize", [False, True], ids=["additive", "normalised"])
def test_sums_in_sixteen_bits_stay_within_four_levels(alone: Callable[..., Any], normalize: bool) -> None:
    field = field_of(normalize=normalize)
    page = alone(field, "half")
    for name in ("x1", "x3.7", "x64 middle", "2.5x4"):
        view = views()[name]
        error = np.abs(drawn(page, view) - reference(field, view))
        print(f"{name:>18}: max {error.max():.2f}/255, mean {error.mean():.3f}/255")
        assert error.max() <= 4


def test_grey_empty_and_single_fields_are_drawn(alone: Callable[..., Any]) -> None:
    grey = field_of(500)
    view = View.whole(SOURCE, Scale(2, 2))
    one = GaussianField(grey.mean, grey.sigma, grey.rho, grey.color[:, :1], SOURCE)
    page = alone(one)
    assert np.abs(drawn(page, view) - reference(one, view)).max() <= 2
    none = GaussianField(*(np.zeros(shape, np.float32) for shape in ((0, 2), (0, 2), (0,), (0, 3))), SOURCE)
    page.evaluate("([url]) => open_field(url, 'full')", [packed_url(none)])
    assert (drawn(page, view) == 0).all()


def test_an_invalid_field_is_refused_with_a_message(alone: Callable[..., Any]) -> None:
    page = alone(field_of(10))
    for data, words in (
        (b"<!doctype html>" * 9, "not a field"),
        (pack_field(field_of(10), precision="float32"), "float32"),
    ):
        url = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        assert words in page.evaluate(
            "async (url) => { try { await Field.load(url); } catch (e) { return e.message; } }", url
        )


def many_sizes(*, normalize: bool) -> GaussianField:
    """From needles and specks to Gaussians as wide as half the picture."""
    fine, middle, broad = (field_of(n, normalize=normalize, seed=k) for n, k in ((3000, 1), (600, 2), (40, 3)))
    gains = (0.4, 0.4, 0.4)  # sums stay below white
    parts = [
        np.concatenate([getattr(one, name) * (1 if name != "color" or normalize else gain) for one, gain in zip((fine, middle, broad), gains, strict=True)])
        for name in ("mean", "sigma", "rho", "color")
    ]  # fmt: skip
    return GaussianField(*parts, SOURCE, normalize)


@pytest.mark.parametrize("normalize", [False, True], ids=["additive", "normalised"])
def test_gaussians_of_all_sizes_are_drawn_on_several_grids_and_equal_the_op(
    alone: Callable[..., Any], normalize: bool
) -> None:
    field = many_sizes(normalize=normalize)
    page = alone(field)
    tops = set()
    for scale, origin, size in (
        (7.3, (0, 0), (292, 408)),
        (16, (3.3, 2.7), (321, 403)),
        (64, (20.4, 11.7), (300, 401)),
    ):
        view = View(origin, (size[0] / scale, size[1] / scale), size)
        error = np.abs(drawn(page, view) - reference(field, view))
        tops.add(page.evaluate("() => painter.stats.top"))
        print(f"x{scale}: max {error.max():.2f}/255, mean {error.mean():.3f}/255, {tops} coarser grids")
        assert error.max() <= 2
        assert error.mean() <= 0.3
    assert max(tops) >= 3


def test_small_gaussians_are_drawn_on_the_pixels_themselves(alone: Callable[..., Any]) -> None:
    page = alone(field_of(4000))
    drawn(page, View.whole(SOURCE, Scale(1, 1)))
    assert page.evaluate("() => painter.stats.top") == 0


def test_frames_are_quick_and_memory_stays_small(alone: Callable[..., Any]) -> None:
    """The software renderer on shared cores; the limits leave room for others' work. Memory: everything of the field
    that the page keeps for long, on either side, but no targets."""
    rect = {"x": 0, "y": 0, "width": 1000, "height": 700}
    for count, least in ((10_000, 15), (130_000, 2)):
        page = alone(field_of(count, normalize=True, source=(700, 1000)))
        ms = page.evaluate("([r]) => time_frames(r, 1000, 700, 1)", [rect])
        here = page.evaluate(
            "() => field.mean.buffer.byteLength + field.boxes.byteLength + field.areas.byteLength + painter.runs.byteLength"
        )
        there = page.evaluate("() => memory.fields + memory.buffers")
        print(f"{count:,} Gaussians: {1000 / ms:.1f} frames/s, {here / count:.1f} + {there / count:.1f} bytes each")
        assert (here + there) / count < 40
        assert 1000 / ms > least / 50


def test_a_moving_view_allocates_nothing_on_the_gpu(alone: Callable[..., Any]) -> None:
    page = alone(field_of())
    made = page.evaluate(
        """() => {
          const rect = { x: 0, y: 0, width: 56, height: 40 };
          painter.draw(field, rect, 560, 400);
          let made = 0;
          for (const name of ["createTexture", "createBuffer", "texImage2D", "texStorage2D", "createFramebuffer", "createProgram"]) {
            const real = painter.gl[name].bind(painter.gl);
            painter.gl[name] = (...values) => (made++, real(...values));
          }
          for (let k = 0; k < 20; k++) painter.draw(field, { x: k, y: k / 2, width: 56 - k, height: 40 - k }, 560 - 10 * k, 400);
          return made;
        }"""
    )
    assert made == 0
