"""A smoke test of the app with the real engine: the screen shows its results."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.types import Scale
from gsr_app.viewer.png import to_screen
from tests.browser.app import choose, run_to_end
from tests.browser.conftest import wait_for
from tests.browser.scenes import canvas_pixels, noise

pytestmark = pytest.mark.browser


@pytest.fixture
def page(kept_page: Callable[..., Any], real_address: str) -> Any:
    """A page that tests share; each begins with a picture of its own."""
    page = kept_page(real_address, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    wait_for(page, "viewer.canvas.width > 0")
    return page


def picture_file(pixels: np.ndarray) -> bytes:
    pyvips = pytest.importorskip("pyvips")
    image = pyvips.Image.new_from_array(pixels)
    if pixels.dtype == np.uint16:
        image = image.copy(interpretation="rgb16")
    elif pixels.shape[2] == 4:
        image = image.copy(interpretation="srgb")
    return image.write_to_buffer(".png")


def methods_of(page: Any) -> list[str]:
    return page.evaluate(
        "() => document.querySelector('.gsr-viewer').viewer.shown.filter((p) => p.spec.kind === 'method').map((p) => p.spec.id)"
    )


def shown_pixels(page: Any, size: tuple[int, int], number: int = 0) -> np.ndarray:
    page.evaluate(
        "(number) => { const v = document.querySelector('.gsr-viewer').viewer; v.grid = false; v.trueZoom = false;"
        " v.showPane('input', false); v.setActive(number); v.setMode('loupe'); v.pointTo(null); v.oneToOne(); }",
        number,
    )
    wait_for(page, "!viewer.request")
    origin = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.view.origin(v.cells[0].rect); }"
    )
    return canvas_pixels(page)[origin["y"] : origin["y"] + size[0], origin["x"] : origin["x"] + size[1]]


def put(page: Any, data: bytes, name: str) -> None:
    page.locator("#picture input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    page.locator("#facts b", has_text=name).wait_for()


@pytest.mark.parametrize("depth", [8, 16])
def test_the_screen_shows_the_engines_output_exactly(page: Any, depth: int, tmp_path: Path) -> None:
    from gsr_app.engine.session import Session
    from gsr_app.io.images import read_image

    if not (Path(__file__).parents[2] / "assets" / "swift.safetensors").is_file():
        pytest.skip("needs the weights of swift")
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 65536, (30, 44, 3), dtype=np.uint16) if depth == 16 else noise(30, 44, 5)
    put(page, picture_file(pixels), f"p{depth}.png")
    choose(page, "bicubic", "swift")
    page.locator("#scaletext input").fill("2.5")
    page.locator("#forecast").get_by_text("110 × 75").wait_for()
    run_to_end(page)
    methods = methods_of(page)
    assert set(methods) == {"bicubic", "swift"}
    for number, method in enumerate(methods):
        expected = np.asarray(Session(device="cpu").upscale(pixels, method=method, scale=Scale(2.5, 2.5)).image)
        assert expected.dtype == pixels.dtype
        np.testing.assert_array_equal(shown_pixels(page, (75, 110), number), to_screen(expected))
        with page.expect_download() as download:
            page.locator(f"[data-pane={method}] a").click()
        kept = tmp_path / f"{method}.png"
        kept.write_bytes(Path(download.value.path()).read_bytes())
        np.testing.assert_array_equal(read_image(kept).pixels, expected)


def test_alpha_is_shown_on_a_checkerboard(page: Any) -> None:
    pixels = noise(30, 44, 6, channels=4)
    pixels[..., 3] = 255
    pixels[15:, :, 3] = 0
    put(page, picture_file(pixels), "alpha.png")
    choose(page, "nearest")
    page.locator("#scaletext input").fill("2")
    page.locator("#forecast").get_by_text("88 × 60").wait_for()
    run_to_end(page)
    shown = shown_pixels(page, (60, 88))
    np.testing.assert_array_equal(shown[:30], pixels[:15, :, :3].repeat(2, 0).repeat(2, 1))
    assert {tuple(colour) for colour in np.unique(shown[30:].reshape(-1, 3), axis=0)} == {(204,) * 3, (255,) * 3}


def test_a_damaged_picture_is_refused_with_a_message(page: Any) -> None:
    buffer = io.BytesIO(picture_file(noise(30, 44, 6)))
    page.locator("#picture input[type=file]").set_input_files(
        {"name": "cut.png", "mimeType": "image/png", "buffer": buffer.getvalue()[:900]}
    )
    page.locator("#facts", has_text="cut.png").wait_for()
    page.locator("#run").click()
    page.locator("#notice .is-wrong", has_text=re.compile("cut.png|picture")).wait_for()


def test_a_worn_photograph_names_its_method_whose_strength_can_be_chosen(
    new_page: Callable[..., Any], real_address: str
) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(real_address)
    page.locator("#picture input[type=file]").wait_for(state="attached")
    buffer = io.BytesIO()
    Image.fromarray(noise(6, 8, 3)).resize((64, 48), 3).save(buffer, "JPEG", quality=40)
    strength = page.locator("#strength input[type=range]")
    assert not strength.is_visible()
    page.locator("#picture input[type=file]").set_input_files(
        {"name": "worn.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    )
    page.locator("#facts", has_text="JPEG quality about 40").wait_for()
    assert "Swift photo recommended" in page.locator("#facts").inner_text()
    page.locator("[data-method=swift-photo]").click()
    strength.wait_for()
    page.wait_for_function("() => document.querySelector('#strength input[type=range]').value === '1'")
    strength.scroll_into_view_if_needed()
    box = strength.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 900
    strength.fill("0.5")
    page.locator("#run").click()
    wait_for(page, "viewer.scene.run && !viewer.scene.running && viewer.shown.every((p) => p.picture)")
    names = page.evaluate("() => document.querySelector('#viewer .gsr-viewer').viewer.shown.map((p) => p.spec.name)")
    assert "Swift photo, strength 0.5" in names
