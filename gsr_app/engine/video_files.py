"""From video to video: times, sound and colours are kept, what was done survives a kill, any length fits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from gsr_app import __version__
from gsr_app.core.errors import Cancelled, InvalidArgument, VideoError
from gsr_app.core.types import Progress, Scale
from gsr_app.engine.session import Session
from gsr_app.engine.video import upscale_frames
from gsr_app.io import video
from gsr_app.io.formats import check_pixels
from gsr_app.io.video import Frame, Plan, Reader
from gsr_app.io.video_workshop import Workshop
from gsr_app.models import registry

# A part ends after this long, if it has the least pictures, and at the most pictures in any case: a kill loses little,
# and the result does not consist of key frames.
PART_S = 15.0
PART_LEAST, PART_MOST = 24, 250
_LOOKS_BACK = 3  # pictures before the one that a network of windows draws


@dataclass(frozen=True)
class VideoStep:
    """One more picture is done."""

    number: int  # of pictures so far, those of earlier runs included
    at_s: float  # where it stands in the result
    fraction: float | None  # of the whole; None when the video does not say how long it is
    per_second: float  # pictures, in this run
    left_s: float | None
    source: np.ndarray
    result: np.ndarray
    pts: int
    duration: int


@dataclass(frozen=True)
class SavedVideo:
    """A finished video and how it came about."""

    path: Path
    pictures: int
    resumed: int  # of them from earlier runs
    source_size: tuple[int, int]  # (height, width)
    size: tuple[int, int]
    scale: Scale
    duration_s: float
    wall_s: float
    done: str
    trouble: str = ""  # why it ends before its source should
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoWish:
    """What is asked for. Two equal wishes are the same work."""

    source: Path
    target: Path
    method: str
    choose_scale: Callable[[tuple[int, int]], Scale]  # from the source's (height, width)
    exact_size: bool = False  # the size was asked for in pixels: it is not rounded to what a codec holds
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    rate: Fraction | None = None  # of a folder of pictures
    codec: str | None = None
    crf: int | None = None
    audio: bool = True
    overwrite: bool = False
    afresh: bool = False  # what an earlier run has left is thrown away
    keep_part: bool = False  # a run that is stopped leaves a playable file of what is done


def upscale_video(
    session: Session,
    wish: VideoWish,
    *,
    on_progress: Callable[[Progress], None] | None = None,  # of the picture at work
    cancel: Callable[[], bool] | None = None,
    part_pictures: tuple[int, int] = (PART_LEAST, PART_MOST),
    part_s: float = PART_S,
) -> Generator[VideoStep, None, SavedVideo]:
    """Upscale a video into another. The target appears when it is whole; until then its parts lie beside it."""
    started = time.monotonic()
    reader = video.open_video(wish.source, wish.rate)
    info = reader.info
    scale = wish.choose_scale(info.size)
    size = scale.output_size(info.size)
    check_pixels("The result", *size, "whole")
    check_target(wish)
    plan = video.plan_output(info, wish.target, size, codec=wish.codec, crf=wish.crf, may_crop=not wish.exact_size)
    tracks, notes = video.check_tracks(info, plan, wish.target.suffix) if wish.audio else ((), ())
    stopped = cancel or (lambda: False)
    with Workshop(
        wish.target, plan, info, _description(wish, reader, scale, session, plan), afresh=wish.afresh
    ) as shop:
        resumed = len(shop.times)
        clock = _Clock(wish, reader, shop.times, started)
        part_started = time.monotonic()
        try:
            for frame, result in _results(session, wish, reader, scale, shop.times, on_progress, stopped):
                duration = frame.duration or _usual(reader)
                shop.append(result, frame.pts, duration)
                unsafe, least, most = shop.unsafe, *part_pictures
                if unsafe >= most or (unsafe >= least and time.monotonic() - part_started > part_s):
                    shop.save()
                    part_started = time.monotonic()
                yield clock.tick(frame, result, duration)
                if stopped():
                    raise Cancelled("The run was stopped.")
        except Cancelled as error:
            shop.save()
            raise Cancelled(str(error), hint=_leave(shop, wish, tracks)) from None
        shop.save()
        times = shop.times
        if not times:
            raise VideoError(
                reader.trouble or _empty(wish), hint="" if reader.trouble else "Choose another part of it."
            )
        _, end_s = _span(wish, reader)
        if reader.trouble:  # sound without pictures helps nobody
            end_s = _end_of(times, plan)
        shop.finish(
            wish.target,
            tracks=tracks,
            trimmed=wish.start_s is not None,
            end_s=end_s,
            overwrite=wish.overwrite,
            comment=f"gsr {__version__}: {wish.method}, x{scale}",
        )
        shop.clear()
    length_s = float(_end_of(times, plan) - times[0][0] * plan.time_base)
    return SavedVideo(
        wish.target, len(times), resumed, info.size, plan.size, scale, length_s, time.monotonic() - started,
        f"{wish.method} at x{scale}; {plan.codec.name if plan.container not in {'gif', 'frames'} else plan.container}",
        reader.trouble, (*info.notes, *plan.notes, *notes, *reader.notes),
    )  # fmt: skip


def check_target(wish: VideoWish) -> None:
    """Refuse an output that must not be written, before any work."""
    target = wish.target
    folder = target.parent
    if not folder.is_dir():
        raise VideoError(f"The output folder {folder} does not exist.", hint="Create it first.")
    if target.is_file():
        if wish.source.exists() and target.samefile(wish.source):
            raise VideoError(f"The output {target.name} is the input itself.", hint="Choose another name or folder.")
        if not wish.overwrite:
            raise VideoError(f"The output {target.name} exists already.", hint="Allow it with --overwrite.")
    if wish.start_s is not None and wish.end_s is not None and wish.end_s <= wish.start_s:
        raise InvalidArgument("--end must come after --start.")


# ---- pictures ---------------------------------------------------------------------------------------------------


def _results(
    session: Session,
    wish: VideoWish,
    reader: Reader,
    scale: Scale,
    times: list[tuple[int, int]],
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool],
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Every picture that is still to be made, in order, beside what it is made from."""
    start_s, end_s = _span(wish, reader)
    # A network of windows sees pictures again that are done: only what comes after them is kept.
    again = min(len(times), _LOOKS_BACK if registry.method(wish.method).kind == "video" else 0)
    known = times[: len(times) - again]
    waiting: deque[Frame] = deque()

    def pixels() -> Iterator[np.ndarray]:
        for frame in reader.frames(start_s, end_s, after=known[-1][0] if known else None):
            waiting.append(frame)
            yield frame.pixels

    made = upscale_frames(session, pixels(), method=wish.method, scale=scale, on_progress=on_progress, cancel=cancel)
    for number, result in enumerate(made):
        frame = waiting.popleft()
        if number >= again:
            yield frame, result


def _span(wish: VideoWish, reader: Reader) -> tuple[Fraction | None, Fraction | None]:
    """The stretch that is asked for, in the source's own time, which need not begin at 0."""
    zero = reader.info.start_s
    return (
        None if wish.start_s is None else zero + wish.start_s,
        None if wish.end_s is None else zero + wish.end_s,
    )


def _usual(reader: Reader) -> int:
    return max(1, round(1 / (reader.info.rate or 25) / reader.info.time_base))


class _Clock:
    """How far, how fast, how long still."""

    def __init__(self, wish: VideoWish, reader: Reader, times: list[tuple[int, int]], started: float) -> None:
        info = reader.info
        self._base = info.time_base
        start_s, end_s = _span(wish, reader)
        self._start_s = float(start_s if start_s is not None else info.start_s)
        ends = [float(end) for end in (end_s, info.end_s) if end is not None]
        self._end_s = min(ends) if ends else None
        self._number = len(times)
        self._resumed = len(times)
        self._from_s = float(times[-1][0] * self._base) if times else self._start_s
        self._started = started
        self._recent: deque[tuple[float, float]] = deque([(started, self._from_s)], maxlen=50)

    def tick(self, frame: Frame, result: np.ndarray, duration: int) -> VideoStep:
        self._number += 1
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
        per_second = (self._number - self._resumed) / max(1e-6, now - self._started)
        return VideoStep(
            self._number, at_s - self._start_s, fraction, per_second, left_s, frame.pixels, result, frame.pts, duration
        )


# ---- the end, and what is left behind -------------------------------------------------------------------------------


def _description(wish: VideoWish, reader: Reader, scale: Scale, session: Session, plan: Plan) -> dict[str, object]:
    """What makes the pictures what they are."""
    try:
        stat = wish.source.stat()
        source = [str(wish.source.resolve()), stat.st_size, stat.st_mtime_ns]
    except OSError:
        source = [str(wish.source)]
    return {
        "version": __version__,
        "source": source,
        "method": wish.method,
        "weights": str(session.weights or ""),
        "scale": str(scale),
        "start": str(wish.start_s),
        "end": str(wish.end_s),
        "fps": str(wish.rate),
        "codec": [plan.container, plan.codec.id, plan.crf, plan.coding.pixel_format, list(plan.size)],
    }


def _end_of(times: list[tuple[int, int]], plan: Plan) -> Fraction:
    return (times[-1][0] + times[-1][1]) * plan.time_base


def _leave(shop: Workshop, wish: VideoWish, tracks: tuple[int, ...]) -> str:
    """After a stop: a playable part if that was asked for; returns what to tell."""
    goes_on = "The same command goes on where it stopped."
    times = shop.times
    if not (wish.keep_part and times) or shop.plan.container == "frames":
        return goes_on
    target = wish.target.with_name(f"{wish.target.stem}.part{wish.target.suffix}")
    shop.finish(
        target, tracks=tracks, trimmed=wish.start_s is not None, end_s=_end_of(times, shop.plan),
        overwrite=True, comment="",
    )  # fmt: skip
    return f"{target} holds what is done: {len(times)} pictures. {goes_on}"


def _empty(wish: VideoWish) -> str:
    return f"There is no picture in that part of {wish.source.name}."
