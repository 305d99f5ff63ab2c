"""The Video tab in Chromium, over the deterministic engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")

from tests import clips
from tests.browser.test_player import state_of, wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(kept_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Opens the tab without a video."""

    def visit(**options: Any) -> Any:
        page = kept_page(address, **{"viewport": {"width": 1440, "height": 900}, **options})
        page.get_by_role("tab", name="Video").click()
        page.locator(".gsr-player .gsr-stage").wait_for()
        if page.locator("#videofacts .gsr-facts").count():
            page.locator("#videofile").get_by_label("Clear").click()
            page.locator("#videofacts .gsr-facts").wait_for(state="detached")
        return page

    return visit


ASKS_BEFORE_LEAVING = (
    "() => { const event = new Event('beforeunload', { cancelable: true }); dispatchEvent(event);"
    " return event.defaultPrevented; }"
)


def choose(page: Any, method: str) -> None:
    page.locator("#videomethod input").click()
    page.get_by_role("option", name=method, exact=True).click()


def test_the_example_is_one_click_away_and_ends_in_a_download(tab: Any, tmp_path: Path) -> None:
    page = tab()
    page.locator("#videotrip input").check()
    page.locator(".gsr-player .gsr-primary").click()
    wait_for(page, "player.state.state === 'done' && player.playback.count === 48 && player.playback.index >= 0")
    assert "192 × 108" in page.locator("#videofacts").inner_text()
    assert [tag.split("\n")[0] for tag in page.locator(".gsr-player .gsr-tag").all_inner_texts()] == [
        "Swift",
        "Input",
        "Reference",
    ]
    page.keyboard.press("ArrowRight")  # the keys are the player's as soon as a run has begun
    wait_for(page, "player.playback.index === 1")
    page.get_by_role("button", name="Next picture").click()
    wait_for(page, "player.playback.index === 2")
    page.get_by_role("button", name="Previous picture").click()
    wait_for(page, "player.playback.index === 1")
    assert page.locator(".gsr-scores-row .gsr-figures").inner_text().startswith("32.00 dB")
    with page.expect_download() as download:
        page.locator(".gsr-status a").click()
    download.value.save_as(tmp_path / "kept.mp4")
    assert len(clips.decoded(tmp_path / "kept.mp4")) == 48
    page.locator("#videotrip input").uncheck()


def test_a_failure_has_a_hint_and_a_wrong_scale_is_reported_at_once(tab: Any, tmp_path: Path) -> None:
    page = tab()
    clip = clips.write_clip(tmp_path / "mine.mp4", count=10, audio=None)
    page.locator("#videofile input[type=file]").set_input_files(str(clip))
    page.locator("#videofacts .gsr-facts").wait_for()
    page.locator("#videoscale input").fill("wide")
    page.locator("#videoforecast .is-wrong").wait_for()
    page.locator("#videoscale input").fill("2")
    choose(page, "Broken")
    page.locator("#videorun").click()
    wait_for(page, "player.state.state === 'failed'")
    assert "Fetch them again in the Models tab." in page.locator(".gsr-videomessage").inner_text()


def test_an_uploaded_clip_can_be_trimmed_and_stopped(tab: Any, tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "mine.mp4", audio=None)
    page = tab()
    page.locator("#videofile input[type=file]").set_input_files(str(clip))
    page.locator("#videofacts .gsr-facts").wait_for()
    page.locator("#videostart input").fill("0.5")
    choose(page, "Slow")
    page.locator("#videorun").click()
    # The first pictures, while the rest is made.
    wait_for(page, "player.state.state === 'running' && player.playback.count > 0")
    assert page.evaluate(ASKS_BEFORE_LEAVING)
    page.locator("#videostop").click()
    wait_for(page, "player.state.state === 'cancelled' && player.playback.index >= 0")
    page.locator("#videorun").wait_for()
    assert 0 < state_of(page)["count"] < 75
    assert not page.evaluate(ASKS_BEFORE_LEAVING)
    # Before the first picture there is nothing to be played.
    page.evaluate("() => document.querySelector('.gsr-player').player.setState({ state: 'cancelled', run: 'another' })")
    page.locator(".gsr-status").get_by_text("stopped", exact=True).wait_for()


def test_the_tab_fits_a_phone(tab: Any) -> None:
    page = tab(viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.locator(".gsr-player .gsr-stage").bounding_box()["height"] > 400
