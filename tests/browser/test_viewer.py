"""The viewer alone, in a plain page, checked by reading the canvas: pixels, zoom, modes, readout."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.viewer.contract import PaneMetrics
from tests.browser.conftest import FLAGS, state_of, wait_for
from tests.browser.panes import SCALE, SOURCE, A, B, C, cells_of, expected_cell, run, three
from tests.browser.scenes import canvas_pixels, pane, scene_of, show_scene
from tests.conftest import find_chromium

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("zoom", [1, 8, 64])
def test_every_pane_shows_the_same_pixels_exactly(show_panes: Any, zoom: int) -> None:
    page = show_panes(three())
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


def test_the_screen_is_the_picture_at_two_device_pixels_per_css_pixel(show_panes: Any) -> None:
    page = show_panes(three(), device_scale_factor=2)
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


def test_the_wheel_keeps_the_point_under_the_pointer(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE), pane("b", B, SOURCE)])
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


def test_dragging_moves_every_pane_by_the_drag(show_panes: Any) -> None:
    page = show_panes(three())
    run(page, "viewer.look(64, 48, 8);")
    before = cells_of(page)
    page.mouse.move(200, 300)
    page.mouse.down()
    page.mouse.move(231, 288, steps=3)
    page.mouse.up()
    wait_for(page, "!viewer.request")
    for was, now in zip(before, cells_of(page), strict=True):
        assert (now["origin"]["x"] - was["origin"]["x"], now["origin"]["y"] - was["origin"]["y"]) == (31, -12)


def test_a_pinch_zooms_about_its_middle_and_is_no_click(show_panes: Any) -> None:
    page = show_panes(three(), has_touch=True)
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


def test_zoom_stays_within_its_limits(show_panes: Any) -> None:
    page = show_panes(three())
    run(page, "viewer.look(64, 48, 1e9);")
    assert state_of(page)["zoom"] == 64
    run(page, "viewer.look(64, 48, 1e-9);")
    assert state_of(page)["zoom"] == pytest.approx(0.1)


def test_wipe_shows_one_picture_left_and_the_other_right(show_panes: Any) -> None:
    page = show_panes(three())
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


def test_the_divider_follows_the_pointer_and_the_arrow_keys(show_panes: Any) -> None:
    page = show_panes(three())
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


def test_blink_swaps_the_picture_while_space_is_held(show_panes: Any) -> None:
    page = show_panes(three())
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


def test_blink_alternates_by_itself(show_panes: Any) -> None:
    page = show_panes(three())
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
def test_difference_is_the_amplified_absolute_difference(show_panes: Any, gain: int) -> None:
    page = show_panes(three())
    run(
        page,
        f"viewer.setMode('difference'); viewer.setBaseId('b'); viewer.set({{colourScale: 'absolute'}}); viewer.setGain({gain}); viewer.look(64, 48, 3);",
    )
    shown = canvas_pixels(page)
    for cell, pixels in zip(cells_of(page), (A, B, C), strict=True):
        difference = np.clip(np.abs(pixels.astype(int) - B.astype(int)) * gain, 0, 255).astype(np.uint8)
        expected, where = expected_cell(B if cell["id"] == "b" else difference, cell, 3)
        np.testing.assert_array_equal(shown[where], expected)


def test_signed_difference_is_grey_where_nothing_differs(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE), pane("b", A, SOURCE)])
    run(
        page,
        "viewer.setMode('difference'); viewer.set({colourScale: 'signed'}); viewer.setBaseId('b'); viewer.look(64, 48, 2);",
    )
    expected, where = expected_cell(np.full_like(A, 128), cells_of(page)[0], 2)
    np.testing.assert_array_equal(canvas_pixels(page)[where], expected)


def test_the_loupe_magnifies_the_point_under_the_pointer_in_every_picture(show_panes: Any) -> None:
    page = show_panes(three())
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


def test_the_readout_names_position_values_and_difference(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE), pane("b", B, SOURCE)])
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


def test_the_readout_says_that_a_deeper_picture_is_shown_in_8_bits(show_panes: Any) -> None:
    page = show_panes([pane("a", A, SOURCE), pane("b", B, SOURCE, bits=16)])
    run(page, "viewer.look(64, 48, 8);")
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    depth = page.locator("[data-role=depth]")
    assert depth.inner_text() == "8 of 16 bits"
    assert "has all bits" not in depth.get_attribute("title")  # there is none
    shown = pane("b", B, SOURCE, bits=16)
    page = show_panes([pane("a", A, SOURCE), replace(shown, download_url="deep.png")])
    run(page, "viewer.look(64, 48, 8);")
    page.mouse.move(box["x"] + 61, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    assert "the downloaded picture has all bits" in depth.get_attribute("title")
    assert page.get_by_role("link", name="Save").get_attribute("title").endswith("with all bits")
    page = show_panes([replace(shown, download_url=shown.url)])  # as in a report
    run(page, "viewer.look(64, 48, 8);")
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    wait_for(page, "viewer.spot()")
    assert "has all bits" not in depth.get_attribute("title")
    assert page.get_by_role("link", name="Save").get_attribute("title").endswith("with 8 bits per channel")


def test_the_score_of_a_picture_without_any_difference_is_a_word(show_panes: Any) -> None:
    scores = {name: PaneMetrics("Y", psnr_y=db, ssim_y=1.0) for name, db in (("a", float("inf")), ("b", 30.0))}
    page = show_panes(
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


@pytest.mark.parametrize("height", [2, 30])  # source pixels
def test_the_name_of_a_region_at_the_top_is_not_covered_by_the_tag_of_the_pane(show_panes: Any, height: int) -> None:
    page = show_panes([pane("a", A, SOURCE)])
    run(page, f"viewer.addRegion({{ x: 0, y: 0, width: 20, height: {height} }}); viewer.fit();")
    run(page, "viewer.pan(-viewer.view.origin(viewer.cells[0].rect).x, 0);")
    x, y = page.evaluate(
        "() => { const { viewer } = document.querySelector('.gsr-viewer'); const { ctx } = viewer.painter; let at;"
        " ctx.fillText = (text, x, y) => text === viewer.regions[0].name && (at = [x / viewer.dpr, y / viewer.dpr]);"
        " viewer.draw(); delete ctx.fillText; return at; }"
    )
    stage, tag = (page.locator(where).bounding_box() for where in (".gsr-stage", ".gsr-tag"))
    x, y = stage["x"] + x, stage["y"] + y  # the left end of its base line
    assert x < tag["x"] + tag["width"]
    assert y - 11 > tag["y"] + tag["height"]
    assert y < stage["y"] + stage["height"]
