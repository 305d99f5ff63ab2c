"""A comparison: several methods on one picture, each result as a pane of a scene.

`prepare` checks a request and reads its pictures, `first_scene` shows what is known before anything runs, `run_method`
makes the pane of one method. The caller gives the engine, the limits, and the sink that stores the pictures.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument, UnknownMethod
from gsr_app.core.pixels import convert
from gsr_app.core.types import FieldHandle, GaussianField, Part, Progress, Scale, Timing, Upscaled
from gsr_app.io.fields import pack_field
from gsr_app.io.images import Picture, read_image, read_metadata
from gsr_app.models import registry
from gsr_app.models.registry import Method
from gsr_app.viewer.contract import Frame, PaneMetrics, PaneProgress, PaneSpec, Region, Scene, Source
from gsr_app.viewer.details import cut_detail, origin_of, region_of
from gsr_app.viewer.panes import (
    INPUT_COLOUR,
    REFERENCE_COLOUR,
    licences,
    picture_pane,
    result_pane,
    waiting_pane,
    waiting_result,
)
from gsr_app.viewer.results import ForeignResult
from gsr_app.viewer.sink import Sink, safe_stem

if TYPE_CHECKING:  # it imports torch
    from gsr_app.engine.metrics import Convention
    from gsr_app.engine.protocols import Pair

MOST_METHODS = 6
MOST_REPEATS = 15
MOST_FLIP_PIXELS = 12_000_000  # a megapixel takes about a second


class Engine(Protocol):
    """What a comparison needs of an engine. `engine.session.Session` has it."""

    def stream(
        self, image: Any, *, method: str, scale: Scale, cancel: Callable[[], bool], part: Part | None = None
    ) -> Iterator[Progress | Upscaled]: ...

    def without_cache(self) -> Engine:
        """An engine that reuses nothing of earlier runs, so that its timing is that of the whole work."""
        ...


class FieldSource(Protocol):
    def field(self, handle: FieldHandle) -> GaussianField: ...


@dataclass(frozen=True)
class Limits:
    input_pixels: int = 24_000_000
    output_pixels: int = 64_000_000


NO_LIMITS = Limits(1 << 40, 1 << 40)


@dataclass(frozen=True)
class CompareRequest:
    """What the user asked for. Nothing in it has been checked."""

    image: str | None
    methods: tuple[str, ...]
    scale: str
    reference: str | None = None
    round_trip: bool = False
    protocol: str = "basicsr"  # or the name of a metric convention
    repeats: int = 1
    results: tuple[ForeignResult, ...] = ()
    detail: Region | None = None  # only this part is made, and not measured; it is cut to the picture and to a limit


@dataclass(frozen=True, eq=False)
class Scoring:
    """The reference that results are scored against, and the convention."""

    pair: Pair
    convention: Convention
    name: str  # that was asked for, of a protocol or a convention


@dataclass(frozen=True, eq=False)
class CompareJob:
    """A checked request, with the pixels.

    Without a source, results made elsewhere are compared alone: the source's place is taken by the reference or by the
    largest of them, at a scale of 1.
    """

    source: Picture
    image: NDArray[Any]  # what the methods get: the source, or its float32 where results are scored before rounding
    name: str
    scale: Scale
    methods: tuple[Method, ...]
    scoring: Scoring | None
    repeats: int
    key: str  # changes with the picture
    results: tuple[ForeignResult, ...] = ()
    has_source: bool = True
    part: Part | None = None  # what is made, where that is not the whole

    @property
    def output_size(self) -> tuple[int, int]:
        return self.scale.output_size(self.source.size)


# ---- checking ---------------------------------------------------------------------------------------------------


def find_methods(methods: Sequence[Method], ids: object) -> tuple[Method, ...]:
    """The methods of a list of ids."""
    known = {method.id: method for method in methods}
    if not isinstance(ids, (list, tuple)) or not ids:
        raise InvalidArgument("No method was chosen.", hint="Choose at least one.")
    if len(ids) > MOST_METHODS:
        raise InvalidArgument(f"At most {MOST_METHODS} methods fit beside each other, found {len(ids)}.")
    for found in ids:
        if not isinstance(found, str) or registry.without_strength(found) not in known:
            other = registry.find(found) if isinstance(found, str) else None
            if other is not None and other.kind == "video":
                raise InvalidArgument(
                    f"{other.id} is for videos, not for pictures.", hint="The Video tab and gsr video take it."
                )
            raise UnknownMethod(str(found)[:60], known)
    return tuple(known[one] if one in known else registry.method(one) for one in dict.fromkeys(ids))


def protocol_names() -> tuple[str, ...]:
    """The protocols and conventions that a request can name."""
    from gsr_app.engine import protocols  # it imports torch

    return protocols.choices()


def picture_size(path: object) -> tuple[int, int]:
    """(height, width) without reading the pixels."""
    return read_metadata(Path(str(path)))[0]


def read_picture(path: object, limits: Limits, what: str = "picture") -> Picture:
    if not isinstance(path, str) or not path:
        raise InvalidArgument(f"There is no {what} yet.", hint="Drop one in, paste one, or take an example.")
    check_input(picture_size(path), limits, what)
    return read_image(path)


def check_input(size: tuple[int, int], limits: Limits, what: str = "picture") -> None:
    """An error if a picture is too large."""
    height, width = size
    if height * width > limits.input_pixels:
        raise InvalidArgument(
            f"The {what} has {height * width / 1e6:.1f} megapixels; at most {limits.input_pixels / 1e6:.0f} are taken.",
            hint="Crop it, or start the app with a larger --max-pixels.",
        )


def check_output(size: tuple[int, int], scale: Scale, limits: Limits) -> tuple[int, int]:
    """The size of the result; an error if it is too large."""
    height, width = scale.output_size(size)
    if height * width > limits.output_pixels:
        raise InvalidArgument(
            f"The result would have {height * width / 1e6:.0f} megapixels ({width}×{height}). "
            f"Limit: {limits.output_pixels / 1e6:.0f} megapixels.",
            hint="Choose a smaller scale, or start the app with a larger --max-pixels.",
        )
    return height, width


def prepare(request: CompareRequest, methods: Sequence[Method], limits: Limits) -> CompareJob:
    """Check a request against the methods that there are, and read its pictures."""
    from gsr_app.engine import protocols  # it imports torch

    found = () if request.results and not request.methods else find_methods(methods, request.methods)
    if len(found) + len(request.results) > MOST_METHODS:
        raise InvalidArgument(f"At most {MOST_METHODS} pictures fit beside each other.", hint="Leave some out.")
    if request.results and not request.image:
        return _prepare_results(request, limits)
    protocol, convention = protocols.find(request.protocol[:60])
    chosen = source = read_picture(request.image, limits)
    scale = Scale.parse(str(request.scale), source.size)
    if request.detail:
        request = replace(request, round_trip=False, reference=None)
    pair: Pair | None = None
    if request.round_trip:
        check_output(protocols.check_pair_size(source.size, scale, protocol).lr, scale, limits)
        pair = protocols.make_pair(protocols.as_tested(source.pixels), scale, protocol)
        source = replace(source, pixels=convert(pair.lr, np.uint8))
    else:
        check_output(source.size, scale, limits)
        if request.reference:
            reference = read_picture(request.reference, limits, "reference").pixels
            expected = scale.output_size(source.size)
            if reference.shape[:2] != expected:
                raise InvalidArgument(
                    f"The reference is {reference.shape[1]}×{reference.shape[0]}, "
                    f"the result will be {expected[1]}×{expected[0]}.",
                    hint="Choose the scale that leads from the picture to the reference, or switch the round trip on.",
                )
            pair = protocols.Pair(source.pixels, reference, scale)
    image, scoring = source.pixels, None
    if pair is not None:
        scoring = Scoring(pair, convention, request.protocol)
        if not convention.quantised or pair.lr.dtype != source.pixels.dtype:
            image = pair.float_lr
    check_results(request.results, scale.output_size(source.size), limits)
    repeats = min(MOST_REPEATS, max(1, int(request.repeats)))
    return CompareJob(
        source, image, Path(str(request.image)).name, scale, found, scoring, repeats, key_of(chosen), request.results,
        part=cut_detail(request.detail, source.size) if request.detail else None,
    )  # fmt: skip


def _prepare_results(request: CompareRequest, limits: Limits) -> CompareJob:
    """The job of results alone."""
    from gsr_app.engine import protocols  # it imports torch

    if request.methods or request.round_trip:
        what = "Methods need" if request.methods else "A round trip needs"
        raise InvalidArgument(f"{what} a picture to start from.", hint="Give one, or compare the results alone.")
    convention = protocols.find(request.protocol[:60])[1]
    sizes = {result.path: picture_size(result.path) for result in request.results}
    largest = max(sizes, key=lambda path: sizes[path][0] * sizes[path][1])
    shown = request.reference or str(largest)
    whole = Limits(limits.output_pixels, limits.output_pixels)
    source = read_picture(shown, whole, "reference" if request.reference else "result")
    check_results(request.results, source.size, limits)
    scoring = None
    if request.reference:
        # The scale decides the border that scores leave out.
        pair = protocols.Pair(source.pixels, source.pixels, Scale.parse(str(request.scale), source.size))
        scoring = Scoring(pair, convention, request.protocol)
    return CompareJob(
        source, source.pixels, Path(shown).name, Scale(1.0, 1.0), (), scoring, 1, key_of(source), request.results,
        has_source=False,
    )  # fmt: skip


def check_results(results: Sequence[ForeignResult], expected: tuple[int, int], limits: Limits) -> None:
    """Refuse results of another shape than the rest, with the sizes."""
    for result in results:
        height, width = picture_size(result.path)
        if height * width > limits.output_pixels:
            raise InvalidArgument(
                f"{result.path.name} has {height * width / 1e6:.0f} megapixels; at most "
                f"{limits.output_pixels / 1e6:.0f} are taken."
            )
        # But for the rounding of its sides to whole pixels.
        slack = max(1.0, expected[1] / expected[0]) + 1e-6
        if abs(height * expected[1] / expected[0] - width) > slack:
            raise InvalidArgument(
                f"{result.path.name} is {width}×{height}; the results here are {expected[1]}×{expected[0]}, "
                f"which is another shape.",
                hint="Choose the scale that it was made at, or crop it alike.",
            )


def key_of(picture: Picture) -> str:
    """Changes with the pixels."""
    return hashlib.blake2b(np.ascontiguousarray(picture.pixels).data, digest_size=8).hexdigest()


# ---- scenes -----------------------------------------------------------------------------------------------------


def preview_scene(source: Picture, name: str, url: str) -> Scene:
    """A picture before any run."""
    height, width = source.size
    pane = _input_pane(source, url)
    return Scene((pane,), Source(key_of(source), name, width, height), Frame(width, height), {"x": 1.0, "y": 1.0})


def first_scene(job: CompareJob, sink: Sink) -> Scene:
    """Everything that is known before anything has run."""
    height, width = job.output_size
    panes = [waiting_pane(method) for method in job.methods]
    panes += [waiting_result(result) for result in job.results]
    if job.scoring is not None:
        reference = job.scoring.pair.reference
        covered = (reference.shape[0] / job.scale.y, reference.shape[1] / job.scale.x)
        url = sink.put_still("reference", reference).url
        panes.append(
            picture_pane(reference, url, covered, id="reference", name="Reference", colour=REFERENCE_COLOUR,
                         kind="reference")
        )  # fmt: skip
    size = job.source.size
    if job.has_source:
        url = sink.put_still("input", job.source.pixels).url
        panes.append(_input_pane(job.source, url, hidden=len(panes) > 1))
    return Scene(
        tuple(panes), Source(job.key, job.name, size[1], size[0]), Frame(width, height),
        {"x": job.scale.x, "y": job.scale.y}, detail=job.part and region_of(job.part), running=True,
        run=secrets.token_urlsafe(18),
    )  # fmt: skip


def _input_pane(source: Picture, url: str, *, hidden: bool = False) -> PaneSpec:
    return picture_pane(
        source.pixels, url, source.size, id="input", name="Input", colour=INPUT_COLOUR, kind="input", hidden=hidden
    )


def run_method(
    job: CompareJob,
    method: Method,
    engine: Engine,
    sink: Sink,
    *,
    cancel: Callable[[], bool] = lambda: False,
    report: Callable[[PaneProgress], None] = lambda _: None,
) -> PaneSpec:
    """Run a method and store its result; the finished pane."""
    result, timing = _upscale(job, method, engine, cancel, report)
    metrics = measure_result(job.scoring, result.image) if job.scoring else None
    pixels = convert(result.image, job.source.pixels.dtype)
    if uses_cached_field(method, timing):
        warning = "the field was kept from an earlier run, so the time is without encoding"
        result = replace(result, warnings=(*result.warnings, warning))
    name = f"{safe_stem(job.name)}_{method.id}_x{job.scale}{'_detail' if job.part else ''}"
    stored = sink.put_result(method.id, pixels, job.source, name)
    if stored.write_ms:
        timing = timing.including(write=stored.write_ms)
    field = sink.put_field(method.id, result.field) if result.field else None
    result = replace(result, image=pixels)
    origin = origin_of(job.part, job.source.size, job.scale) if job.part else (0.0, 0.0)
    return result_pane(method, result, timing, stored, scale=job.scale, field=field, metrics=metrics, origin=origin)


def _upscale(
    job: CompareJob, method: Method, engine: Engine, cancel: Callable[[], bool], report: Callable[[PaneProgress], None]
) -> tuple[Upscaled, Timing]:
    """The result of the first run, and the timing of all. When several are asked for, the first is an additional one:
    it may load the network."""
    timings: list[Timing] = []
    result: Upscaled | None = None
    runs = job.repeats if job.repeats == 1 else job.repeats + 1
    for number in range(runs):
        steps = (engine.without_cache() if number else engine).stream(
            job.image, method=method.id, scale=job.scale, cancel=cancel, part=job.part
        )
        for event in steps:
            if cancel():
                raise Cancelled("The run was stopped.")
            if isinstance(event, Progress):
                stage = event.stage if runs == 1 else f"run {number + 1} of {runs}, {event.stage}"
                report(PaneProgress(stage, round(event.fraction, 3)))
            else:
                result = result or event  # only the first has a field that is kept
                timings.append(event.timing)
    if result is None:
        raise GsrError(f"{method.title} ended without a picture.")
    return result, timings[0] if runs == 1 else _median(timings[1:])


def uses_cached_field(method: Method, timing: Timing) -> bool:
    """Whether a timing leaves out the encoding, because the field was kept from an earlier run."""
    return method.kind == "field" and "encode" not in timing.stages_ms


def _median(timings: list[Timing]) -> Timing:
    """Stage by stage, the median of several runs."""
    stages = {stage: median(t.stages_ms.get(stage, 0.0) for t in timings) for t in timings for stage in t.stages_ms}
    return replace(timings[-1], stages_ms=stages, repeats=len(timings), cold=False)


def measure_result(scoring: Scoring, image: NDArray[Any]) -> PaneMetrics:
    """The scores of a result."""
    from gsr_app.engine import protocols  # it imports torch

    pair, by = scoring.pair, scoring.convention
    flip = protocols.score_flip(image, pair, by) if _has_flip(pair.reference) else None
    return metrics_of(protocols.score(image, pair, by), flip, scoring.name)


def compare_pictures(image: NDArray[Any], reference: NDArray[Any], name: str) -> PaneMetrics:
    """The scores of a picture against a reference, by the main convention of a protocol or by a convention."""
    from gsr_app.engine import flip, metrics, protocols  # they import torch

    by = protocols.find(name[:60])[1]
    found = flip.flip(image, reference, by=by) if _has_flip(reference) else None
    return metrics_of(metrics.measure(image, reference, by=by), found, name)


def _has_flip(reference: NDArray[Any]) -> bool:
    return reference.shape[0] * reference.shape[1] <= MOST_FLIP_PIXELS


def metrics_of(score: Any, flip: float | None, name: str) -> PaneMetrics:
    """A `Score` as a pane shows it: under its channel, with its convention; and FLIP."""
    limit = f"FLIP is computed up to {MOST_FLIP_PIXELS / 1e6:g} megapixels; gsr eval --measures flip has no limit."
    found = PaneMetrics(f"{name}: {score.convention}", flip=flip, without_flip=limit if flip is None else "")
    if score.convention.channel == "rgb":
        return replace(found, psnr_rgb=score.psnr_db, ssim_rgb=score.ssim)
    return replace(found, psnr_y=score.psnr_db, ssim_y=score.ssim)


def pack_handle(engine: FieldSource, handle: FieldHandle, methods: Sequence[Method]) -> bytes:
    """The field of a handle as a file that names its method and licence."""
    plain = registry.without_strength(handle.method)
    licence = next((licences(method) for method in methods if method.id == plain), "")
    return pack_field(engine.field(handle), method=handle.method, licence=licence)
