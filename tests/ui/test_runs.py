"""Runs: when the page is told that one is over, it is over."""

from __future__ import annotations

from typing import Any

import pytest

from gsr_app.ui.runs import Runs, Work


def work() -> Work[str]:
    return Work("The work", lambda send, _: send("made"), "stopped", lambda error: error.message)


@pytest.mark.parametrize("way", ["follow", "follow_in_turn"])
def test_what_a_page_asks_for_when_it_hears_the_end_comes_after_the_run(way: str) -> None:
    runs = Runs()
    made: list[str] = []
    with runs.stoppable("kind", "visitor") as run:
        more = (run.is_stopped,) if way == "follow_in_turn" else ()
        updates: Any = getattr(runs, way)("kind", "visitor", {"one": work(), "two": work()}, *more)
        for update in updates:
            made += [event for _, event in update.events]
            assert runs.is_running("kind", "visitor")
        run.end()
        assert not runs.is_running("kind", "visitor")
    assert made == ["made", "made"]


def test_what_is_stoppable_is_over_when_that_is_said() -> None:
    runs = Runs()
    with runs.stoppable("kind", "visitor") as run:
        for update in runs.follow("kind", "visitor", {"one": work()}):
            assert runs.is_running("kind", "visitor"), update
        runs.stop("kind", "visitor")
        assert run.is_stopped()
        run.end()
        assert not runs.is_running("kind", "visitor")
    assert not runs.is_running("kind", "visitor")


def test_a_new_run_of_a_visitor_stops_the_one_before_and_is_not_ended_by_it() -> None:
    runs = Runs()
    with runs.stoppable("kind", "visitor") as first, runs.stoppable("kind", "visitor") as second:
        assert first.is_stopped()
        first.end()
        assert runs.is_running("kind", "visitor")
        runs.stop("kind", "visitor")
        assert second.is_stopped()
    assert not runs.is_running("kind", "visitor")


def test_what_is_chosen_during_a_run_is_held_for_its_end() -> None:
    runs = Runs()
    assert not runs.hold("kind", "visitor", "before it")
    assert runs.release("kind", "visitor") is None
    for update in runs.follow("kind", "visitor", {"one": work()}):
        assert runs.hold("kind", "visitor", "first") != update.is_over
        assert runs.hold("kind", "visitor", "second") != update.is_over
    assert runs.release("kind", "another") is None
    assert runs.release("kind", "visitor") == "second"
    assert runs.release("kind", "visitor") is None
