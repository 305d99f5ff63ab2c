"""One video, upscaled while the visitor watches: checked wishes, and what the player shows as a stream of states."""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument, UnknownMethod
from gsr_app.core.types import Scale
from gsr_app.io.video import read_clock
from gsr_app.models.registry import Method
from gsr_app.ui.compare import check_output
from gsr_app.ui.files import safe_stem, url_of
from gsr_app.ui.job_queue import QueuedJob
from gsr_app.ui.playerfile import PlayerFile
from gsr_app.ui.state import AppState
from gsr_app.viewer.contract import PaneError
from gsr_app.viewer.player.contract import Clip, Download, PlayerPane, PlayerProgress, PlayerState, Scores

if TYPE_CHECKING:
    from gsr_app.engine.video_job import VideoStep

log = logging.getLogger("gsr")

FORMATS = ("mp4", "mkv", "webm", "mov", "gif")
MOST_PICTURES = 9000  # five minutes at 30 a second
_BEAT_S = 0.2
Update = Mapping[str, Any]  # fields of a PlayerState that changed
_SHOWN = {"width", "height", "done", "trouble", "notes"}  # of what `told` says: what the player shows
_COLOURS = {"source": "#c9b28a", "reference": "#e9e9e6"}


@dataclass(frozen=True)
class Wish:
    """What a visitor asks for. Everything in it is unchecked."""

    video: str | None
    method: str
    scale: str
    start: str = ""  # as "12.5" or "1:02.5"
    end: str = ""
    format: str = "mp4"
    round_trip: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """A checked wish."""

    path: Path
    method: Method
    scale: Scale
    start_s: Fraction | None
    end_s: Fraction | None
    format: str
    round_trip: bool
    info: Any  # what the video says about itself

    @property
    def stem(self) -> str:
        return f"{safe_stem(self.path.name)}_{self.method.id}_x{self.scale}"


@dataclass(eq=False)
class _Scores:
    """Of every picture so far, and where the player's files lie."""

    psnr: list[float] = field(default_factory=list[float])
    flicker: list[float | None] = field(default_factory=list[float | None])
    published: list[Path] = field(default_factory=list[Path])  # the player's files; pages still read the last two


# ---- checking ---------------------------------------------------------------------------------------------------


def methods(app: AppState) -> tuple[Method, ...]:
    """Networks for video first, then every method for pictures, one picture after the other."""
    return app.engine.video_methods


def look(app: AppState, path: object) -> Any:
    if not isinstance(path, str) or not path:
        raise InvalidArgument("There is no video yet.", hint="Choose one, or take the example.")
    info = app.engine.look_at_video(Path(path))
    height, width = info.size
    if height * width > app.limits.input_pixels:
        raise InvalidArgument(f"The video has {height * width / 1e6:.1f} megapixels per picture: too many here.")
    return info


def prepare(app: AppState, wish: Wish) -> Task:
    """Check a wish; the pictures are read later."""
    known = {method.id: method for method in methods(app)}
    if wish.method not in known:
        raise UnknownMethod(str(wish.method)[:60], known)
    if wish.format not in FORMATS:
        raise InvalidArgument(f"{str(wish.format)[:20]!r} is not written here.", hint=f"Known: {', '.join(FORMATS)}.")
    info = look(app, wish.video)
    scale = Scale.parse(str(wish.scale), info.size)
    if not wish.round_trip:
        check_output(app, info.size, scale)
    start_s, end_s = read_clock(wish.start, "The start"), read_clock(wish.end, "The end")
    start_s = start_s or None  # from 0 is no trimming at all
    if end_s is not None and end_s <= (start_s or 0):
        raise InvalidArgument("The end must come after the start.")
    _check_length(info, start_s, end_s)
    return Task(Path(str(wish.video)), known[wish.method], scale, start_s, end_s, wish.format, wish.round_trip, info)


def _check_length(info: Any, start_s: Fraction | None, end_s: Fraction | None) -> None:
    ends = [end for end in (end_s, info.duration_s) if end is not None]
    if not ends or not info.rate:
        return  # the limit is met on the way
    pictures = max(Fraction(0), min(ends) - (start_s or 0)) * info.rate
    if pictures > MOST_PICTURES:
        raise InvalidArgument(
            f"That would be about {int(pictures):,} pictures; at most {MOST_PICTURES:,} are made here.",
            hint="Choose a shorter part, or use gsr video on the command line.",
        )


# ---- running ----------------------------------------------------------------------------------------------------


def watch(app: AppState, visitor: str, task: Task, jobs: dict[str, QueuedJob] | None = None) -> Iterator[PlayerState]:
    """Upscale, and tell the player whenever there is something new. Closing the iterator stops the work.

    `jobs` gets the work under the visitor's name, for somebody else to cancel it.
    """
    news: queue.SimpleQueue[Update] = queue.SimpleQueue()
    job = app.queue.submit(visitor, lambda job: _run(app, task, job, news.put))
    if jobs is not None:
        jobs[visitor] = job
    state = PlayerState(run=secrets.token_urlsafe(9), state="waiting")
    try:
        yield state
        while True:
            over = job.finished.is_set()
            heard = _drain(news, 0.0 if over else _BEAT_S)
            state = replace(state, **heard, ahead=app.queue.ahead(job))
            yield state  # also when nothing is new: only between yields can a run be stopped
            if over and news.empty():
                if state.state in {"waiting", "running"}:
                    yield replace(state, state="cancelled")
                return
    finally:
        job.cancel()
        if jobs is not None and jobs.get(visitor) is job:
            del jobs[visitor]


def _drain(news: queue.SimpleQueue[Update], wait_s: float) -> Update:
    """Everything that was said since, the newest of each kind."""
    heard: dict[str, Any] = {}
    try:
        heard.update(news.get(timeout=wait_s) if wait_s else news.get_nowait())
        while True:
            heard.update(news.get_nowait())
    except queue.Empty:
        return heard


def _run(app: AppState, task: Task, job: QueuedJob, say: Callable[[Update], None]) -> None:
    try:
        target = app.files.new(f".{task.format}", task.stem)
        saved = make(app, task, target, job, say)
    except Cancelled:
        say({"state": "cancelled"})
    except GsrError as error:
        say({"state": "failed", "error": PaneError(str(error), error.hint)})
    except MemoryError:
        hint = "Choose a smaller scale or a lighter method."
        say({"state": "failed", "error": PaneError("There was not enough memory.", hint)})
    except Exception as error:
        log.exception("%s failed on a video", task.method.id)
        hint = "The app's log has the details."
        say({"state": "failed", "error": PaneError(f"The run stopped: {type(error).__name__}.", hint)})
    else:
        shown = {name: value for name, value in told(saved).items() if name in _SHOWN}
        say({"state": "done", **shown, "download": Download(url_of(target), target.name)})


def told(saved: Any) -> dict[str, Any]:
    """What there is to say about a finished video."""
    height, width = saved.size
    return {
        "width": width,
        "height": height,
        "pictures": saved.pictures,
        "duration_s": round(saved.duration_s, 6),
        "wall_s": round(saved.wall_s, 3),
        "done": saved.done,
        "trouble": saved.trouble,
        "notes": list(saved.notes),
    }


def make(app: AppState, task: Task, target: Path, job: QueuedJob, say: Callable[[Update], None] | None = None) -> Any:
    """The file to keep and, for those who listen, the player's file as it grows; returns how it came about."""
    info, player = task.info, None
    if say is not None:
        player = PlayerFile(info.time_base, info.rate, info)
        say({"state": "running", "progress": PlayerProgress(0.0, "the first picture is being made")})
    figures = _Scores()
    steps = app.engine.upscale_video(
        task.path, target, method=task.method.id, scale=task.scale, start_s=task.start_s, end_s=task.end_s,
        round_trip=task.round_trip, cancel=job.cancelled,
    )  # fmt: skip
    try:
        while True:
            try:
                picture: VideoStep = next(steps)
            except StopIteration as end:
                if player is not None and say is not None and player.times_s:
                    say(_clip(app, task, player, figures))
                return end.value
            if picture.number > MOST_PICTURES:
                raise InvalidArgument(
                    f"At most {MOST_PICTURES:,} pictures are made here.", hint="Choose a shorter part."
                )
            if player is None or say is None:
                continue
            _show(player, picture, figures)
            say({"progress": _progress(picture)})
            if player.due():
                say(_clip(app, task, player, figures))
    except Cancelled:
        if player is not None and say is not None and player.times_s:
            say(_clip(app, task, player, figures))
        raise
    finally:
        steps.close()
        shutil.rmtree(target.with_name(f"{target.name}.parts"), ignore_errors=True)
        if player is not None:
            player.close()


def _show(player: PlayerFile, picture: VideoStep, figures: _Scores) -> None:
    panes = {"result": picture.result, "source": picture.source}
    if picture.reference is not None:
        panes["reference"] = picture.reference
    # A codec may have cut the result by a line; panes keep the size that was asked for.
    player.append(panes, picture.pts, picture.duration)
    if picture.psnr_db is not None:
        figures.psnr.append(round(min(picture.psnr_db, 99.0), 3))
        figures.flicker.append(None if picture.flicker is None else round(picture.flicker, 4))


def _clip(app: AppState, task: Task, player: PlayerFile, figures: _Scores) -> Update:
    """The player's file as it is now."""
    path = app.files.new(".mp4", "player")
    count = player.publish(path)
    figures.published.append(path)
    while len(figures.published) > 2:
        outdated = figures.published.pop(0)
        outdated.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            outdated.parent.rmdir()
    names = {"result": task.method.title, "source": "Input", "reference": "Reference"}
    panes = tuple(
        PlayerPane(
            place.id, names[place.id], _COLOURS.get(place.id, task.method.color),
            place.x, place.y, place.width, place.height, place.shrunk,
        )
        for place in player.places
    )  # fmt: skip
    scale = {"x": task.scale.x, "y": task.scale.y}
    clip = Clip(url_of(path), panes, scale, tuple(player.times_s[:count]), player.end_s)
    scores = Scores(tuple(figures.psnr[:count]), tuple(figures.flicker[:count])) if figures.psnr else None
    return {"clip": clip, "scores": scores}


def _progress(picture: VideoStep) -> PlayerProgress:
    fraction = picture.fraction
    left = "" if not picture.left_s or picture.left_s < 1 else f" · {_duration(picture.left_s)} left"
    text = f"picture {picture.number} · {picture.per_second:.2f} per second{left}"
    return PlayerProgress(None if fraction is None else round(fraction, 4), text)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
