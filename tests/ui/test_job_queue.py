"""The job queue: rotation of visitors, positions, cancellation."""

from __future__ import annotations

import threading

import pytest

from gsr_app.core.errors import GsrError
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


def test_a_visitor_may_have_so_many_unfinished_jobs_and_the_queue_so_many_waiting_ones(gate: threading.Event) -> None:
    work = JobQueue(most_waiting=4)
    running = threading.Event()

    def hold(_: QueuedJob) -> None:
        running.set()
        gate.wait(5)

    jobs = [work.submit("a", hold, most=2)]
    assert running.wait(5)
    jobs.append(work.submit("a", lambda _: None, most=2))
    with pytest.raises(GsrError, match="2 of your requests are not finished yet"):
        work.submit("a", lambda _: None, most=2)
    jobs += [work.submit("b", lambda _: None, most=2), work.submit("b", lambda _: None, most=2)]
    jobs.append(work.submit("c", lambda _: None, most=2))
    with pytest.raises(GsrError, match="Too many requests wait"):
        work.submit("d", lambda _: None, most=2)
    assert len(work) == 5
    gate.set()
    assert all(job.finished.wait(5) for job in jobs)
    work.submit("a", lambda _: None, most=2)


def test_a_cancelled_job_leaves_the_queue_at_once(gate: threading.Event) -> None:
    """A hundred that are cancelled together make room again, before the running job ends."""
    work, ran = JobQueue(most_waiting=100), list[int]()
    running = threading.Event()

    def hold(_: QueuedJob) -> None:
        running.set()
        gate.wait(5)

    first = work.submit("x", hold)
    assert running.wait(5)
    jobs = [work.submit(f"visitor {number % 7}", lambda _: ran.append(1)) for number in range(100)]
    for job in jobs:
        work.cancel(job)
    assert len(work) == 1
    assert all(job.finished.is_set() for job in jobs)
    last = work.submit("y", lambda _: ran.append(2))
    assert work.ahead(last) == 1
    gate.set()
    assert first.finished.wait(5)
    assert last.finished.wait(5)
    assert ran == [2]
