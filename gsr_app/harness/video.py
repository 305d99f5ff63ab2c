"""`gsr video`: upscale a video, a GIF or a folder of pictures; times, colours and sound are kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.errors import Cancelled, InvalidArgument, VideoError
from gsr_app.core.types import Progress, Scale
from gsr_app.harness.outputs import make_folder
from gsr_app.harness.progress import ProgressLine, clock
from gsr_app.harness.sessions import add_model_argument, add_session_arguments, open_session, use_model
from gsr_app.harness.stopping import stop_on_interrupt
from gsr_app.harness.upscale import check_scale
from gsr_app.models import registry, weights

if TYPE_CHECKING:
    from gsr_app.engine.video_job import SavedVideo, VideoJob, VideoStep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a video, a GIF, a folder of pictures, or frames/%%05d.png")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT",
        help="name.mp4, .mov, .mkv, .webm or .gif; a folder or name/%%05d.png for pictures",
    )  # fmt: skip
    parser.add_argument("--method", metavar="ID", help="see `gsr models`; default: the best one that is shipped")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", metavar="S", help="4, 2.7, or vertical x horizontal: 2x3.5 (default: 2)")
    size.add_argument("--size", metavar="WxH", help="in pixels: 1920x1080, 3840x, x1080, fit:3840x2160")
    parser.add_argument("--start", metavar="TIME", help="leave out everything before: 12.5 or 1:02.5")
    parser.add_argument("--end", metavar="TIME", help="leave out everything from this time on")
    parser.add_argument(
        "--codec", metavar="ID", help="h264, h265, vp9, av1, ffv1 or prores; default: chosen by the ending of OUT"
    )
    parser.add_argument("--crf", type=int, metavar="N", help="quality: less is better and larger, 0 is lossless")
    parser.add_argument("--fps", metavar="RATE", help="of a folder of pictures: 24 or 30000/1001")
    parser.add_argument("--no-audio", action="store_true", help="leave sound and subtitles out")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there already")
    parser.add_argument("--restart", action="store_true", help="delete the parts of an unfinished earlier run")
    parser.add_argument("--keep-part", action="store_true", help="after Ctrl-C, write what is done as a playable file")
    add_model_argument(parser)
    add_session_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def run(arguments: argparse.Namespace) -> int:
    method = use_model(arguments) or arguments.method or weights.default_method()
    registry.method(method)  # raises if there is none of this name
    check_scale(arguments.size or arguments.scale or "2", in_pixels=bool(arguments.size))
    target = Path(arguments.output).expanduser()
    job = _read_job(arguments, method, target)
    if target.is_file() and not arguments.overwrite:
        _check_maker(job)
        done, hint = "already done", "Make it again with --overwrite."
        told = {"input": str(job.source), "output": str(target), "method": method, "done": done, "hint": hint}
        print(json.dumps(told, indent=2) if arguments.json else f"{target} is {done}. {hint}")
        return 0
    make_folder(target.parent)
    line = ProgressLine(100)
    session = open_session(None, arguments.device, arguments.precision, arguments.weights, arguments.tile)
    with stop_on_interrupt() as stopped:
        try:
            saved = _run(session, job, stopped, line)
        except Cancelled as error:
            line.clear()
            print(f"stopped. {error.hint}", file=sys.stderr)
            return 130
        finally:
            line.clear()
    _report(saved, job, as_json=arguments.json)
    return 1 if saved.trouble else 0


def _read_job(arguments: argparse.Namespace, method: str, target: Path) -> VideoJob:
    from gsr_app.engine.video_job import VideoJob
    from gsr_app.io import video

    def choose(size: tuple[int, int]) -> Scale:
        return Scale.parse_size(arguments.size, size) if arguments.size else Scale.parse(arguments.scale or "2", size)

    asked = (arguments.size or "").removeprefix("fit:")
    return VideoJob(
        Path(arguments.input).expanduser(),
        target,
        method,
        choose,
        # "3840x" asks for a width only: a row may still be cut off an odd height.
        exact_size=bool(asked) and not (asked.startswith("x") or asked.endswith("x")) and asked == arguments.size,
        start_s=video.read_clock(arguments.start, "--start"),
        end_s=video.read_clock(arguments.end, "--end"),
        rate=_rate(arguments.fps),
        codec=arguments.codec,
        crf=arguments.crf,
        audio=not arguments.no_audio,
        overwrite=arguments.overwrite,
        restart=arguments.restart,
        keep_part=arguments.keep_part,
    )


def _check_maker(job: VideoJob) -> None:
    """Raise if the output that is there already was made in another way, as far as its metadata tells."""
    from gsr_app.engine.video_job import describe
    from gsr_app.io import video

    scale = job.choose_scale(video.open_video(job.source, job.rate).info.size)
    if job.target.suffix.lower() == ".gif":  # holds no metadata
        return
    try:
        found = video.open_video(job.target).info.metadata
    except VideoError:
        found = {}
    comments = [text for key, text in found.items() if key.lower() == "comment"]
    _, is_ours, maker = "".join(comments).rpartition("gsr ")
    maker = maker.partition(": ")[2]
    if maker != describe(job, scale):
        maker = maker if is_ours else "something that left no note in it"
        raise VideoError(
            f"The output {job.target.name} exists already, made by {maker}.",
            hint="Make it again with --overwrite, or choose another -o.",
        )


def _run(session: Any, job: VideoJob, stopped: Callable[[], bool], line: ProgressLine) -> SavedVideo:
    from gsr_app.engine.runners import run_to_end
    from gsr_app.engine.video_job import upscale_video

    line_text, share = job.source.name, 0.0

    def show(progress: Progress) -> None:
        if progress.fraction < 1:  # a finished frame is reported by its step
            line.show(share, f"{line_text}  {progress.stage} {progress.fraction:.0%}")

    def show_step(step: VideoStep) -> None:
        nonlocal share, line_text
        share, line_text = step.fraction or 0.0, _describe(step)
        line.show(share, line_text)

    return run_to_end(upscale_video(session, job, on_progress=show, cancel=stopped), show_step)


def _describe(step: VideoStep) -> str:
    """ "12%  picture 36 at 0:01.47  2.31 fps  ETA 1:02"."""
    from gsr_app.io import video

    share = "" if step.fraction is None else f"{step.fraction:.0%}  "
    left = "" if step.left_s is None else f"  ETA {clock(step.left_s)}"
    return f"{share}picture {step.number} at {video.clock(step.at_s)}  {step.per_second:.2f} fps{left}"


def _report(saved: SavedVideo, job: VideoJob, *, as_json: bool) -> None:
    (height, width), (source_height, source_width) = saved.size, saved.source_size
    rate = (saved.pictures - saved.resumed) / saved.wall_s if saved.wall_s else 0.0
    if as_json:
        data = {
            "input": str(job.source),
            "output": str(saved.path),
            "method": job.method,
            "scale": str(saved.scale),
            "width": width,
            "height": height,
            "pictures": saved.pictures,
            "resumed": saved.resumed,
            "duration_s": round(saved.duration_s, 6),
            "wall_s": round(saved.wall_s, 3),
            "done": saved.done,
            "trouble": saved.trouble,
            "notes": saved.notes,
        }
        print(json.dumps(data, indent=2))
        return
    print(f"{job.source} -> {saved.path}  {source_width}x{source_height} -> {width}x{height}  {saved.done}")
    before = f" ({saved.resumed} of them by an earlier run)" if saved.resumed else ""
    print(f"  {saved.pictures} pictures{before}, {saved.duration_s:.2f} s, in {clock(saved.wall_s)}, {rate:.2f} fps")
    for note in saved.notes:
        print(f"  note: {note}", file=sys.stderr)
    if saved.trouble:
        print(f"gsr: {saved.trouble}", file=sys.stderr)
        print("     What could be read is in the output.", file=sys.stderr)


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise InvalidArgument(f"--fps {text!r} is not a rate.", hint="Write 24, 29.97 or 30000/1001.")
    return rate
