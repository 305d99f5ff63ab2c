"""`gsr upscale`: files, folders and patterns in; larger images out."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.atomic import remove_abandoned
from gsr_app.core.errors import (
    Cancelled,
    GsrError,
    ImageError,
    InvalidArgument,
    SizeOutOfReach,
    first_line,
    printable,
)
from gsr_app.core.types import Scale
from gsr_app.engine.batch import Task, mark_of
from gsr_app.harness import batch
from gsr_app.harness.batch import Outcome
from gsr_app.harness.outputs import make_folder
from gsr_app.harness.pool import WorkerDied, add_pool_arguments, run_jobs, threads_per_worker
from gsr_app.harness.progress import ProgressLine, clock
from gsr_app.harness.sessions import add_model_argument, add_session_arguments, open_session, use_model
from gsr_app.harness.stopping import stop_on_interrupt
from gsr_app.models import registry, weights

if TYPE_CHECKING:
    from gsr_app.engine.image_job import FileJob, Saved
    from gsr_app.engine.session import Session
    from gsr_app.io.images import RowReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image files, folders, or patterns such as 'in/*.png'"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a folder, or a file for a single input")
    parser.add_argument("--method", metavar="ID", help="see `gsr models`; default: the best one that is shipped")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", metavar="S", help="4, 2.7, or vertical x horizontal: 2.5x4 (default: 4)")
    size.add_argument("--size", metavar="WxH", help="in pixels: 1920x1080, 1920x, x1080, fit:3840x2160")
    add_model_argument(parser)
    add_session_arguments(parser)
    parser.add_argument(
        "--format", metavar="EXT", help="png, tif, webp, jpg …; default: as the input if lossless, else png"
    )
    parser.add_argument("--overwrite", action="store_true", help="make outputs again that are there already")
    parser.add_argument("--strip-metadata", action="store_true", help="write pixels and colour profile only")
    add_pool_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def run(arguments: argparse.Namespace) -> int:
    method = use_model(arguments) or arguments.method or weights.default_method()
    registry.method(method)  # raises if there is none of this name
    wanted = arguments.size or arguments.scale or "4"
    check_scale(wanted, in_pixels=bool(arguments.size))
    if arguments.tile is not None and arguments.tile < 1:
        raise InvalidArgument(f"--tile must be at least 1, found {arguments.tile}.")

    from gsr_app.io import images
    from gsr_app.io.formats import output_format

    suffix = f".{arguments.format.lower().lstrip('.')}" if arguments.format else ""
    if suffix and suffix not in images.writable_suffixes():
        known = ", ".join(sorted(images.writable_suffixes()))
        raise InvalidArgument(f"--format {arguments.format} cannot be written.", hint=f"Known: {known}.")
    mark = mark_of(method, wanted, in_pixels=bool(arguments.size))
    output = Path(arguments.output).expanduser()
    tasks = batch.plan(arguments.inputs, output, mark, images.readable_suffixes(), suffix)
    for task in tasks:
        output_format(task.target)
    if suffix and tasks[0].target == output and output_format(output) != output_format(output.with_suffix(suffix)):
        raise InvalidArgument(
            f"--format {arguments.format} is not what {output.name} says.", hint="Leave --format out, or name a folder."
        )
    folders = {task.target.parent for task in tasks}
    if tasks[0].target == output and not output.parent.is_dir():
        # A folder named by -o is made; one on the way to a file is more often a mistyped name.
        what = "is not a folder" if output.parent.exists() else "does not exist"
        raise GsrError(f"The output folder {output.parent} {what}.", hint="Create it, or choose another.")
    for folder in folders:
        make_folder(folder)
    remove_abandoned(folders)

    report = Report(method, wanted, len(tasks), as_json=arguments.json)
    together = arguments.engine != "local" or arguments.workers != 1
    with stop_on_interrupt() as stopped:
        ended = (_run_in_parallel if together else _run_serially)(tasks, method, arguments, report, stopped)
        try:
            for outcome, saved in ended:
                report.end(outcome, saved)
                if stopped():
                    break
            else:
                return report.close()
        except (Cancelled, KeyboardInterrupt):
            pass
        finally:
            ended.close()
    report.close(stopped=True)
    return 130


Outcomes = Generator["tuple[Outcome, Saved | None]", None, None]


def _run_serially(
    tasks: Sequence[Task], method: str, arguments: argparse.Namespace, report: Report, stopped: Callable[[], bool]
) -> Outcomes:
    """Here, one after the other, with progress within each."""
    upscaler = FileUpscaler(method, arguments, threads=None)
    for task in tasks:
        report.begin(task)
        yield upscaler.upscale(task, report.show, stopped)


def _run_in_parallel(
    tasks: Sequence[Task], method: str, arguments: argparse.Namespace, _report: Report, _stopped: Callable[[], bool]
) -> Outcomes:
    """Several at a time, in processes or on a cluster."""
    upscaler = FileUpscaler(method, arguments, threads_per_worker(arguments.workers))
    for task, result in run_jobs(upscaler, tasks, engine=arguments.engine, workers=arguments.workers):
        yield (Outcome(task, "failed", str(result), result.hint), None) if isinstance(result, WorkerDied) else result


@dataclass(frozen=True)
class FileUpscaler:
    """The worker: makes one output. Whatever is wrong with a file is an outcome, so that the others go on."""

    method: str
    arguments: argparse.Namespace
    threads: int | None  # None: as many as torch takes by itself

    def __call__(self, task: Task) -> tuple[Outcome, Saved | None]:
        return self.upscale(task, lambda _stage, _fraction: None, lambda: False)

    def upscale(
        self, task: Task, show: Callable[[str, float], None], stopped: Callable[[], bool]
    ) -> tuple[Outcome, Saved | None]:
        try:
            opened = self._open(task)
        except Exception as error:  # such as a name that is too long for the file system
            return _failed(task, error), None
        if opened is None:
            return Outcome(task, "skipped", "already done", "Make it again with --overwrite."), None
        from gsr_app.engine.image_job import FileJob

        options, (reader, scale) = self.arguments, opened
        session = open_session(self.threads, options.device, options.precision, options.weights, options.tile)
        method = registry.method(self.method)
        job = FileJob(method, reader, task.target, scale, options.overwrite, options.strip_metadata)
        try:
            return Outcome(task, "done"), _make(session, job, show, stopped)
        except Cancelled:
            raise
        except Exception as error:  # one broken image must not end a batch of thousands
            return _failed(task, error), None

    def _open(self, task: Task) -> tuple[RowReader, Scale] | None:
        """The input and its scale; None if the output is there already, made in the same way. Raises if it cannot be.

        Reads the headers of both files, and neither torch nor weights.
        """
        from gsr_app.io import images

        reader = images.RowReader(task.source)
        if self.arguments.size:
            scale = Scale.parse_size(self.arguments.size, reader.size)
        else:
            scale = Scale.parse(self.arguments.scale or "4", reader.size)
        out = scale.output_size(reader.size)
        images.check_output(task.target, out, overwrite=True, source=task.source)
        if self.arguments.overwrite or not task.target.exists():
            return reader, scale
        try:
            found_size, meta = images.read_metadata(task.target)
        except ImageError:
            found_size, meta = (0, 0), images.Metadata()
        present = weights.find(registry.method(self.method), self.arguments.weights)
        wanted = {"method": self.method, "scale": str(scale)}
        same = all(meta.text.get(key, value) == value for key, value in wanted.items())
        if present and "weights" in meta.text:  # by the hash alone: a strength that was guessed stands before it
            same = same and meta.text["weights"].rpartition("@")[2] == present.id.rpartition("@")[2]
        if same and found_size == out and (meta.text or self.arguments.strip_metadata):
            if _is_made_of(meta.text, task.source):
                return None
            maker = "of another picture, or of this one before it was changed"
        else:
            maker = f"by {_describe_maker(meta.text)}"
        raise ImageError(
            f"The output {task.target.name} exists already, made {maker}.",
            hint="Make it again with --overwrite, or choose another -o.",
        )


def _make(session: Session, job: FileJob, show: Callable[[str, float], None], stopped: Callable[[], bool]) -> Saved:
    from gsr_app.engine.image_job import upscale_file
    from gsr_app.engine.runners import run_to_end

    return run_to_end(upscale_file(session, job, stopped), lambda progress: show(progress.stage, progress.fraction))


def _is_made_of(text: Mapping[str, str], source: Path) -> bool:
    """Whether an output was made of a file as it is now, as far as its metadata tell."""
    from gsr_app.models.download import digest_of

    made_of = text.get("source")
    return made_of is None or digest_of(source).startswith(made_of)


def _describe_maker(text: Mapping[str, str]) -> str:
    """What an output's metadata says made it."""
    if not text:
        return "something that left no note in it"
    weights_id = text.get("weights", "")
    return f"{text.get('method', '?')} at x{text.get('scale', '?')}" + (f" with {weights_id}" if weights_id else "")


def _failed(task: Task, error: Exception) -> Outcome:
    if isinstance(error, GsrError):
        return Outcome(task, "failed", str(error), error.hint)
    if isinstance(error, OSError) and error.strerror:
        name = printable(Path(os.fsdecode(error.filename or task.target)).name)
        hint = "Give a shorter name with -o." if error.errno == errno.ENAMETOOLONG else "Check the path and the disk."
        return Outcome(task, "failed", f"{name}: {error.strerror}.", hint)
    if isinstance(error, MemoryError):
        what = f"Out of memory: {first_line(error)}."
        return Outcome(task, "failed", what, "Choose a smaller size, or free some memory.")
    return Outcome(task, "failed", f"{type(error).__name__}: {error}", "This is a defect of gsr, please report it.")


def check_scale(text: str, *, in_pixels: bool) -> None:
    """A wrong scale is a wrong call, found before any work."""
    parse = Scale.parse_size if in_pixels else Scale.parse
    with suppress(SizeOutOfReach):  # of a picture that is not known yet
        parse(text, (1000, 1000))


class Report:
    """What the user sees: a line per file, progress in between, a summary at the end; or one JSON document."""

    def __init__(self, method: str, wanted: str, total: int, *, as_json: bool) -> None:
        self._head = {"method": method, "scale": wanted}
        self._as_json = as_json
        self._line = ProgressLine(total)
        self._count = {"done": 0, "skipped": 0, "failed": 0}
        self._results: list[dict[str, Any]] = []
        self._name = ""
        self._total_ms = 0.0

    def begin(self, task: Task) -> None:
        self._name = task.source.name
        self.show("read", 0.0)

    def show(self, stage: str, fraction: float) -> None:
        self._line.update(sum(self._count.values()) + min(fraction, 0.99), f"{self._name}: {stage} {fraction:.0%}")

    def end(self, outcome: Outcome, saved: Saved | None) -> None:
        self._count[outcome.status] += 1
        if self._as_json:
            self._results.append(_as_data(outcome, saved))
        elif outcome.status == "failed":
            self._line.print(f"{outcome.task.source}: {outcome.reason}")
            if outcome.hint:
                self._line.print(f"    {outcome.hint}")
        elif outcome.status == "skipped" and self._line.total <= 20:
            self._line.print(f"{outcome.task.target} is {outcome.reason}. {outcome.hint}", sys.stdout)
        if saved is not None:
            self._total_ms += saved.timing.total_ms
            if not self._as_json:
                self._print_saved(outcome.task, saved)

    def _print_saved(self, task: Task, saved: Saved) -> None:
        (height, width), (source_height, source_width) = saved.size, saved.source_size
        sizes = f"{source_width}x{source_height} -> {width}x{height}"
        self._line.print(f"{task.source} -> {saved.path}  {sizes}  {saved.done}", sys.stdout)
        if self._line.total == 1:
            self._line.print("  " + timing_text(_timing(saved)), sys.stdout)
        for note in saved.notes:
            self._line.print(f"    note: {note}")

    def close(self, *, stopped: bool = False) -> int:
        """Print the summary; returns the exit code."""
        self._line.clear()
        if self._as_json:
            print(json.dumps({**self._head, **self._count, "stopped": stopped, "results": self._results}, indent=2))
        elif stopped or self._line.total > 1:
            counts = ", ".join(f"{count} {status}" for status, count in self._count.items())
            print(f"{'stopped: ' if stopped else ''}{counts} of {self._line.total} in {clock(self._total_ms / 1e3)}")
        return 1 if self._count["failed"] else 0


def timing_text(timing: dict[str, Any]) -> str:
    """One line: "read 12 ms, model 340 ms, write 20 ms, total 372 ms, peak memory 410 MB"."""
    stages = ", ".join(f"{name} {timing[f'{name}_ms']:.0f} ms" for name in ("read", "model", "write", "total"))
    peak = timing["peak_bytes"]
    text = stages + (f", peak memory {peak / 1e6:.0f} MB" if peak else "")
    return text + (" (the network was loaded for this)" if timing["cold"] else "")


def _timing(saved: Saved) -> dict[str, Any]:
    stages = saved.timing.stages_ms
    read, write = stages.get("read", 0.0), stages.get("write", 0.0)
    return {
        "read_ms": round(read, 2),
        "model_ms": round(saved.timing.total_ms - read - write, 2),
        "write_ms": round(write, 2),
        "total_ms": round(saved.timing.total_ms, 2),
        "stages_ms": {name: round(value, 2) for name, value in stages.items()},
        "peak_bytes": saved.timing.peak_bytes,
        "cold": saved.timing.cold,
        "backend": saved.timing.backend,
        "device": saved.timing.device,
    }


def _as_data(outcome: Outcome, saved: Saved | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "input": str(outcome.task.source),
        "output": str(outcome.task.target),
        "status": outcome.status,
    }
    if outcome.reason:
        data |= {"reason": outcome.reason, "hint": outcome.hint}
    if saved is not None:
        data |= {
            "source_size": list(saved.source_size),
            "size": list(saved.size),
            "bytes": saved.bytes,
            "scale": [saved.scale.y, saved.scale.x],
            "done": saved.done,
            "weights_id": saved.weights_id,
            "notes": list(saved.notes),
            "timing": _timing(saved),
        }
    return data
