"""The app as an API: the same work through `gradio_client` or curl, one endpoint per verb.

Inputs are components only so that Gradio types, documents and checks them; nothing here is on the page.
"""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument
from gsr_app.core.types import FieldHandle, Scale
from gsr_app.ui import compare, video, views
from gsr_app.ui.compare import Task, Wish
from gsr_app.ui.files import safe_stem
from gsr_app.ui.job_queue import QueuedJob
from gsr_app.ui.state import AppState
from gsr_app.viewer.contract import PaneSpec, as_json
from gsr_app.viewer.png import encode_png

log = logging.getLogger("gsr")


def build(app: AppState) -> None:
    """Register the endpoints."""

    def upscale(image: str, method: str, scale: str, request: gr.Request) -> tuple[str, dict[str, Any]]:
        """Upscale a picture.

        image: the picture, any size that the app takes. method: an id of /models. scale: a factor ("3.7"), one per
        axis, vertical first ("2.5x4"), or a size in pixels ("1920x1080", "1920x", "x1080", "fit:3840x2160").
        Answers the result as a PNG of the input's depth, and what was done: size, timing, weights, warnings.
        """
        task = compare.prepare(app, Wish(image, (str(method),), str(scale)))
        (made,) = _run_all(app, _visitor(request), task)
        return str(made[0]), made[1]

    def compare_methods(
        image: str, methods: str, scale: str, reference: str | None, request: gr.Request
    ) -> tuple[list[str], dict[str, Any]]:
        """Upscale a picture by several methods and, given a reference of the result's size, measure each.

        methods: ids of /models, separated by commas. Answers one PNG per method that succeeded, in order, and the
        figures of all; a method that failed says why in its entry and takes no other down.
        """
        ids = tuple(one.strip() for one in str(methods).split(",") if one.strip())
        task = compare.prepare(app, Wish(image, ids, str(scale), reference))
        made = _run_all(app, _visitor(request), task, keep_going=True)
        height, width = task.output_size
        results = [info for _, info in made]
        return [str(path) for path, _ in made if path], {"width": width, "height": height, "results": results}

    def field(image: str, method: str, request: gr.Request) -> dict[str, Any]:
        """Turn a picture into a field of Gaussians to draw views of; answers {id, method, count, source}."""
        (found,) = compare.find_methods(app.engine, (str(method),))
        source = compare.read_picture(app, image)
        made: list[FieldHandle] = []

        def encode(job: QueuedJob) -> None:
            made.append(app.engine.encode(source.pixels, method=found.id, scale=Scale(4.0, 4.0)))

        _wait(app, _visitor(request), encode)
        height, width = made[0].source_size
        source_info = {"width": width, "height": height}
        return {"id": app.handles.put(made[0]), "method": found.id, "count": made[0].count, "source": source_info}

    def render_view(
        field_id: str, x: float, y: float, width: float, height: float, out_width: float, out_height: float
    ) -> str:
        """Draw a rectangle of a field (source pixels) into out_width x out_height pixels; answers a PNG."""
        request = {"x": x, "y": y, "width": width, "height": height, "out_width": out_width, "out_height": out_height}
        handle = app.handles.get(field_id)
        view = views.view_of(request, handle.source_size)
        rendered = app.engine.render(handle, view)
        return str(app.files.put(encode_png(np.asarray(rendered.image)), ".png", "view"))

    def models() -> list[dict[str, Any]]:
        """The catalogue: every method with its family, scales, licences, published scores and whether it is here."""
        return [_model(app, method) for method in app.engine.methods]

    def metrics(image: str, reference: str, protocol: str) -> dict[str, Any]:
        """PSNR and SSIM of a picture against a reference, by a named convention: {psnr_y, ssim_y, convention}."""
        if protocol not in app.engine.protocols():
            known = ", ".join(app.engine.protocols())
            raise InvalidArgument(
                f"The metric convention {str(protocol)[:40]!r} is not known.", hint=f"Known: {known}."
            )
        one, two = compare.read_picture(app, image), compare.read_picture(app, reference, "reference")
        return as_json(app.engine.measure(one.pixels, two.pixels, protocol=protocol, scale=1.0))

    def upscale_video(
        clip: str, method: str, scale: str, start: str, end: str, format: str, request: gr.Request
    ) -> tuple[str, dict[str, Any]]:
        """Upscale a video.

        video: a file or a GIF. method, scale: as for upscale. start, end: "12.5" or "1:02.5", empty for the whole.
        format: mp4, mkv, webm, mov or gif. Answers the result, its times and sound as they were, and what was done:
        size, pictures, duration, notes, and in "trouble" where a damaged video stopped.
        """
        wish = video.Wish(clip, str(method), str(scale), str(start or ""), str(end or ""), str(format))
        task = video.prepare(app, wish)
        target = app.files.new(f".{task.format}", task.stem)
        made: list[dict[str, Any]] = []
        _wait(app, _visitor(request), lambda job: made.append(video.told(video.make(app, task, target, job))))
        return str(target), made[0]

    def file(label: str) -> gr.File:
        return gr.File(label=label, type="filepath")

    def text(label: str, value: str = "") -> gr.Textbox:
        return gr.Textbox(value, label=label, max_length=400)

    with gr.Column(visible=False):
        info, picture, pictures = gr.JSON(label="info"), gr.File(label="result"), gr.File(label="results")
        pictures.file_count = "multiple"
        _endpoint(upscale, [file("image"), text("method", "swift"), text("scale", "4")], [picture, info], "upscale")
        wanted = [file("image"), text("methods", "swift,bicubic"), text("scale", "4"), file("reference")]
        _endpoint(compare_methods, wanted, [pictures, info], "compare")
        _endpoint(field, [file("image"), text("method", "swift")], [info], "field")
        numbers = [gr.Number(label=name) for name in ("x", "y", "width", "height", "out_width", "out_height")]
        _endpoint(render_view, [text("field_id"), *numbers], [picture], "render_view")
        words = [text("method", "swift"), text("scale", "2"), text("start"), text("end"), text("format", "mp4")]
        _endpoint(upscale_video, [file("video"), *words], [picture, info], "upscale_video")
        _endpoint(models, [], [info], "models")
        protocol = app.engine.protocols()[0]
        _endpoint(metrics, [file("image"), file("reference"), text("protocol", protocol)], [info], "metrics")


def _endpoint(work: Callable[..., Any], inputs: list[Any], outputs: list[Any], name: str) -> None:
    button = gr.Button(visible=False)
    button.click(_guarded(work), inputs, outputs, api_name=name, api_description=work.__doc__, concurrency_limit=None)


def _guarded(work: Callable[..., Any]) -> Callable[..., Any]:
    """Errors that a client can act on, escaped because Gradio shows them as HTML; of others only that they happened."""

    @functools.wraps(work)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return work(*arguments, **named)
        except GsrError as error:
            raise gr.Error(html.escape(f"{error} {error.hint}".strip()), print_exception=False) from None
        except gr.Error:
            raise
        except Exception as error:
            log.exception("%s failed", work.__name__)
            raise gr.Error(f"The request could not be answered: {type(error).__name__}.") from None

    return guarded


def _visitor(request: gr.Request | None) -> str:
    return (request.session_hash if request else None) or "api"


def _wait(app: AppState, visitor: str, work: Callable[[QueuedJob], None]) -> None:
    """Through the one queue, and wait; what goes wrong there goes wrong here."""
    problems: list[BaseException] = []

    def run(job: QueuedJob) -> None:
        try:
            work(job)
        except Exception as error:
            problems.append(error)

    app.queue.submit(visitor, run).finished.wait()
    if problems:
        raise problems[0]


def _run_all(
    app: AppState, visitor: str, task: Task, *, keep_going: bool = False
) -> list[tuple[Path | None, dict[str, Any]]]:
    made: list[tuple[Path | None, dict[str, Any]]] = []
    for method in task.methods:
        try:

            def run(job: QueuedJob, method: Any = method) -> None:
                result, timing = compare.upscale(app, task, method, job, lambda _: None)
                path = app.files.new(".png", f"{safe_stem(task.name)}_{method.id}")
                app.engine.write(path, np.asarray(result.image), task.source)
                pane = compare.finished_pane(app, task, method, result, timing, only_figures=True)
                made.append((path, _figures(pane, np.asarray(result.image).shape)))

            _wait(app, visitor, run)
        except (GsrError, Cancelled) as error:
            if not keep_going:
                raise
            made.append((None, {"method": method.id, "error": str(error), "hint": error.hint}))
        except Exception as error:
            if not keep_going:
                raise
            log.exception("%s failed", method.id)
            made.append((None, {"method": method.id, "error": type(error).__name__, "hint": ""}))
    return made


def _figures(pane: PaneSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    keep = ("timing", "megapixels_per_second", "metrics", "done", "weights_id", "licence", "warnings")
    told = {name: as_json(getattr(pane, name)) for name in keep}
    return {"method": pane.id, "width": shape[1], "height": shape[0], **told}


def _model(app: AppState, method: Any) -> dict[str, Any]:
    available = app.engine.availability(method)
    return {
        "id": method.id,
        "title": method.title,
        "family": method.family,
        "kind": method.kind,
        "scales": method.scales,
        "parameters": method.parameters,
        "code_licence": method.code_licence,
        "weights_licence": method.weights_licence,
        "paper": method.paper,
        "published": [dict(score) for score in method.published],
        "convention": method.convention,
        "here": available.here,
        "download_bytes": available.download_bytes,
        "reason": available.reason,
    }
