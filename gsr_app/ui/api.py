"""The HTTP API of the app, for `gradio_client` or curl: one endpoint per task.

Gradio documents and checks inputs that are components; these are hidden on the page.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from gsr_app.core.errors import GsrError
from gsr_app.core.types import Scale
from gsr_app.models.registry import Method
from gsr_app.ui import compare, rail, video, views
from gsr_app.ui.files import path_of
from gsr_app.ui.state import AppState
from gsr_app.ui.video import VideoRequest
from gsr_app.ui.visits import Client
from gsr_app.viewer import comparison
from gsr_app.viewer.comparison import CompareJob, CompareRequest
from gsr_app.viewer.contract import PaneSpec, as_json
from gsr_app.viewer.png import encode_png

log = logging.getLogger("gsr")


def build(app: AppState) -> None:
    """Register the endpoints."""

    def upscale(image: str, method: str, scale: str, request: gr.Request) -> tuple[str, dict[str, Any]]:
        """Upscale an image.

        image: the file. method: an id from /models. scale: a factor ("3.7"), a vertical and a horizontal factor
        ("2.5x4"), or a size in pixels ("1920x1080", "1920x", "x1080", "fit:3840x2160").
        Returns a PNG with the input's bit depth, and JSON with size, timing, weights and warnings.
        """
        job = compare.prepare(app, CompareRequest(image, (str(method),), str(scale)))
        (made,) = _run_all(app, rail.client(app, request), job)
        return str(made[0]), made[1]

    def compare_methods(
        image: str, methods: str, scale: str, reference: str | None, request: gr.Request
    ) -> tuple[list[str], dict[str, Any]]:
        """Upscale an image with several methods. With a reference of the output size, each result is measured.

        methods: ids from /models, separated by commas. Returns one PNG per method that succeeded, in this order, and
        JSON with an entry per method. If a method fails, its entry holds the error, and the others still run.
        """
        ids = tuple(one.strip() for one in str(methods).split(",") if one.strip())
        job = compare.prepare(app, CompareRequest(image, ids, str(scale), reference))
        made = _run_all(app, rail.client(app, request), job, keep_going=True)
        height, width = job.output_size
        results = [info for _, info in made]
        return [str(path) for path, _ in made if path], {"width": width, "height": height, "results": results}

    def field(image: str, method: str, request: gr.Request) -> dict[str, Any]:
        """Encode an image as a field of Gaussians. Returns {id, method, count, source}; /render_view takes the id."""
        (found,) = comparison.find_methods(app.engine.methods, (str(method),))
        source = comparison.read_picture(image, app.limits)
        handle = app.runs.wait(
            rail.client(app, request),
            lambda _: app.engine.encode(source.pixels, method=found.id, scale=Scale(4.0, 4.0)),
        )
        height, width = handle.source_size
        source_info = {"width": width, "height": height}
        return {"id": app.handles.put(handle), "method": found.id, "count": handle.count, "source": source_info}

    def render_view(
        field_id: str, x: float, y: float, width: float, height: float, out_width: float, out_height: float,
        request: gr.Request,
    ) -> str:  # fmt: skip
        """Render a rectangle of a field, given in source pixels, at out_width x out_height pixels. Returns a PNG."""
        asked = {"x": x, "y": y, "width": width, "height": height, "out_width": out_width, "out_height": out_height}
        handle = app.handles.get(field_id)
        view = views.view_of(asked, handle.source_size)
        rendered = views.draw(app, rail.client(app, request), handle, view)
        return str(app.files.put(encode_png(np.asarray(rendered.image)), ".png", "view"))

    def models() -> list[dict[str, Any]]:
        """List all methods with family, scales, licences and published scores. here: it runs without a download."""
        return [_model(app, method) for method in app.engine.methods]

    def metrics(image: str, reference: str, protocol: str, request: gr.Request) -> dict[str, Any]:
        """Measure PSNR, SSIM and FLIP of an image against a reference, by a protocol or a metric convention.

        Returns {convention, psnr_y, ssim_y, psnr_rgb, ssim_rgb, flip}. What the convention does not define is null;
        without_flip says why flip is.
        """
        one = comparison.read_picture(image, app.limits)
        two = comparison.read_picture(reference, app.limits, "reference")
        return app.runs.wait(
            rail.client(app, request),
            lambda _: as_json(comparison.compare_pictures(one.pixels, two.pixels, str(protocol))),
        )

    def upscale_video(
        clip: str, method: str, scale: str, start: str, end: str, format: str, request: gr.Request
    ) -> tuple[str, dict[str, Any]]:
        """Upscale a video.

        clip: a video file or a GIF. method, scale: as for /upscale. start, end: times such as "12.5" or "1:02.5";
        leave both empty for the whole video. format: mp4, mkv, webm, mov or gif. Timestamps and audio are kept.
        Returns the video, and JSON with size, frame count, duration, notes, and "trouble" for a damaged video.
        """
        asked = VideoRequest(clip, str(method), str(scale), str(start or ""), str(end or ""), str(format))
        job = video.prepare(app, asked)
        target = app.files.new(f".{job.format}", job.stem)
        facts = app.runs.wait(
            rail.client(app, request), lambda cancelled: video.facts_of(video.make(app, job, target, cancelled))
        )
        return str(target), facts

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
        protocol = comparison.protocol_names()[0]
        _endpoint(metrics, [file("image"), file("reference"), text("protocol", protocol)], [info], "metrics")


def _endpoint(work: Callable[..., Any], inputs: list[Any], outputs: list[Any], name: str) -> None:
    button = gr.Button(visible=False)
    button.click(_guarded(work), inputs, outputs, api_name=name, api_description=work.__doc__, concurrency_limit=None)


def _guarded(work: Callable[..., Any]) -> Callable[..., Any]:
    """Send known errors to the client as plain text, of others only the type. Angle brackets, which could come from the
    request, are replaced: a page might show the text as HTML."""

    @functools.wraps(work)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return work(*arguments, **named)
        except GsrError as error:
            text = f"{error} {error.hint}".strip().replace("<", "‹").replace(">", "›")
            raise gr.Error(text, print_exception=False) from None
        except gr.Error:
            raise
        except Exception as error:
            log.exception("%s failed", work.__name__)
            raise gr.Error(f"The request could not be answered: {type(error).__name__}.") from None

    return guarded


def _run_all(
    app: AppState, client: Client, job: CompareJob, *, keep_going: bool = False
) -> list[tuple[Path | None, dict[str, Any]]]:
    """The output file and the measurements of every method."""
    made: list[tuple[Path | None, dict[str, Any]]] = []
    for method in job.methods:

        def run(cancelled: Callable[[], bool], method: Method = method) -> PaneSpec:
            return comparison.run_method(job, method, app.engine, app.sink, cancel=cancelled)

        try:
            pane = app.runs.wait(client, run)
            made.append((path_of(pane.download_url or ""), _figures(pane, job.output_size)))
        except Exception as error:
            if not keep_going:
                raise
            if not isinstance(error, GsrError):
                log.exception("%s failed", method.id)
            known = isinstance(error, GsrError)
            text, hint = (str(error), error.hint) if known else (type(error).__name__, "")
            made.append((None, {"method": method.id, "error": text, "hint": hint}))
    return made


def _figures(pane: PaneSpec, size: tuple[int, int]) -> dict[str, Any]:
    keep = ("timing", "megapixels_per_second", "metrics", "done", "weights_id", "licence", "warnings")
    told = {name: as_json(getattr(pane, name)) for name in keep}
    if pane.timing is not None:
        told["timing"]["total_ms"] = pane.timing.total_ms
    return {"method": pane.id, "width": size[1], "height": size[0], **told}


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
