"""The queue of the app: one job at a time, visitors in rotation."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from gsr_app.core.errors import GsrError

log = logging.getLogger("gsr")


class QueuedJob:
    """A job of one visitor. `run` gets the job and has to check `cancelled` regularly."""

    def __init__(self, visitor: str, run: Callable[[QueuedJob], None]) -> None:
        self.visitor = visitor
        self._run = run
        self._context = contextvars.copy_context()  # of the request: a host with quotas reads the visitor from it
        self._cancelled = threading.Event()
        self.finished = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def run(self) -> None:
        if not self.cancelled():
            self._context.run(self._run, self)


class JobQueue:
    """The jobs of one visitor keep their order; visitors take turns, one job each."""

    def __init__(self, workers: int = 1, most_waiting: int = 200) -> None:
        self._most_waiting = most_waiting
        self._waiting: OrderedDict[str, deque[QueuedJob]] = OrderedDict()
        self._running: set[QueuedJob] = set()
        self._changed = threading.Condition()
        self._workers = workers
        self._started = 0

    def submit(self, visitor: str, run: Callable[[QueuedJob], None], *, most: int | None = None) -> QueuedJob:
        """Queue a job. An error if more jobs wait already than the queue takes, or `most` of this visitor do."""
        job = QueuedJob(visitor, run)
        with self._changed:
            own = len(self._waiting.get(visitor, ())) + sum(one.visitor == visitor for one in self._running)
            if most is not None and own >= most:
                raise GsrError(f"{own} of your requests are not finished yet.", hint="Wait until one of them is.")
            if sum(map(len, self._waiting.values())) >= self._most_waiting:
                raise GsrError("Too many requests wait here already.", hint="Try again later.")
            self._waiting.setdefault(visitor, deque()).append(job)
            if self._started < self._workers:
                self._started += 1
                threading.Thread(target=self._work, name="gsr-work", daemon=True).start()
            self._changed.notify()
        return job

    def cancel(self, job: QueuedJob) -> None:
        """Cancel a job, and take it out of the queue if it has not started."""
        job.cancel()
        with self._changed:
            jobs = self._waiting.get(job.visitor)
            if jobs is None or job not in jobs:
                return
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.visitor]
        job.finished.set()

    def __len__(self) -> int:
        """How many jobs wait or run."""
        with self._changed:
            return len(self._running) + sum(map(len, self._waiting.values()))

    def ahead(self, job: QueuedJob) -> int:
        """How many jobs will be finished before this one starts; 0 once it runs."""
        with self._changed:
            own = self._waiting.get(job.visitor)
            if own is None or job not in own:
                return 0
            place = own.index(job)
            count = place + len(self._running)
            before = True  # whether the visitor's turn comes before this one's
            for visitor, jobs in self._waiting.items():
                if visitor == job.visitor:
                    before = False
                else:
                    count += min(len(jobs), place + before)
            return count

    def _next(self) -> QueuedJob:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            visitor, jobs = next(iter(self._waiting.items()))
            job = jobs.popleft()
            if jobs:
                self._waiting.move_to_end(visitor)
            else:
                del self._waiting[visitor]
            self._running.add(job)
            return job

    def _work(self) -> None:
        while True:
            job = self._next()
            try:
                job.run()
            except BaseException:  # the worker must survive any error
                log.exception("A job failed")
            finally:
                with self._changed:
                    self._running.discard(job)
                job.finished.set()  # who is told so finds it no more in the queue
                del job  # drop the reference, so that its buffers are freed while the worker waits
