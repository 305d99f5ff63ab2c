"""The whole app in Chromium, over the deterministic engine.

Most tests use one page, each with a picture of its own.
"""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app import ops
from gsr_app.core.errors import GsrError
from gsr_app.core.types import FieldHandle, Scale, View
from gsr_app.ui.tabs import compare
from gsr_app.viewer import comparison
from tests.browser.app import Held, answered, choose, open_advanced, remove_picture, run_to_end, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.scenes import canvas_pixels, noise
from tests.files import heif_with
from tests.servers import serve

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(engine: FakeEngine) -> Iterator[str]:
    pytest.importorskip("gradio")
    from gsr_app.ui.state import Limits, create_app_state

    limits = Limits(input_pixels=30_000_000, output_pixels=3_000_000)
    with serve(create_app_state(engine, limits)) as url:
        yield url


def test_the_first_example_is_one_click_away(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    choose(page, "swift")
    choose(page, "swift", "bicubic")
    page.get_by_role("button", name="try an example").click()
    wait_for(page, "viewer.scene.run && !viewer.scene.running && viewer.shown.every((p) => p.picture)")
    assert state_of(page)["loaded"] == ["swift", "bicubic", "input"]
    assert page.locator("#facts b").inner_text() == "chelsea.png"


def test_the_screen_shows_what_the_engine_computed(app_page: Any) -> None:
    page = app_page
    pixels = noise(40, 60, 3)
    upload(page, pixels)
    choose(page, "bicubic")
    run_to_end(page)
    page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.grid = false; v.showPane('input', false); v.oneToOne(); }"
    )
    wait_for(page, "!viewer.request")
    rect = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return {...v.cells[0].rect, origin: v.view.origin(v.cells[0].rect)}; }"
    )
    x, y = rect["origin"]["x"], rect["origin"]["y"]
    shown = canvas_pixels(page)[y : y + 160, x : x + 240]
    page.evaluate("() => { document.querySelector('.gsr-viewer').viewer.grid = true; }")
    np.testing.assert_array_equal(shown, pixels.repeat(4, 0).repeat(4, 1))


def test_a_round_trip_measures_against_the_original(app_page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = app_page
    upload(page, noise(82, 121, 3))
    choose(page, "bicubic", "swift")
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("Round trip: shrink the picture first, then compare with it").check()
    page.locator("#forecast").get_by_text("30 × 20 → 120 × 80").wait_for()
    run_to_end(page)
    scene = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene")
    assert (scene["source"]["width"], scene["source"]["height"]) == (30, 20)
    assert (scene["frame"]["width"], scene["frame"]["height"]) == (120, 80)
    assert {pane["id"] for pane in scene["panes"]} == {"bicubic", "swift", "reference", "input"}
    row = page.locator("[data-pane=bicubic] td[data-label='PSNR-Y']")
    assert float(row.inner_text()) > 0
    assert "basicsr" in page.locator(".gsr-tablebox p").first.inner_text()
    assert 0 < float(page.locator("[data-pane=bicubic] td[data-label=FLIP]").inner_text()) < 1
    assert page.locator("#viewer .gsr-legend span").all_inner_texts() == ["read", "encode", "draw", "write"]
    # Where FLIP would take too long, it is said that it is missing.
    monkeypatch.setattr(comparison, "MOST_FLIP_PIXELS", 9000)
    run_to_end(page)
    page.locator(".gsr-tablebox p", has_text="FLIP is computed up to 0.009 megapixels").wait_for()
    assert page.locator("td[data-label=FLIP]").count() == 0
    assert page.locator("td[data-label='PSNR-Y']").count() == 4
    page.locator("#roundtrip input").uncheck()
    page.get_by_role("button", name="Advanced").click()


def test_the_scale_can_be_typed_per_axis_and_as_a_size(app_page: Any) -> None:
    page = app_page
    upload(page, noise(40, 60, 4))
    choose(page, "bicubic")
    for text, expected in (
        ("2.5x4", "240 × 100"),
        ("fit:200x200", "200 × 133"),
        ("120x", "120 × 80"),
        ("3.7", "222 × 148"),
        ("2,7", "162 × 108"),
        ("1.5x2", "vertical ×1.5, horizontal ×2 → 120 × 60"),
    ):
        page.locator("#scaletext input").fill(text)
        page.locator("#forecast").get_by_text(expected).wait_for()
        assert page.locator("#forecast .is-wrong").count() == 0
    page.locator("#scaletext input").fill("-3")
    page.locator("#forecast .is-wrong").wait_for()
    assert "×" not in page.locator("#forecast").inner_text().replace("×-3", "")
    page.locator("#scaletext input").fill("30x30")
    page.locator("#forecast").get_by_text("1800 × 1200").wait_for()
    # The slider and the field say the same, without the digits of a binary fraction.
    slider = page.locator("#scale input[type=range]")
    slider.fill("3.9")
    page.wait_for_function("() => document.querySelector('#scaletext input').value === '3.9'")
    page.locator("#scaletext input").fill("")
    page.locator("#scaletext input").press_sequentially("2.3")
    page.wait_for_function("() => document.querySelector('#scale input[type=range]').value === '2.3'")
    spoken = slider.evaluate("(node) => node.ariaValueText || node.value")
    assert spoken == "2.3"
    page.locator("#scaletext input").fill("4")


def test_sliders_and_the_typed_scale_follow_each_other_without_the_server(app_page: Any) -> None:
    page = app_page
    upload(page, noise(40, 60, 9))
    choose(page, "bicubic")
    open_advanced(page)
    held = Held(page)  # the server answers nothing
    text, slider = page.locator("#scaletext input"), page.locator("#scale input[type=range]")
    slider.fill("6")
    page.wait_for_function("() => document.querySelector('#scaletext input').value === '6'", timeout=5000)
    text.fill("")
    text.press_sequentially("8")
    page.wait_for_function("() => document.querySelector('#scale input[type=range]').value === '8'", timeout=5000)
    page.locator("#axes input").check()
    page.locator("#scaley input[type=range]").fill("5.3")
    page.wait_for_function("() => document.querySelector('#scaletext input').value === '5.3x8'", timeout=5000)
    page.locator("#axes input").uncheck()
    slider.fill("3")
    page.locator("#run").click()
    wait_for(page, "viewer.scene.run && viewer.scene.source.height === 40 && !viewer.scene.running")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.frame.width") == 180
    held.release()
    page.locator("#run").wait_for()
    assert (text.input_value(), slider.input_value()) == ("3", "3")
    text.fill("4")
    page.get_by_role("button", name="Advanced").click()


def test_the_slider_reads_a_typed_scale_as_the_server_does(app_page: Any) -> None:
    def value(text: str) -> float | None:
        try:
            scale = Scale.parse(text)
        except GsrError:
            return None
        return scale.x if scale.is_uniform and 1 <= scale.x <= 30 else None

    texts = [
        "4",
        " X4",
        "×2.5",
        "4x",
        "2,7",
        "2.",
        ".5",
        "3x3",
        "2.5x4",
        "30",
        "31",
        "1920x",
        "x1080",
        "fit:9x9",
        "x",
        "",
    ]
    texts += ["1e1", "-3", "4xx", "x4x", "1,234", "0x0", "2.5 × 2.5"]
    read = app_page.evaluate(f"(texts) => texts.map({compare._SLIDER_OF_TEXT}).map((one) => one ?? null)", texts)
    assert dict(zip(texts, read, strict=True)) == {text: value(text) for text in texts}


def test_an_invalid_request_is_refused_with_a_message(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    page.locator("#run").click()
    page.get_by_text("There is no picture yet.").wait_for()
    upload(page, noise(120, 180, 3))
    page.locator("#scaletext input").fill("30")
    page.locator("#forecast").get_by_text(
        "The result would have 19 megapixels (5400×3600). Limit: 3 megapixels"
    ).wait_for()
    page.get_by_role("button", name="Largest possible: ×11.7").click()
    page.wait_for_function("() => document.querySelector('#scaletext input').value === '11.7'")
    page.locator("#largest").wait_for(state="detached")
    assert page.locator("#scale input[type=range]").input_value() == "11.7"
    page.locator("#scaletext input").fill("30")
    page.locator("#largest").wait_for()
    page.locator("#run").click()
    page.locator("#notice").get_by_text("The result would have 19 megapixels").wait_for()
    assert state_of(page)["loaded"] == ["input"], "a refused request runs nothing"
    # Results of the run before are dimmed, and say what they are.
    choose(page, "bicubic")
    page.locator("#scaletext input").fill("1.5")
    page.locator("#forecast").get_by_text("270 × 180").wait_for()
    run_to_end(page)
    page.locator("#scaletext input").fill("30")
    page.locator("#largest").wait_for()
    for _ in range(2):
        with answered(page):  # it has ended
            page.locator("#run").click()
        page.locator("#viewer .gsr-message.is-outdated", has_text="These are the results of the run before.").wait_for()
        page.get_by_role("button", name="Show them").click()
        page.locator("#viewer .gsr-message").wait_for(state="detached")
    page.locator("#run").click()
    page.locator("#viewer .is-refusal").wait_for()
    page.locator("#scaletext input").fill("1")
    page.locator("#forecast").get_by_text("180 × 120").wait_for()
    run_to_end(page)
    assert page.locator("#viewer .is-refusal").count() == 0
    # A file that is no picture takes the place of the results.
    remove_picture(page)
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator("#picture input[type=file]").set_input_files(broken)
    page.locator("#facts .is-wrong", has_text="broken.png").wait_for()
    wait_for(page, "viewer.isIntroduction && viewer.scene.source.key === 'first'")
    page.locator("#scaletext input").fill("4")


def test_a_photograph_that_cannot_be_read_is_refused_when_it_is_uploaded(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    picture = page.locator("#picture input[type=file]")
    jpeg = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(jpeg, "JPEG")
    cut = {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": jpeg.getvalue()[: len(jpeg.getvalue()) // 2]}
    picture.set_input_files(cut)
    page.locator("#facts .is-wrong", has_text="cut.jpg cannot be decoded").wait_for()
    remove_picture(page)
    # A browser on a desktop knows no type of such a file; this one cannot decode it either.
    picture.set_input_files({"name": "IMG_1.HEIC", "mimeType": "", "buffer": heif_with(b"hvc1")})
    page.locator("#facts .is-wrong", has_text="a HEIC image").wait_for()
    assert "JPEG" in page.locator("#facts").inner_text()
    # A browser that can decode it sends a PNG, whose name says what was done.
    remove_picture(page)
    page.evaluate(
        "() => { window.realBitmap = createImageBitmap; window.createImageBitmap = async () => { const canvas = new OffscreenCanvas(30, 20);"
        " canvas.getContext('2d').fillRect(0, 0, 30, 20); return canvas.transferToImageBitmap(); }; }"
    )
    picture.set_input_files({"name": "IMG_2.HEIC", "mimeType": "image/heic", "buffer": heif_with(b"hvc1")})
    page.locator("#facts b", has_text="IMG_2").wait_for()
    assert "8 bits" in page.locator("#facts b").inner_text()
    assert "30 × 20" in page.locator("#facts").inner_text()
    page.evaluate("() => { window.createImageBitmap = realBitmap; }")


def test_names_are_never_html(app_page: Any) -> None:
    page = app_page
    upload(page, noise(40, 60, 5), name="<img src=x onerror=alert(1)>.png")
    choose(page, "bicubic", "crash")
    run_to_end(page)
    assert page.locator("img[src=x]").count() == 0


def test_without_webgl_true_zoom_comes_from_the_server(app_page: Any, engine: FakeEngine) -> None:
    engine.views.clear()
    page = app_page
    upload(page, noise(40, 60, 6))
    choose(page, "swift")
    run_to_end(page)
    page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.live.made = null; v.showPane('input', false); v.look(120, 80, 16); }"
    )
    wait_for(page, "viewer.active.zoomer.current && viewer.active.zoomer.frame.zoom === 16")
    view = engine.views[-1]
    assert view.size[1] / view.span[1] == pytest.approx(64)
    rect = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.view.origin(v.cells[0].rect); }"
    )
    x = 500
    source_x = (x + 0.5 - rect["x"]) / 64
    assert canvas_pixels(page)[300, x, 0] == pytest.approx(round(source_x * 4) % 256, abs=1)
    page.locator(".gsr-stage").focus()
    page.keyboard.press("o")
    wait_for(page, "viewer.active.field && viewer.inView.count > 0")
    page.evaluate("() => { document.querySelector('.gsr-viewer').viewer.live.made = undefined; }")


def test_the_browser_draws_the_field_that_the_server_sends(app_page: Any, engine: FakeEngine) -> None:
    page = app_page
    upload(page, noise(40, 60, 7))
    choose(page, "swift")
    run_to_end(page)
    page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; v.live.rate = 1e9; v.showPane('input', false); v.minimapOn = false; v.look(120, 80, 16); }"
    )
    wait_for(page, "viewer.active.isLive && viewer.active.drawings.view?.step === 1")
    assert page.locator(".gsr-badge").inner_text() == "Live field · 64×"
    assert (
        page.evaluate("() => document.querySelector('.gsr-viewer').viewer.active.field.texts.licence") == "Apache-2.0"
    )
    rect = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.view.origin(v.cells[0].rect); }"
    )
    view = View(((300 - rect["x"]) / 64, (200 - rect["y"]) / 64), (100 / 64, 100 / 64), (100, 100))
    field = engine.field(FieldHandle("40x60", "swift", 2400, (40, 60)))
    expected = ops.render(field, view).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(canvas_pixels(page)[200:300, 300:400] - expected).max() <= 2
    page.evaluate("() => { document.querySelector('.gsr-viewer').viewer.minimapOn = true; }")


def test_a_link_brings_picture_methods_scale_mode_and_region_and_the_dark_keeps_the_stage(app: Any) -> None:
    page = app("?example=coffee&method=bicubic,swift&scale=2.5&mode=wipe&region=100,100,80,60", color_scheme="dark")
    page.locator("#facts").get_by_text("coffee.png").wait_for()
    assert page.locator("#scaletext input").input_value() == "2.5"
    run_to_end(page)
    wait_for(page, "viewer.mode === 'wipe' && viewer.region?.x === 100 && viewer.region.width === 80")
    assert [pane["id"] for pane in page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.panes")][
        :2
    ] == ["bicubic", "swift"]
    # Where the system is dark, all but the stage follows it.
    colour = "(selector) => getComputedStyle(document.querySelector(selector)).backgroundColor"
    assert page.evaluate(colour, ".gsr-stage") == "rgb(32, 34, 37)"
    assert page.evaluate(colour, "body") == "rgb(23, 25, 27)"


def test_no_file_of_the_server_can_be_fetched(address: str, tmp_path: Path) -> None:
    secret = Path(__file__).resolve()
    for path in ("/etc/passwd", str(secret), f"{secret.parent}/../../pyproject.toml", "gsr_app/ui/layout.py"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}gradio_api/file={path}")
        assert refused.value.code in (403, 404)


def test_a_report_is_one_click(app_page: Any, tmp_path: Path) -> None:
    page = app_page
    upload(page, noise(40, 60, 8))
    choose(page, "bicubic", "swift")
    run_to_end(page)
    page.evaluate(
        "() => document.querySelector('.gsr-viewer').viewer.addRegion({x: 5, y: 5, width: 20, height: 10, name: 'eye'})"
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Report", exact=True).click()
        page.get_by_role("button", name="make the report").click()
    text = Path(download.value.path()).read_text()
    assert text.count("data:image/png") >= 4
    assert '"eye"' in text


def test_the_keys_work_as_soon_as_a_run_has_begun_and_the_next_forecast_has_learned(app_page: Any) -> None:
    page = app_page
    upload(page, noise(24, 32, 3))
    choose(page, "bicubic")
    run_to_end(page)
    page.locator("#forecast", has_text="for 1 method").wait_for()
    page.keyboard.press("w")
    wait_for(page, "viewer.mode === 'wipe'")
    page.locator("#scaletext input").click()  # a field of text keeps the keys
    page.keyboard.press("g")
    page.mouse.move(900, 400)
    page.keyboard.press("d")
    assert page.locator("#scaletext input").input_value().count("g") == 1
    assert state_of(page)["mode"] == "wipe"
    page.locator("#scaletext input").fill("4")
    page.evaluate("() => document.querySelector('.gsr-viewer').viewer.setMode('grid')")
