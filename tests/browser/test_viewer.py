"""The viewer alone, in a plain page, checked by reading the canvas."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.engine import metrics
from gsr_app.viewer.contract import PaneMetrics, Region, Scene
from gsr_app.viewer.crops import Row, cut, score_crops
from tests.browser.conftest import FLAGS, state_of, wait_for
from tests.browser.scenes import canvas_pixels, noise, pane, scene_of, show_scene
from tests.conftest import find_chromium

pytestmark = pytest.mark.browser

SOURCE = (24, 32)  # height, width
SCALE = 4.0
A, B, C = (noise(96, 128, seed) for seed in (1, 2, 3))


@pytest.fixture
def show(kept_page: Callable[..., Any], viewer_address: str) -> Callable[..., Any]:
    def open_scene(panes: list[Any], services: str = "{}", scale: float = SCALE, **options: Any) -> Any:
        page = kept_page(viewer_address, **options)
        show_scene(page, scene_of(panes, SOURCE, scale), services)
        wait_for(page, "viewer.allPanes.every((pane) => pane.picture || !pane.spec.url)")
        return page

    return open_scene


def three() -> list[Any]:
    return [pane("a", A, SOURCE), pane("b", B, SOURCE), pane("c", C, SOURCE)]


def cells_of(page: Any) -> list[dict[str, Any]]:
    return page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.cells.map(({pane, rect}) =>"
        " ({id: pane.spec.id, ...rect, origin: v.view.origin(rect)})); }"
    )


def run(page: Any, code: str) -> None:
    page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; {code} }}")
    wait_for(page, "!viewer.request")


def expected_cell(pixels: np.ndarray, cell: dict[str, Any], zoom: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The magnified picture clipped to a cell, and where on the canvas that is."""
    big = pixels.repeat(zoom, 0).repeat(zoom, 1)
    ox, oy = int(cell["origin"]["x"]), int(cell["origin"]["y"])
    x0, y0 = max(cell["x"], ox), max(cell["y"], oy)
    x1, y1 = min(cell["x"] + cell["w"], ox + big.shape[1]), min(cell["y"] + cell["h"], oy + big.shape[0])
    return big[y0 - oy : y1 - oy, x0 - ox : x1 - ox], (slice(y0, y1), slice(x0, x1))


@pytest.mark.parametrize("zoom", [1, 8, 64])
def test_every_pane_shows_the_same_pixels_exactly(show: Any, zoom: int) -> None:
    page = show(three())
    run(page, f"viewer.grid = false; viewer.look(37.3, 51.9, {zoom}); viewer.pan(13, -7);")
    shown = canvas_pixels(page)
    cells = cells_of(page)
    assert [cell["id"] for cell in cells] == ["a", "b", "c"]
    for cell, pixels in zip(cells, (A, B, C), strict=True):
        expected, where = expected_cell(pixels, cell, zoom)
        assert expected.size
        np.testing.assert_array_equal(shown[where], expected)
    relative = {(cell["origin"]["x"] - cell["x"], cell["origin"]["y"] - cell["y"]) for cell in cells}
    assert len(relative) == 1, "panes share one geometry"


def test_the_screen_is_the_picture_at_two_device_pixels_per_css_pixel(show: Any) -> None:
    page = show(three(), device_scale_factor=2)
    run(page, "viewer.grid = false; viewer.oneToOne();")
    cell = cells_of(page)[1]
    expected, where = expected_cell(B, cell, 1)
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)


def test_a_pixel_is_one_of_the_screen_where_the_stage_begins_and_ends_at_fractions_of_one(
    browser: Any, viewer_address: str
) -> None:
    # A scale that Playwright emulates is laid out in another way.
    flags = [*FLAGS, "--force-device-scale-factor=1.25", "--window-size=1003,701"]
    own = browser.browser_type.launch(executable_path=find_chromium(), args=flags)
    page = own.new_context(no_viewport=True).new_page()
    page.goto(viewer_address)
    show_scene(page, scene_of([pane("a", A, SOURCE)], SOURCE, SCALE), settings="{ minimapOn: false }")
    page.add_style_tag(content=".gsr-viewer { margin: 5.4px 0 0 10.3px; width: 700.5px; height: 601.3px !important }")
    wait_for(page, "viewer.shown[0].picture && viewer.stage.getBoundingClientRect().left > 10")
    run(page, "viewer.oneToOne();")
    left, top = page.evaluate(
        "() => { const { left, top } = document.querySelector('.gsr-canvas').getBoundingClientRect();"
        " return [left, top].map((at) => Math.round(at * devicePixelRatio)); }"
    )
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot(scale="device"))).convert("RGB"))[top:, left:]
    expected, (rows, columns) = expected_cell(A, cells_of(page)[0], 1)
    np.testing.assert_array_equal(screen[rows, columns], expected)
    own.close()


def test_the_wheel_keeps_the_point_under_the_pointer(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", B, SOURCE)])
    page.mouse.move(300, 200)
    at = "(() => { const v = viewer; const c = v.cellAt(v.pointer); return v.view.toFrame(c.rect, v.pointer.x, v.pointer.y); })()"
    before = page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; return {at}; }}")
    zoom = state_of(page)["zoom"]
    page.mouse.wheel(0, -400)
    wait_for(page, "viewer.view.zoom > argument * 1.2", zoom)
    after = page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; return {at}; }}")
    half_a_device_pixel = 0.51 / state_of(page)["zoom"] + 0.51 / zoom
    assert abs(after["u"] - before["u"]) <= half_a_device_pixel
    assert abs(after["v"] - before["v"]) <= half_a_device_pixel


def test_dragging_moves_every_pane_by_the_drag(show: Any) -> None:
    page = show(three())
    run(page, "viewer.look(64, 48, 8);")
    before = cells_of(page)
    page.mouse.move(200, 300)
    page.mouse.down()
    page.mouse.move(231, 288, steps=3)
    page.mouse.up()
    wait_for(page, "!viewer.request")
    for was, now in zip(before, cells_of(page), strict=True):
        assert (now["origin"]["x"] - was["origin"]["x"], now["origin"]["y"] - was["origin"]["y"]) == (31, -12)


def test_a_pinch_zooms_about_its_middle_and_is_no_click(show: Any) -> None:
    page = show(three(), has_touch=True)
    run(page, "viewer.look(24, 18, 4);")
    before, (first, second, *_) = state_of(page), cells_of(page)
    assert before["active"] == first["id"]
    box = page.locator(".gsr-canvas").bounding_box()
    x, y = box["x"] + second["x"] + second["w"] / 2, box["y"] + second["y"] + second["h"] / 2
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": x + side * way, "y": y, "id": k} for way in apart for k, side in enumerate((-1, 1))]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    touch("touchMove", 30)
    touch("touchMove", 40)
    touch("touchEnd")
    wait_for(page, "viewer.view.zoom > 7.9 && !viewer.request")
    after = state_of(page)
    assert after["zoom"] == pytest.approx(2 * before["zoom"], rel=0.06)
    assert (after["cx"], after["cy"]) == pytest.approx((before["cx"], before["cy"]), abs=1)
    assert after["active"] == first["id"]


def test_zoom_stays_within_its_limits(show: Any) -> None:
    page = show(three())
    run(page, "viewer.look(64, 48, 1e9);")
    assert state_of(page)["zoom"] == 64
    run(page, "viewer.look(64, 48, 1e-9);")
    assert state_of(page)["zoom"] == pytest.approx(0.1)


def test_wipe_shows_one_picture_left_and_the_other_right(show: Any) -> None:
    page = show(three())
    run(
        page,
        "viewer.grid = false; viewer.setMode('wipe'); viewer.setBaseId('c'); viewer.look(64, 48, 2); viewer.setWipe(0.52);",
    )
    shown, (cell,) = canvas_pixels(page), cells_of(page)
    split = round(cell["w"] * 0.52)
    for pixels, columns in ((A, slice(0, split - 2)), (C, slice(split + 2, None))):
        expected, where = expected_cell(pixels, cell, 2)
        whole = np.zeros_like(shown)
        whole[where] = expected
        inside = np.zeros(shown.shape[:2], bool)
        inside[where] = True
        inside[:, : columns.start or 0] = False
        if columns.stop:
            inside[:, columns.stop :] = False
        assert inside.any()
        np.testing.assert_array_equal(shown[inside], whole[inside])


def test_the_divider_follows_the_pointer_and_the_arrow_keys(show: Any) -> None:
    page = show(three())
    page.locator(".gsr-stage").focus()
    page.keyboard.press("w")
    divider = page.get_by_role("slider", name="Wipe")
    box = divider.bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(250, 300)
    page.mouse.up()
    wait_for(page, "Math.abs(viewer.wipe - 0.25) < 0.01")
    divider.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "Math.abs(viewer.wipe - 0.26) < 0.01")
    page.keyboard.press("End")
    wait_for(page, "viewer.wipe === 1")
    assert divider.get_attribute("aria-valuenow") == "100"


def test_blink_swaps_the_picture_while_space_is_held(show: Any) -> None:
    page = show(three())
    page.locator(".gsr-stage").focus()
    page.keyboard.press("b")
    page.keyboard.press("b")  # not by itself
    run(page, "viewer.grid = false; viewer.look(64, 48, 4);")
    expected, where = expected_cell(A, cells_of(page)[0], 4)
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)
    page.keyboard.down(" ")
    wait_for(page, "viewer.held")
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected_cell(B, cells_of(page)[0], 4)[0])
    page.keyboard.up(" ")
    wait_for(page, "!viewer.held")
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)


def test_blink_alternates_by_itself(show: Any) -> None:
    page = show(three())
    run(page, "viewer.grid = false; viewer.look(64, 48, 4); viewer.setMode('blink');")
    # What is on the canvas and what it should be are read in one go: half a second later it is the other's turn.
    page.evaluate(
        "() => { const viewer = document.querySelector('.gsr-viewer').viewer; const draw = viewer.draw.bind(viewer);"
        " window.seen = {}; viewer.draw = () => { draw(); const { pane, rect } = viewer.cells[0]; const o = viewer.view.origin(rect);"
        " window.seen[pane.spec.id] = [...viewer.canvas.getContext('2d').getImageData(o.x + 4 * 70, o.y + 4 * 50, 1, 1).data]; }; }"
    )
    page.wait_for_function("() => window.seen.a && window.seen.b")
    seen = page.evaluate("() => window.seen")
    assert seen["a"][:3] == A[50, 70].tolist()
    assert seen["b"][:3] == B[50, 70].tolist()


@pytest.mark.parametrize("gain", [1, 4])
def test_difference_is_the_amplified_absolute_difference(show: Any, gain: int) -> None:
    page = show(three())
    run(
        page,
        f"viewer.setMode('difference'); viewer.setBaseId('b'); viewer.set({{colourScale: 'absolute'}}); viewer.setGain({gain}); viewer.look(64, 48, 3);",
    )
    shown = canvas_pixels(page)
    for cell, pixels in zip(cells_of(page), (A, B, C), strict=True):
        difference = np.clip(np.abs(pixels.astype(int) - B.astype(int)) * gain, 0, 255).astype(np.uint8)
        expected, where = expected_cell(B if cell["id"] == "b" else difference, cell, 3)
        np.testing.assert_array_equal(shown[where], expected)


def test_signed_difference_is_grey_where_nothing_differs(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", A, SOURCE)])
    run(
        page,
        "viewer.setMode('difference'); viewer.set({colourScale: 'signed'}); viewer.setBaseId('b'); viewer.look(64, 48, 2);",
    )
    expected, where = expected_cell(np.full_like(A, 128), cells_of(page)[0], 2)
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)


def test_the_loupe_magnifies_the_point_under_the_pointer_in_every_picture(show: Any) -> None:
    page = show(three())
    run(page, "viewer.grid = false; viewer.setMode('loupe'); viewer.look(64, 48, 2); viewer.pointTo(500, 150);")
    cell = cells_of(page)[0]
    u, v = (500 - cell["origin"]["x"]) // 2, (150 - cell["origin"]["y"]) // 2
    shown = canvas_pixels(page)
    found = [
        any(
            (shown[y : y + 4, x : x + 4] == pixels[int(v), int(u)]).all()
            for y in range(300, shown.shape[0] - 4, 2)
            for x in range(0, shown.shape[1] - 4, 4)
        )
        for pixels in (A, B, C)
    ]
    assert all(found)


def test_the_readout_names_position_values_and_difference(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", B, SOURCE)])
    run(page, "viewer.look(64, 48, 8);")
    cell = cells_of(page)[0]
    x, y = cell["origin"]["x"] + 8 * 70 + 3, cell["origin"]["y"] + 8 * 41 + 5
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    wait_for(page, "viewer.spot()")
    assert page.locator("[data-role=position]").inner_text() == f"x {(70 + 3 / 8) / 4:.1f}  y {(41 + 5 / 8) / 4:.1f}"
    assert page.locator(".gsr-values [data-pane=a] b").inner_text() == " ".join(map(str, A[41, 70]))
    assert page.locator(".gsr-values [data-pane=b] b").inner_text() == " ".join(map(str, B[41, 70]))
    delta = [int(d) for d in page.locator("[data-role=delta]").inner_text().replace("−", "-").split()[1:]]
    assert delta == (A[41, 70].astype(int) - B[41, 70].astype(int)).tolist()
    assert page.locator("[data-role=depth]").count() == 0


def test_the_readout_says_that_a_deeper_picture_is_shown_in_8_bits(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", B, SOURCE, bits=16)])
    run(page, "viewer.look(64, 48, 8);")
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    depth = page.locator("[data-role=depth]")
    assert depth.inner_text() == "8 of 16 bits"
    assert "has all bits" not in depth.get_attribute("title")  # there is none
    shown = pane("b", B, SOURCE, bits=16)
    page = show([pane("a", A, SOURCE), replace(shown, download_url="deep.png")])
    run(page, "viewer.look(64, 48, 8);")
    page.mouse.move(box["x"] + 61, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    assert "the downloaded picture has all bits" in depth.get_attribute("title")
    assert page.get_by_role("link", name="Save").get_attribute("title").endswith("with all bits")
    page = show([replace(shown, download_url=shown.url)])  # as in a report
    run(page, "viewer.look(64, 48, 8);")
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    assert "has all bits" not in depth.get_attribute("title")
    assert page.get_by_role("link", name="Save").get_attribute("title").endswith("with 8 bits per channel")


def test_the_score_of_a_picture_without_any_difference_is_a_word(show: Any) -> None:
    scores = {name: PaneMetrics("Y", psnr_y=db, ssim_y=1.0) for name, db in (("a", float("inf")), ("b", 30.0))}
    page = show(
        [*(pane(name, A, SOURCE, metrics=scores[name]) for name in "ab"), pane("c", A, SOURCE, kind="reference")]
    )
    assert [one.split("\n")[1] for one in page.locator(".gsr-tag").all_inner_texts()[:2]] == ["equal", "30.00 dB"]
    assert page.locator("tr[data-pane=a] [data-label=PSNR-Y]").inner_text() == "equal"
    assert page.locator("tr[data-pane=a] .is-best").count() == 2
    csv = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.dock.csv(',')").splitlines()
    values = [dict(zip(csv[0].split(","), line.split(","), strict=True))["psnr_y"] for line in csv[1:]]
    assert values == ["inf", "30"]
    run(page, "viewer.addRegion({ x: 2, y: 2, width: 6, height: 6 });")
    assert "equal" in page.locator(".gsr-crops figure").first.inner_text()


def test_a_seventh_pane_is_shown_in_place_of_the_sixth(show: Any) -> None:
    page = show([pane(name, A, SOURCE) for name in "abcdef"] + [pane("r", C, SOURCE, kind="reference")])
    box = page.get_by_label("Show R", exact=True)
    assert not box.is_checked()
    box.check()
    wait_for(page, "viewer.shown.length === 6 && viewer.shown.at(-1).spec.id === 'r'")
    assert not page.get_by_label("Show F", exact=True).is_checked()
    assert page.get_by_label("Show E", exact=True).is_checked()


@pytest.mark.parametrize(("x", "y", "width", "height"), [(3, 1, 11, 9), (5, 3, 1, 1), (19, 13, 2, 3)])
def test_crops_at_a_fraction_of_a_pixel_are_those_of_the_figure(
    show: Any, x: int, y: int, width: int, height: int
) -> None:
    size = (36, 48)  # of SOURCE at 1.5
    one, truth = A[:36, :48], C[:36, :48]
    panes = [pane("a", one, SOURCE), pane("c", truth, SOURCE, kind="reference")]
    page = show(panes, scale=1.5)
    run(page, f"viewer.addRegion({{ x: {x}, y: {y}, width: {width}, height: {height} }});")
    assert size == one.shape[:2]
    pictures = {"a": Image.fromarray(one), "c": Image.fromarray(truth)}
    row = Row(Scene(tuple(panes), scale={"x": 1.5, "y": 1.5}), Region(x, y, width, height), pictures)
    score = score_crops(row, {each.id: cut(row, each) for each in panes})["a"]
    assert f"{score.psnr_db:.2f} dB" in page.locator(".gsr-crops figure").first.inner_text()


def test_transparency_is_shown_on_a_checkerboard(show: Any) -> None:
    pixels = noise(96, 128, 5, channels=4)
    pixels[..., 3] = 0
    pixels[:48, :, 3] = 255
    page = show([pane("a", pixels, SOURCE)])
    run(page, "viewer.grid = false; viewer.oneToOne();")
    shown, cell = canvas_pixels(page), cells_of(page)[0]
    expected, where = expected_cell(pixels[..., :3], cell, 1)
    np.testing.assert_array_equal(shown[where][:48], expected[:48])
    checks = shown[where][48:]
    assert {tuple(colour) for colour in np.unique(checks.reshape(-1, 3), axis=0)} == {(204, 204, 204), (255, 255, 255)}
    assert (checks[0, 0] != checks[0, 8]).any()


def test_the_pixel_grid_appears_at_eight_times(show: Any) -> None:
    page = show([pane("a", np.full((96, 128, 3), 255, np.uint8), SOURCE)])
    run(page, "viewer.look(64, 48, 7.9);")
    inside = canvas_pixels(page)[200:300, 400:500]
    assert (inside == 255).all()
    run(page, "viewer.look(64, 48, 8);")
    cell = cells_of(page)[0]
    lines = (canvas_pixels(page)[300, 400:500] < 255).any(1).nonzero()[0] + 400
    assert {(x - cell["origin"]["x"]) % 8 for x in lines.tolist()} == {0}


def test_pictures_of_different_sizes_cover_the_same_area(show: Any) -> None:
    small = noise(24, 32, 9)
    page = show([pane("a", small.repeat(4, 0).repeat(4, 1), SOURCE), pane("b", small, SOURCE)])
    run(page, "viewer.grid = false; viewer.look(64, 48, 2);")
    shown, cells = canvas_pixels(page), cells_of(page)
    big = small.repeat(4, 0).repeat(4, 1)
    for cell in cells:
        expected, where = expected_cell(big, cell, 2)
        np.testing.assert_array_equal(shown[where], expected)


def test_a_failed_method_shows_the_reason_in_its_own_pane(show: Any) -> None:
    failed = pane(
        "b",
        B,
        SOURCE,
        url=None,
        state="failed",
        error={"message": "Out of <b>memory</b>", "hint": "Try a smaller scale."},
    )
    page = show([pane("a", A, SOURCE), failed])
    alert = page.get_by_role("alert")
    assert "Out of <b>memory</b>" in alert.inner_text()
    assert "Try a smaller scale." in alert.inner_text()
    assert "a" in state_of(page)["loaded"]


def test_everything_is_reachable_by_keyboard(show: Any) -> None:
    page = show(three())
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


def test_a_region_gives_crops_of_every_picture_and_its_distance_to_the_reference(show: Any) -> None:
    near = np.clip(C.astype(int) + 2, 0, 255).astype(np.uint8)
    page = show([pane("a", near, SOURCE), pane("c", C, SOURCE, kind="reference")])
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


def test_crops_of_a_region_are_of_the_new_picture_after_another_run(show: Any) -> None:
    add_region = "viewer.addRegion({ x: 2, y: 2, width: 6, height: 6 });"
    truth = pane("c", C, SOURCE, kind="reference")
    page = show([pane("a", B, SOURCE), truth])
    crop = page.locator(".gsr-crops figure").first
    run(page, add_region)
    wanted = crop.inner_text()
    page = show([pane("a", A, SOURCE), truth])
    run(page, add_region)
    assert crop.inner_text() != wanted
    next_run(page, [pane("a", B, SOURCE), truth], "second")
    wait_for(page, "viewer.panes.get('a').valueAt(0, 0)[0] === argument", int(B[0, 0, 0]))
    assert crop.inner_text() == wanted


def test_a_picture_that_does_not_arrive_leaves_none_of_the_run_before(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", B, SOURCE)])
    next_run(page, [pane("a", A, SOURCE, url="data:image/png;base64,AAAA"), pane("b", B, SOURCE)], "second")
    wait_for(page, "viewer.panes.get('a').problem")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.panes.get('a').picture") is None
    assert page.locator(".gsr-message strong").count() == 1
    next_run(page, [pane("a", A, SOURCE, url=None, state="running"), pane("b", B, SOURCE)], "third")
    wait_for(page, "!viewer.panes.get('a').problem")
    assert page.locator(".gsr-message progress").count() == 1


def test_a_phone_stacks_the_panes(show: Any) -> None:
    page = show([pane("a", A, SOURCE), pane("b", B, SOURCE)], viewport={"width": 390, "height": 844}, has_touch=True)
    first, second = cells_of(page)
    assert first["x"] == second["x"]
    assert second["y"] > first["y"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_large_picture_is_shown_and_read_exactly(show: Any) -> None:
    tile = noise(100, 150, 11)
    large = np.tile(tile, (40, 40, 1))  # 6000 x 4000
    page = show([pane("a", large, (1000.0, 1500.0))], scale=4.0)
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
