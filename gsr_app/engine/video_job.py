"""From video to video: times, sound and colours are kept, what was done survives a kill, any length fits."""

from __future__ import annotations

import math
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
from gsr_app.engine import temporal
from gsr_app.engine.frames import upscale_frames
from gsr_app.engine.session import Session, warnings_for
from gsr_app.io import video
from gsr_app.io.formats import check_pixels
from gsr_app.io.video import Frame, Plan, Reader, VideoInfo
from gsr_app.io.video.resume import Workshop
from gsr_app.models import registry

# A part ends after this long, if it has the least pictures, and at the most pictures in any case: a kill loses little,
# and the result does not consist of key frames.
PART_S = 15.0
PART_LEAST, PART_MOST = 24, 250


@dataclass(frozen=True)
class VideoStep:
    """One more picture is done."""

    number: int  # of pictures so far, those of earlier runs included
    at_s: float  # where it stands in the result
    fraction: float | None  # of the whole; None when the video does not say how long it is
    per_second: float  # pictures, in this run
    left_s: float | None
    source: np.ndarray  # what the method saw
    result: np.ndarray
    reference: np.ndarray | None  # of a round trip: what the source was made from
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
    drop_unfit_sound: bool = False  # what the container cannot hold is left out with a word, instead of an error
    overwrite: bool = False
    afresh: bool = False  # what an earlier run has left is thrown away
    round_trip: bool = False  # each picture is made small by the scale first, and what it was is the reference
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
    size = scale.output_size(_small_size(info.size, scale) if wish.round_trip else info.size)
    check_pixels("The result", *size, "whole")
    check_target(wish)
    plan = video.plan_output(info, wish.target, size, codec=wish.codec, crf=wish.crf, may_crop=not wish.exact_size)
    tracks, notes = _tracks(wish, info, plan)
    warned = warnings_for(registry.method(wish.method), scale)
    stopped = cancel or (lambda: False)
    with Workshop(
        wish.target, plan, info, _description(wish, reader, scale, session, plan), afresh=wish.afresh
    ) as shop:
        resumed = len(shop.times)
        clock = _Clock(wish, reader, shop.times, started)
        part_started = time.monotonic()
        try:
            for frame, seen, result in _results(session, wish, reader, scale, shop.times, on_progress, stopped):
                duration = frame.duration or _usual(reader)
                shop.append(result, frame.pts, duration)
                unsafe, least, most = shop.unsafe, *part_pictures
                if unsafe >= most or (unsafe >= least and time.monotonic() - part_started > part_s):
                    shop.save()
                    part_started = time.monotonic()
                reference = frame.pixels[: size[0], : size[1]] if wish.round_trip else None
                yield clock.tick(frame, duration, seen, result, reference)
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
        reader.trouble, (*warned, *info.notes, *plan.notes, *notes, *reader.notes),
    )  # fmt: skip


def _tracks(wish: VideoWish, info: VideoInfo, plan: Plan) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The streams beside the pictures that are copied, and what is to be said about the others."""
    if not wish.audio:
        return (), ()
    try:
        return video.check_tracks(info, plan, wish.target.suffix)
    except InvalidArgument as error:
        if not wish.drop_unfit_sound:
            raise
        return (), (f"{error} Left out.",)


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
) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
    """(the frame, what the method saw of it, the result) for every picture that is still to be made, in order."""
    start_s, end_s = _span(wish, reader)
    # A network of windows sees pictures again that are done: only what comes after them is kept.
    again = min(len(times), temporal.REACH if registry.method(wish.method).kind == "video" else 0)
    known = times[: len(times) - again]
    waiting: deque[tuple[Frame, np.ndarray]] = deque()

    def pixels() -> Iterator[np.ndarray]:
        for frame in reader.frames(start_s, end_s, after=known[-1][0] if known else None):
            seen = _shrink(session, frame.pixels, scale) if wish.round_trip else frame.pixels
            waiting.append((frame, seen))
            yield seen

    made = upscale_frames(session, pixels(), method=wish.method, scale=scale, on_progress=on_progress, cancel=cancel)
    for number, result in enumerate(made):
        frame, seen = waiting.popleft()
        if number >= again:
            yield frame, seen, result


def _small_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """What a round trip shrinks to."""
    if min(scale.y, scale.x) < 1:
        raise InvalidArgument(f"A round trip needs a scale of at least 1, found {scale}.")
    height, width = int(size[0] / scale.y + 1e-6), int(size[1] / scale.x + 1e-6)
    if min(height, width) < 8:
        raise InvalidArgument(
            f"At x{scale} this video would shrink to {width}x{height}.", hint="Choose a smaller scale."
        )
    return height, width


def _shrink(session: Session, pixels: np.ndarray, scale: Scale) -> np.ndarray:
    """As the papers make their inputs: cut so that the factor divides it, then MATLAB's bicubic."""
    height, width = _small_size((pixels.shape[0], pixels.shape[1]), scale)
    top, left = math.ceil(height * scale.y - 1e-6), math.ceil(width * scale.x - 1e-6)
    cut = np.ascontiguousarray(pixels[:top, :left])
    return session.upscale(cut, method="bicubic", scale=Scale(1 / scale.y, 1 / scale.x)).image


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

    def tick(
        self, frame: Frame, duration: int, seen: np.ndarray, result: np.ndarray, reference: np.ndarray | None
    ) -> VideoStep:
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
        at_s -= self._start_s
        return VideoStep(
            self._number, at_s, fraction, per_second, left_s, seen, result, reference, frame.pts, duration
        )  # fmt: skip


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
        "round trip": wish.round_trip,
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
