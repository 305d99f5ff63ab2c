"""Run one function over many jobs: in this process, in several, or on a Ray cluster, with the same results.

A worker is a picklable callable; it creates what it keeps between jobs (a session, a model) at its first call. Results
are returned as they finish, exactly one per job, even if a worker process dies.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal, TypeVar

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
    waiting = list(range(len(jobs)))[::-1]
    attempts = [0] * len(jobs)
    while waiting:
        # Spawned, not forked: a forked child inherits torch's locked thread pool.
        pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_Interrupts.take_over
        )
        work = functools.partial(_Interrupts.work, worker)
        running: dict[Future[Result], int] = {}
        try:
            while waiting or running:
                # A job that was running when a process died is run alone: if a process dies again, it is the cause.
                while waiting and len(running) < (1 if attempts[waiting[-1]] else 2 * workers):
                    index = waiting[-1]
                    with _Interrupts.held_back():  # it starts processes
                        future = pool.submit(work, jobs[index])  # fails where a process has died just now
                    running[future] = index
                    attempts[index] += 1
                    waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield jobs[running[future]], future.result()
                    del running[future]
        except BrokenProcessPool:
            for index in running.values():
                if attempts[index] < _MOST_ATTEMPTS:
                    waiting.append(index)
                else:
                    yield jobs[index], WorkerDied(f"The worker process died {attempts[index]} times on this job.")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
    def work(cls, worker: Callable[[Job], Result], job: Job) -> Result:
        cls._works = True
        try:
            return worker(job)
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
