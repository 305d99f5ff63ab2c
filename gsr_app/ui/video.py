"""Videos that visitors watch while they are upscaled, as streams of player states."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.errors import Cancelled, InvalidArgument, UnknownMethod
from gsr_app.core.types import Scale
from gsr_app.io.video import VideoInfo, open_video, read_clock
from gsr_app.models.registry import Method
from gsr_app.ui.files import renew, url_of
from gsr_app.ui.playerfile import PlayerFile
from gsr_app.ui.runs import Work
from gsr_app.ui.state import AppState
from gsr_app.viewer.comparison import check_output
from gsr_app.viewer.panes import INPUT_COLOUR, REFERENCE_COLOUR
from gsr_app.viewer.player.contract import Clip, Download, PlayerPane, PlayerProgress, PlayerState, Scores
from gsr_app.viewer.sink import safe_stem

if TYPE_CHECKING:  # it imports torch
    from gsr_app.engine.video_job import SavedVideo, VideoStep

FORMATS = ("mp4", "mkv", "webm", "mov", "gif")
MOST_FRAMES = 9000  # five minutes at 30 a second
Update = Mapping[str, Any]  # fields of a PlayerState that changed
_SHOWN = {"width", "height", "done", "trouble", "notes"}  # of `facts_of`: what the player shows
_COLOURS = {"source": INPUT_COLOUR, "reference": REFERENCE_COLOUR}


@dataclass(frozen=True)
class VideoRequest:
    """What a visitor asked for. Nothing in it has been checked."""

    video: str | None
    method: str
    scale: str
    start: str = ""  # as "12.5" or "1:02.5"
    end: str = ""
    format: str = "mp4"
    round_trip: bool = False


@dataclass(frozen=True, eq=False)
class PreparedVideo:
    """A checked request."""

    path: Path
    method: Method
    scale: Scale
    start_s: Fraction | None
    end_s: Fraction | None
    format: str
    round_trip: bool
    info: VideoInfo

    @property
    def stem(self) -> str:
        return f"{safe_stem(self.path.name)}_{self.method.id}_x{self.scale}"


# ---- checking ---------------------------------------------------------------------------------------------------


def read_info(app: AppState, path: object) -> VideoInfo:
    """The header of a video, if it is not too large."""
    if not isinstance(path, str) or not path:
        raise InvalidArgument("There is no video yet.", hint="Choose one, or take the example.")
    info = open_video(Path(path)).info
    height, width = info.size
    if height * width > app.limits.input_pixels:
        raise InvalidArgument(f"The video has {height * width / 1e6:.1f} megapixels per picture: too many here.")
    return info


def prepare(app: AppState, request: VideoRequest) -> PreparedVideo:
    """Check a request; the frames are read later."""
    known = {method.id: method for method in app.engine.video_methods}
    if request.method not in known:
        raise UnknownMethod(str(request.method)[:60], known)
    if request.format not in FORMATS:
        raise InvalidArgument(
            f"{str(request.format)[:20]!r} is not written here.", hint=f"Known: {', '.join(FORMATS)}."
        )
    info = read_info(app, request.video)
    scale = Scale.parse(str(request.scale), info.size)
    if not request.round_trip:
        check_output(info.size, scale, app.limits)
    start_s, end_s = read_clock(request.start, "The start"), read_clock(request.end, "The end")
    start_s = start_s or None  # from 0 is no trimming at all
    if end_s is not None and end_s <= (start_s or 0):
        raise InvalidArgument("The end must come after the start.")
    _check_length(info, start_s, end_s)
    return PreparedVideo(
        Path(str(request.video)), known[request.method], scale, start_s, end_s, request.format, request.round_trip, info
    )


def _check_length(info: VideoInfo, start_s: Fraction | None, end_s: Fraction | None) -> None:
    ends = [end for end in (end_s, info.duration_s) if end is not None]
    if not ends or not info.rate:
        return  # the length is not known: `make` counts
    frames = max(Fraction(0), min(ends) - (start_s or 0)) * info.rate
    if frames > MOST_FRAMES:
        raise InvalidArgument(
            f"That would be about {int(frames):,} pictures. Limit: {MOST_FRAMES:,} pictures.",
            hint="Choose a shorter part, or use gsr video on the command line.",
        )


# ---- running ----------------------------------------------------------------------------------------------------


def watch(app: AppState, visitor: str, job: PreparedVideo) -> Iterator[PlayerState]:
    """Upscale; a state of the player at every update. Closing the iterator stops the work."""
    state = PlayerState(run=secrets.token_urlsafe(9), state="waiting")
    with app.runs.stoppable("video", visitor) as run:
        yield state
        for update in app.runs.follow("video", visitor, {"video": _work(app, job)}):
            for _, changes in update.events:
                state = replace(state, **changes)
            state = replace(state, ahead=update.ahead["video"])
            if update.is_over:
                run.end()
            yield state


def _work(app: AppState, job: PreparedVideo) -> Work[Update]:
    def run(send: Callable[[Update], None], cancelled: Callable[[], bool]) -> None:
        target = app.files.new(f".{job.format}", job.stem)
        send({"state": "running", "progress": PlayerProgress(0.0, "the first picture is being made")})
        player = _Player(app, job, send)
        try:
            saved = make(app, job, target, cancelled, player.add)
            player.publish()
        except Cancelled:
            player.publish()
            raise
        finally:
            player.close()
        shown = {name: value for name, value in facts_of(saved).items() if name in _SHOWN}
        send({"state": "done", **shown, "download": Download(url_of(target), target.name)})

    return Work("The run", run, {"state": "cancelled"}, lambda error: {"state": "failed", "error": error})


def make(
    app: AppState,
    job: PreparedVideo,
    target: Path,
    cancelled: Callable[[], bool],
    show: Callable[[VideoStep], None] = lambda _: None,
) -> SavedVideo:
    """Write the upscaled video; `show` gets every step."""
    from gsr_app.engine.runners import run_to_end
    from gsr_app.engine.video_job import VideoJob

    work = VideoJob(
        job.path, target, job.method.id, lambda _: job.scale, start_s=job.start_s, end_s=job.end_s,
        round_trip=job.round_trip, overwrite=True, restart=True, drop_unfit_sound=True,
    )  # fmt: skip

    def check(step: VideoStep) -> None:
        if step.number > MOST_FRAMES:
            raise InvalidArgument(f"Limit: {MOST_FRAMES:,} pictures.", hint="Choose a shorter part.")
        renew([job.path])  # its sound is read at the end
        show(step)

    try:
        return run_to_end(app.engine.upscale_video(work, cancelled), check)
    finally:
        shutil.rmtree(target.with_name(f"{target.name}.parts"), ignore_errors=True)


def facts_of(saved: SavedVideo) -> dict[str, Any]:
    """A finished video as JSON data."""
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


class _Player:
    """The player's file of a run and the scores of its frames, which are sent as they grow."""

    def __init__(self, app: AppState, job: PreparedVideo, send: Callable[[Update], None]) -> None:
        self._app, self._job, self._send = app, job, send
        self._file = PlayerFile(job.info.time_base, job.info.rate, job.info)
        self._psnr: list[float] = []
        self._flicker: list[float | None] = []
        self._published: list[Path] = []

    def add(self, step: VideoStep) -> None:
        panes = {"result": step.result, "source": step.source}
        if step.reference is not None:
            panes["reference"] = step.reference
        if step.psnr_db is not None:
            self._psnr.append(round(min(step.psnr_db, 99.0), 3))
            self._flicker.append(None if step.flicker is None else round(step.flicker, 4))
        self._file.append(panes, step.pts, step.duration)
        self._send({"progress": _progress(step)})
        if self._file.due():
            self.publish()

    def publish(self) -> None:
        """Send the file as it is now."""
        if not self._file.times_s:
            return
        path = self._app.files.new(".mp4", "player")
        count = self._file.publish(path)
        self._published.append(path)
        while len(self._published) > 2:  # pages still read the last two
            outdated = self._published.pop(0)
            outdated.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                outdated.parent.rmdir()
        method = self._job.method
        names = {"result": method.title, "source": "Input", "reference": "Reference"}
        panes = tuple(
            PlayerPane(
                place.id, names[place.id], _COLOURS.get(place.id, method.color),
                place.x, place.y, place.width, place.height, place.shrunk,
            )
            for place in self._file.places
        )  # fmt: skip
        scale = {"x": self._job.scale.x, "y": self._job.scale.y}
        clip = Clip(url_of(path), panes, scale, tuple(self._file.times_s[:count]), self._file.end_s)
        scores = Scores(tuple(self._psnr[:count]), tuple(self._flicker[:count])) if self._psnr else None
        self._send({"clip": clip, "scores": scores})

    def close(self) -> None:
        self._file.close()


def _progress(step: VideoStep) -> PlayerProgress:
    left = "" if not step.left_s or step.left_s < 1 else f" · {_duration(step.left_s)} left"
    text = f"picture {step.number} · {step.per_second:.2f} per second{left}"
    return PlayerProgress(None if step.fraction is None else round(step.fraction, 4), text)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
