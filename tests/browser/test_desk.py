"""The tools of those who judge pictures: FLIP, tone, histogram, and the list of all actions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.browser.conftest import state_of, wait_for
from tests.browser.panes import cells_of, expected_cell, run
from tests.browser.scenes import canvas_pixels, noise, page_with, pane, save, scene_of

pytestmark = pytest.mark.browser

SOURCE = (24, 32)  # height, width


def smooth(height: int, width: int, blue: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, blue)], -1).astype(np.uint8)


A = smooth(96, 128, 40)
B = np.clip(smooth(96, 128, 90).astype(int) + noise(96, 128, 1) // 8, 0, 255).astype(np.uint8)


@pytest.fixture
def show(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def open_scene(**options: Any) -> Any:
        page = new_page(**options)
        panes = [pane("a", A, SOURCE), pane("b", B, SOURCE)]
        page.goto(save(tmp_path / "page.html", page_with(scene_of(panes, SOURCE, 4.0))))
        wait_for(page, "viewer.allPanes.every((pane) => pane.picture)")
        return page

    return open_scene


def heat(level: np.ndarray) -> np.ndarray:
    """The colours of the difference view, from its five stops."""
    stops = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], float)
    at = level / 255 * 4
    return np.stack([np.interp(at, range(5), stops[:, channel]) for channel in range(3)], -1)


def test_the_map_of_flip_is_that_of_the_engine(show: Any) -> None:
    from gsr_app.engine.flip import error_map

    page = show()
    run(page, "viewer.grid = false; viewer.setMode('difference'); viewer.setBaseId('b');")
    run(page, "viewer.set({ colourScale: 'FLIP' }); viewer.look(64, 48, 3);")
    of = "viewer.painter.flipMaps.of(viewer.panes.get('a').picture, viewer.panes.get('b').picture)"
    wait_for(page, f"{of}.picture")
    one, two = (torch.from_numpy(picture.transpose(2, 0, 1).copy()) for picture in (A, B))
    exact = error_map(one, two).numpy()
    assert 0.01 < exact.mean() < 0.9
    mean = page.evaluate(f"() => {{ const {{ viewer }} = document.querySelector('.gsr-viewer'); return {of}.mean; }}")
    assert mean == pytest.approx(exact.mean(), abs=1e-5)
    assert page.locator("[data-pane=a] .gsr-figures").first.inner_text() == f"FLIP {exact.mean():.4f}"
    expected, where = expected_cell(heat(np.round(255 * exact)), cells_of(page)[0], 3)
    assert np.abs(canvas_pixels(page)[where] - expected).max() <= 4  # a level of the error is 3 of a colour


def test_flip_goes_on_after_a_picture_that_was_closed_while_it_waited(show: Any) -> None:
    page = show()
    page.evaluate(
        """async () => {
          const { viewer } = document.querySelector(".gsr-viewer");
          const [a, b] = ["a", "b"].map((id) => viewer.panes.get(id).picture);
          const copy = async () => new a.constructor(await createImageBitmap(a.bitmap), false);
          const [gone, other] = [await copy(), await copy()];
          const maps = new viewer.painter.flipMaps.constructor(() => {});
          window.flips = [maps.of(gone, a), maps.of(b, gone), maps.of(other, b)]; // the first begins, the others wait
          gone.close();
        }"""
    )
    page.wait_for_function("() => flips[0].picture && flips[2].picture")
    assert page.evaluate("() => flips.map(({ problem }) => problem)") == ["", "FLIP could not be computed", ""]


def brightened(pixels: np.ndarray, stops: float, gamma: float) -> np.ndarray:
    value = pixels / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) * 2**stops
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.minimum(1, light) ** (1 / 2.4) - 0.055)
    return np.round(255 * np.minimum(1, shown) ** (1 / gamma))


def test_the_tone_changes_what_is_shown_and_no_value(show: Any) -> None:
    page = show()
    run(page, "viewer.grid = false; viewer.look(64, 48, 4);")
    page.locator(".gsr-stage").focus()
    page.keyboard.press("h")
    panel = page.get_by_role("group", name="Tone")
    panel.get_by_label("Brighter or darker").fill("1.5")
    panel.get_by_label("Lift or lower").fill("1.2")
    wait_for(page, "!viewer.request")
    assert page.get_by_role("button", name="Tone: +1.5 EV, γ 1.20").is_visible()
    for cell, pixels in zip(cells_of(page), (A, B), strict=True):
        expected, where = expected_cell(brightened(pixels, 1.5, 1.2), cell, 4)
        shown = canvas_pixels(page)[where].astype(float)
        clear = np.s_[-100:, :] if cell["id"] == "b" else np.s_[-100:, :-300]  # but for tags and the panel
        assert np.abs(shown[clear] - expected[clear]).max() <= 1
    box = page.locator(".gsr-canvas").bounding_box()
    cell = cells_of(page)[0]
    x, y = cell["origin"]["x"] + 4 * 60 + 1, cell["origin"]["y"] + 4 * 50 + 1
    page.mouse.move(box["x"] + x, box["y"] + y)
    wait_for(page, "viewer.spot()")
    assert page.locator(".gsr-values [data-pane=a] b").inner_text() == " ".join(map(str, A[50, 60]))

    panel.get_by_role("button", name="Reset").click()
    for colours, channel in (("red", 0), ("blue", 2)):
        panel.get_by_label("Colours").select_option(colours)
        wait_for(page, "!viewer.request")
        expected, where = expected_cell(A[..., [channel] * 3], cells_of(page)[0], 4)
        np.testing.assert_array_equal(canvas_pixels(page)[where], expected)
    panel.get_by_label("Colours").select_option("luma")
    wait_for(page, "!viewer.request")
    luma, where = expected_cell(A @ [0.299, 0.587, 0.114], cells_of(page)[0], 4)
    shown = canvas_pixels(page)[where]
    found = [np.unique(shown[np.abs(luma - level) < 0.49], axis=0) for level in (40, 90, 200)]
    assert [len(colours) for colours in found] == [1, 1, 1], "pixels of one brightness have one colour"
    assert len(np.unique(np.concatenate(found), axis=0)) == 3


def test_the_histogram_is_of_the_pixels_in_view(show: Any) -> None:
    page = show()
    run(page, "viewer.fit(); viewer.tonePanel.toggle();")
    figures = page.locator(".gsr-tone .gsr-figures")

    def expected(part: np.ndarray) -> str:
        luma = np.floor(part.reshape(-1, 3) @ [0.299, 0.587, 0.114] + 0.5)
        return f"mean {luma.mean():.1f}"

    page.wait_for_function(
        "(text) => document.querySelector('.gsr-tone .gsr-figures').textContent.startsWith(text)", arg=expected(A)
    )
    assert "128 × 96 pixels in view" in page.locator(".gsr-tonetitle").inner_text()
    run(page, "viewer.look(20, 16, 24);")
    visible = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.view.visible()")
    assert visible["width"] < 40
    x, y = int(visible["u"]), int(visible["v"])
    part = A[y : y + int(np.ceil(visible["height"])), x : x + int(np.ceil(visible["width"]))]
    page.wait_for_function(
        "(text) => document.querySelector('.gsr-tone .gsr-figures').textContent.startsWith(text)", arg=expected(part)
    )
    assert "at 0 " in figures.inner_text()
    # Blue is one level of 40, so its bar stands alone and reaches the top.
    drawn = page.evaluate(
        "() => { const c = document.querySelector('.gsr-tone canvas'); const d = c.getContext('2d').getImageData(0, 1, 256, 1).data;"
        " return Array.from({ length: 256 }, (_, i) => d[4 * i + 2]); }"
    )
    assert np.argmax(drawn) == 40


def test_from_24_times_each_pixel_shows_its_values(show: Any) -> None:
    page = show()
    for zoom, has_values in ((23, False), (26, True)):
        run(page, f"viewer.grid = true; viewer.look(20, 16, {zoom});")
        with_grid = canvas_pixels(page)
        run(page, "viewer.toggle('grid');")
        changed = np.any(with_grid != canvas_pixels(page), axis=-1)
        origin = cells_of(page)[0]["origin"]
        x, y = round(origin["x"]) + 20 * zoom, round(origin["y"]) + 16 * zoom
        inside = changed[y + 3 : y + zoom - 3, x + 3 : x + zoom - 3]  # without the lines of the grid
        assert inside.any() == has_values, zoom


def test_every_action_can_be_found_by_name(show: Any) -> None:
    page = show(has_touch=True)
    page.locator(".gsr-stage").focus()
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="All actions")
    field = dialog.get_by_role("combobox", name="Find an action")
    assert field.evaluate("(node) => node === document.activeElement")
    names = dialog.get_by_role("option").all_inner_texts()
    for wanted in ("Wipe", "Zoom in", "Compare against B", "Hide A", "Difference: FLIP", "Histogram", "JSON", "Copy"):
        assert any(name.startswith(wanted) for name in names), wanted
    assert not any("Gaussians" in name for name in names), "there are none"
    field.fill("diff FLIP")
    (option,) = dialog.get_by_role("option").all()
    assert option.get_attribute("aria-selected") == "true"
    assert field.get_attribute("aria-activedescendant") == option.get_attribute("id")
    page.keyboard.press("Enter")
    wait_for(page, "viewer.mode === 'difference' && viewer.colourScale === 'FLIP'")
    assert not dialog.is_visible()
    assert page.locator(".gsr-stage").evaluate("(node) => node === document.activeElement")

    page.keyboard.press("Control+k")
    field.fill("hide")
    assert dialog.get_by_role("option").all_inner_texts() == ["Hide A", "Hide B", "Hide table"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(page, "viewer.hidden.has('b')")
    page.keyboard.press("Control+k")
    field.fill("show b")
    dialog.get_by_role("option").tap()
    wait_for(page, "!viewer.hidden.size")
    page.keyboard.press("Control+k")
    field.fill("no such thing")
    assert dialog.get_by_role("option").count() == 0
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert state_of(page)["mode"] == "difference"
