"""What a person can see and reach at three sizes of the screen: a phone, a tablet, a desktop."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.app import choose, run_to_end, upload
from tests.browser.conftest import wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.scenes import canvas_pixels, noise

pytestmark = pytest.mark.browser

SLOW_S = 0.1

SIZES = {"phone": (390, 844), "tablet": (768, 1024), "desktop": (1440, 900)}
_BOXES = "(nodes) => nodes.filter((n) => n.offsetParent).map((n) => n.getBoundingClientRect().toJSON())"


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, kept_page: Callable[..., Any], address: str) -> Any:
    """The page of this size; each test begins with a picture of its own."""
    width, height = SIZES[request.param]
    touch = request.param != "desktop"
    page = kept_page(
        address, viewport={"width": width, "height": height}, has_touch=touch, is_mobile=request.param == "phone"
    )
    wait_for(page, "viewer.canvas.width > 0")
    return page


def boxes(page: Any, selector: str) -> list[dict[str, float]]:
    return page.locator(selector).evaluate_all(_BOXES)


def overlaps(one: dict[str, float], two: dict[str, float]) -> bool:
    return (
        min(one["right"], two["right"]) - max(one["left"], two["left"]) > 0.5
        and min(one["bottom"], two["bottom"]) - max(one["top"], two["top"]) > 0.5
    )


def open_settings(page: Any, *, wanted: bool, rail: str = "#rail") -> None:
    """On a phone the settings are in a sheet."""
    button = page.locator(f"{rail} .gsr-sheetbutton")
    if button.is_visible() and (button.get_attribute("aria-expanded") == "true") is not wanted:
        button.click()


def small_controls(page: Any, within: str) -> list[str]:
    """The visible controls that are lower than 44 px, for messages."""
    return page.evaluate(
        """(within) => [...document.querySelector(within).querySelectorAll(":is(button, select, summary, .gsr-card, input:not([type=file])):not([disabled])")]
          .filter((n) => n.checkVisibility({ opacityProperty: true }) && !n.closest("[inert], .gsr-card input"))
          .map((n) => (n.type === "checkbox" ? n.closest("label") : n.closest(".wrap-inner")) ?? n)
          .filter((n) => n.getBoundingClientRect().height < 43.5)
          .map((n) => `${n.tagName} ${n.className} ${n.textContent.trim()} ${n.getBoundingClientRect().height}`)""",
        within,
    )


def test_a_person_sees_the_result_where_they_look(page: Any) -> None:
    size = page.viewport_size
    upload(page, noise(60, 60, 3), "seen.png")
    open_settings(page, wanted=True)
    choose(page, "swift", "bicubic")
    open_settings(page, wanted=False)
    run_to_end(page)
    # Without scrolling a large part of the screen is the picture.
    (stage,) = boxes(page, "#viewer .gsr-canvas")
    assert stage["top"] >= 0
    assert min(stage["bottom"], size["height"]) - stage["top"] >= 0.5 * size["height"]
    assert stage["right"] <= size["width"] + 0.5
    shown = canvas_pixels(page)
    assert shown.reshape(-1, 3).std(0).min() > 20, "the picture is drawn, not only its stage"
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
    # Nothing lies over the middle of the picture, and Run can be pressed at once.
    top = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).className",
        [stage["left"] + stage["width"] / 4, stage["top"] + stage["height"] / 2],
    )
    assert top == "gsr-canvas"
    (run,) = boxes(page, "#run")
    assert 0 <= run["top"] < run["bottom"] <= size["height"]
    tags = boxes(page, "#viewer .gsr-tag")
    assert len(tags) == 2

    # In a wipe the two tags share the width.
    page.evaluate("() => document.querySelector('#viewer .gsr-viewer').viewer.setMode('wipe')")
    wait_for(page, "!viewer.request")
    left, right = boxes(page, "#viewer .gsr-tag")
    assert not overlaps(left, right)
    assert right["right"] <= size["width"]

    # The controls that a finger presses are at least 44 px high.
    if page.evaluate("() => matchMedia('(pointer: coarse)').matches"):
        open_settings(page, wanted=True)
        assert not small_controls(page, "#compare")
    page.evaluate("() => document.querySelector('#viewer .gsr-viewer').viewer.setMode('grid')")


def test_names_and_notes_are_whole_and_nothing_touches(page: Any) -> None:
    upload(page, noise(60, 60, 5), "whole.png")
    open_settings(page, wanted=True)
    choose(page, "swift", "bicubic")
    open_settings(page, wanted=False)
    run_to_end(page)
    # Set and measured at once: the next drawing of the viewer writes its own texts.
    hidden, note, values = page.evaluate(
        "() => { const all = (s) => [...document.querySelectorAll(`#viewer ${s}`)];"
        " const [[figures], [note]] = ['.gsr-tag .gsr-figures', '.gsr-count'].map(all);"
        " figures.textContent = '30.37 dB  133 ms  draw only  '.repeat(3);"
        " note.textContent = '35,310 Gaussians in view · too many for ellipses: shown as density';"
        " const box = (node) => { const { left, right, top, bottom } = node.getBoundingClientRect(); return { left, right, top, bottom }; };"
        " return [all('.gsr-tagname').filter((n) => n.scrollWidth > n.clientWidth).length, box(note), all('.gsr-values > *').map(box)]; }"
    )
    assert hidden == 0
    assert note["right"] <= page.viewport_size["width"]
    assert not any(overlaps(note, one) for one in values)
    (brand,), (first, *_) = boxes(page, ".gsr-brand"), boxes(page, "#gsr-tabs [role=tab]")
    assert first["left"] - brand["right"] >= 4
    (run,) = boxes(page, "#run")
    for settings in boxes(page, "#rail .gsr-sheetbutton"):  # on a phone
        assert (settings["top"], settings["bottom"]) == pytest.approx((run["top"], run["bottom"]), abs=0.5)


def test_every_crop_and_every_value_can_be_read(page: Any) -> None:
    size = page.viewport_size
    upload(page, noise(60, 60, 4), "read.png")
    open_settings(page, wanted=True)
    choose(page, "swift", "bicubic", "slow")
    page.get_by_role("button", name="Advanced").click()
    round_trip = page.get_by_label("Round trip: shrink the picture first, then compare with it")
    round_trip.check()
    page.locator("#forecast", has_text="15 × 15 → 60 × 60").wait_for(state="attached")
    open_settings(page, wanted=False)
    run_to_end(page)
    page.evaluate(
        "() => { const v = document.querySelector('#viewer .gsr-viewer').viewer;"
        " v.addRegion({x: 2, y: 2, width: 6, height: 6}); v.showPane('input', true); }"
    )
    wait_for(page, "!viewer.request && viewer.cells.length === 5")
    page.evaluate(
        "() => { const v = document.querySelector('#viewer .gsr-viewer').viewer;"
        " const { rect } = v.cells[0]; v.pointTo(rect.x + rect.w / 2, rect.y + rect.h / 2); }"
    )
    wait_for(page, "!viewer.request")
    crops = boxes(page, "#viewer .gsr-crops figure")
    assert len(crops) == 5
    container = page.locator("#viewer .gsr-regions").bounding_box()
    assert all(crop["right"] <= min(size["width"], container["x"] + container["width"]) + 0.5 for crop in crops)
    values = boxes(page, "#viewer .gsr-values b")
    assert len(values) == 5
    assert all(value["right"] <= size["width"] for value in values)

    # "Not trained for ×4" stands on the picture and in the row of its figures.
    (caution,) = boxes(page, "#viewer .gsr-tag .gsr-caution")
    assert page.locator("#viewer .gsr-caution").inner_text() == "not trained for x4"
    assert 0 <= caution["left"] < caution["right"] <= size["width"]
    assert 0 <= caution["top"] < caution["bottom"] <= size["height"]
    assert caution["width"] > 80, "it is not cut off"
    row = page.locator("[data-pane=slow]:has(.gsr-warning)")
    (warning,), (line,) = (
        boxes(page, "#viewer tr[data-pane=slow] .gsr-warning"),
        boxes(page, "#viewer tr[data-pane=slow]"),
    )
    assert row.count() == 1
    assert line["top"] <= warning["top"] < warning["bottom"] <= line["bottom"] + 0.5
    open_settings(page, wanted=True)
    round_trip.uncheck()
    page.get_by_role("button", name="Advanced").click()


def test_pictures_of_an_earlier_run_are_not_taken_for_those_of_this_one(
    page: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, noise(40, 60, 3), "earlier.png")
    open_settings(page, wanted=True)
    choose(page, "slow")
    open_settings(page, wanted=False)
    run_to_end(page)
    # A run that fails leaves no picture of the one before; one size is enough for that.
    if page.viewport_size["width"] == SIZES["phone"][0]:
        engine.failing.add("slow")
        try:
            run_to_end(page)
        finally:
            engine.failing.remove("slow")
        wait_for(page, "viewer.panes.get('slow').failed && !viewer.panes.get('slow').picture")
        assert "The weights of Broken do not fit." in page.locator("#viewer .gsr-message[role=alert]").inner_text()
        run_to_end(page)
    # One that is stopped does not, either, and until then it is labelled.
    monkeypatch.setattr(engine, "slow_s", 5.0)  # it does not end by itself before it is looked at
    page.locator("#run").click()
    wait_for(page, "viewer.panes.get('slow')?.isOutdated && viewer.scene.running")
    assert page.locator("#viewer .gsr-message.is-outdated").inner_text().strip().endswith("of the run before.")
    page.locator("#stop").click()
    wait_for(page, "viewer.panes.get('slow').spec.state === 'cancelled' && !viewer.panes.get('slow').picture")
    # Another picture takes the stage at once.
    upload(page, np.full((20, 30, 3), 90, np.uint8), "other.png")
    wait_for(page, "viewer.scene.panes.length === 1 && viewer.active.picture?.pixel(3, 3)[0] === 90")
    assert page.locator("#facts b").inner_text() == "other.png"


def test_what_is_wrong_and_the_controls_of_every_tab_are_in_sight(page: Any) -> None:
    size = page.viewport_size
    jpeg = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(jpeg, "JPEG")
    cut = {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": jpeg.getvalue()[: len(jpeg.getvalue()) // 2]}
    page.locator("#picture input[type=file]").set_input_files(cut)
    page.locator("#facts .is-wrong", has_text="cut.jpg cannot be decoded").wait_for()  # without opening a sheet
    (told,) = boxes(page, "#facts .is-wrong")
    assert 0 <= told["left"] < told["right"] <= size["width"]
    assert 0 <= told["top"] < told["bottom"] <= size["height"]

    stages = {
        "Fit": ("fit", "#fitviewer .gsr-stage"),
        "Video": ("video", "#player .gsr-stage"),
        "Batch": ("batch", "#batchstage"),
    }
    for tab, (name, stage) in stages.items():
        page.get_by_role("tab", name=tab).click()
        page.locator(f"#{name}run").wait_for()
        page.locator(stage).wait_for()
        (shown,), (run,) = boxes(page, stage), boxes(page, f"#{name}run")
        assert min(shown["bottom"], size["height"]) - max(0, shown["top"]) >= 0.4 * size["height"], tab
        assert shown["right"] <= size["width"] + 0.5
        assert 0 <= run["top"] < run["bottom"] <= size["height"], tab
        if page.evaluate("() => matchMedia('(pointer: coarse)').matches"):
            open_settings(page, wanted=True, rail=f"#{name}rail")
            assert not small_controls(page, f"#{name}"), tab
            open_settings(page, wanted=False, rail=f"#{name}rail")
