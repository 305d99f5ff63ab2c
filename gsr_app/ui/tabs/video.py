"""The Video tab: a clip, a method and a scale on the left; the player on the right."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.core.types import Scale
from gsr_app.io.video.reader import SUFFIXES, clock
from gsr_app.ui import clips, present, video
from gsr_app.ui.components.player import PlayerComponent
from gsr_app.ui.state import AppState
from gsr_app.ui.video import VideoRequest

_SCALES = "One factor, one per axis (2x3.5, vertical first) or pixels (1920x)."
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "undocumented"}


def build(app: AppState) -> None:
    """Lay the tab out and wire it."""
    methods = app.engine.video_methods
    example = clips.lay_out(app.files.root.with_name("gsr-examples"))

    with gr.Row(elem_id="video"):
        with gr.Column(elem_id="videorail"):
            _rubric("Video")
            file = gr.File(
                show_label=False, container=False, type="filepath", file_types=[*SUFFIXES], elem_id="videofile",
            )  # fmt: skip
            facts = gr.HTML(elem_id="videofacts", padding=False, apply_default_css=False)
            with gr.Row(elem_id="videotrim"):
                start = _moment("from the start", "videostart")
                end = _moment("to the end", "videoend")
            _rubric("Method")
            choices = [(_title(app, method), method.id) for method in methods]
            first = next((one.id for one in methods if one.id == "swift"), methods[0].id)
            method = gr.Dropdown(
                choices, value=first, label="Method", show_label=False, container=False, elem_id="videomethod"
            )
            _rubric("Scale")
            with gr.Row(elem_id="videoscalerow"):
                scale = gr.Textbox(
                    "2", label="Scale", show_label=False, container=False, max_lines=1, max_length=40,
                    elem_id="videoscale", placeholder="2, 2x3.5, 1920x",
                )  # fmt: skip
                kind = gr.Dropdown(
                    list(video.FORMATS), value="mp4", label="File format", show_label=False, container=False,
                    elem_id="videoformat",
                )  # fmt: skip
            forecast = gr.HTML(_note(_SCALES), elem_id="videoforecast", padding=False, apply_default_css=False)
            trip = gr.Checkbox(
                label="Round trip: shrink the video first, then compare with it", container=False, elem_id="videotrip"
            )
            with gr.Column(elem_id="videofoot"):
                notice = gr.HTML(elem_id="videonotice", padding=False, apply_default_css=False)
                run = gr.Button("Run", variant="primary", elem_id="videorun")
                stop = gr.Button("Stop", variant="secondary", elem_id="videostop", visible=False)
        with gr.Column(elem_id="videostage"):
            player = PlayerComponent()

    wishes = [file, method, scale, start, end, kind, trip]

    def begin(
        path: Any, chosen: Any, text: Any, first_s: Any, last_s: Any, suffix: Any, shrink: Any, request: gr.Request
    ) -> Iterator[Any]:
        visitor = request.session_hash or "api"
        begun = False
        try:
            request_ = VideoRequest(
                path, str(chosen), str(text), str(first_s or ""), str(last_s or ""), str(suffix), bool(shrink)
            )
            state = None
            for state in video.watch(app, visitor, video.prepare(app, request_)):
                yield state, *([gr.skip()] * 3 if begun else _buttons(True, ""))
                begun = True
            yield state, *_buttons(False, "")
        except GsrError as error:
            yield gr.skip(), *_buttons(False, _note(f"{error} {error.hint}", wrong=True))

    def halt(request: gr.Request) -> None:
        app.runs.stop("video", request.session_hash or "api")

    streaming: dict[str, Any] = {
        "fn": begin, "inputs": wishes, "outputs": [player, run, stop, notice], "show_progress": "hidden",
        "concurrency_limit": None, "api_visibility": "undocumented", "trigger_mode": "once",
    }  # fmt: skip
    run.click(**streaming, api_name="video_run")
    shown = player.example(lambda: str(example) if example else None, outputs=file, api_name="video_example", **_QUIET)
    shown.then(**streaming, api_name="video_run_example")
    # The work ends by itself once it is asked to: what is done by then stays in the player.
    stop.click(halt, api_name="video_stop", **_QUIET)

    def tell(path: Any) -> str:
        if not path:
            return ""
        try:
            return _facts(video.read_info(app, path))
        except GsrError as error:
            return _note(f"{error} {error.hint}", wrong=True)

    def predict(path: Any, text: Any, shrink: Any) -> str:
        try:
            return _note(_forecast(video.read_info(app, path), str(text), bool(shrink))) if path else _note(_SCALES)
        except GsrError as error:
            return _note(f"{error} {error.hint}", wrong=True)

    file.change(tell, file, facts, api_name="video_facts", **_QUIET)
    gr.on(
        [file.change, scale.change, trip.change], predict, [file, scale, trip], forecast,
        trigger_mode="always_last", api_name="video_forecast", **_QUIET,
    )  # fmt: skip


# ---- small things ----------------------------------------------------------------------------------------------


def _rubric(text: str) -> None:
    gr.HTML(f'<h2 class="gsr-rubric">{html.escape(text)}</h2>', padding=False, apply_default_css=False)


def _moment(placeholder: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        "", show_label=False, label=placeholder, container=False, max_lines=1, max_length=20, placeholder=placeholder,
        elem_id=name,
    )  # fmt: skip


def _note(text: str, *, wrong: bool = False) -> str:
    """A line of the rail. Everything a visitor or a file named is escaped."""
    return f'<div class="gsr-facts{" is-wrong" if wrong else ""}" aria-live="polite">{html.escape(text)}</div>'


def _buttons(running: bool, notice: str) -> list[Any]:
    return [gr.update(visible=not running), gr.update(visible=running), notice]


def _title(app: AppState, method: Any) -> str:
    state = app.engine.availability(method)
    if state.here:
        return method.title
    return f"{method.title} ({present.bytes_text(state.download_bytes)})" if state.download_bytes else method.title


def _facts(info: Any) -> str:
    height, width = info.size
    parts = [f"{width} × {height}"]
    if info.rate:
        parts.append(f"{float(info.rate):.5g} per second")
    if info.duration_s:
        parts.append(clock(info.duration_s))
    if info.coding.bits > 8:
        parts.append(f"{info.coding.bits} bits")
    if any(track.kind == "audio" for track in info.tracks):
        parts.append("sound")
    return _note(" · ".join(parts))


def _forecast(info: Any, text: str, shrink: bool) -> str:
    scale = Scale.parse(text, info.size)
    size, before = info.size, ""
    if shrink:
        from gsr_app.engine.video_job import ROUND_TRIP  # it imports torch

        size = present.small_size(size, scale, ROUND_TRIP.name)
        before = f"{size[1]} × {size[0]} "
    height, width = scale.output_size(size)
    return f"{before}→ {width} × {height}, {height * width / 1e6:.2g} MP each"
