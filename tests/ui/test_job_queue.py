"""The job queue: rotation of visitors, positions, cancellation."""

from __future__ import annotations

import threading

import pytest

from gsr_app.ui.job_queue import JobQueue, QueuedJob


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def test_visitors_take_turns(gate: threading.Event) -> None:
    work, order = JobQueue(), []
    first = work.submit("x", lambda _: gate.wait(5) and None)

    def note(name: str):
        return lambda _: order.append(name)

    jobs = [work.submit("a", note("a1")), work.submit("a", note("a2")), work.submit("a", note("a3"))]
    jobs += [work.submit("b", note("b1")), work.submit("c", note("c1")), work.submit("b", note("b2"))]
    gate.set()
    for job in (first, *jobs):
        assert job.finished.wait(5)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_position_is_the_number_of_jobs_that_come_before(gate: threading.Event) -> None:
    work, order = JobQueue(), []
    running = threading.Event()

    def hold(_: QueuedJob) -> None:
        running.set()
        gate.wait(5)

    work.submit("x", hold)
    assert running.wait(5)
    names = ["a1", "a2", "b1", "c1", "b2", "a3"]
    jobs = {name: work.submit(name[0], lambda _, name=name: order.append(name)) for name in names}
    told = {name: work.ahead(job) for name, job in jobs.items()}
    gate.set()
    assert all(job.finished.wait(5) for job in jobs.values())
    assert told == {name: order.index(name) + 1 for name in names}  # and the running one


def test_cancelled_work_never_starts(gate: threading.Event) -> None:
    work, ran = JobQueue(), []
    work.submit("x", lambda _: gate.wait(5) and None)
    job = work.submit("y", lambda _: ran.append(1))
    job.cancel()
    gate.set()
    assert job.finished.wait(5)
    assert not ran


def test_a_job_that_raises_does_not_stop_the_queue() -> None:
    work = JobQueue()

    def fail(_: QueuedJob) -> None:
        raise SystemExit

    assert work.submit("x", fail).finished.wait(5)
    assert work.submit("x", lambda _: None).finished.wait(5)
