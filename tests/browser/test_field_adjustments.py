"""Adjusting the Gaussians: sliders, one alone, the difference to the pixels, and the ellipses over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gsr_app.core.types import GaussianField
from tests.browser.conftest import wait_for
from tests.browser.fields import (
    SCALE,
    SOURCE,
    adjusted,
    cell,
    expected_in,
    field_of,
    only_those,
    pixels_of,
    run,
    settled,
)
from tests.browser.scenes import canvas_pixels

pytestmark = pytest.mark.browser


def test_sliders_scale_and_hide_gaussians_and_change_no_data(show: Callable[..., Any]) -> None:
    field = field_of(600)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 2);")
    settled(page)
    before = canvas_pixels(page)
    page.get_by_role("button", name="Inspect").click()
    slide = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"
    page.get_by_label("How far every Gaussian reaches").evaluate(slide, "1.5")
    shown, draw = adjusted(page, field)
    assert np.abs(shown - draw(GaussianField(field.mean, field.sigma * 1.5, field.rho, field.color, SOURCE))).max() <= 2
    page.get_by_label("How far every Gaussian reaches").evaluate(slide, "1")
    page.get_by_label("Hide weaker Gaussians").evaluate(slide, "0.5")
    shown, draw = adjusted(page, field)
    strength = np.abs(field.color).max(1)
    peak = np.sort(strength)[int(0.98 * (len(strength) - 1))]
    assert np.abs(shown - draw(only_those(field, strength >= 0.5 * peak))).max() <= 3  # one may sit on the edge
    page.get_by_label("Give each Gaussian a random colour").evaluate(slide, "1")
    page.get_by_label("Move large Gaussians up and small ones down").evaluate(slide, "0.5")
    shown, draw = adjusted(page, field)
    assert shown.std() > 5
    assert "adjusted" in page.locator(".gsr-badge").inner_text()
    page.get_by_role("button", name="Close", exact=True).click()
    settled(page)
    np.testing.assert_array_equal(canvas_pixels(page), before)


def test_a_clicked_gaussian_shows_its_numbers_and_can_be_shown_alone(show: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(0, 56, 300), rng.uniform(0, 40, 300)], 1)
    points[0] = (28, 20)
    points = np.float32(points[(np.hypot(*(points - points[0]).T) > 2) | (np.arange(300) == 0)])
    count = len(points)
    color = np.float32(rng.uniform(0.1, 0.6, (count, 3)))
    field = GaussianField(
        points, np.tile(np.float32([[1.5, 0.75]]), (count, 1)), np.full(count, 0.25, np.float32), color, SOURCE
    )
    page = show({"a": field}, viewport={"width": 640, "height": 560})  # the panel is not in the middle
    run(page, "viewer.look(112, 80, 3); viewer.adjustPanel.toggle();")
    settled(page)
    place = cell(page)
    page.mouse.click(0, 0)
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.click(box["x"] + place["origin"]["x"] + 28 * 12 + 2, box["y"] + place["origin"]["y"] + 20 * 12 - 2)
    numbers = "at 28.00 20.00 σ 1.50 0.750 ρ 0.250"
    page.wait_for_function("text => document.querySelector('.gsr-adjust p').innerText.includes(text)", arg=numbers)
    page.get_by_text("only this one").click()
    settled(page)
    run(page, "viewer.selected = null;")  # its outline would cover the picture
    shown, draw = adjusted(page, field)
    assert np.abs(shown - draw(only_those(field, np.arange(count) == 0))).max() <= 2


def test_the_difference_between_field_and_pixels_can_be_seen(show: Callable[..., Any]) -> None:
    field = field_of(600)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 4); viewer.gain = 2; viewer.colourScale = 'absolute';")
    settled(page)
    page.get_by_role("button", name="Field − pixels").click()
    settled(page)
    shown, _ = adjusted(page, field)
    k = round(SCALE * 4 / 4)
    place = cell(page)
    rows, columns, exact = expected_in(field, place)
    pixels = pixels_of(field).repeat(k, 0).repeat(k, 1).astype(float)
    y, x = rows.start - place["origin"]["y"], columns.start - place["origin"]["x"]
    window = pixels[y : y + exact.shape[0], x : x + exact.shape[1]]
    assert np.abs(shown - np.clip(2 * np.abs(exact - window), 0, 255)).max() <= 4


def test_many_ellipses_are_drawn_where_strokes_would_draw_them(show: Callable[..., Any]) -> None:
    field = field_of(300)
    page = show({"a": field})
    run(page, "viewer.trueZoom = false; viewer.look(112, 80, 4); viewer.setOverlay('ellipses');")
    wait_for(page, "viewer.active.field && viewer.inView.shown === 'ellipses'")
    drawn_here = canvas_pixels(page).astype(float)
    run(page, "Object.defineProperty(viewer.live, 'works', { get: () => false });")
    stroked = canvas_pixels(page).astype(float)
    run(page, "viewer.setOverlay('off');")
    plain = canvas_pixels(page).astype(float)
    ink = [np.abs(one - plain).sum(2) > 90 for one in (drawn_here, stroked)]
    assert ink[1].sum() > 5000
    near = sum(np.roll(ink[1], (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) > 0
    assert (ink[0] & ~near).mean() < 1e-3  # no line where no stroke is
    assert ink[0].sum() == pytest.approx(ink[1].sum(), rel=0.25)
