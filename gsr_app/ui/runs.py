"""Runs: work in the queue that its visitor watches. Compare, Video and Fit start, follow and stop theirs here."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gsr_app.core.errors import Cancelled, GsrError
from gsr_app.ui.job_queue import JobQueue, QueuedJob
from gsr_app.ui.visits import Client
from gsr_app.viewer.contract import PaneError
from gsr_app.viewer.panes import pane_error

log = logging.getLogger("gsr")

MOST_OF_A_VISITOR = 16  # jobs that are not finished; a page has ten at most
_SHORT_WORKERS = 2  # more views at once only slow each other down
_BEAT_S = 0.15  # the longest time between two updates, and so between a closed page and the end of its work

E = TypeVar("E")
R = TypeVar("R")


@dataclass(frozen=True)
class Work(Generic[E]):
    """One part of a run. It sends events; those of a stopped and of a failed part are sent for it."""

    name: str  # for messages
    run: Callable[[Callable[[E], None], Callable[[], bool]], None]  # gets (send, cancelled)
    stopped: E
    failed: Callable[[PaneError], E]


@dataclass(frozen=True)
class Update(Generic[E]):
    events: tuple[tuple[str, E], ...]  # (key of the part, event), oldest first
    ahead: Mapping[str, int]  # by key: how many jobs the queue runs before it
    is_over: bool


@dataclass(frozen=True)
class Stoppable:
    """A run of a visitor."""

    is_stopped: Callable[[], bool]
    end: Callable[[], None]  # it is over; before the page is told so, because it may ask for the next thing at once


class Runs:
    """All runs of an app, over one queue, and a second queue for short jobs, such as a view of a field."""

    def __init__(self, jobs: JobQueue | None = None) -> None:
        self.queue = jobs or JobQueue()
        self.short = JobQueue(_SHORT_WORKERS)
        self._running: dict[tuple[str, str], tuple[QueuedJob, ...]] = {}  # by (kind, visitor)
        self._stopping: dict[tuple[str, str], threading.Event] = {}  # of runs whose parts are queued in turn
        self._held: dict[tuple[str, str], object] = {}  # what was chosen during a run
        self._lock = threading.Lock()

    def follow(
        self, kind: str, visitor: str, works: Mapping[str, Work[E]], *, leaves: bool = False
    ) -> Generator[Update[E], None, None]:
        """Queue the parts of a run, and yield updates until all are over. Closing the iterator stops them.

        Updates come every moment, also without an event: a generator can only be closed where it yields. leaves: when
        the run is stopped, what is not finished is left to end by itself.
        """
        events: queue.SimpleQueue[tuple[str, E]] = queue.SimpleQueue()
        begun: set[str] = set()

        def start(key: str, job: QueuedJob) -> None:
            begun.add(key)
            _run(works[key], lambda event: events.put((key, event)), job.cancelled)

        jobs: dict[str, QueuedJob] = {}
        try:
            for key in works:
                jobs[key] = self.queue.submit(visitor, functools.partial(start, key), most=MOST_OF_A_VISITOR)
            with self._lock:
                self._running[kind, visitor] = tuple(jobs.values())
                stopping = self._stopping.get((kind, visitor))
            if stopping is not None and stopping.is_set():
                self.stop(kind, visitor)
            while True:
                finished = {key for key, job in jobs.items() if job.finished.is_set()}
                is_over = all(key in finished or (leaves and job.cancelled()) for key, job in jobs.items())
                found = tuple(_drain(events, 0.0 if is_over else _BEAT_S))
                if is_over:  # parts that were cancelled in the queue have sent nothing
                    found += tuple((key, works[key].stopped) for key in works if key not in begun & finished)
                    self._forget(kind, visitor, jobs)  # a page that was told so may ask for the next thing at once
                yield Update(found, {key: self.queue.ahead(job) for key, job in jobs.items()}, is_over)
                if is_over:
                    return
        finally:
            for job in jobs.values():
                self.queue.cancel(job)
            self._forget(kind, visitor, jobs)

    def _forget(self, kind: str, visitor: str, jobs: Mapping[str, QueuedJob]) -> None:
        with self._lock:
            if self._running.get((kind, visitor)) == tuple(jobs.values()):
                del self._running[kind, visitor]

    def follow_in_turn(
        self, kind: str, visitor: str, works: Mapping[str, Work[E]], is_stopped: Callable[[], bool]
    ) -> Generator[Update[E], None, None]:
        """As `follow`, but a part joins the queue when the one before it is over: others have their turns between."""
        for left, (key, work) in zip(range(len(works) - 1, -1, -1), works.items(), strict=True):
            if is_stopped():
                yield Update(((key, work.stopped),), {}, is_over=not left)
                continue
            with contextlib.closing(self.follow(kind, visitor, {key: work})) as updates:
                for update in updates:
                    yield replace(update, is_over=update.is_over and not left)

    @contextlib.contextmanager
    def stoppable(self, kind: str, visitor: str) -> Generator[Stoppable]:
        """A run, from before its page can stop it until `end`: what is followed inside is stopped together, also before
        and between its parts. A visitor has one of a kind: a new one stops the one before.
        """
        stopping = threading.Event()

        def end() -> None:
            with self._lock:
                if self._stopping.get((kind, visitor)) is stopping:
                    del self._stopping[kind, visitor]

        self.stop(kind, visitor)
        with self._lock:
            self._stopping[kind, visitor] = stopping
        try:
            yield Stoppable(stopping.is_set, end)
        finally:
            end()

    def stop(self, kind: str, visitor: str) -> None:
        """Cancel a visitor's run; `follow` still yields its last update."""
        with self._lock:
            jobs = self._running.get((kind, visitor), ())
            stopping = self._stopping.get((kind, visitor))
        if stopping is not None:
            stopping.set()
        for job in jobs:
            self.queue.cancel(job)

    def is_running(self, kind: str, visitor: str) -> bool:
        with self._lock:
            return self._is_running(kind, visitor)

    def _is_running(self, kind: str, visitor: str) -> bool:
        return (kind, visitor) in self._running or (kind, visitor) in self._stopping

    def hold(self, kind: str, visitor: str, chosen: object) -> bool:
        """Keep what a visitor chooses during a run for its end, the latest; False if there is no run."""
        with self._lock:
            if not self._is_running(kind, visitor):
                return False
            self._held[kind, visitor] = chosen
            return True

    def release(self, kind: str, visitor: str) -> object:
        """What `hold` has kept, or None; to be called when the run is over."""
        with self._lock:
            return self._held.pop((kind, visitor), None)

    def wait(
        self,
        client: Client,
        work: Callable[[Callable[[], bool]], R],  # gets `cancelled`
        *,
        is_short: bool = False,  # it goes through the queue for short jobs
    ) -> R:
        """Run one job through a queue and wait for its result; its exception is raised here.

        When the client leaves, the job is cancelled.
        """
        outcome: Future[R] = Future()

        def run(job: QueuedJob) -> None:
            try:
                outcome.set_result(work(job.cancelled))
            except Exception as error:
                outcome.set_exception(error)

        queue = self.short if is_short else self.queue
        job = queue.submit(client.visitor, run, most=MOST_OF_A_VISITOR)
        while not job.finished.wait(_BEAT_S):
            if client.has_left():
                queue.cancel(job)
                raise Cancelled("The client has left.")
        return outcome.result(timeout=0)


def _run(work: Work[E], send: Callable[[E], None], cancelled: Callable[[], bool]) -> None:
    try:
        work.run(send, cancelled)
    except Cancelled:
        send(work.stopped)
    except Exception as error:  # a part that fails must not stop the others
        if not isinstance(error, (GsrError, MemoryError)):
            log.exception("%s failed", work.name)
        send(work.failed(pane_error(error, work.name)))


def _drain(events: queue.SimpleQueue[tuple[str, E]], wait_s: float) -> Iterator[tuple[str, E]]:
    """What arrives within a time, or is there already."""
    until = time.monotonic() + wait_s
    while True:
        try:
            left = until - time.monotonic()
            yield events.get(timeout=left) if left > 0 else events.get_nowait()
        except queue.Empty:
            return
