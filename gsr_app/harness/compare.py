"""`gsr compare`: several methods on several pictures, as one HTML file to look at and judge; and the tally of votes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError, InvalidArgument, UnknownName
from gsr_app.harness.outputs import check_output
from gsr_app.harness.tally import format_tally, tally_votes
from gsr_app.ui import compare
from gsr_app.ui.compare import Task, Wish
from gsr_app.ui.engine import LocalEngine
from gsr_app.ui.files import Files
from gsr_app.ui.job_queue import QueuedJob
from gsr_app.ui.reporting import page_of, write_report
from gsr_app.ui.state import AppState, Limits
from gsr_app.ui.views import packed_field
from gsr_app.viewer.contract import PaneError, PaneField, PaneSpec, Region
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.report import Page, field_url

_NO_LIMITS = Limits(input_pixels=1 << 40, output_pixels=1 << 40)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="pictures to compare on")
    parser.add_argument("--methods", default="swift,bicubic", help="ids, separated by commas (default: %(default)s)")
    parser.add_argument("--scale", default="4", help="a factor, one per axis (2.5x4) or a size (1920x1080)")
    parser.add_argument("--reference", type=Path, action="append", default=[], help="one per picture, in order")
    parser.add_argument(
        "--round-trip", action="store_true", help="shrink each picture first; the original is the reference"
    )
    parser.add_argument("--protocol", default="basicsr", help="metric convention (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs per method; the median time is shown")
    parser.add_argument("--region", action="append", default=[], metavar="X,Y,W,H", help="a detail, in source pixels")
    parser.add_argument(
        "--carry", default="", metavar="IDS", help="methods whose Gaussians the report carries, or all: zooms offline"
    )
    parser.add_argument(
        "--report", type=Path, metavar="OUT.html", help="where to write; a region's figure goes beside it"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tally", type=Path, nargs="+", metavar="VOTES.json", help="count exported votes instead")


def run(arguments: argparse.Namespace) -> int:
    if arguments.tally:
        print(format_tally(tally_votes(arguments.tally)))
        return 0
    if not arguments.images or arguments.report is None:
        raise InvalidArgument(
            "Nothing to do.", hint="gsr compare IMAGE… --report OUT.html, or gsr compare --tally VOTES.json…"
        )
    check_output(arguments.report, ".html")
    if arguments.repeat < 1:
        raise InvalidArgument(f"--repeat must be at least 1, found {arguments.repeat}.")
    if arguments.reference and len(arguments.reference) != len(arguments.images):
        raise InvalidArgument(f"{len(arguments.images)} pictures, but {len(arguments.reference)} references.")
    regions = [read_region(text) for text in arguments.region]
    engine = LocalEngine(arguments.device)
    pages: list[Page] = []
    with tempfile.TemporaryDirectory() as folder:
        app = AppState(engine, Files(Path(folder)), limits=_NO_LIMITS)
        ids = _ids(arguments.methods)
        carry = ids if arguments.carry == "all" else _ids(arguments.carry)
        if strangers := set(carry) - set(ids):
            raise UnknownName(min(strangers), ids, what="Method", where="--methods, and --carry names it")
        for number, image in enumerate(arguments.images):
            reference = str(arguments.reference[number]) if arguments.reference else None
            wish = Wish(
                str(image), ids, arguments.scale, reference, arguments.round_trip, arguments.protocol, arguments.repeat
            )
            task = compare.prepare(app, wish)
            _check_regions(regions, task)
            pages.append(_compare(app, task, regions, carry))
        methods = compare.find_methods(engine, list(ids))
    html, png, pdf = write_report(pages, methods, arguments.report.stem)
    write_whole(arguments.report, html)
    print(f"{arguments.report}  {len(html) / 1e6:.1f} MB, opens offline")
    for data, suffix in ((png, ".png"), (pdf, ".pdf")):
        if data:  # a name of its own: the report of cat.png is called cat.html
            figure = arguments.report.with_name(f"{arguments.report.stem}_figure{suffix}")
            write_whole(figure, data)
            print(figure)
    failed = sum(pane.state == "failed" for page in pages for pane in page.scene.panes)
    return 1 if failed else 0


def _ids(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def read_region(text: str) -> Region:
    """X,Y,W,H and, after another comma, a name."""
    parts = text.split(",", 4)
    try:
        x, y, width, height = (int(part) for part in parts[:4])
    except ValueError:
        raise InvalidArgument(f"Cannot read the region {text!r}.", hint="Write X,Y,W,H in source pixels.") from None
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise InvalidArgument(f"The region {text!r} has no area or starts outside the picture.")
    return Region(x, y, width, height, parts[4].strip() if len(parts) > 4 else "")


def _check_regions(regions: Sequence[Region], task: Task) -> None:
    height, width = task.source.size
    for one in regions:
        if one.x + one.width > width or one.y + one.height > height:
            raise InvalidArgument(
                f"The region {one.x},{one.y},{one.width},{one.height} does not lie within {task.name}, "
                f"which is compared from {width}x{height} pixels."
            )


def _compare(app: AppState, task: Task, regions: list[Region], carry: Sequence[str]) -> Page:
    scene = compare.first_scene(task, app)
    pictures: dict[str, bytes] = {"input": encode_png(task.source.pixels, level=6)}
    if task.reference is not None:
        pictures["reference"] = encode_png(task.reference, level=6)
    fields: dict[str, bytes] = {}
    panes: dict[str, PaneSpec] = {pane.id: pane for pane in scene.panes}
    for method in task.methods:
        started = panes[method.id]
        try:
            job = QueuedJob("", lambda _: None)
            result, timing = compare.upscale(app, task, method, job, lambda _: None)
            pane = compare.finished_pane(app, task, method, result, timing, only_figures=True)
            pictures[method.id] = encode_png(np.asarray(result.image), level=6)
            panes[method.id] = replace(pane, url="carried", download_name=f"{method.id}.png")
            if result.field is not None and method.id in carry:
                fields[method.id] = packed_field(app, result.field)
                carried_mb = len(field_url(fields[method.id])) / 1e6
                print(f"{task.name}  {method.id:<20} carries {carried_mb:.1f} MB of Gaussians")
                panes[method.id] = replace(panes[method.id], field=PaneField(method.id, result.field.count, live=False))
            score = pane.metrics.psnr_y if pane.metrics else None
            told = "" if score is None else f"  {score:6.2f} dB"
            print(f"{task.name}  {method.id:<20} {timing.total_ms:8.0f} ms{told}")
        except GsrError as error:
            panes[method.id] = replace(started, state="failed", error=PaneError(str(error), error.hint))
            print(f"{task.name}  {method.id:<20} failed: {error}")
    scene = replace(scene, panes=tuple(panes.values()), running=False)
    return page_of(task.name, scene, pictures, regions, fields)
