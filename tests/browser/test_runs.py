"""Runs of the app, over the deterministic engine: results that arrive one by one, Stop, leaving, running again."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from tests.browser.app import choose, run_to_end, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.scenes import noise

pytestmark = pytest.mark.browser


def test_results_stream_in_and_a_failing_method_does_not_stop_others(app: Any) -> None:
    page = app()
    upload(page, noise(40, 60, 3))
    choose(page, "bicubic", "broken", "crash", "swift", "slow")
    page.locator("#run").click()
    wait_for(
        page,
        "viewer.shown.some((p) => p.spec.state === 'done' && p.spec.kind === 'method') && viewer.shown.some((p) => p.spec.state === 'running')",
    )
    wait_for(page, "!viewer.scene.running && viewer.scene.source")
    states = page.evaluate(
        "() => Object.fromEntries(document.querySelector('.gsr-viewer').viewer.scene.panes.map((p) => [p.id, p.state]))"
    )
    assert states == {
        "bicubic": "done",
        "broken": "failed",
        "crash": "failed",
        "swift": "done",
        "slow": "done",
        "input": "done",
    }
    alerts = " ".join(page.locator(".gsr-stage [role=alert]").all_inner_texts())
    assert "The weights of Broken do not fit." in alerts
    assert "Fetch them again in the Models tab." in alerts
    assert "RuntimeError" in alerts
    assert "/root" not in alerts  # the text of an unknown error is only logged


_STOP_AND_RUN = """() => new Promise((done) => {
  document.querySelector('#stop').click();
  const press = () => {
    const run = document.querySelector('#run');
    if (!run?.checkVisibility()) return setTimeout(press);
    run.click();
    done();
  };
  press();
})"""


def test_stop_takes_less_than_a_second(app: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    page = app()
    upload(page, noise(40, 60, 3))
    choose(page, "slow", "bicubic")
    took: list[float] = []
    while not took or (min(took) >= 1 and len(took) < 4):  # again where other work on the machine was in the way
        engine.stopped.clear()
        page.locator("#run").click()
        wait_for(
            page, "viewer.panes.get('slow')?.spec.state === 'running' && viewer.panes.get('slow').spec.progress?.stage"
        )
        started = time.monotonic()
        page.locator("#stop").click()
        page.locator("#run").wait_for()
        assert engine.stopped.wait(30.0), "the engine's work stops, too"
        took.append(time.monotonic() - started)
        wait_for(page, "viewer.shown.every((p) => p.spec.state === 'cancelled' || p.spec.state === 'done')")
    print("stopped after", ", ".join(f"{one:.2f} s" for one in took))
    assert min(took) < 1.0
    # Run pressed as soon as it is there again begins a run, which can be stopped, too.
    monkeypatch.setattr(engine, "slow_s", 5.0)  # none of them ends by itself
    for _ in range(2):
        page.locator("#run").click()
        wait_for(page, "viewer.scene.running && viewer.panes.get('slow').spec.state === 'running'")
        before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.run")
        page.evaluate(_STOP_AND_RUN)
        wait_for(
            page,
            "viewer.scene.run !== argument && viewer.panes.get('slow').spec.state === 'running'"
            " && viewer.panes.get('slow').spec.progress?.stage",
            before,
        )
        engine.stopped.clear()
        page.locator("#stop").click()
        page.locator("#run").wait_for()
        wait_for(page, "viewer.panes.get('slow').spec.state === 'cancelled'")
        assert engine.stopped.wait(30.0), "the engine's work stops, too"
    monkeypatch.setattr(engine, "slow_s", 0.01)
    run_to_end(page)
    assert set(state_of(page)["loaded"]) == {"slow", "bicubic", "input"}


def test_leaving_the_page_stops_the_work(app: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "slow_s", 60.0)  # far longer than a loaded server takes to notice
    engine.stopped.clear()
    page = app()
    upload(page, noise(40, 60, 3))
    choose(page, "slow")
    page.locator("#run").click()
    wait_for(page, "viewer.shown[0]?.spec.state === 'running'")
    # It is asked whether to leave.
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    with page.expect_event("close"):
        asked.value.accept()
    assert engine.stopped.wait(60)


def test_running_again_keeps_the_old_picture_until_the_new_one_is_there(app: Any) -> None:
    page = app()
    upload(page, noise(40, 60, 3))
    choose(page, "bicubic", "slow")
    run_to_end(page)
    page.evaluate("() => document.querySelector('.gsr-viewer').viewer.look(30, 20, 3)")
    page.locator("#scaletext input").fill("2")
    page.locator("#forecast").get_by_text("120 × 80").wait_for()
    page.locator("#run").click()
    wait_for(page, "viewer.scene.running && viewer.scene.frame.width === 120 && viewer.panes.get('slow').spec.progress")
    kept = "() => { const p = document.querySelector('.gsr-viewer').viewer.panes.get('slow'); return [p.picture.width, p.place.width]; }"
    assert page.evaluate(kept) == [240, 120]
    where = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer.view; return [v.cx, v.cy, v.zoom]; }"
    )
    assert where == pytest.approx([15, 10, 6], abs=0.2)  # the same place of the source, as large as before
    wait_for(page, "!viewer.scene.running && viewer.panes.get('slow').picture.width === 120")


def test_two_visitors_see_their_own_pictures(app: Any) -> None:
    one, two = app(), app()
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
