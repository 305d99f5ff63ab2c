"""Fields drawn by the browser: equal to the op, quick, and nothing lost on the way."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app import ops
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.harness.cli import main
from gsr_app.io.fields import pack_field, save_field
from gsr_app.ui.compare import House, Wish, compare, prepare
from gsr_app.ui.files import Files, path_of
from gsr_app.ui.viewer import bundle
from gsr_app.ui.viewer.contract import PaneField
from gsr_app.ui.views import report
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.scenes import canvas_pixels, page_with, pane, save, scene_of

pytestmark = pytest.mark.browser

SOURCE = (40, 56)


def field_of(
    count: int = 4000, *, normalize: bool = False, seed: int = 1, source: tuple[int, int] = SOURCE
) -> GaussianField:
    """As networks make them: on and beyond the picture, a few needles among them."""
    rng = np.random.default_rng(seed)
    height, width = source
    mean = np.stack([rng.uniform(-2, width + 2, count), rng.uniform(-2, height + 2, count)], 1)
    spacing = np.sqrt(height * width / count)
    sigma = np.exp(rng.normal(np.log(0.6 * spacing), 0.4, (count, 2)))
    rho = np.tanh(rng.normal(0, 0.8, count))
    thin = rng.random(count) < 0.03
    rho[thin] = np.sign(rho[thin]) * (1 - 10 ** rng.uniform(-6, -2, thin.sum()))
    color = rng.uniform(0, 1, (count, 3)) if normalize else rng.normal(0.2, 0.2, (count, 3))
    parts = (np.float32(part) for part in (mean, sigma, rho, color))
    return GaussianField(*parts, source, normalize)


def reference(field: GaussianField, view: View) -> np.ndarray:
    """[H, W, 3] in 0..255, not rounded."""
    return ops.render(field, view).clamp(0, 1).permute(1, 2, 0).numpy() * 255


def packed_url(field: GaussianField) -> str:
    return "data:application/gzip;base64," + base64.b64encode(gzip.compress(pack_field(field), 1)).decode()


# A page with the module alone: `show(rectangle, width, height)` draws and answers a PNG.
ALONE = """<!doctype html><meta charset=utf-8><script type=module>
%s
Object.assign(window, await modules);
window.open_field = async (url, precision) => {
  window.field = await Field.load(url);
  window.painter = new FieldPainter({ precision });
  return painter.precision;
};
window.show = (rect, width, height) => {
  const picture = Object.assign(document.createElement("canvas"), { width, height });
  picture.getContext("2d", { alpha: false }).drawImage(painter.draw(field, rect, width, height), 0, 0, width, height, 0, 0, width, height);
  return picture.toDataURL("image/png");
};
window.time_frames = (rect, width, height, frames) => {
  const one = new Uint8Array(4);
  const draw = () => {
    rect.x += 1e-3;
    painter.draw(field, rect, width, height);
    painter.gl.readPixels(0, 0, 1, 1, painter.gl.RGBA, painter.gl.UNSIGNED_BYTE, one);
  };
  draw();
  const started = performance.now();
  for (let k = 0; k < frames; k++) draw();
  return (performance.now() - started) / frames;
};
window.ready = true;
</script>"""


@pytest.fixture
def alone(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def visit(field: GaussianField, precision: str = "full", **options: Any) -> Any:
        page = new_page(**options)
        page.goto(save(tmp_path / "alone.html", ALONE % bundle.start_script()))
        page.wait_for_function("window.ready")
        assert (
            page.evaluate("([url, precision]) => open_field(url, precision)", [packed_url(field), precision])
            == precision
        )
        return page

    return visit


def drawn(page: Any, view: View) -> np.ndarray:
    rect = {"x": view.origin[0], "y": view.origin[1], "width": view.span[1], "height": view.span[0]}
    url = page.evaluate("([r, w, h]) => show(r, w, h)", [rect, view.size[1], view.size[0]])
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(float)


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


def test_what_is_no_field_is_refused_in_words(alone: Callable[..., Any]) -> None:
    page = alone(field_of(10))
    for data, words in (
        (b"<!doctype html>" * 9, "not a field"),
        (pack_field(field_of(10), precision="float32"), "float32"),
    ):
        url = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        assert words in page.evaluate(
            "async (url) => { try { await Field.load(url); } catch (e) { return e.message; } }", url
        )


def test_frames_are_quick_and_memory_stays_small(alone: Callable[..., Any]) -> None:
    """The software renderer on shared cores; the limits leave room for others' work."""
    rect = {"x": 0, "y": 0, "width": 1000, "height": 700}
    for count, least in ((10_000, 15), (130_000, 2)):
        field = field_of(130_000, normalize=True, source=(700, 1000))
        few = GaussianField(*(a[:count] for a in (field.mean, field.sigma, field.rho, field.color)), (700, 1000), True)
        page = alone(few)
        ms = page.evaluate("([r]) => time_frames(r, 1000, 700, 3)", [rect])
        kept = page.evaluate(
            "() => field.mean.buffer.byteLength + field.boxes.byteLength + field.areas.byteLength + painter.runs.byteLength"
        )
        print(f"{count:,} Gaussians: {1000 / ms:.1f} frames/s, {kept / count:.1f} bytes per Gaussian in the page")
        assert kept / count < 40
        assert 1000 / ms > least / 10


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


# ---- in the viewer ------------------------------------------------------------------------------------------------

SCALE = 4.0


def pixels_of(field: GaussianField) -> np.ndarray:
    return np.rint(reference(field, View.whole(field.source_size, Scale(SCALE, SCALE)))).astype(np.uint8)


@pytest.fixture
def show(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def open_scene(fields: dict[str, GaussianField], *, served: bool = False, before: str = "", **options: Any) -> Any:
        page = new_page(**{"viewport": {"width": 640, "height": 560}, **options})
        if before:
            page.add_init_script(before)
        panes = [
            pane(name, pixels_of(field), field.source_size, field=PaneField(name, len(field), served))
            for name, field in fields.items()
        ]
        urls = json.dumps({name: packed_url(field) for name, field in fields.items()})
        view = (
            "window.asked = (window.asked ?? 0) + 1; const c = new OffscreenCanvas(...size); const x = c.getContext('2d');"
            "x.fillStyle = 'rgb(10,200,30)'; x.fillRect(0, 0, ...size); return {url: URL.createObjectURL(await c.convertToBlob()), ms: 5};"
        )
        services = (
            f"{{ fieldUrl: async (id) => ({{ url: ({urls})[id] }}), renderView: async (id, r, size) => {{ {view} }} }}"
        )
        page.goto(save(tmp_path / "page.html", page_with(scene_of(panes, SOURCE, SCALE), services)))
        wait_for(page, "viewer.allPanes.every((pane) => pane.picture)")
        run(page, "viewer.grid = false; viewer.minimapOn = false;")
        return page

    return open_scene


def run(page: Any, code: str) -> None:
    page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; {code} viewer.changed(); }}")
    wait_for(page, "!viewer.request")


def settled(page: Any) -> None:
    wait_for(page, "viewer.shown.every((pane) => pane.isLive && pane.shots.view?.step === 1) && !viewer.request")


def cell(page: Any, number: int = 0) -> dict[str, Any]:
    return page.evaluate(
        f"() => {{ const v = document.querySelector('.gsr-viewer').viewer; const r = v.cells[{number}].rect; return {{...r, origin: v.view.origin(r), zoom: v.view.zoom}}; }}"
    )


def expected_in(field: GaussianField, place: dict[str, Any]) -> tuple[slice, slice, np.ndarray]:
    """The pixels of the canvas that a pane's field covers, and what the op says stands there."""
    k = SCALE * place["zoom"]
    x0, y0 = max(place["x"], place["origin"]["x"]), max(place["y"], place["origin"]["y"])
    x1 = min(place["x"] + place["w"], int(place["origin"]["x"] + SOURCE[1] * k + 1e-6))
    y1 = min(place["y"] + place["h"], int(place["origin"]["y"] + SOURCE[0] * k + 1e-6))
    view = View(
        ((x0 - place["origin"]["x"]) / k, (y0 - place["origin"]["y"]) / k),
        ((y1 - y0) / k, (x1 - x0) / k),
        (y1 - y0, x1 - x0),
    )
    return slice(y0, y1), slice(x0, x1), reference(field, view)


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
            # The tags lie over the canvas, not in it: everything can be compared.
            error = np.abs(shown[rows, columns] - expected)
            assert error.max() <= 2
            assert error.mean() <= 0.3
    assert page.locator(".gsr-badge").inner_text() == "live field · 64×"
    assert state_of(page)["live"] == ["a", "b"]


def test_the_switch_to_the_field_is_no_jump(show: Callable[..., Any]) -> None:
    """At a zoom where both can be drawn, pixels and field are the same picture, place and all."""
    field = field_of(normalize=True)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 1);")
    pixels = canvas_pixels(page).astype(int)
    run(page, "viewer.live.setTouch({ only: -2 });")  # touched, and yet all are drawn
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
        "() => { const s = document.querySelector('.gsr-viewer').viewer.allPanes[1].shots.loupe; return [s.place, s.w, s.h, s.step]; }"
    )
    assert box[3] == 1
    assert box[1] / box[0]["width"] == pytest.approx(24)  # four times the zoom, drawn and not enlarged


def test_without_webgl2_the_server_draws_and_the_badge_says_so(show: Callable[..., Any]) -> None:
    page = show(
        {"a": field_of()},
        served=True,
        before="const real = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind === 'webgl2' ? null : real.call(this, kind, ...rest); };",
    )
    run(page, "viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.zoomer.current")
    assert page.locator(".gsr-badge").inner_text() == "true zoom · 32×"
    assert "This browser has no WebGL2" in (page.locator(".gsr-badge").get_attribute("title") or "")
    rows, columns, _ = expected_in(field_of(), cell(page))
    assert (canvas_pixels(page)[rows, columns] == (10, 200, 30)).all()
    assert state_of(page)["live"] == []
    assert (
        page.evaluate("() => document.querySelector('.gsr-viewer').viewer.active.field") is None
    )  # nothing fetched in vain


def test_what_takes_too_long_here_is_left_to_the_server(show: Callable[..., Any]) -> None:
    page = show({"a": field_of()}, served=True)
    run(page, "viewer.live.rate = 1e-3; viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.field && viewer.active.zoomer.current && !viewer.active.isLive")
    assert page.locator(".gsr-badge").inner_text() == "true zoom · 32×"
    run(page, "viewer.live.rate = 1e7;")
    settled(page)
    assert page.locator(".gsr-badge").inner_text() == "live field · 32×"


def test_a_slow_machine_draws_coarsely_while_moving_and_finely_at_rest(show: Callable[..., Any]) -> None:
    field = field_of()
    page = show({"a": field})
    run(page, "viewer.live.rate = 2e3; viewer.look(110, 80, 8);")
    wait_for(page, "viewer.active.field && viewer.active.shots.view")
    steps = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.live.rate = 2e3; v.view.pan(5, 3); v.draw(); return v.active.shots.view.step; }"
    )
    assert steps > 1
    run(page, "viewer.live.rate = 1e6;")
    settled(page)
    rows, columns, expected = expected_in(field, cell(page))
    assert np.abs(canvas_pixels(page)[rows, columns] - expected).max() <= 2


def test_a_lost_context_comes_back_and_no_pane_goes_blank(show: Callable[..., Any]) -> None:
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
    for size in ((500, 420), (1200, 800)):
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
        run(page, f"const s = structuredClone(viewer.scene); s.source.key = 'k{k}'; viewer.setScene(s);")
        wait_for(page, "viewer.active.picture")
        run(page, "viewer.look(110, 80, 8);")
        settled(page)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.painter.kept.size") == 1


def test_nothing_is_drawn_twice(show: Callable[..., Any]) -> None:
    page = show({"a": field_of()})
    run(page, "viewer.look(110, 80, 8);")
    settled(page)
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.drawings")
    for x in (300, 320, 340):
        run(page, f"viewer.pointTo({x}, 200);")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.live.drawings") == before
    spot = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.spot().values[0].value")
    assert spot == canvas_pixels(page)[200, 340].tolist()


# ---- touching the Gaussians ---------------------------------------------------------------------------------------


def touched(page: Any, field: GaussianField) -> tuple[np.ndarray, Callable[[GaussianField], np.ndarray]]:
    """What the canvas shows of the field now, and how to draw any other field there."""
    settled(page)
    rows, columns, _ = expected_in(field, cell(page))
    return canvas_pixels(page)[rows, columns].astype(float), lambda other: expected_in(other, cell(page))[2]


def only_those(field: GaussianField, keep: np.ndarray) -> GaussianField:
    return GaussianField(
        *(part[keep] for part in (field.mean, field.sigma, field.rho, field.color)), SOURCE, field.normalize
    )


def test_sliders_scale_and_hide_gaussians_and_change_no_data(show: Callable[..., Any]) -> None:
    field = field_of(600)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 2);")
    settled(page)
    before = canvas_pixels(page)
    page.get_by_role("button", name="touch").click()
    slide = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"
    page.get_by_label("How far every Gaussian reaches").evaluate(slide, "1.5")
    shown, draw = touched(page, field)
    assert np.abs(shown - draw(GaussianField(field.mean, field.sigma * 1.5, field.rho, field.color, SOURCE))).max() <= 2
    page.get_by_label("How far every Gaussian reaches").evaluate(slide, "1")
    page.get_by_label("Only Gaussians at least so strong").evaluate(slide, "0.5")
    shown, draw = touched(page, field)
    strength = np.abs(field.color).max(1)
    peak = np.sort(strength)[int(0.98 * (len(strength) - 1))]
    assert np.abs(shown - draw(only_those(field, strength >= 0.5 * peak))).max() <= 3  # one may sit on the edge
    page.get_by_label("Each Gaussian in a colour of its own").evaluate(slide, "1")
    page.get_by_label("The large ones above, the small ones below").evaluate(slide, "0.5")
    shown, draw = touched(page, field)
    assert shown.std() > 5
    assert "touched" in page.locator(".gsr-badge").inner_text()
    page.get_by_role("button", name="close", exact=True).click()
    settled(page)
    np.testing.assert_array_equal(canvas_pixels(page), before)


def test_a_clicked_gaussian_shows_its_numbers_and_can_stand_alone(show: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(0, 56, 300), rng.uniform(0, 40, 300)], 1)
    points[0] = (28, 20)
    points = np.float32(points[(np.hypot(*(points - points[0]).T) > 2) | (np.arange(300) == 0)])
    count = len(points)
    color = np.float32(rng.uniform(0.1, 0.6, (count, 3)))
    field = GaussianField(
        points, np.tile(np.float32([[1.5, 0.75]]), (count, 1)), np.full(count, 0.25, np.float32), color, SOURCE
    )
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 3); viewer.touchPanel.toggle();")
    settled(page)
    place = cell(page)
    page.mouse.click(0, 0)
    box = page.locator(".gsr-canvas").bounding_box()
    page.mouse.click(box["x"] + place["origin"]["x"] + 28 * 12 + 2, box["y"] + place["origin"]["y"] + 20 * 12 - 2)
    numbers = "at 28.00 20.00 σ 1.50 0.750 ρ 0.250"
    page.wait_for_function("text => document.querySelector('.gsr-touch p').innerText.includes(text)", arg=numbers)
    page.get_by_text("this one alone").click()
    settled(page)
    run(page, "viewer.picked = null;")  # its outline, too, lies over the picture
    shown, draw = touched(page, field)
    assert np.abs(shown - draw(only_those(field, np.arange(count) == 0))).max() <= 2


def test_the_difference_between_field_and_pixels_can_be_seen(show: Callable[..., Any]) -> None:
    field = field_of(600)
    page = show({"a": field})
    run(page, "viewer.look(112, 80, 4); viewer.gain = 2; viewer.colourScale = 'absolute';")
    settled(page)
    page.get_by_role("button", name="− pixels").click()
    settled(page)
    shown, _ = touched(page, field)
    k = round(SCALE * 4 / 4)
    place = cell(page)
    rows, columns, exact = expected_in(field, place)
    pixels = pixels_of(field).repeat(k, 0).repeat(k, 1).astype(float)
    y, x = rows.start - place["origin"]["y"], columns.start - place["origin"]["x"]
    window = pixels[y : y + exact.shape[0], x : x + exact.shape[1]]
    assert np.abs(shown - np.clip(2 * np.abs(exact - window), 0, 255)).max() <= 4


# ---- reports ------------------------------------------------------------------------------------------------------


def test_an_exported_field_zooms_offline_to_sixty_four(new_page: Callable[..., Any], tmp_path: Path) -> None:
    field = field_of(normalize=True)
    save_field(field, tmp_path / "one.gsr", licence="CC BY 4.0")
    assert main(["export", str(tmp_path / "one.gsr"), "--html"]) == 0
    page = new_page(offline=True)
    page.goto((tmp_path / "one.html").as_uri())
    wait_for(page, "viewer.active?.picture")
    place = cell(page)
    assert canvas_pixels(page)[place["origin"]["y"] + 40, place["origin"]["x"] + 40].sum() > 0
    run(page, "viewer.grid = false; viewer.minimapOn = false; viewer.look(111.3, 79.1, 64);")
    settled(page)
    rows, columns, expected = expected_in(field, cell(page))  # drawn at x4, so each source pixel is 256 wide here
    error = np.abs(canvas_pixels(page)[rows, columns] - expected)
    assert error.max() <= 2
    assert error.mean() <= 0.3
    assert page.locator(".gsr-badge").inner_text() == "live field · 256×"


def test_a_report_is_as_large_as_announced_and_zooms_offline(new_page: Callable[..., Any], tmp_path: Path) -> None:
    engine = FakeEngine()
    house = House(engine, Files(tmp_path / "files"))
    picture = tmp_path / "small.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(picture)
    task = prepare(house, Wish(str(picture), ("swift", "bicubic"), "4"))
    *_, scene = compare(house, "somebody", task)
    plan = report(house, {"run": scene.run, "regions": [], "plan": True})
    assert list(plan["fields"]) == ["swift"]
    announced = plan["bytes"] + plan["fields"]["swift"]
    path = path_of(report(house, {"run": scene.run, "regions": [], "carry": ["swift", "bicubic", 7]})["url"])
    print(f"announced {announced:,} bytes, made {path.stat().st_size:,}")
    assert path.stat().st_size == pytest.approx(announced, rel=0.1)
    page = new_page(offline=True)
    page.goto(path.as_uri())
    wait_for(page, "viewer.shown.every((pane) => pane.picture)")
    run(page, "viewer.setMode('loupe'); viewer.grid = viewer.minimapOn = false; viewer.look(120, 80, 64);")
    wait_for(page, "viewer.allPanes.find((pane) => pane.spec.id === 'swift').shots.view?.step === 1")
    field = engine.field(engine.encode(np.zeros((40, 60, 3)), method="swift", scale=Scale(4, 4)))
    place = cell(page)
    k = 256
    x, y = place["w"] // 2, place["h"] // 2
    source = ((x - place["origin"]["x"]) / k, (y - place["origin"]["y"]) / k)
    expected = reference(field, View(source, (100 / k, 100 / k), (100, 100)))
    assert np.abs(canvas_pixels(page)[y : y + 100, x : x + 100] - expected).max() <= 2


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
