"""The live field in the viewer: past the drawn resolution, in every mode, and nothing lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gsr_app.core.types import GaussianField
from tests.browser.conftest import state_of, wait_for
from tests.browser.fields import cell, expected_in, field_of, open_scene, run, settled
from tests.browser.scenes import canvas_pixels

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("ratio", [1, 2])
def test_past_the_drawn_resolution_the_pane_shows_the_field_itself(show: Callable[..., Any], ratio: int) -> None:
    fields = {"a": field_of(), "b": field_of(900, normalize=True, seed=2)}
    page = show(fields, device_scale_factor=ratio)
    for zoom in (2, 3.7, 16):
        run(page, f"viewer.look(30, 20, {zoom});")
        settled(page)
        shown = canvas_pixels(page).astype(float)
        for number, field in enumerate(fields.values()):
            rows, columns, expected = expected_in(field, cell(page, number))
            # The tags are above the canvas, not in it: every pixel can be compared.
            error = np.abs(shown[rows, columns] - expected)
            assert error.max() <= 2
            assert error.mean() <= 0.3
    assert page.locator(".gsr-badge").inner_text() == "Live field · 64×"
    assert state_of(page)["live"] == ["a", "b"]


def test_the_switch_to_the_field_is_no_jump(show: Callable[..., Any]) -> None:
    """At a zoom where both can be drawn, pixels and field are the same picture, place and all."""
    field = field_of(normalize=True)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 1);")
    pixels = canvas_pixels(page).astype(int)
    run(page, "viewer.live.setAdjustments({ only: -2 });")  # adjusted, and yet all are drawn
    settled(page)
    assert np.abs(canvas_pixels(page).astype(int) - pixels).max() <= 2


def test_wipe_blink_difference_and_loupe_show_the_live_field(show: Callable[..., Any]) -> None:
    fields = {"a": field_of(seed=3), "b": field_of(seed=4)}
    page = show(fields)
    run(page, "viewer.setMode('wipe'); viewer.look(110, 80, 6);")
    settled(page)
    shown, place = canvas_pixels(page).astype(float), cell(page)
    half = place["w"] // 2
    for name, part in (("a", slice(0, half - 2)), ("b", slice(half + 2, None))):
        rows, columns, expected = expected_in(fields[name], place)
        error = np.abs(shown[rows, columns] - expected)
        left = columns.start
        keep = slice(max(0, (part.start or 0) - left), None if part.stop is None else part.stop - left)
        assert error[:, keep].max() <= 2
    run(page, "viewer.setMode('blink'); viewer.blinkAuto = false; viewer.held = true;")
    rows, columns, expected = expected_in(fields["b"], cell(page))
    assert np.abs(canvas_pixels(page)[rows, columns] - expected).max() <= 2
    run(
        page,
        "viewer.setMode('difference'); viewer.gain = 4; viewer.colourScale = 'absolute'; viewer.baseId = 'b'; viewer.look(110, 80, 6);",
    )
    settled(page)
    rows, columns, a = expected_in(fields["a"], cell(page))
    b = expected_in(fields["b"], cell(page))[2]
    error = np.abs(canvas_pixels(page)[rows, columns] - np.clip(4 * np.abs(a - b), 0, 255))
    assert error.max() <= 8
    run(page, "viewer.setMode('loupe'); viewer.look(110, 80, 6); viewer.pointTo(300, 60);")
    box = page.evaluate(
        "() => { const s = document.querySelector('.gsr-viewer').viewer.allPanes[1].drawings.loupe; return [s.place, s.w, s.h, s.step]; }"
    )
    assert box[3] == 1
    assert box[1] / box[0]["width"] == pytest.approx(24)  # four times the zoom, drawn and not enlarged


def test_without_webgl2_the_server_draws_and_the_badge_says_so(
    new_page: Callable[..., Any], viewer_address: str
) -> None:
    def open_page(address: str, **options: Any) -> Any:
        page = new_page(**options)
        page.add_init_script(
            "const real = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind === 'webgl2' ? null : real.call(this, kind, ...rest); };"
        )
        page.goto(address)
        return page

    page = open_scene(open_page, viewer_address, {"a": field_of()}, served=True)
    run(page, "viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.zoomer.current")
    assert page.locator(".gsr-badge").inner_text() == "Live zoom (server) · 32×"
    assert "This browser has no WebGL2" in (page.locator(".gsr-badge").get_attribute("title") or "")
    rows, columns, _ = expected_in(field_of(), cell(page))
    assert (canvas_pixels(page)[rows, columns] == (10, 200, 30)).all()
    assert state_of(page)["live"] == []
    assert (
        page.evaluate("() => document.querySelector('.gsr-viewer').viewer.active.field") is None
    )  # nothing fetched in vain


def test_slow_views_are_drawn_by_the_server(show: Callable[..., Any]) -> None:
    page = show({"a": field_of()}, served=True)
    run(page, "viewer.live.rate = 1e-3; viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.field && viewer.active.zoomer.current && !viewer.active.isLive")
    assert page.locator(".gsr-badge").inner_text() == "Live zoom (server) · 32×"
    run(page, "viewer.live.rate = 1e7;")
    settled(page)
    assert page.locator(".gsr-badge").inner_text() == "Live field · 32×"


def test_a_slow_machine_draws_coarsely_while_moving_and_finely_at_rest(show: Callable[..., Any]) -> None:
    field = field_of()
    page = show({"a": field})
    run(page, "viewer.live.rate = 2e3; viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.field && viewer.active.drawings.view")
    steps = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.live.rate = 2e3; v.view.pan(5, 3); v.draw(); return v.active.drawings.view.step; }"
    )
    assert steps > 1
    run(page, "viewer.live.rate = 1e6;")
    settled(page)
    rows, columns, expected = expected_in(field, cell(page))
    assert np.abs(canvas_pixels(page)[rows, columns] - expected).max() <= 2


@pytest.mark.parametrize(("count", "least"), [(10_000, 15), (130_000, 2)])
def test_a_moving_view_is_redrawn_while_it_moves(show: Callable[..., Any], count: int, least: float) -> None:
    """Frames per second of panning, all Gaussians in view; the limits leave room for others' work."""
    page = show({"a": field_of(count, normalize=True)}, viewport={"width": 1000, "height": 964})
    run(page, "viewer.look(112, 80, 4.4);")
    settled(page)
    shot = page.evaluate(
        "() => { const s = document.querySelector('.gsr-viewer').viewer.active.drawings.view; return [s.w, s.h]; }"
    )
    frames, step = page.evaluate(
        """() => new Promise((done) => {
          const viewer = document.querySelector('.gsr-viewer').viewer;
          const [before, started] = [viewer.live.drawCount, performance.now()];
          let k = 0;
          const move = () => {
            const s = (performance.now() - started) / 1000;
            if (s > 0.4) return done([(viewer.live.drawCount - before) / s, viewer.active.drawings.view.step]);
            viewer.view.pan(k++ % 20 < 10 ? 2 : -2, k % 2 ? 1 : -1);
            viewer.changed();
            requestAnimationFrame(move);
          };
          move();
        })"""
    )
    print(f"{count:,} Gaussians in {shot}: {frames:.1f} frames/s, every {step}. pixel while it moves")
    assert frames > least / 50


def test_what_would_not_be_quicker_is_not_drawn_coarsely(show: Callable[..., Any]) -> None:
    """The time of many small Gaussians does not depend on the number of pixels."""
    field = field_of(20_000)
    field = GaussianField(field.mean, field.sigma / 8, field.rho, field.color, field.source_size)
    page = show({"a": field})
    run(page, "viewer.look(110, 80, 1);")
    steps = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.live.setAdjustments({ only: -2 }); v.live.rate = 1; v.view.pan(5, 3); v.draw(); return v.active.drawings.view?.step; }"
    )
    assert steps == 1


def test_a_lost_context_is_restored_and_no_pane_goes_blank(show: Callable[..., Any]) -> None:
    field = field_of()
    page = show({"a": field})
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    before = canvas_pixels(page)
    page.evaluate(
        "() => { window.lose = document.querySelector('.gsr-viewer').viewer.live.painter.gl.getExtension('WEBGL_lose_context'); lose.loseContext(); }"
    )
    wait_for(page, "viewer.live.painter.gl.isContextLost()")
    run(page, "viewer.look(110, 80, 4);")  # pixels until then
    assert canvas_pixels(page).std() > 10
    page.evaluate("() => lose.restoreContext()")
    wait_for(page, "!viewer.live.painter.gl.isContextLost()")
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    np.testing.assert_array_equal(canvas_pixels(page), before)


def test_resizing_and_hiding_leave_no_blank_pane(show: Callable[..., Any]) -> None:
    field = field_of()
    page = show({"a": field})
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    for size in ((400, 600), (800, 640)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        wait_for(page, f"viewer.canvas.width === {size[0]}")
        run(page, "document.dispatchEvent(new Event('visibilitychange'));")
        settled(page)
        rows, columns, expected = expected_in(field, cell(page))
        assert np.abs(canvas_pixels(page)[rows, columns] - expected).max() <= 2


def test_ten_fields_opened_and_closed_leave_nothing(show: Callable[..., Any]) -> None:
    page = show({"a": field_of()})
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    for k in range(10):
        run(page, f"const s = JSON.parse(JSON.stringify(viewer.scene)); s.source.key = 'k{k}'; viewer.setScene(s);")
        wait_for(page, "viewer.active.picture")
        run(page, "viewer.look(110, 80, 8);")
        settled(page)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.painter.copies.size") == 1


def test_nothing_is_drawn_twice(show: Callable[..., Any]) -> None:
    page = show({"a": field_of()})
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.drawCount")
    for x in (300, 320, 340):
        run(page, f"viewer.pointTo({x}, 200);")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.drawCount") == before
    spot = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.spot().values[0].value")
    assert spot == canvas_pixels(page)[200, 340].tolist()
