"""`gsr eval`: PSNR, SSIM and perceptual measures of methods on pictures or clips, by a published protocol.

One journal line per picture (or clip) is written as soon as it is known, so that a run that was stopped goes on where
it was. Tables are made from the journal at the end; they hold no timings, so that two runs give the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gsr_app.core.errors import GsrError, InvalidArgument, WeightsError
from gsr_app.harness.dataset import Picture, list_pictures
from gsr_app.harness.outputs import make_folder
from gsr_app.harness.pool import EngineName, add_pool_arguments, run_jobs, threads_per_worker
from gsr_app.harness.sessions import open_session
from gsr_app.models import registry, weights

MEASURES = ("lpips", "dists", "niqe")
PROTOCOL_NAMES = ("gsasr", "liif-div2k", "liif-benchmark", "basicsr", "rt4ksr", "savsr")


@dataclass(frozen=True, slots=True)
class Job:
    picture: Picture
    method: str
    scale: float

    @property
    def row(self) -> Row:
        """This job's row, without scores."""
        return Row(self.picture.dataset, self.picture.name, self.method, self.scale)


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one picture, or the means of one clip; `error` when there are none."""

    dataset: str
    image: str
    method: str
    scale: float
    psnr_y: float | None = None
    ssim_y: float | None = None
    psnr_rgb: float | None = None
    ssim_rgb: float | None = None
    lpips: float | None = None
    dists: float | None = None
    niqe: float | None = None
    done: str = ""
    error: str = ""
    seconds: float = 0.0
    scale_x: float | None = None  # where it is another than `scale`, which then is the vertical one
    weights: str = ""  # that it was drawn with, by their bytes

    @property
    def factor(self) -> str:
        """The scale, as people write it."""
        return f"{self.scale:g}" if self.scale_x is None else f"{self.scale:g}x{self.scale_x:g}"

    @property
    def key(self) -> str:
        return f"{self.dataset}|{self.image}|{self.method}|{self.factor}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. With the weights themselves, which each row names, it decides the numbers."""

    protocol: str = "basicsr"
    measures: tuple[str, ...] = ()
    weights: str = ""
    device: str = "auto"


@dataclass(frozen=True)
class Evaluator:
    """The worker: scores one job. Its session lives as long as its process."""

    settings: Settings
    threads: int
    images: Path | None = None

    def __call__(self, job: Job) -> Row:
        return timed(job.row, lambda: self._score(job))

    def _score(self, job: Job) -> dict[str, Any]:
        import numpy as np

        from gsr_app.core.types import Scale
        from gsr_app.engine import protocols
        from gsr_app.engine.perceptual import measure_perceptual
        from gsr_app.io.images import Picture as Image
        from gsr_app.io.images import read_image, write_image

        by = protocols.protocol(self.settings.protocol)
        reference = as_rgb(read_image(job.picture.reference).to_array(np.uint8))
        lr = as_rgb(read_image(job.picture.lr).to_array(np.uint8)) if job.picture.lr else None
        pair = protocols.make_pair(reference, job.scale, by, lr)
        session = open_session(self.threads, self.settings.device, "float32", self.settings.weights or None)
        upscaled = session.upscale(
            pair.lr.astype(np.float32) / 255, method=job.method, scale=Scale(job.scale, job.scale)
        )
        y, rgb = protocols.judge(upscaled.image, pair, by)
        if self.images is not None:
            folder = self.images / job.picture.dataset / f"{job.method}_x{job.scale:g}"
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.from_array((upscaled.image.clip(0, 1) * 255).round().astype(np.uint8))
            write_image(folder / f"{job.picture.name}.png", picture, overwrite=True)
        perceptual = measure_perceptual(
            self.settings.measures, upscaled.image, pair.reference, border_px=by.y.border_px(job.scale)
        )
        return {
            "psnr_y": round(y.psnr_db, 4),
            "ssim_y": round(y.ssim, 6),
            "psnr_rgb": round(rgb.psnr_db, 4),
            "ssim_rgb": round(rgb.ssim, 6),
            **{name: round(value, 4) for name, value in perceptual.items()},
            "done": upscaled.done,
        }


def timed(row: Row, score: Callable[[], dict[str, Any]]) -> Row:
    """The row with its scores and what they took, or with why there are none."""
    began = time.perf_counter()
    try:
        scores = score()
    except (GsrError, MemoryError) as error:
        return dataclasses.replace(row, error=f"{type(error).__name__}: {error}")
    return dataclasses.replace(row, seconds=time.perf_counter() - began, **scores)


def as_rgb(picture: Any) -> Any:
    """Three channels, as the protocols compare: grey ones repeated, alpha left out."""
    return picture[..., :3] if picture.ndim == 3 else picture[..., None].repeat(3, axis=2)


class Journal:
    """The rows that are known, one JSON line each. A line that a crash cut short is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            whole = 0
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self._keep(Row(**json.loads(line)))
                whole += len(line)
            os.truncate(path, whole)

    def append(self, row: Row) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(dataclasses.asdict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self.rows[row.key] = row


def evaluate(
    folders: Sequence[Path],
    methods: Sequence[str],
    scales: Sequence[float],
    settings: Settings,
    out: Path,
    *,
    engine: EngineName = "local",
    workers: int = 1,
    keep_images: bool = False,
    report: Callable[[int, int, Row], None] | None = None,
) -> list[Row]:
    """Score every picture with every method at every scale; `report(done, total, row)` is called along the way."""
    jobs = [
        Job(picture, method, scale)
        for folder in folders
        for method in methods
        for scale in scales
        for picture in list_pictures(folder, scale)
    ]
    worker = Evaluator(settings, threads_per_worker(workers), out / "images" if keep_images else None)
    return score_all(jobs, worker, settings, out, engine=engine, workers=workers, report=report)


class HasRow(Protocol):
    """Something to be scored."""

    @property
    def row(self) -> Row: ...


_Job = TypeVar("_Job", bound=HasRow)


def score_all(
    jobs: Sequence[_Job],
    worker: Callable[[_Job], Row],
    settings: Settings,
    out: Path,
    *,
    engine: EngineName = "local",
    workers: int = 1,
    report: Callable[[int, int, Row], None] | None = None,
) -> list[Row]:
    """The row of every job: from the journal, or scored now."""
    keys = [job.row.key for job in jobs]
    if len(set(keys)) < len(keys):
        twice = next(job.row for job, key in zip(jobs, keys, strict=True) if keys.count(key) > 1)
        raise InvalidArgument(
            f"{twice.dataset}/{twice.image} is there twice, so its rows could not be told apart.",
            hint="Two pictures that differ in their ending only, or two folders of one name: rename one.",
        )
    make_folder(out)
    journal = Journal(out / f"journal_{journal_name(settings)}.jsonl")
    used = {method: _find_weights(method, settings) for method in {job.row.method for job in jobs}}

    def is_known(row: Row | None) -> bool:
        return row is not None and not row.error and used[row.method] in ("", row.weights)

    waiting = [job for job, key in zip(jobs, keys, strict=True) if not is_known(journal.rows.get(key))]
    for done, (job, result) in enumerate(run_jobs(worker, waiting, engine=engine, workers=workers), 1):
        row = result if isinstance(result, Row) else dataclasses.replace(job.row, error=f"WorkerDied: {result}")
        row = dataclasses.replace(row, weights=used[row.method] or _find_weights(row.method, settings))
        journal.append(row)
        if report is not None:
            report(len(jobs) - len(waiting) + done, len(jobs), row)
    return [journal.rows[key] for key in sorted(keys)]


def _find_weights(method: str, settings: Settings) -> str:
    """What names the weights' bytes; nothing while they are not here."""
    with suppress(WeightsError):  # whoever needs them says so
        if found := weights.find(registry.method(method), settings.weights or None):
            return found.id
    return ""


def journal_name(settings: Settings) -> str:
    """Readable, and different for different settings."""
    measures = "+".join(("psnr", "ssim", *settings.measures))
    return f"{settings.protocol}_{measures}" + (f"_{Path(settings.weights).stem}" if settings.weights else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="folders of reference pictures")
    parser.add_argument("--video", action="store_true", help="folders of clips instead: a folder of frames for each")
    parser.add_argument("--methods", required=True, help="ids of the catalogue, separated by commas")
    parser.add_argument(
        "--scales", default="2,3,4",
        help="separated by commas (default: %(default)s); clips also take 1.5x4, vertical first, and 'published'",
    )  # fmt: skip
    parser.add_argument("--protocol", choices=PROTOCOL_NAMES, help="default: basicsr; of clips savsr, the only one")
    parser.add_argument("--measures", default="", help="lpips, dists, niqe: separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/eval"), help="folder of the results (%(default)s)")
    add_pool_arguments(parser)
    parser.add_argument("--weights", default="", help="a file or folder of weights to use instead of the catalogue's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--save-images", action="store_true", help="keep the drawn pictures under OUT/images")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON document")


def run(args: argparse.Namespace) -> int:
    from gsr_app.harness.tables import summarise, write_tables

    methods = _split(args.methods)
    for method in methods:
        registry.method(method)  # an unknown name is said before hours of work, not after
    protocol = args.protocol or ("savsr" if args.video else "basicsr")
    settings = Settings(protocol, _measures(args.measures), args.weights, args.device)

    def report(done: int, total: int, row: Row) -> None:
        score = row.error or f"{row.psnr_y:.2f} dB  {row.ssim_y:.4f}"
        print(f"[{done}/{total}] {row.dataset}/{row.image} {row.method} x{row.factor}  {score}", file=sys.stderr)

    how: dict[str, Any] = {"engine": args.engine, "workers": args.workers}
    how |= {"keep_images": args.save_images, "report": report}
    if args.video:
        from gsr_app.harness.clips import evaluate_clips, read_scales

        scales = read_scales(_split(args.scales), methods)
        rows = evaluate_clips(args.datasets, methods, scales, settings, args.out, **how)
    else:
        rows = evaluate(args.datasets, methods, _scales(args.scales), settings, args.out, **how)
    summary = summarise(rows, protocol)
    write_tables(args.out, rows, summary, protocol)
    if args.json:
        print(json.dumps(summary))
    else:
        print((args.out / "table.md").read_text())
    return 1 if any(row.error for row in rows) else 0


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _scales(text: str) -> list[float]:
    try:
        scales = [float(part) for part in _split(text)]
    except ValueError:
        scales = []
    if not scales or not all(1 <= scale <= 30 for scale in scales):
        raise InvalidArgument(f"--scales takes numbers from 1 to 30 separated by commas, found {text!r}.")
    return scales


def _measures(text: str) -> tuple[str, ...]:
    found = _split(text)
    unknown = [name for name in found if name not in MEASURES]
    if unknown:
        raise InvalidArgument(f"--measures knows {', '.join(MEASURES)}; found {unknown[0]!r}.")
    return tuple(name for name in MEASURES if name in found)
