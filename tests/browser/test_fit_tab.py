"""The Fit tab in Chromium, over the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsr_app.io.fields import save_field
from tests.browser.app import answered
from tests.browser.fake_engine import lattice_field
from tests.browser.scenes import noise
from tests.browser.test_real_engine import picture_file
from tests.browser.test_video_tab import ASKS_BEFORE_LEAVING

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(kept_page: Callable[..., Any], real_address: str) -> Any:
    """The tab of all tests, with a picture."""
    page = kept_page(real_address, viewport={"width": 1440, "height": 900})
    page.get_by_role("tab", name="Fit").click()
    page.locator("#fitrun").wait_for()
    picture = page.locator("#fitpicture img")
    if not picture.count():
        page.locator("#fitpicture input[type=file]").set_input_files(
            {"name": "p.png", "mimeType": "image/png", "buffer": picture_file(noise(40, 48, 7))}
        )
        picture.wait_for()
    return page


def test_two_starts_are_fitted_reported_and_continued(tab: Any) -> None:
    tab.locator("#fitstarts label", has_text="Random").click()
    tab.locator("#fitcount input, #fitcount textarea").fill("200")
    tab.locator("#fitseconds input[type=range]").fill("1")
    tab.locator("#fitrun").click()
    tab.locator("#fitnotice b").nth(1).wait_for()
    told = tab.locator("#fitnotice").inner_text()
    assert told.count("dB") == 2
    assert told.count("200") >= 2
    tab.locator("#fitcurve .js-plotly-plot").wait_for()
    tab.locator("#fitmore").wait_for()
    tab.locator("#fitseconds input[type=range]").fill("60")
    tab.locator("#fitmore").click()
    # While it goes on the notice is emptied: wait for the end's own.
    tab.wait_for_function("() => document.querySelector('#fitviewer .gsr-viewer').viewer.scene.running")
    assert tab.evaluate(ASKS_BEFORE_LEAVING)
    tab.locator("#fitstop").click()
    tab.locator("#fitrun").wait_for()
    tab.wait_for_function("told => !['', told].includes(document.querySelector('#fitnotice').innerText)", arg=told)
    tab.locator("#fitnotice b").nth(1).wait_for()
    assert tab.locator("#fitnotice").inner_text().count("dB") == 2


def test_another_picture_ends_what_could_be_continued(tab: Any) -> None:
    shown = "(name) => document.querySelector('#fitviewer .gsr-viewer').viewer.scene.source?.name === name"
    tab.locator("#fitcount input, #fitcount textarea").fill("50")
    tab.locator("#fitseconds input[type=range]").fill("60")
    tab.locator("#fitrun").click()
    tab.locator("#fitcurve .js-plotly-plot").wait_for()
    tab.locator("#fitstop").wait_for()

    def choose(number: int) -> None:
        tab.locator("#fitpicture input[type=file]").set_input_files(
            {"name": f"{number}.png", "mimeType": "image/png", "buffer": picture_file(noise(40, 48, 60 + number))}
        )

    with answered(tab):
        choose(0)
    tab.locator("#fitstop").click()
    tab.locator("#fitmore").wait_for()
    choose(1)
    # One that came during the fit has left it where it was; one that came after it is alone.
    tab.wait_for_function(shown, arg="1.png")
    tab.locator("#fitmore").wait_for(state="detached")
    assert not tab.locator("#fitcurve").is_visible()


def test_a_count_that_is_no_number_is_reported(tab: Any) -> None:
    tab.locator("#fitcount input, #fitcount textarea").fill("many")
    tab.locator("#fitrun").click()
    tab.locator("#fitnotice .is-wrong").wait_for()
    assert "many" in tab.locator("#fitnotice").inner_text()


def test_a_field_file_is_not_opened_in_the_middle_of_a_fit(tab: Any, tmp_path: Path) -> None:
    save_field(lattice_field(20, 30), tmp_path / "one.gsr", method="test")
    tab.get_by_role("button", name="Open .gsr file").click()
    tab.locator("#fitcount input, #fitcount textarea").fill("50")
    tab.locator("#fitseconds input[type=range]").fill("60")
    tab.locator("#fitrun").click()
    tab.locator("#fitstop").wait_for()
    tab.locator("#fitfile input[type=file]").set_input_files(str(tmp_path / "one.gsr"))
    tab.locator("#fitnotice").get_by_text("Stop the fit first").wait_for()
    tab.locator("#fitstop").click()
    tab.locator("#fitmore").wait_for()
    assert tab.locator("#fitpicture img").count() == 1
    tab.locator("#fitfile").get_by_label("Clear").click()
    tab.get_by_role("button", name="Open .gsr file").click()


def test_a_field_file_replaces_the_picture_and_the_overlay_of_what_was_shown(tab: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.gsr" for name in ("one", "two")]
    for path, size in zip(files, ((20, 30), (24, 24)), strict=True):
        save_field(lattice_field(*size), path, method="test")
    tab.get_by_role("button", name="Open .gsr file").click()
    tab.locator("#fitfile input[type=file]").set_input_files(str(files[0]))
    shown = "(name) => { const v = document.querySelector('#fitviewer .gsr-viewer')?.viewer; return v?.scene.source?.name === name && v.active?.picture; }"
    tab.wait_for_function(shown, arg="one.gsr")
    assert tab.locator("#fitpicture img").count() == 0
    assert not tab.locator("#fitcurve").is_visible()
    tab.evaluate("() => document.querySelector('#fitviewer .gsr-viewer').viewer.setOverlay('ellipses')")
    tab.get_by_role("button", name="Clear").first.click()
    tab.locator("#fitfile input[type=file]").set_input_files(str(files[1]))
    tab.wait_for_function(shown, arg="two.gsr")
    assert tab.evaluate("() => document.querySelector('#fitviewer .gsr-viewer').viewer.overlay") == "off"
