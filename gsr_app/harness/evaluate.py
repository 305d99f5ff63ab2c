"""`gsr eval`: PSNR, SSIM and perceptual measures of methods on pictures or clips, by a published protocol.

The row of a picture (or clip) is appended to a journal as soon as it is known, so that a stopped run can continue. The
tables are made from the journal at the end; they hold no timings, so that two runs write the same bytes. A clip's score
is the mean over its frames, a dataset's the mean over its pictures or clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.changes import state_of_files
from gsr_app.core.errors import GsrError, ImageError, InvalidArgument, InvalidScale, WeightsError
from gsr_app.core.types import Scale
from gsr_app.harness.dataset import Clip, Picture, list_clips, list_pictures
from gsr_app.harness.outputs import make_folder
from gsr_app.harness.pool import EngineName, add_pool_arguments, run_jobs, threads_per_worker
from gsr_app.harness.sessions import open_session
from gsr_app.harness.tables import Row, summarise, to_json, write_tables
from gsr_app.models import registry, weights

if TYPE_CHECKING:
    import numpy as np

    from gsr_app.engine.protocols import Pair, Protocol

MEASURES = ("lpips", "dists", "niqe", "flip")
PROTOCOL_NAMES = ("gsasr", "liif-div2k", "liif-benchmark", "basicsr", "rt4ksr", "savsr")
PUBLISHED = "published"
"""In place of scales: all those of the methods' own tables."""


@dataclass(frozen=True, slots=True)
class Job:
    source: Picture | Clip
    method: str
    scale: Scale

    @property
    def row(self) -> Row:
        """This job's row, without scores."""
        scale_x = None if self.scale.is_uniform else self.scale.x
        return Row(self.source.dataset, self.source.name, self.method, self.scale.y, scale_x=scale_x)


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the scores, together with the bytes of the weights, whose id stands in each row."""

    protocol: str = "basicsr"
    measures: tuple[str, ...] = ()
    weights: str = ""
    device: str = "auto"


@dataclass(frozen=True)
class Evaluator:
    """The worker: scores one job. A clip of any length takes the same memory."""

    settings: Settings
    threads: int
    images: Path | None = None

    def __call__(self, job: Job) -> Row:
        began = time.perf_counter()
        try:
            scores = self._score(job)
        except (GsrError, MemoryError) as error:
            return dataclasses.replace(job.row, error=f"{type(error).__name__}: {error}")
        return dataclasses.replace(job.row, seconds=time.perf_counter() - began, **scores)

    def _score(self, job: Job) -> dict[str, Any]:
        from gsr_app.engine import protocols
        from gsr_app.engine.frames import upscale_frames

        by = protocols.protocol(self.settings.protocol)
        session = open_session(self.threads, self.settings.device, "float32", self.settings.weights or None)
        pairs: dict[int, Pair] = {}  # of the frames that were read and are not scored yet
        if isinstance(job.source, Clip):
            lrs = _read_frames(job.source.frames, job.scale, by, pairs)
            results = upscale_frames(session, lrs, method=job.method, scale=job.scale)
            names, done = [path.stem for path in job.source.frames], f"{len(job.source.frames)} frames at x{job.scale}"
        else:
            lr = _read_rgb(job.source.lr) if job.source.lr else None
            pairs[0] = protocols.make_pair(_read_rgb(job.source.reference), job.scale, by, lr)
            upscaled = session.upscale(pairs[0].float_lr, method=job.method, scale=job.scale)
            results, names, done = iter([upscaled.image]), [job.source.name], upscaled.done
        scores: dict[str, list[float]] = {}
        for at, image in enumerate(results):
            for name, value in self._measure(image, pairs.pop(at), by).items():
                scores.setdefault(name, []).append(value)
            if self.images is not None:
                _save(self._image_path(job, names[at]), image)
        means = {name: round(statistics.fmean(values), _decimals(name)) for name, values in scores.items()}
        return {**means, "done": done}

    def _measure(self, image: np.ndarray, pair: Pair, by: Protocol) -> dict[str, float]:
        from gsr_app.engine.perceptual import measure_perceptual
        from gsr_app.engine.protocols import judge

        y, rgb = judge(image, pair, by)
        border_px = by.y.border_px(max(pair.scale.y, pair.scale.x))
        perceptual = measure_perceptual(self.settings.measures, image, pair.reference, border_px=border_px)
        return {"psnr_y": y.psnr_db, "ssim_y": y.ssim, "psnr_rgb": rgb.psnr_db, "ssim_rgb": rgb.ssim, **perceptual}

    def has_images(self, job: Job) -> bool:
        """Whether the drawn pictures of a job are there, if they are to be kept."""
        names = [path.stem for path in job.source.frames] if isinstance(job.source, Clip) else [job.source.name]
        return self.images is None or all(self._image_path(job, name).is_file() for name in names)

    def _image_path(self, job: Job, name: str) -> Path:
        assert self.images is not None
        folder = self.images / job.source.dataset / f"{job.method}_x{job.scale}"
        return (folder / job.source.name if isinstance(job.source, Clip) else folder) / f"{name}.png"


def _decimals(name: str) -> int:
    return 6 if name in {"ssim_y", "ssim_rgb", "flip"} else 4


def _read_rgb(path: Path) -> np.ndarray:
    """[H, W, 3] uint8, as the protocols compare: grey is repeated, alpha is left out."""
    from gsr_app.engine.protocols import as_tested
    from gsr_app.io.images import read_image

    return as_tested(read_image(path).pixels, 3)


def _read_frames(frames: Sequence[Path], scale: Scale, by: Protocol, pairs: dict[int, Pair]) -> Iterator[np.ndarray]:
    """The frames that the method gets; the pair of each is put into `pairs`."""
    from gsr_app.engine.protocols import make_pair

    size: tuple[int, ...] = ()
    for at, path in enumerate(frames):
        frame = _read_rgb(path)
        size = size or frame.shape
        if frame.shape != size:
            raise ImageError(f"{path} is not of the size of the frames before it.", hint="A clip has one size.")
        pairs[at] = make_pair(frame, scale, by)
        yield pairs[at].float_lr


def _save(path: Path, image: np.ndarray) -> None:
    import numpy as np

    from gsr_app.core.pixels import convert
    from gsr_app.io.images import Picture as Image
    from gsr_app.io.images import write_image

    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image(convert(image, np.uint8)), overwrite=True)


class Journal:
    """The rows that are known, one JSON line each. An incomplete last line, left by a crash, is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            whole = 0
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self._keep(self._read(line))
                whole += len(line)
            os.truncate(path, whole)

    def _read(self, line: bytes) -> Row:
        try:
            return Row(**json.loads(line))
        except (ValueError, TypeError):
            raise GsrError(
                f"{self.path} holds what this version did not write.", hint="Delete it, or choose another --out."
            ) from None

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
    scales: Sequence[Scale | float],
    settings: Settings,
    out: Path,
    *,
    clips: bool = False,  # the folders hold a folder of frames per clip
    engine: EngineName = "local",
    workers: int = 1,
    keep_images: bool = False,
    report: Callable[[int, int, Row], None] | None = None,
) -> list[Row]:
    """Score every picture or clip with every method at every scale, or take its row from the journal.

    `report(done, total, row)` is called after each.
    """
    if clips and settings.protocol != "savsr":
        raise InvalidArgument(f"Clips are scored by the protocol 'savsr', found {settings.protocol!r}.")
    jobs = [
        Job(source, method, scale)
        for folder in folders
        for method in methods
        for scale in dict.fromkeys(map(Scale.of, scales))
        for source in (list_clips(folder) if clips else list_pictures(folder, scale))
    ]
    worker = Evaluator(settings, threads_per_worker(workers), out / "images" if keep_images else None)
    keys = [job.row.key for job in jobs]
    if len(set(keys)) < len(keys):
        twice = next(job.row for job, key in zip(jobs, keys, strict=True) if keys.count(key) > 1)
        raise InvalidArgument(
            f"{twice.dataset}/{twice.image} is there twice, so its rows could not be told apart.",
            hint="Two pictures differ only in their ending, or two folders have one name: rename one.",
        )
    make_folder(out)
    journal = Journal(out / f"journal_{journal_name(settings)}.jsonl")
    used = {method: _find_weights(method, settings) for method in {job.row.method for job in jobs}}
    # Another dataset may have the same names.
    sources = {source: state_of_files(_files_of(source)) for source in {job.source for job in jobs}}

    def is_known(job: Job, row: Row | None) -> bool:
        if row is None or row.error or row.source != sources[job.source]:
            return False
        return used[row.method] in ("", row.weights) and worker.has_images(job)

    waiting = [job for job, key in zip(jobs, keys, strict=True) if not is_known(job, journal.rows.get(key))]
    for done, (job, result) in enumerate(run_jobs(worker, waiting, engine=engine, workers=workers), 1):
        row = result if isinstance(result, Row) else dataclasses.replace(job.row, error=f"WorkerDied: {result}")
        weights_id = used[row.method] or _find_weights(row.method, settings)
        row = dataclasses.replace(row, weights=weights_id, source=sources[job.source])
        journal.append(row)
        if report is not None:
            report(len(jobs) - len(waiting) + done, len(jobs), row)
    return [journal.rows[key] for key in sorted(keys)]


def _find_weights(method: str, settings: Settings) -> str:
    """The id of the weight files' bytes; empty as long as they are not on this machine."""
    with suppress(WeightsError):  # reported where they are needed
        if found := weights.find(registry.method(method), settings.weights or None):
            return found.id
    return ""


def _files_of(source: Picture | Clip) -> tuple[Path, ...]:
    return source.frames if isinstance(source, Clip) else (source.reference, *([source.lr] if source.lr else ()))


def journal_name(settings: Settings) -> str:
    """A readable name, different for different settings."""
    measures = "+".join(("psnr", "ssim", *settings.measures))
    return f"{settings.protocol}_{measures}" + (f"_{Path(settings.weights).stem}" if settings.weights else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET_DIR", help="folders of reference pictures")
    parser.add_argument("--video", action="store_true", help="folders of clips instead: a folder of frames for each")
    parser.add_argument("--methods", required=True, help="ids of the catalogue, separated by commas")
    parser.add_argument(
        "--scales", default="2,3,4",
        help="separated by commas (default: %(default)s), 1.5x4 is vertical first; or 'published'",
    )  # fmt: skip
    parser.add_argument("--protocol", choices=PROTOCOL_NAMES, help="default: basicsr; of clips savsr, the only one")
    parser.add_argument("--measures", default="", help="lpips, dists, niqe, flip: separated by commas")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/eval"), help="folder of the results (default: %(default)s)"
    )
    add_pool_arguments(parser)
    parser.add_argument("--weights", default="", help="a file or folder of weights to use instead of the catalogue's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--save-images", action="store_true", help="keep the drawn pictures under OUT/images")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON document")


def run(args: argparse.Namespace) -> int:
    methods = _split(args.methods)
    if not methods:
        raise InvalidArgument("--methods names none.", hint="List them with: gsr models")
    for method in methods:
        registry.method(method)  # an unknown name is refused before hours of work
    protocol = args.protocol or ("savsr" if args.video else "basicsr")
    settings = Settings(protocol, _measures(args.measures), args.weights, args.device)
    scales = read_scales(_split(args.scales), methods, protocol)

    def report(done: int, total: int, row: Row) -> None:
        from gsr_app.engine.protocols import PROTOCOLS

        by = PROTOCOLS[protocol]
        psnr, ssim = (row.psnr_rgb, row.ssim_rgb) if by.rgb_first else (row.psnr_y, row.ssim_y)
        score = row.error or f"PSNR-{by.main.label} {psnr:.2f} dB  SSIM {ssim:.4f}"
        print(f"[{done}/{total}] {row.dataset}/{row.image} {row.method} x{row.factor}  {score}", file=sys.stderr)

    rows = evaluate(
        args.datasets, methods, scales, settings, args.out,
        clips=args.video, engine=args.engine, workers=args.workers, keep_images=args.save_images, report=report,
    )  # fmt: skip
    summary = summarise(rows, protocol)
    write_tables(args.out, rows, summary, protocol)
    if args.json:
        print(to_json(summary))
    else:
        print((args.out / "table.md").read_text())
    return 1 if any(row.error for row in rows) else 0


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def read_scales(words: Sequence[str], methods: Sequence[str], protocol: str) -> list[Scale]:
    """Scales as people write them, "4" or "1.5x4" (vertical first), or `published`."""
    if list(words) == [PUBLISHED]:
        found = [
            Scale(float(score["scale"]), float(score.get("scale_x", score["scale"])))
            for method in methods
            if registry.method(method).convention == protocol
            for score in registry.method(method).published
        ]
        if not found:
            raise InvalidArgument(f"None of the methods has published scores of the protocol {protocol!r}.")
        return list(dict.fromkeys(found))
    try:
        scales = [Scale.parse(word) for word in words]
    except InvalidScale:
        scales = []
    if not scales or not all(1 <= one <= 30 for scale in scales for one in (scale.y, scale.x)):
        raise InvalidArgument(
            "--scales takes numbers from 1 to 30 such as 4 or 1.5x4 separated by commas, or 'published'; "
            f"found {','.join(words)!r}."
        )
    return scales


def _measures(text: str) -> tuple[str, ...]:
    found = _split(text)
    unknown = [name for name in found if name not in MEASURES]
    if unknown:
        raise InvalidArgument(f"--measures knows {', '.join(MEASURES)}; found {unknown[0]!r}.")
    return tuple(name for name in MEASURES if name in found)
