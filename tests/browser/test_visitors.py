"""Two tabs of one visitor, and a server that is restarted under an open page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("gradio")

from gsr_app.ui.state import Limits, create_app_state
from tests.browser.app import choose, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.scenes import noise
from tests.servers import serve

pytestmark = pytest.mark.browser
LIMITS = Limits(input_pixels=1_000_000, output_pixels=4_000_000)


def open_tab(page: Any, url: str, side: int, *methods: str) -> None:
    page.goto(url)
    wait_for(page, "viewer.canvas.width > 0")
    upload(page, noise(side, side + 20, 3))
    choose(page, *methods)


def test_two_tabs_keep_their_results_and_stop_only_their_own(new_page: Callable[..., Any]) -> None:
    with serve(create_app_state(FakeEngine(slow_s=1.0), LIMITS)) as url:
        one = new_page()
        two = one.context.new_page()  # the same cookies
        open_tab(one, url, 40, "slow")
        open_tab(two, url, 60, "bicubic", "slow")
        one.locator("#run").click()
        wait_for(one, "viewer.scene.running")
        two.locator("#run").click()
        wait_for(two, "viewer.scene.running")
        one.locator("#stop").click()
        wait_for(one, "viewer.scene.source && !viewer.scene.running")
        wait_for(two, "viewer.scene.source && !viewer.scene.running && viewer.allPanes.every((p) => p.picture)")
        assert set(state_of(two)["loaded"]) == {"bicubic", "slow", "input"}
        assert "slow" not in state_of(one)["loaded"]
        wait_for(two, "viewer.scene.source.height === 60")
        wait_for(one, "viewer.scene.source.height === 40")
