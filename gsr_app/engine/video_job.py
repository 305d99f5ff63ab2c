"""Upscale a video file: times, sound and colours are kept, a killed run can continue, memory is bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from gsr_app import __version__
from gsr_app.core.changes import state_of_files
from gsr_app.core.errors import Cancelled, InvalidArgument, VideoError
from gsr_app.core.types import Progress, Scale
from gsr_app.engine import networks, temporal
from gsr_app.engine.frames import run_steps, upscale_frames, with_fixed_strength
from gsr_app.engine.metrics import VideoScorer
from gsr_app.engine.protocols import PROTOCOLS, check_pair_size, make_pair
from gsr_app.engine.runners import Steps
from gsr_app.engine.session import Session, warnings_for
from gsr_app.io import video
from gsr_app.io.formats import check_pixels
from gsr_app.io.video import Plan, Reader, VideoFrame, VideoInfo
from gsr_app.io.video.resume import ResumableOutput
from gsr_app.models import registry

# A part ends after PART_S seconds of work if it has PART_LEAST frames, and always after PART_MOST: a kill loses little
# work, and the result has few key frames more than it needs.
PART_S = 15.0
PART_LEAST, PART_MOST = 24, 250


ROUND_TRIP = PROTOCOLS["savsr"]
"""How frames are shrunk for a round trip: as `gsr eval --video` does."""


@dataclass(frozen=True, eq=False)
class VideoStep:
    """One more frame is done."""

    number: int  # of frames so far, those of earlier runs included
    pts: int
    duration: int
    fraction: float | None  # of the whole; None when the video does not say how long it is
    per_second: float  # frames, in this run
    left_s: float | None
    source: np.ndarray  # what the method got
    result: np.ndarray
    reference: np.ndarray | None = None  # of a round trip: what the source was made from
    psnr_db: float | None = None  # of a round trip, by metrics.FRAME_CONVENTION
    flicker: float | None = None  # of a round trip: see metrics.FrameScore
    at_s: float = 0.0  # its time in the result


@dataclass(frozen=True)
class SavedVideo:
    """A finished video and how it was made."""

    path: Path
    pictures: int
    resumed: int  # of these, frames of earlier runs
    source_size: tuple[int, int]  # (height, width)
    size: tuple[int, int]
    scale: Scale
    duration_s: float
    wall_s: float
    done: str
    trouble: str = ""  # why it ends earlier than its source says
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoJob:
    """One video to be made."""

    source: Path
    target: Path
    method: str
    choose_scale: Callable[[tuple[int, int]], Scale]  # from the source's (height, width)
    exact_size: bool = False  # the size was given in pixels: it is not cropped to what a codec can store
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    rate: Fraction | None = None  # of a folder of pictures
    codec: str | None = None
    crf: int | None = None
    audio: bool = True
    drop_unfit_sound: bool = False  # sound that the container cannot hold is left out with a note, not an error
    overwrite: bool = False
    restart: bool = False  # the parts of an earlier run are deleted
    round_trip: bool = False  # each frame is shrunk by the scale first; the original is the reference
    keep_part: bool = False  # a stopped run writes a playable file of what is done


def upscale_video(
    session: Session,
    job: VideoJob,
    *,
    on_progress: Callable[[Progress], None] | None = None,  # of the current frame
    cancel: Callable[[], bool] | None = None,
    part_pictures: tuple[int, int] = (PART_LEAST, PART_MOST),
    part_s: float = PART_S,
) -> Generator[VideoStep, None, SavedVideo]:
    """Upscale a video. The target appears when it is complete; until then its parts are in a folder next to it."""
    started = time.monotonic()
    reader = video.open_video(job.source, job.rate)
    info = reader.info
    scale = job.choose_scale(info.size)
    size = check_pair_size(info.size, scale, ROUND_TRIP).output if job.round_trip else scale.output_size(info.size)
    check_pixels("The result", *size, "whole")
    check_target(job)
    plan = video.plan_output(info, job.target, size, codec=job.codec, crf=job.crf, may_crop=not job.exact_size)
    tracks, notes = _tracks(job, info, plan)
    warned = dict.fromkeys(warnings_for(registry.method(job.method), scale))
    stopped = cancel or (lambda: False)
    weights_id = run_steps(_name_weights(session, job), on_progress, cancel)
    description = _description(job, reader, scale, weights_id, plan)
    with ResumableOutput(job.target, plan, info, description, restart=job.restart) as output:
        output.check_pictures(reader.files, overwrite=job.overwrite)
        resumed = len(output.times)
        rate = _Rate(job, reader, output.times, started)
        scorer = VideoScorer()
        part_started = time.monotonic()
        try:
            for frame, seen, reference, result in _results(
                session, job, reader, scale, output.times, on_progress, stopped, warned.setdefault
            ):
                duration = frame.duration or _usual_duration(reader)
                output.append(result, frame.pts, duration)
                unsaved, least, most = output.unsaved, *part_pictures
                if unsaved >= most or (unsaved >= least and time.monotonic() - part_started > part_s):
                    output.save()
                    part_started = time.monotonic()
                score = None if reference is None else scorer.score(result, reference)
                at_s, fraction, per_second, left_s = rate.tick(frame, duration)
                yield VideoStep(
                    rate.number, frame.pts, duration, fraction, per_second, left_s, seen, result, reference,
                    score.psnr_db if score else None, score.flicker if score else None, at_s,
                )  # fmt: skip
                if stopped():
                    raise Cancelled("The run was stopped.")
        except Cancelled as error:
            output.save()
            raise Cancelled(str(error), hint=_keep_part(output, job, tracks)) from None
        output.save()
        times = output.times
        if not times:
            raise VideoError(reader.trouble or _empty(job), hint="" if reader.trouble else "Choose another part of it.")
        _, end_s = _span(job, reader)
        if reader.trouble:  # no sound without pictures
            end_s = _end_of(times, plan)
        output.finish(
            job.target,
            tracks=tracks,
            trimmed=job.start_s is not None,
            end_s=end_s,
            overwrite=job.overwrite,
            comment=f"gsr {__version__}: {describe(job, scale)}",
        )
        output.clear()
    length_s = float(_end_of(times, plan) - times[0][0] * plan.time_base)
    return SavedVideo(
        job.target, len(times), resumed, info.size, plan.size, scale, length_s, time.monotonic() - started,
        f"{job.method} at x{scale}; {plan.codec.name if plan.container not in {'gif', 'frames'} else plan.container}",
        reader.trouble, (*warned, *info.notes, *plan.notes, *notes, *reader.notes),
    )  # fmt: skip


def describe(job: VideoJob, scale: Scale) -> str:
    """What is written into the file about how it was made."""
    cut = [f"{word} {float(at):g} s" for word, at in (("from", job.start_s), ("to", job.end_s)) if at is not None]
    return ", ".join([job.method, f"x{scale}", *cut])


def _tracks(job: VideoJob, info: VideoInfo, plan: Plan) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The sound and subtitle streams that are copied, and notes about the others."""
    if not job.audio:
        return (), ()
    try:
        return video.check_tracks(info, plan, job.target.suffix)
    except InvalidArgument as error:
        if not job.drop_unfit_sound:
            raise
        return (), (f"{error} It was left out.",)


def check_target(job: VideoJob) -> None:
    """Refuse an output that must not be written, before any work is done."""
    target = job.target
    folder = target.parent
    if not folder.is_dir():
        raise VideoError(f"The output folder {folder} does not exist.", hint="Create it first.")
    if target.is_file():
        if job.source.exists() and target.samefile(job.source):
            raise VideoError(f"The output {target.name} is the input itself.", hint="Choose another name or folder.")
        if not job.overwrite:
            raise VideoError(f"The output {target.name} exists already.", hint="Allow it with --overwrite.")
    if job.start_s is not None and job.end_s is not None and job.end_s <= job.start_s:
        raise InvalidArgument("--end must come after --start.")


# ---- pictures ---------------------------------------------------------------------------------------------------


def _results(
    session: Session,
    job: VideoJob,
    reader: Reader,
    scale: Scale,
    times: list[tuple[int, int]],
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool],
    on_warning: Callable[[str], None],
) -> Iterator[tuple[VideoFrame, np.ndarray, np.ndarray | None, np.ndarray]]:
    """(the frame, what the method got, the reference, the result) of every frame that is not done yet, in order."""
    start_s, end_s = _span(job, reader)
    # A temporal network needs finished frames again, as neighbours: their results are dropped.
    again = min(len(times), temporal.REACH if registry.method(job.method).kind == "video" else 0)
    known = times[: len(times) - again]
    waiting: deque[tuple[VideoFrame, np.ndarray, np.ndarray | None]] = deque()

    def sources() -> Iterator[np.ndarray]:
        for frame in reader.frames(start_s, end_s, after=known[-1][0] if known else None):
            if job.round_trip:
                pair = make_pair(frame.pixels, scale, ROUND_TRIP)
                waiting.append((frame, pair.lr, pair.reference))
            else:
                waiting.append((frame, frame.pixels, None))
            yield waiting[-1][1]

    made = upscale_frames(
        session,
        sources(),
        method=job.method,
        scale=scale,
        on_progress=on_progress,
        cancel=cancel,
        on_warning=on_warning,
    )
    for number, result in enumerate(made):
        frame, seen, reference = waiting.popleft()
        if number >= again:
            yield frame, seen, reference, result


def _span(job: VideoJob, reader: Reader) -> tuple[Fraction | None, Fraction | None]:
    """The requested interval in the source's time, which need not begin at 0."""
    zero = reader.info.start_s
    return (
        None if job.start_s is None else zero + job.start_s,
        None if job.end_s is None else zero + job.end_s,
    )


def _usual_duration(reader: Reader) -> int:
    return max(1, round(1 / (reader.info.rate or 25) / reader.info.time_base))


class _Rate:
    """How far the run is, how fast, and how long it still takes."""

    def __init__(self, job: VideoJob, reader: Reader, times: list[tuple[int, int]], started: float) -> None:
        info = reader.info
        self.number = len(times)  # of frames that are done
        self._base = info.time_base
        start_s, end_s = _span(job, reader)
        self._start_s = float(start_s if start_s is not None else info.start_s)
        ends = [float(end) for end in (end_s, info.end_s) if end is not None]
        self._end_s = min(ends) if ends else None
        self._resumed = len(times)
        self._started = started
        from_s = float(times[-1][0] * self._base) if times else self._start_s
        self._recent: deque[tuple[float, float]] = deque([(started, from_s)], maxlen=50)

    def tick(self, frame: VideoFrame, duration: int) -> tuple[float, float | None, float, float | None]:
        """(time in the result, fraction done, frames per second, seconds left) after one more frame."""
        self.number += 1
        now = time.monotonic()
        at_s = float(frame.pts * self._base)
        reached_s = at_s + float(duration * self._base)
        self._recent.append((now, reached_s))
        fraction = left_s = None
        if self._end_s is not None and self._end_s > self._start_s:
            fraction = min(1.0, max(0.0, (reached_s - self._start_s) / (self._end_s - self._start_s)))
            (then, was_s), (_, is_s) = self._recent[0], self._recent[-1]
            if is_s > was_s:
                left_s = max(0.0, (self._end_s - is_s) * (now - then) / (is_s - was_s))
        per_second = (self.number - self._resumed) / max(1e-6, now - self._started)
        return at_s - self._start_s, fraction, per_second, left_s


# ---- ends and interruptions -------------------------------------------------------------------------------------


def _name_weights(session: Session, job: VideoJob) -> Steps[str]:
    """What names the bytes of the weights, which are fetched if need be."""
    method = registry.method(job.method)
    if method.kind == "resize":
        return ""
    loaded, _ = yield from networks.load(with_fixed_strength(method), session.device, session.weights)
    return loaded.id


def _description(job: VideoJob, reader: Reader, scale: Scale, weights_id: str, plan: Plan) -> dict[str, object]:
    """Everything that decides the pixels: parts of another description are not continued."""
    return {
        "version": __version__,
        "source": [str(job.source.resolve()), state_of_files(reader.files)],
        "method": job.method,
        "weights": weights_id,
        "scale": str(scale),
        "start": str(job.start_s),
        "end": str(job.end_s),
        "fps": str(job.rate),
        "round trip": job.round_trip,
        "codec": [plan.container, plan.codec.id, plan.crf, plan.coding.pixel_format, list(plan.size)],
    }


def _end_of(times: list[tuple[int, int]], plan: Plan) -> Fraction:
    return (times[-1][0] + times[-1][1]) * plan.time_base


def _keep_part(output: ResumableOutput, job: VideoJob, tracks: tuple[int, ...]) -> str:
    """After a stop: write a playable file if that was requested; returns the hint for the user."""
    goes_on = "The same command continues where it stopped."
    times = output.times
    if not (job.keep_part and times) or output.plan.container == "frames":
        return goes_on
    target = job.target.with_name(f"{job.target.stem}.part{job.target.suffix}")
    if target.exists() and job.source.exists() and target.samefile(job.source):
        return f"{target.name} is the input itself, so it was not written. {goes_on}"
    output.finish(
        target, tracks=tracks, trimmed=job.start_s is not None, end_s=_end_of(times, output.plan),
        overwrite=True, comment="",
    )  # fmt: skip
    return f"{target} holds what is done: {len(times)} pictures. {goes_on}"


def _empty(job: VideoJob) -> str:
    return f"There is no picture in that part of {job.source.name}."
