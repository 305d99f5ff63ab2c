"""Run one function over many jobs: in this process, in several, or on a Ray cluster, with the same results.

A worker is a picklable callable; it creates what it keeps between jobs (a session, a model) at its first call. Results
are returned as they finish, exactly one per job, even if a worker process dies.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Literal, TypeVar, cast

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.extras import needs_extra

Job = TypeVar("Job")
Result = TypeVar("Result")
EngineName = Literal["local", "ray"]

# A job whose process dies this often is taken to be the cause (memory, a crash in a codec) and is not tried again.
_MOST_ATTEMPTS = 3


class WorkerDied(GsrError):
    """The worker process died repeatedly on one job."""


def add_pool_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how many workers run, and where."""
    parser.add_argument("--workers", type=int, default=1, help="how many at a time: processes, or actors of Ray")
    parser.add_argument(
        "--engine", default="local", choices=("local", "ray"), help="ray: the cluster of RAY_ADDRESS, or this machine"
    )


def run_jobs(
    worker: Callable[[Job], Result], jobs: Sequence[Job], *, engine: EngineName = "local", workers: int = 1
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Each job with its result, in the order in which they finish."""
    _check(workers)
    if engine == "ray":
        yield from _run_on_ray(worker, jobs, workers)
    elif workers == 1 or len(jobs) <= 1:
        yield from ((job, worker(job)) for job in jobs)
    else:
        yield from _run_in_processes(worker, jobs, workers)


def threads_per_worker(workers: int) -> int:
    """The number of threads for each of several workers."""
    _check(workers)
    return max(1, (os.cpu_count() or 1) // workers)


def _check(workers: int) -> None:
    if workers < 1:
        raise InvalidArgument(f"workers must be at least 1, found {workers}.")


def _run_in_processes(
    worker: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    waiting = deque(range(len(jobs)))
    attempts = [0] * len(jobs)
    idle: list[_Process] = []
    running: dict[Connection, tuple[_Process, int]] = {}
    with ExitStack() as started:
        while waiting or running:
            # A job whose process died comes again after all others, and alone: memory may be what was missing.
            while waiting and len(running) < (1 if attempts[waiting[0]] else workers):
                index = waiting.popleft()
                attempts[index] += 1
                process = idle.pop() if idle else started.enter_context(closing(_Process(worker)))
                running[process.connection] = process, index
                process.begin(jobs[index])
            for connection in cast(list[Connection], wait(list(running))):
                process, index = running.pop(connection)
                try:
                    result = process.result()
                except _Died:
                    if attempts[index] < _MOST_ATTEMPTS:
                        waiting.append(index)
                    else:
                        yield jobs[index], WorkerDied(f"The worker process died {attempts[index]} times on this job.")
                else:
                    idle.append(process)
                    yield jobs[index], result


class _Died(Exception):
    """The process has ended without a result."""


class _Raised(Exception):
    """The traceback of an exception in a process, as the cause of the same exception in this one."""


class _Process:
    """A process that runs one job at a time.

    Not `ProcessPoolExecutor`: when one of its processes dies, it ends the others, too, and in Python 3.11 a job that is
    handed over at that moment fails, or the program does not end.
    """

    def __init__(self, worker: Callable[[Any], Any]) -> None:
        # Spawned, not forked: a forked child inherits torch's locked thread pool.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        with _Interrupts.held_back():
            context.Process(target=_serve, args=(theirs, worker)).start()
        theirs.close()

    def close(self) -> None:
        """Let it end, after the job that it may be at."""
        self.connection.close()

    def begin(self, job: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died; `result` says so
            self.connection.send(job)

    def result(self) -> Any:
        try:
            result, raised = self.connection.recv()
        except (EOFError, OSError):
            raise _Died from None
        if raised is None:
            return result
        raise result from _Raised(raised)


def _serve(connection: Connection, worker: Callable[[Any], Any]) -> None:
    """Run in a process of its own: answer each job with its result and None, or an exception and its traceback."""
    _Interrupts.take_over()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the other end is closed
        while True:
            job = connection.recv()
            try:
                with _Interrupts.working():
                    answer = worker(job), None
            except BaseException as error:
                answer = error, traceback.format_exc()
            connection.send(answer)


class _Interrupts:
    """Ctrl-C reaches all processes. It ends a worker's job, and a worker that starts or waits without a word."""

    _works = False

    @staticmethod
    @contextmanager
    def held_back() -> Generator[None]:
        """What is started in this block gets no interrupt before `take_over`."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @classmethod
    def take_over(cls) -> None:
        signal.signal(signal.SIGINT, cls._end)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    @classmethod
    def _end(cls, _signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt if cls._works else SystemExit(130)

    @classmethod
    @contextmanager
    def working(cls) -> Generator[None]:
        cls._works = True
        try:
            yield
        finally:
            cls._works = False


def _run_on_ray(
    worker: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    with needs_extra("ray", "--engine ray"):
        import ray
        import ray.data
    if not ray.is_initialized():
        # RAY_ADDRESS, when set, names the cluster; otherwise a runtime of this machine is started.
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
    gpus = ray.cluster_resources().get("GPU", 0)
    jobs_by_key = dict(enumerate(jobs))
    # Ray restarts a dead actor and reassigns its jobs.
    dataset = ray.data.from_items([{"key": key} for key in jobs_by_key], override_num_blocks=len(jobs)).map_batches(
        _RayWorker,
        fn_constructor_args=(pickle.dumps(worker), pickle.dumps(jobs_by_key)),
        batch_size=1,
        concurrency=workers,
        num_cpus=cpus,
        num_gpus=1 if gpus else 0,
    )
    finished: set[int] = set()
    for row in dataset.iter_rows():
        if row["key"] not in finished:
            finished.add(row["key"])
            yield jobs_by_key[row["key"]], pickle.loads(row["result"])


class _RayWorker:
    """One actor: a worker and all jobs, by their keys."""

    def __init__(self, worker: bytes, jobs: bytes) -> None:
        self._worker: Callable[[Any], Any] = pickle.loads(worker)
        self._jobs: dict[int, Any] = pickle.loads(jobs)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        keys = [int(key) for key in batch["key"]]
        return {"key": keys, "result": [pickle.dumps(self._worker(self._jobs[key])) for key in keys]}
