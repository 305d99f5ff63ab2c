"""Visitors at the same time, two tabs of one of them, and what happens when one leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.browser.app import choose, run_to_end, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FOREVER_S, QUICK_S, FakeEngine
from tests.browser.scenes import noise

pytestmark = pytest.mark.browser

SLOW_S = QUICK_S


def test_two_visitors_see_their_own_pictures_and_leaving_the_page_stops_the_work(
    app_page: Any, app: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = app_page, app()
    upload(one, np.full((20, 30, 3), 200, np.uint8))
    upload(two, np.full((24, 36, 3), 50, np.uint8))
    for page in (one, two):
        choose(page, "bicubic")
    one.locator("#run").click()
    run_to_end(two)
    wait_for(one, "viewer.scene.run && !viewer.scene.running && viewer.shown[0].picture")
    value = "() => document.querySelector('.gsr-viewer').viewer.shown[0].picture.pixel(5, 5)"
    assert one.evaluate(value) == [200] * 3
    assert two.evaluate(value) == [50] * 3
    # Who leaves during a run is asked whether to.
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    engine.stopped.clear()
    choose(two, "slow")
    two.locator("#run").click()
    wait_for(two, "viewer.shown[0]?.spec.state === 'running'")
    with two.expect_event("dialog") as asked:
        two.evaluate("() => { setTimeout(() => location.reload()); }")
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    # Who stays keeps the run.
    monkeypatch.setattr(engine, "slow_s", QUICK_S)
    wait_for(two, "viewer.shown[0].spec.state === 'done'")
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    engine.stopped.clear()
    two.locator("#run").click()
    wait_for(two, "viewer.shown[0]?.spec.state === 'running'")
    with two.expect_event("dialog") as asked:
        two.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    with two.expect_event("close"):
        asked.value.accept()
    assert engine.stopped.wait(60)


def test_two_tabs_keep_their_results_and_stop_only_their_own(
    app_page: Any, address: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    engine.stopped.clear()
    one = app_page
    two = one.context.new_page()  # the same cookies
    two.goto(address)
    wait_for(two, "viewer.canvas.width > 0")
    upload(one, noise(40, 60, 3))
    choose(one, "slow")
    upload(two, noise(60, 80, 3))
    choose(two, "bicubic", "slow")
    one.locator("#run").click()
    wait_for(one, "viewer.panes.get('slow')?.spec.progress?.stage")
    two.locator("#run").click()
    wait_for(two, "viewer.scene.running")
    one.locator("#stop").click()
    wait_for(one, "viewer.scene.source && !viewer.scene.running")
    assert engine.stopped.wait(60)
    monkeypatch.setattr(engine, "slow_s", QUICK_S)
    wait_for(two, "viewer.scene.source && !viewer.scene.running && viewer.allPanes.every((p) => p.picture)")
    assert set(state_of(two)["loaded"]) == {"bicubic", "slow", "input"}
    assert "slow" not in state_of(one)["loaded"]
    wait_for(two, "viewer.scene.source.height === 60")
    wait_for(one, "viewer.scene.source.height === 40")
    two.close()
