"""A detail of a large picture is tried before the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.app import Held, choose, upload
from tests.browser.conftest import wait_for
from tests.browser.scenes import canvas_pixels, noise
from tests.browser.test_sizes import boxes, open_settings

pytestmark = pytest.mark.browser

SLOW_S = 0.02

PICTURE = noise(500, 700, 3)
_FINISHED = "viewer.scene.detail && !viewer.scene.running && viewer.shown.every((p) => p.picture)"


@pytest.fixture
def open_page(new_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    def visit(width: int, height: int, **options: Any) -> Any:
        page = new_page(viewport={"width": width, "height": height}, **options)
        page.goto(address)
        wait_for(page, "viewer.canvas.width > 0")
        upload(page, PICTURE)
        open_settings(page, wanted=True)
        choose(page, "bicubic", "slow")
        page.locator("#scaletext input").fill("2")
        open_settings(page, wanted=False)
        page.get_by_role("button", name="Enlarge ×2", exact=True).wait_for()
        return page

    return visit


def test_a_dragged_detail_is_made_by_every_method_and_the_whole_goes_on_from_there(open_page: Any) -> None:
    page = open_page(1440, 900)
    page.get_by_role("button", name="Try a detail first").click()
    page.get_by_text("Tap the detail to try, or drag over it").wait_for()
    (stage,) = boxes(page, "#viewer .gsr-canvas")
    left, top = stage["left"] + stage["width"] * 0.4, stage["top"] + stage["height"] * 0.4
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 60, top + 40, steps=3)
    page.mouse.up()
    wait_for(page, _FINISHED)
    detail = page.evaluate("() => ({...document.querySelector('#viewer .gsr-viewer').viewer.scene.detail})")
    x, y, width, height = (detail[name] for name in ("x", "y", "width", "height"))
    place = f"Detail of {width} × {height} pixels at ({x}, {y}) of 700 × 500"
    (said,) = boxes(page, ".gsr-next p")
    assert page.locator(".gsr-next p").inner_text() == place
    assert stage["top"] < said["top"] < said["bottom"] < stage["bottom"]

    # Every pane holds the pixels of the detail alone, at their place in the whole.
    panes = page.evaluate(
        "() => { const { viewer } = document.querySelector('#viewer .gsr-viewer'); const { u, v } = viewer.view.toFrame(viewer.cells[0].rect, 0, 0);"
        " return viewer.shown.map((p) => [p.picture.width, p.picture.height, p.place.u, p.place.v, p.picture.pixel(3, 5)]); }"
    )
    assert panes == [[2 * width, 2 * height, 2 * x, 2 * y, PICTURE[y + 2, x + 1].tolist()]] * 2
    # It fills the stage, and around it stands the input as the browser enlarges it.
    page.evaluate("() => document.querySelector('#viewer .gsr-viewer').viewer.oneToOne()")
    wait_for(page, "!viewer.request")
    origin = page.evaluate(
        "() => { const v = document.querySelector('#viewer .gsr-viewer').viewer; return v.view.origin(v.cells[0].rect); }"
    )
    shown = canvas_pixels(page)
    ours = shown[origin["y"] + 2 * y :, origin["x"] + 2 * x :][: 2 * height, : 2 * width]
    inner = slice(2, -2)  # within the outline
    expected = PICTURE[y : y + height, x : x + width].repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(ours[inner, inner], expected[inner, inner])
    above = shown[origin["y"] + 2 * y - 40 : origin["y"] + 2 * y - 10, origin["x"] + 2 * x :][:, : 2 * width]
    assert above.reshape(-1, 3).std(0).min() > 20, "the input, and not an empty stage"

    # A region is drawn within the detail, and its crops come from it.
    page.evaluate(
        "({x, y}) => document.querySelector('#viewer .gsr-viewer').viewer.addRegion({x: x + 2, y: y + 2, width: 8, height: 8})",
        {"x": x, "y": y},
    )
    wait_for(page, "!viewer.request")
    assert len(boxes(page, "#viewer .gsr-crops figure")) == 3

    before = page.evaluate(
        "() => { const { view } = document.querySelector('.gsr-viewer').viewer; return [view.cx, view.cy, view.zoom]; }"
    )
    page.get_by_role("button", name="Enlarge the whole picture ×2").click()
    wait_for(
        page,
        "viewer.scene.run && !viewer.scene.detail && !viewer.scene.running && viewer.panes.get('slow').picture.width === 1400",
    )
    after = page.evaluate(
        "() => { const { view } = document.querySelector('.gsr-viewer').viewer; return [view.cx, view.cy, view.zoom]; }"
    )
    assert after == before
    assert not page.locator(".gsr-next").is_visible()


def test_on_a_phone_a_tap_picks_the_detail(open_page: Any) -> None:
    page = open_page(390, 844, has_touch=True, is_mobile=True)
    for button in boxes(page, ".gsr-next button"):
        assert button["height"] >= 44
        assert 0 <= button["left"] < button["right"] <= 390
    page.get_by_role("button", name="Try a detail first").tap()
    page.get_by_text("Tap the detail to try, or drag over it").wait_for()
    (stage,) = boxes(page, "#viewer .gsr-canvas")
    page.touchscreen.tap(stage["left"] + 4, stage["top"] + stage["height"] / 2)
    wait_for(page, _FINISHED)
    detail = page.evaluate("() => ({...document.querySelector('#viewer .gsr-viewer').viewer.scene.detail})")
    assert (detail["x"], detail["width"], detail["height"]) == (0, 256, 256)
    assert 0 < detail["y"] < 500 - 256
    for name in (".gsr-next p", ".gsr-next button"):
        for box in boxes(page, name):
            assert stage["top"] <= box["top"] < box["bottom"] <= stage["bottom"]
            assert 0 <= box["left"] < box["right"] <= 390
    page.get_by_role("button", name="Another detail").tap()
    page.get_by_role("button", name="Cancel").tap()
    page.get_by_role("button", name="Enlarge the whole picture ×2").wait_for()


_OFFERED = "() => [...document.querySelectorAll('.gsr-next button')].filter((one) => one.checkVisibility()).map((one) => one.textContent)"


def test_a_run_is_offered_only_while_one_can_begin(open_page: Any) -> None:
    page = open_page(1440, 900)
    assert page.evaluate(_OFFERED) == ["Enlarge ×2", "Try a detail first"]
    # A run that is refused can be asked for again.
    choose(page)
    page.get_by_role("button", name="Enlarge ×2").click()
    page.locator("#notice .is-wrong").wait_for()
    page.get_by_role("button", name="Enlarge ×2").wait_for()
    choose(page, "bicubic")
    # The end of a detail is answered after its last scene.
    held = Held(page, "detail_over")
    page.get_by_role("button", name="Try a detail first").click()
    (stage,) = boxes(page, "#viewer .gsr-canvas")
    page.mouse.click(stage["left"] + stage["width"] / 2, stage["top"] + stage["height"] / 2)
    wait_for(page, _FINISHED)
    held.wait()
    assert page.evaluate(_OFFERED) == []
    held.release()
    page.get_by_role("button", name="Another detail").wait_for()
    assert page.evaluate(_OFFERED) == ["Enlarge the whole picture ×2", "Another detail"]
    # Who has pressed one of them cannot press the other before the run has begun.
    offered = page.evaluate(
        f"() => {{ document.querySelector('.gsr-next .gsr-primary').click(); return ({_OFFERED})(); }}"
    )
    assert offered == []
    wait_for(page, "viewer.scene.run && !viewer.scene.detail && !viewer.scene.running")
