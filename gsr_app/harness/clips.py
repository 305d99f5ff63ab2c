"""`gsr eval --video`: methods on clips, by the protocol of SAVSR's tables on Vid4 and UDM10.

Each frame is cropped to whole source pixels, shrunk, drawn again by the method with its neighbours at hand, and
compared. A clip's score is the mean over its frames, a dataset's the mean over its clips.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.errors import ImageError, InvalidArgument, InvalidScale
from gsr_app.core.types import Scale
from gsr_app.harness.dataset import Clip, list_clips
from gsr_app.harness.evaluate import Row, Settings, as_rgb, score_all, timed
from gsr_app.harness.pool import EngineName, threads_per_worker
from gsr_app.harness.sessions import open_session
from gsr_app.models import registry

if TYPE_CHECKING:
    import numpy as np

    from gsr_app.engine.protocols import Protocol

PUBLISHED = "published"
"""In place of scales: all those of the methods' own tables."""


@dataclass(frozen=True, slots=True)
class ClipJob:
    clip: Clip
    method: str
    scale: Scale

    @property
    def row(self) -> Row:
        scale_x = None if self.scale.is_uniform else self.scale.x
        return Row(self.clip.dataset, self.clip.name, self.method, self.scale.y, scale_x=scale_x)


@dataclass(frozen=True)
class ClipEvaluator:
    """The worker: scores one clip, however long, in the same memory."""

    settings: Settings
    threads: int
    images: Path | None = None

    def __call__(self, job: ClipJob) -> Row:
        return timed(job.row, lambda: self._score(job))

    def _score(self, job: ClipJob) -> dict[str, Any]:
        from gsr_app.engine import protocols
        from gsr_app.engine.frames import upscale_frames

        by = protocols.protocol(self.settings.protocol)
        session = open_session(self.threads, self.settings.device, "float32", self.settings.weights or None)
        references: dict[int, np.ndarray] = {}  # of frames that were read and not drawn yet
        drawn = upscale_frames(session, _read(job, by, references), method=job.method, scale=job.scale)
        scores: dict[str, list[float]] = {}
        for at, picture in enumerate(drawn):
            for name, value in self._judge(picture, references.pop(at), job).items():
                scores.setdefault(name, []).append(value)
            if self.images is not None:
                self._save(picture, job, at)
        digits = {"psnr_y": 4, "ssim_y": 6, "psnr_rgb": 4, "ssim_rgb": 6}
        means = {name: round(statistics.fmean(values), digits.get(name, 4)) for name, values in scores.items()}
        return {**means, "done": f"{len(job.clip.frames)} frames at x{job.scale}"}

    def _judge(self, picture: np.ndarray, reference: np.ndarray, job: ClipJob) -> dict[str, float]:
        from gsr_app.engine import protocols
        from gsr_app.engine.metrics import measure
        from gsr_app.engine.perceptual import measure_perceptual

        by = protocols.protocol(self.settings.protocol)
        reference = reference[: picture.shape[0], : picture.shape[1]]
        y = measure(picture, reference, by=by.y, scale=job.scale.y)
        rgb = measure(picture, reference, by=by.rgb, scale=job.scale.y)
        perceptual = measure_perceptual(self.settings.measures, picture, reference, border_px=0)
        return {"psnr_y": y.psnr_db, "ssim_y": y.ssim, "psnr_rgb": rgb.psnr_db, "ssim_rgb": rgb.ssim, **perceptual}

    def _save(self, picture: np.ndarray, job: ClipJob, at: int) -> None:
        import numpy as np

        from gsr_app.io.images import Picture, write_image

        assert self.images is not None
        folder = self.images / job.clip.dataset / f"{job.method}_x{job.scale}" / job.clip.name
        folder.mkdir(parents=True, exist_ok=True)
        image = Picture.from_array((picture * 255).round().astype(np.uint8))
        write_image(folder / f"{job.clip.frames[at].stem}.png", image, overwrite=True)


def _read(job: ClipJob, by: Protocol, references: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
    """The frames that the method gets, [h, w, 3] float32; what each was made of is left in `references`."""
    import numpy as np

    from gsr_app.engine.protocols import make_pair
    from gsr_app.io.images import read_image

    size: tuple[int, ...] = ()
    for at, path in enumerate(job.clip.frames):
        frame = as_rgb(read_image(path).to_array(np.uint8))
        size = size or frame.shape
        if frame.shape != size:
            raise ImageError(f"{path} is not of the size of the frames before it.", hint="A clip has one size.")
        pair = make_pair(frame, job.scale, by)
        references[at] = pair.reference
        yield pair.lr


def evaluate_clips(
    folders: Sequence[Path],
    methods: Sequence[str],
    scales: Sequence[Scale],
    settings: Settings,
    out: Path,
    *,
    engine: EngineName = "local",
    workers: int = 1,
    keep_images: bool = False,
    report: Callable[[int, int, Row], None] | None = None,
) -> list[Row]:
    """Score every clip with every method at every scale."""
    if settings.protocol != "savsr":
        raise InvalidArgument(f"Clips are scored by the protocol 'savsr', found {settings.protocol!r}.")
    jobs = [
        ClipJob(clip, method, scale)
        for folder in folders
        for method in methods
        for scale in scales
        for clip in list_clips(folder)
    ]
    worker = ClipEvaluator(settings, threads_per_worker(workers), out / "images" if keep_images else None)
    return score_all(jobs, worker, settings, out, engine=engine, workers=workers, report=report)


def read_scales(words: Sequence[str], methods: Sequence[str]) -> list[Scale]:
    """Scales as people write them, "4" or "1.5x4" (vertical first), or `published`."""
    if list(words) == [PUBLISHED]:
        scales = [
            Scale(float(score["scale"]), float(score.get("scale_x", score["scale"])))
            for method in methods
            if registry.method(method).convention == "savsr"
            for score in registry.method(method).published
        ]
        scales = list(dict.fromkeys(scales))
        if not scales:
            raise InvalidArgument("None of the methods has scores of the protocol 'savsr'.", hint="Add savsr to them.")
        return scales
    try:
        scales = [Scale.parse(word) for word in words]
    except InvalidScale:
        scales = []
    if not scales or not all(1 <= one <= 30 for scale in scales for one in (scale.y, scale.x)):
        raise InvalidArgument(
            f"--scales takes factors from 1 to 30 such as 4 or 1.5x4, or 'published'; found {','.join(words)!r}."
        )
    return scales
