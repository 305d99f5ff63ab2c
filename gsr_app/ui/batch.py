"""Many pictures by one method: what the Batch tab shows of each, and the files that come out."""

from __future__ import annotations

import contextlib
import os
import secrets
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gsr_app.core.errors import GsrError, InvalidArgument, SizeOutOfReach
from gsr_app.core.types import Scale
from gsr_app.engine.batch import mark_of, name_outputs
from gsr_app.io import images
from gsr_app.models.registry import Method
from gsr_app.ui import present
from gsr_app.ui.estimate import Expected
from gsr_app.ui.files import path_of, renew, url_of
from gsr_app.ui.runs import Work
from gsr_app.ui.state import AppState
from gsr_app.viewer.comparison import check_input, check_output, find_methods
from gsr_app.viewer.contract import PaneError, PaneProgress, State
from gsr_app.viewer.panes import pane_error
from gsr_app.viewer.sink import safe_stem

FORMATS = {"": "As the input if lossless, else PNG", ".png": "PNG", ".jpg": "JPEG", ".webp": "WebP", ".tif": "TIFF"}
# Results are kept as files until they are downloaded, and once more in the ZIP file.
_MOST_PICTURES, _MOST_RESULTS = 200, 10  # of the owner: pictures, and times the largest result
_MOST_HOSTED_PICTURES, _MOST_HOSTED_RESULTS = 24, 4


@dataclass(frozen=True)
class BatchLimits:
    pictures: int
    output_pixels: int  # of all results together

    def __str__(self) -> str:
        return f"At most {self.pictures} pictures, and results of {self.output_pixels / 1e6:.0f} megapixels together."


@dataclass(frozen=True)
class Row:
    """One picture of a batch."""

    name: str
    state: State = "waiting"
    width: int = 0
    height: int = 0
    out_width: int = 0
    out_height: int = 0
    progress: PaneProgress | None = None
    error: PaneError | None = None
    seconds: float | None = None
    url: str | None = None
    download_name: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Everything that the tab shows."""

    rows: tuple[Row, ...] = ()
    key: str = ""  # under which it is kept for its visitor; cannot be guessed
    running: bool = False
    run: str = ""
    zip_url: str | None = None
    zip_name: str = ""
    zip_bytes: int = 0


@dataclass(frozen=True, eq=False)
class KeptBatch:
    """A batch with what was asked for."""

    batch: Batch
    paths: tuple[str, ...]
    method: str
    scale: str
    suffix: str


@dataclass(frozen=True, eq=False)
class BatchJob:
    """A checked request."""

    method: Method
    scale: str
    sources: tuple[Path, ...]
    names: tuple[str, ...]  # of the outputs
    rows: tuple[Row, ...]


def limits(app: AppState) -> BatchLimits:
    """What one batch may be here: more where only the owner can connect."""
    pictures, results = (
        (_MOST_PICTURES, _MOST_RESULTS) if app.may_manage else (_MOST_HOSTED_PICTURES, _MOST_HOSTED_RESULTS)
    )
    return BatchLimits(pictures, results * app.limits.output_pixels)


# ---- checking ---------------------------------------------------------------------------------------------------


def look(app: AppState, paths: object, scale: object) -> Batch:
    """The pictures as they are before a run; those that cannot be read or made say why."""
    sources, text = _sources(paths), str(scale).strip()
    try:
        Scale.parse(text, _ANY_SIZE)
    except SizeOutOfReach:
        pass  # of some pictures, perhaps
    except GsrError:
        text = ""  # nothing is known of the results
    named = zip(sources, _distinct(sources), strict=True)
    return Batch(tuple(_look_at(app, path, name, text) for path, name in named))


def _look_at(app: AppState, path: Path, name: str, scale: str) -> Row:
    row = Row(name)
    try:
        height, width = size = images.read_metadata(path)[0]
        row = replace(row, width=width, height=height)
        check_input(size, app.limits)
        if not scale:
            return row
        out_height, out_width = check_output(size, Scale.parse(scale, size), app.limits)
        return replace(row, out_width=out_width, out_height=out_height)
    except (GsrError, OSError) as error:
        return replace(row, state="failed", error=pane_error(error, name))


def prepare(app: AppState, paths: object, method: object, scale: object, suffix: object) -> BatchJob:
    """Check a request, and the header of each picture."""
    (found,) = find_methods(app.engine.methods, (method,))
    sources = _sources(paths)
    if not sources:
        raise InvalidArgument("There are no pictures yet.", hint="Drop some, or a folder of them.")
    if suffix not in FORMATS:
        raise InvalidArgument(f"{str(suffix)[:20]!r} is not written here.", hint=f"Known: {', '.join(FORMATS)}.")
    text = str(scale).strip()
    with contextlib.suppress(SizeOutOfReach):
        Scale.parse(text, _ANY_SIZE)
    rows = look(app, paths, text).rows
    _check_amount(app, rows)
    named = [(Path(row.name), Path()) for row in rows]
    targets = name_outputs(named, Path(), mark_of(found.id, text), str(suffix))
    return BatchJob(found, text, sources, tuple(task.target.name for task in targets), rows)


_ANY_SIZE = (1000, 1000)
_UNFINISHED = ("waiting", "running")
_ELSEWHERE = "Take fewer, or a smaller scale; gsr upscale on the command line has no limit."


def _sources(paths: object) -> tuple[Path, ...]:
    return tuple(Path(one) for one in paths if isinstance(one, str)) if isinstance(paths, (list, tuple)) else ()


def _distinct(sources: Sequence[Path]) -> list[str]:
    """The names of files, the second of the same name as "cat (2).png": they may come from different folders."""
    found: dict[str, int] = {}
    names: list[str] = []
    for path in sources:
        count = found[path.name] = found.get(path.name, 0) + 1
        names.append(path.name if count == 1 else f"{path.stem} ({count}){path.suffix}")
    return names


def forecast(app: AppState, batch: Batch, scale: str, method: str) -> str:
    """What comes out of a batch that was looked at, and when; an error if it is too much."""
    with contextlib.suppress(SizeOutOfReach):
        Scale.parse(scale.strip(), _ANY_SIZE)
    rows = [row for row in batch.rows if row.state != "failed"]
    if not rows:
        return ""
    pixels = _check_amount(app, batch.rows)
    times = [app.estimates.expected([method], row.width * row.height, row.out_width * row.out_height) for row in rows]
    known = [one for one in times if not one.unmeasured]
    low, high = sum(one.low_ms for one in known), sum(one.high_ms for one in known)
    expected = Expected(low, high, len(times) - len(known), int(any(one.first for one in times)))
    return f"{present.megapixels(pixels)} of results · {present.time_text(expected, len(rows), 'picture')}"


def _check_amount(app: AppState, rows: Sequence[Row]) -> int:
    """The pixels of all results; an error if they, or the pictures, are too many."""
    most = limits(app)
    if len(rows) > most.pictures:
        raise InvalidArgument(f"There are {len(rows)} pictures. {most}", hint=_ELSEWHERE)
    pixels = sum(row.out_width * row.out_height for row in rows)
    if pixels > most.output_pixels:
        raise InvalidArgument(f"The results would have {pixels / 1e6:.0f} megapixels together. {most}", hint=_ELSEWHERE)
    return pixels


def as_left(batch: Batch) -> Batch:
    """A batch whose page was left: what was not made by then is stopped, and files that are gone cannot be saved."""
    rows = [
        replace(row, state="cancelled") if row.state in _UNFINISHED and batch.running else row for row in batch.rows
    ]
    rows = [replace(row, url=None) if row.url and not path_of(row.url).is_file() else row for row in rows]
    batch = replace(batch, rows=tuple(rows), running=False)
    return replace(batch, zip_url=None) if batch.zip_url and not path_of(batch.zip_url).is_file() else batch


# ---- running ----------------------------------------------------------------------------------------------------


def watch(app: AppState, visitor: str, job: BatchJob) -> Iterator[Batch | None]:
    """Make one picture after the other; the batch at every change, else None. Closing the iterator stops the work."""
    rows = {str(number): row for number, row in enumerate(job.rows)}
    files: dict[str, Path] = {}  # that are finished
    batch = Batch(job.rows, running=True, run=secrets.token_urlsafe(9))
    works = {key: _work(app, job, int(key), row, files) for key, row in rows.items() if row.state != "failed"}
    with app.runs.stoppable("batch", visitor) as run:
        yield batch
        for update in app.runs.follow_in_turn("batch", visitor, works, run.is_stopped):
            rows.update(update.events)
            for key, ahead in update.ahead.items():
                if rows[key].state == "waiting" and ahead:
                    rows[key] = replace(rows[key], progress=PaneProgress(ahead=ahead))
            made = replace(batch, rows=tuple(rows.values()))
            if any(row.state == "done" for _, row in update.events):
                _touch(list(files.values()))
            yield made if made != batch else None
            batch = made
        batch = _with_zip(app, job, replace(batch, running=False), files)
        run.end()
        yield batch


def _work(app: AppState, job: BatchJob, number: int, row: Row, files: dict[str, Path]) -> Work[Row]:
    def run(send: Callable[[Row], None], cancelled: Callable[[], bool]) -> None:
        from gsr_app.engine.runners import run_to_end

        renew(job.sources[number:])
        send(replace(row, state="running"))
        saved = run_to_end(
            _make(app, job, number, cancelled),
            lambda step: send(
                replace(row, state="running", progress=PaneProgress(step.stage, round(step.fraction, 2)))
            ),
        )
        files[job.names[number]] = saved.path
        (height, width), (rows, columns) = saved.source_size, saved.size
        app.estimates.learn(job.method.id, saved.timing, height * width, rows * columns)
        send(
            replace(
                row, state="done", out_width=columns, out_height=rows, seconds=round(saved.timing.total_ms / 1e3, 2),
                url=url_of(saved.path), download_name=job.names[number], notes=saved.notes,
            )
        )  # fmt: skip

    failed = lambda error: replace(row, state="failed", error=error)  # noqa: E731
    return Work(row.name, run, replace(row, state="cancelled"), failed)


def _make(app: AppState, job: BatchJob, number: int, cancelled: Callable[[], bool]) -> Generator[Any, None, Any]:
    from gsr_app.engine.image_job import FileJob

    source, name = job.sources[number], Path(job.names[number])
    reader = images.RowReader(source)
    scale = Scale.parse(job.scale, reader.size)
    target = app.files.new(name.suffix, safe_stem(name.name))
    images.check_output(target, scale.output_size(reader.size), source=source)
    return app.engine.upscale_file(FileJob(job.method, reader, target, scale), cancelled)


def _touch(files: Iterable[Path]) -> None:
    """Files are removed some time after they were last changed: those of a batch after its last picture."""
    for path in files:
        with contextlib.suppress(OSError):
            os.utime(path)


def _with_zip(app: AppState, job: BatchJob, batch: Batch, files: dict[str, Path]) -> Batch:
    """The batch with a ZIP file of what is finished, if that is more than one file."""
    if len(files) < 2:
        return batch
    stem = f"gsr_{mark_of(job.method.id, job.scale)}"
    path = app.files.new(".zip", safe_stem(f"{stem}.zip"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for name, file in files.items():
            with contextlib.suppress(OSError):  # removed meanwhile, because there was too much
                archive.write(file, name)
    return replace(batch, zip_url=url_of(path), zip_name=f"{stem}.zip", zip_bytes=path.stat().st_size)
