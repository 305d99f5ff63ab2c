"""`gsr compare`: several methods on several pictures, as one HTML report; and the tally of blind votes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError, InvalidArgument, UnknownName
from gsr_app.harness.outputs import check_output
from gsr_app.harness.sessions import use_model_file
from gsr_app.harness.tally import format_tally, tally_votes
from gsr_app.io.formats import readable_suffixes
from gsr_app.models.community.files import PREFIX
from gsr_app.models.registry import Method, catalogue
from gsr_app.viewer import comparison
from gsr_app.viewer.comparison import NO_LIMITS, CompareJob, CompareRequest
from gsr_app.viewer.contract import PaneSpec, Region
from gsr_app.viewer.figure import score_text
from gsr_app.viewer.foreign import foreign_pane
from gsr_app.viewer.panes import pane_error
from gsr_app.viewer.paper import WIDTHS_IN, lay_out
from gsr_app.viewer.pdf import write_pdf
from gsr_app.viewer.report import Page, field_url, figure_rows, page_of, write_report
from gsr_app.viewer.results import ForeignResult, find_results, read_names
from gsr_app.viewer.sink import ReportSink
from gsr_app.viewer.table import FORMATS, write_table

_METHODS = "swift,bicubic"
_PAGE_HEIGHT_IN = 9.0  # of text, in usual papers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="pictures to compare on")
    parser.add_argument("--methods", help=f"ids, separated by commas (default: {_METHODS}; without a picture none)")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], metavar="FILE",
        help="a model file of another author, too: .pth, .safetensors",
    )  # fmt: skip
    parser.add_argument(
        "--result",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a result that was made elsewhere, of one picture",
    )
    parser.add_argument(
        "--results", action="append", default=[], metavar="NAME=DIR",
        help="a folder of results that were made elsewhere, with the stems of the pictures, or of the references",
    )  # fmt: skip
    parser.add_argument("--scale", default="4", help="a factor, one per axis (2.5x4) or a size (1920x1080)")
    parser.add_argument(
        "--reference", type=Path, action="append", default=[], metavar="FILE",
        help="the original, which results are measured against: one per picture, in order",
    )  # fmt: skip
    parser.add_argument(
        "--round-trip", action="store_true", help="shrink each picture first; the original is the reference"
    )
    parser.add_argument("--protocol", default="basicsr", help="how scores are measured: as of gsr eval (%(default)s)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs per method; the median time is shown")
    parser.add_argument("--region", action="append", default=[], metavar="X,Y,W,H", help="a detail, in source pixels")
    parser.add_argument(
        "--carry", default="", metavar="IDS", help="methods whose Gaussians the report carries, or all: zooms offline"
    )
    parser.add_argument(
        "--encoder", action="store_true", help="the report's reader can enlarge pictures of their own with swift, too"
    )
    parser.add_argument(
        "--report", type=Path, metavar="OUT.html", help="the report; with --region a figure, too, beside it"
    )
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="OUT.pdf",
        help="the regions as a figure for a paper, with the scores of each crop",
    )
    widths = ", ".join(f"{name} {inches:g} in" for name, inches in WIDTHS_IN.items())
    parser.add_argument(
        "--figure-width", choices=tuple(WIDTHS_IN), default="page", help=f"{widths} (default: %(default)s)"
    )
    parser.add_argument(
        "--table", choices=FORMATS, help="scores and times: printed, or beside the figure or report as OUT_table.FORMAT"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--tally", type=Path, nargs="+", metavar="VOTES.json", help="count the votes of blind comparisons instead"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.tally:
        print(format_tally(tally_votes(arguments.tally)))
        return 0
    if not (arguments.images or arguments.result or arguments.results):
        raise InvalidArgument(
            "Nothing to do.",
            hint="gsr compare IMAGE… with --report, --figure or --table, or gsr compare --tally VOTES.json…",
        )
    if not (arguments.report or arguments.figure or arguments.table):
        raise InvalidArgument(
            "The comparison has no output.",
            hint="Name one, such as --report OUT.html; or print a table with --table md.",
        )
    for path, suffix in ((arguments.report, ".html"), (arguments.figure, ".pdf")):
        if path:
            check_output(path, suffix)
    if arguments.figure and not arguments.region:
        raise InvalidArgument("A figure shows regions, and there is none.", hint="Give --region X,Y,W,H.")
    if arguments.repeat < 1:
        raise InvalidArgument(f"--repeat must be at least 1, found {arguments.repeat}.")
    if arguments.images and arguments.reference and len(arguments.reference) != len(arguments.images):
        raise InvalidArgument(f"{len(arguments.images)} pictures, but {len(arguments.reference)} references.")
    regions = [read_region(text) for text in arguments.region]
    ids = _ids(arguments.methods if arguments.methods is not None else _METHODS if arguments.images else "")
    ids += tuple(use_model_file(path) for path in arguments.model)
    if twice := next((one for one in ids if ids.count(one) > 1 and one.startswith(PREFIX)), None):
        raise InvalidArgument(f"Two model files would both be {twice}.", hint="Give one of them another name.")
    carried = ids if arguments.carry == "all" else _ids(arguments.carry)
    if unknown := set(carried) - set(ids):
        raise UnknownName(min(unknown), ids, what="Method", where="--methods, and --carry names it")
    methods = [method for method in catalogue().values() if method.kind != "video"]
    subjects = _subjects(arguments)
    chosen = comparison.find_methods(methods, ids) if ids or not subjects[0].results else ()
    from gsr_app.engine.session import Session  # it imports torch

    engine = Session(device=arguments.device)
    is_printed = arguments.table and not (arguments.figure or arguments.report)
    log = sys.stderr if is_printed else sys.stdout  # a table that is printed can be piped
    pages: list[Page] = []
    for subject in subjects:
        request = CompareRequest(
            subject.image, ids, arguments.scale, subject.reference, arguments.round_trip, arguments.protocol,
            arguments.repeat, tuple(subject.results),
        )  # fmt: skip
        job = comparison.prepare(request, methods, NO_LIMITS)
        _check_regions(regions, job)
        pages.append(_compare(engine, job, regions, carried, log))
    if arguments.report:
        _write_report(arguments.report, pages, chosen, with_encoder=arguments.encoder)
    if arguments.figure:
        sheet = lay_out(figure_rows(pages), arguments.figure_width)
        write_whole(arguments.figure, write_pdf(sheet))
        tall = ", taller than a page: give fewer regions" if sheet.height > 72 * _PAGE_HEIGHT_IN else ""
        print(f"{arguments.figure}  {sheet.width / 72:.2f} x {sheet.height / 72:.2f} in{tall}")
    if arguments.table:
        table = write_table([(page.title, page.scene) for page in pages], arguments.table)
        _write_table(table, arguments.figure or arguments.report, arguments.table)
    failed = sum(pane.state == "failed" for page in pages for pane in page.scene.panes)
    return 1 if failed else 0


@dataclass(frozen=True)
class _Subject:
    """What is compared on one page of the report."""

    image: str | None
    reference: str | None
    results: list[ForeignResult]


def _subjects(arguments: argparse.Namespace) -> list[_Subject]:
    """One per picture; without pictures one per reference, or per file of the first folder of results."""
    images: list[Path] = arguments.images
    references: list[Path] = arguments.reference
    stems = images or references
    if not stems and arguments.results:
        folder = read_names(arguments.results, "--results")[0][1]
        stems = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in readable_suffixes()]
        if not stems:
            raise InvalidArgument(f"{folder} is no folder with pictures.")
    if not stems:
        return [_Subject(None, None, find_results(Path(), arguments.result, [], 1))]
    return [
        _Subject(
            str(images[number]) if images else None,
            str(references[number]) if references else None,
            find_results(path, arguments.result, arguments.results, len(stems)),
        )
        for number, path in enumerate(stems)
    ]


def _write_report(path: Path, pages: Sequence[Page], methods: Sequence[Method], *, with_encoder: bool) -> None:
    html, png, pdf = write_report(pages, methods, path.stem, with_encoder=with_encoder)
    write_whole(path, html)
    print(f"{path}  {len(html) / 1e6:.1f} MB, opens offline")
    for data, suffix in ((png, ".png"), (pdf, ".pdf")):
        if data:  # not the stem alone: the report of cat.png may be cat.html beside it
            figure = path.with_name(f"{path.stem}_figure{suffix}")
            write_whole(figure, data)
            print(figure)


def _write_table(table: str, beside: Path | None, suffix: str) -> None:
    if beside is None:
        print(table, end="")
        return
    path = beside.with_name(f"{beside.stem}_table.{suffix}")
    write_whole(path, table)
    print(path)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def read_region(text: str) -> Region:
    """Parse X,Y,W,H and an optional name after another comma."""
    parts = text.split(",", 4)
    try:
        x, y, width, height = (int(part) for part in parts[:4])
    except ValueError:
        raise InvalidArgument(f"Cannot read the region {text!r}.", hint="Write X,Y,W,H in source pixels.") from None
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise InvalidArgument(f"The region {text!r} has no area or starts outside the picture.")
    return Region(x, y, width, height, parts[4].strip() if len(parts) > 4 else "")


def _check_regions(regions: Sequence[Region], job: CompareJob) -> None:
    height, width = job.source.size
    for one in regions:
        if one.x + one.width > width or one.y + one.height > height:
            raise InvalidArgument(
                f"The region {one.x},{one.y},{one.width},{one.height} does not lie within {job.name}, "
                f"which is compared from {width}x{height} pixels."
            )


def _compare(engine: Any, job: CompareJob, regions: Sequence[Region], carried: Collection[str], log: TextIO) -> Page:
    """Run every method on one picture, add the results that were made elsewhere, and print a line for each."""
    sink = ReportSink(lambda handle: comparison.pack_handle(engine, handle, job.methods), carried)
    scene = comparison.first_scene(job, sink)
    panes: dict[str, PaneSpec] = {pane.id: pane for pane in scene.panes}
    for method in job.methods:
        label = f"{job.name}  {method.id:<20}"
        try:
            pane = comparison.run_method(job, method, engine, sink)
            if method.id in sink.fields:
                print(f"{label} carries {len(field_url(sink.fields[method.id])) / 1e6:.1f} MB of Gaussians", file=log)
            score, ms = score_text(pane), pane.timing.total_ms if pane.timing else 0.0
            print(f"{label} {ms:8.0f} ms" + (f"  {score:>9}" if score else ""), file=log)
        except GsrError as error:
            pane = replace(panes[method.id], state="failed", error=pane_error(error, method.title))
            print(f"{label} failed: {error}", file=log)
        panes[method.id] = pane
    for result in job.results:
        pane = panes[result.id] = foreign_pane(job, result, sink)
        score = f"  {score_text(pane):>9}" if pane.metrics else ""
        print(f"{job.name}  {pane.name:<20} made elsewhere{score}", file=log)
    scene = replace(scene, panes=tuple(panes.values()), running=False)
    return page_of(job.name, scene, sink.pictures, regions, sink.fields)
