"""The panes of the viewer alone, in a plain page: which are shown, of which sizes, their regions, keys, new runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.engine import metrics
from gsr_app.viewer.contract import Region, Scene
from gsr_app.viewer.crops import Row, cut, score_crops
from tests.browser.conftest import state_of, wait_for
from tests.browser.panes import SCALE, SOURCE, A, B, C, cells_of, expected_cell, run, three
from tests.browser.scenes import canvas_pixels, noise, pane, scene_of

pytestmark = pytest.mark.browser


def test_a_seventh_pane_is_shown_in_place_of_the_sixth(show_panes: Any) -> None:
    page = show_panes([pane(name, A, SOURCE) for name in "abcdef"] + [pane("r", C, SOURCE, kind="reference")])
    box = page.get_by_label("Show R", exact=True)
    assert not box.is_checked()
    box.check()
    wait_for(page, "viewer.shown.length === 6 && viewer.shown.at(-1).spec.id === 'r'")
    assert not page.get_by_label("Show F", exact=True).is_checked()
    assert page.get_by_label("Show E", exact=True).is_checked()


@pytest.mark.parametrize(("x", "y", "width", "height"), [(3, 1, 11, 9), (5, 3, 1, 1), (19, 13, 2, 3)])
def test_crops_at_a_fraction_of_a_pixel_are_those_of_the_figure(
    show_panes: Any, x: int, y: int, width: int, height: int
) -> None:
    size = (36, 48)  # of SOURCE at 1.5
    one, truth = A[:36, :48], C[:36, :48]
    panes = [pane("a", one, SOURCE), pane("c", truth, SOURCE, kind="reference")]
    page = show_panes(panes, scale=1.5)
    run(page, f"viewer.addRegion({{ x: {x}, y: {y}, width: {width}, height: {height} }});")
    assert size == one.shape[:2]
    pictures = {"a": Image.fromarray(one), "c": Image.fromarray(truth)}
    row = Row(Scene(tuple(panes), scale={"x": 1.5, "y": 1.5}), Region(x, y, width, height), pictures)
    score = score_crops(row, {each.id: cut(row, each) for each in panes})["a"]
    assert f"{score.psnr_db:.2f} dB" in page.locator(".gsr-crops figure").first.inner_text()


def test_transparency_is_shown_on_a_checkerboard(show_panes: Any) -> None:
    pixels = noise(96, 128, 5, channels=4)
    pixels[..., 3] = 0
    pixels[:48, :, 3] = 255
    page = show_panes([pane("a", pixels, SOURCE)])
    run(page, "viewer.grid = false; viewer.oneToOne();")
    shown, cell = canvas_pixels(page), cells_of(page)[0]
    expected, where = expected_cell(pixels[..., :3], cell, 1)
    np.testing.assert_array_equal(shown[where][:48], expected[:48])
    checks = shown[where][48:]
    assert {tuple(colour) for colour in np.unique(checks.reshape(-1, 3), axis=0)} == {(204, 204, 204), (255, 255, 255)}
    assert (checks[0, 0] != checks[0, 8]).any()


def test_the_pixel_grid_appears_at_eight_times(show_panes: Any) -> None:
    page = show_panes([pane("a", np.full((96, 128, 3), 255, np.uint8), SOURCE)])
    run(page, "viewer.look(64, 48, 7.9);")
    inside = canvas_pixels(page)[200:300, 400:500]
    assert (inside == 255).all()
    run(page, "viewer.look(64, 48, 8);")
    cell = cells_of(page)[0]
    lines = (canvas_pixels(page)[300, 400:500] < 255).any(1).nonzero()[0] + 400
    assert {(x - cell["origin"]["x"]) % 8 for x in lines.tolist()} == {0}


def test_pictures_of_different_sizes_cover_the_same_area(show_panes: Any) -> None:
    small = noise(24, 32, 9)
    page = show_panes([pane("a", small.repeat(4, 0).repeat(4, 1), SOURCE), pane("b", small, SOURCE)])
    run(page, "viewer.grid = false; viewer.look(64, 48, 2);")
    shown, cells = canvas_pixels(page), cells_of(page)
    big = small.repeat(4, 0).repeat(4, 1)
    for cell in cells:
        expected, where = expected_cell(big, cell, 2)
        np.testing.assert_array_equal(shown[where], expected)


def test_a_failed_method_shows_the_reason_in_its_own_pane(show_panes: Any) -> None:
    failed = pane(
        "b",
        B,
        SOURCE,
        url=None,
        state="failed",
        error={"message": "Out of <b>memory</b>", "hint": "Try a smaller scale."},
    )
    page = show_panes([pane("a", A, SOURCE), failed])
    alert = page.get_by_role("alert")
    assert "Out of <b>memory</b>" in alert.inner_text()
    assert "Try a smaller scale." in alert.inner_text()
    assert "a" in state_of(page)["loaded"]


def test_everything_is_reachable_by_keyboard(show_panes: Any) -> None:
    page = show_panes(three())
    page.locator(".gsr-stage").focus()
    for key, mode in (("w", "wipe"), ("b", "blink"), ("d", "difference"), ("l", "loupe"), ("g", "grid")):
        page.keyboard.press(key)
        wait_for(page, "viewer.mode === argument", mode)
    page.keyboard.press("3")
    wait_for(page, "viewer.active.spec.id === 'c'")
    page.keyboard.press("Shift+2")
    wait_for(page, "viewer.base.spec.id === 'b'")
    page.keyboard.press("z")
    wait_for(page, "viewer.view.zoom === 1")
    page.keyboard.press("+")
    wait_for(page, "viewer.view.zoom === 1.5")
    before = cells_of(page)[0]["origin"]["x"]
    page.keyboard.press("ArrowRight")
    wait_for(page, "!viewer.request")
    assert cells_of(page)[0]["origin"]["x"] == before - 24
    page.keyboard.press("0")
    wait_for(page, "viewer.view.fitted")
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog", name="Keys").is_visible()


def test_a_region_gives_crops_of_every_picture_and_its_distance_to_the_reference(show_panes: Any) -> None:
    near = np.clip(C.astype(int) + 2, 0, 255).astype(np.uint8)
    page = show_panes([pane("a", near, SOURCE), pane("c", C, SOURCE, kind="reference")])
    run(page, "viewer.look(64, 48, 3);")
    cell = cells_of(page)[0]
    page.locator(".gsr-stage").focus()
    page.keyboard.press("r")
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.move(box["x"] + cell["origin"]["x"] + 3 * 41, box["y"] + cell["origin"]["y"] + 3 * 33)
    page.mouse.down()
    page.mouse.move(box["x"] + cell["origin"]["x"] + 3 * 79, box["y"] + cell["origin"]["y"] + 3 * 63, steps=3)
    page.mouse.up()
    wait_for(page, "viewer.region")
    region = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.region")
    assert (region["x"], region["y"], region["width"], region["height"]) == (10, 8, 10, 8)
    figures = page.locator(".gsr-crops figure")
    assert figures.count() == 2
    weights = np.array([65.481, 128.553, 24.966]) / 255
    window = (slice(32, 64), slice(40, 80))
    mse = (((near[window].astype(float) - C[window].astype(float)) @ weights) ** 2).mean()
    assert f"{10 * np.log10(255**2 / mse):.2f} dB" in figures.first.inner_text()
    ssim = metrics.ssim(near[window], C[window], by=metrics.convention("whole-y"))
    assert f"{ssim:.4f}" in figures.first.inner_text()


def next_run(page: Any, panes: list[Any], run_id: str) -> None:
    page.evaluate(
        "(scene) => document.querySelector('.gsr-viewer').viewer.setScene(scene)",
        scene_of(panes, SOURCE, SCALE, run=run_id),
    )


def test_crops_of_a_region_are_of_the_new_picture_after_another_run(show_panes: Any) -> None:
    add_region = "viewer.addRegion({ x: 2, y: 2, width: 6, height: 6 });"
    truth = pane("c", C, SOURCE, kind="reference")
    page = show_panes([pane("a", B, SOURCE), truth])
    crop = page.locator(".gsr-crops figure").first
    run(page, add_region)
    wanted = crop.inner_text()
    page = show_panes([pane("a", A, SOURCE), truth])
    run(page, add_region)
    assert crop.inner_text() != wanted
    next_run(page, [pane("a", B, SOURCE), truth], "second")
    wait_for(page, "viewer.panes.get('a').valueAt(0, 0)[0] === argument", int(B[0, 0, 0]))
    assert crop.inner_text() == wanted


def test_a_picture_that_does_not_arrive_leaves_none_of_the_run_before(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE), pane("b", B, SOURCE)])
    next_run(page, [pane("a", A, SOURCE, url="data:image/png;base64,AAAA"), pane("b", B, SOURCE)], "second")
    wait_for(page, "viewer.panes.get('a').problem")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.panes.get('a').picture") is None
    assert page.locator(".gsr-message strong").count() == 1
    next_run(page, [pane("a", A, SOURCE, url=None, state="running"), pane("b", B, SOURCE)], "third")
    wait_for(page, "!viewer.panes.get('a').problem")
    assert page.locator(".gsr-message progress").count() == 1


def test_a_picture_that_arrives_is_shown_while_a_newer_one_is_fetched_but_not_after_it(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE)])
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.arrivals = [];
          window.fetch = async (...asked) => (await new Promise((resolve) => arrivals.push(resolve)), real(...asked));
          window.restoreFetch = () => (window.fetch = real);
        }"""
    )
    newer = [B, C, noise(96, 128, 4)]
    for pixels in newer:
        next_run(page, [pane("a", pixels, SOURCE, state="running")], "fit")
    page.evaluate("() => { restoreFetch(); arrivals[1](); }")
    shows = "viewer.panes.get('a').valueAt(0, 0).join() === argument"
    wait_for(page, shows, ",".join(map(str, newer[1][0, 0])))
    assert state_of(page)["loaded"] == []
    page.evaluate("() => { arrivals[0](); arrivals[2](); }")
    wait_for(page, shows, ",".join(map(str, newer[2][0, 0])))
    assert state_of(page)["loaded"] == ["a"]
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.panes.get('a').version") == 3


def test_a_phone_stacks_the_panes(show_panes: Any) -> None:
    page = show_panes(
        [pane("a", A, SOURCE), pane("b", B, SOURCE)], viewport={"width": 390, "height": 844}, has_touch=True
    )
    first, second = cells_of(page)
    assert first["x"] == second["x"]
    assert second["y"] > first["y"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_large_picture_is_shown_and_read_exactly(show_panes: Any) -> None:
    tile = noise(100, 150, 11)
    large = np.tile(tile, (40, 40, 1))  # 6000 x 4000
    page = show_panes([pane("a", large, (1000.0, 1500.0))], scale=4.0)
    # The frame of the scene is that of the small source; set that of the large one.
    run(
        page,
        "viewer.scene.frame = {width: 6000, height: 4000}; viewer.view.setFrame(6000, 4000); viewer.grid = false; viewer.draw();",
    )
    assert state_of(page)["zoom"] < 0.25
    run(page, "viewer.look(5900, 3950, 2);")
    expected, where = expected_cell(
        large[3600:, 5400:],
        {
            **cells_of(page)[0],
            "origin": {
                "x": cells_of(page)[0]["origin"]["x"] + 2 * 5400,
                "y": cells_of(page)[0]["origin"]["y"] + 2 * 3600,
            },
        },
        2,
    )
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)
