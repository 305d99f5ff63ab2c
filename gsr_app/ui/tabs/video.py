"""The Video tab: a clip, a method and a scale on the left; the player on the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.core.types import Scale
from gsr_app.io.video.reader import SUFFIXES, clock
from gsr_app.ui import clips, present, rail, video
from gsr_app.ui.components.player import PlayerComponent
from gsr_app.ui.state import AppState
from gsr_app.ui.video import VideoRequest

_SCALES = "One factor, one per axis (2x3.5, vertical first) or pixels (1920x)."


def build(app: AppState) -> None:
    """Lay out the tab and connect its events."""
    example = clips.example_file(app.files.root.with_name("gsr-examples"))

    with gr.Row(elem_id="video"):
        with gr.Column(elem_id="videorail"):
            rail.heading("Video")
            file = gr.File(
                show_label=False, container=False, type="filepath", file_types=[*SUFFIXES], elem_id="videofile",
            )  # fmt: skip
            facts = gr.HTML(elem_id="videofacts", padding=False, apply_default_css=False)
            with gr.Row(elem_id="videotrim"):
                start = _moment("from the start", "videostart")
                end = _moment("to the end", "videoend")
            rail.heading("Method")
            method = rail.method_list(app, lambda: app.engine.video_methods, "videomethod")
            rail.heading("Scale")
            with gr.Row(elem_id="videoscalerow"):
                scale = gr.Textbox(
                    "2", label="Scale", show_label=False, container=False, max_lines=1, max_length=40,
                    elem_id="videoscale", placeholder="2, 2x3.5, 1920x",
                )  # fmt: skip
                kind = gr.Dropdown(
                    list(video.FORMATS), value="mp4", label="File format", show_label=False, container=False,
                    elem_id="videoformat",
                )  # fmt: skip
            forecast = gr.HTML(rail.note(_SCALES), elem_id="videoforecast", padding=False, apply_default_css=False)
            trip = gr.Checkbox(
                label="Round trip: shrink the video first, then compare with it", container=False, elem_id="videotrip"
            )
            with gr.Column(elem_id="videofoot"):
                notice = gr.HTML(elem_id="videonotice", padding=False, apply_default_css=False)
                rail.settings_button()
                run = gr.Button("Run", variant="primary", elem_id="videorun")
                stop = gr.Button("Stop", variant="secondary", elem_id="videostop", visible=False)
        with gr.Column(elem_id="videostage"):
            player = PlayerComponent()

    inputs = [file, method, scale, start, end, kind, trip]

    def begin(
        path: Any, chosen: Any, text: Any, first_s: Any, last_s: Any, suffix: Any, shrink: Any, request: gr.Request
    ) -> Iterator[Any]:
        begun = False
        try:
            asked = VideoRequest(
                path, str(chosen), str(text), str(first_s or ""), str(last_s or ""), str(suffix), bool(shrink)
            )
            state = None
            job = video.prepare(app, asked)
            for state in rail.while_heard(app, request, video.watch(app, rail.visitor(request), job)):
                yield state, *([gr.skip()] * 3 if begun else rail.begun())
                begun = True
            yield state, *rail.over("")
        except GsrError as error:
            yield gr.skip(), *rail.over(rail.error_note(error))

    def halt(request: gr.Request) -> None:
        app.runs.stop("video", rail.visitor(request))

    streaming = rail.streaming([player, run, stop, notice])
    started = run.click(begin, inputs, api_name="video_run", **streaming)
    shown = player.example(
        lambda: str(example) if example else None, outputs=file, api_name="video_example", **rail.QUIET
    )
    started_example = shown.then(begin, inputs, api_name="video_run_example", **streaming)
    for event, name in ((started, "video"), (started_example, "video_example")):
        rail.come_back(app, "video", event, [run, stop], name)
    # The run ends itself when it is cancelled: what is done by then stays in the player.
    stop.click(halt, api_name="video_stop", **rail.STOPPING)

    def tell(path: Any) -> str:
        if not path:
            return ""
        try:
            return _facts(video.read_info(app, path))
        except GsrError as error:
            return rail.error_note(error)

    def predict(path: Any, text: Any, shrink: Any) -> str:
        try:
            return (
                rail.note(_forecast(video.read_info(app, path), str(text), bool(shrink)))
                if path
                else rail.note(_SCALES)
            )
        except GsrError as error:
            return rail.error_note(error)

    file.change(tell, file, facts, api_name="video_facts", **rail.LATEST)
    gr.on(
        [facts.change, scale.change, trip.change], predict, [file, scale, trip], forecast, api_name="video_forecast",
        **rail.LATEST,
    )  # fmt: skip


# ---- helpers ---------------------------------------------------------------------------------------------------


def _moment(placeholder: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        "", show_label=False, label=placeholder, container=False, max_lines=1, max_length=20, placeholder=placeholder,
        elem_id=name,
    )  # fmt: skip


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
    return rail.note(" · ".join(parts))


def _forecast(info: Any, text: str, shrink: bool) -> str:
    scale = Scale.parse(text, info.size)
    size, before = info.size, ""
    if shrink:
        from gsr_app.engine.video_job import ROUND_TRIP  # it imports torch

        size = present.small_size(size, scale, ROUND_TRIP.name)
        before = f"{size[1]} × {size[0]} "
    height, width = scale.output_size(size)
    return f"{before}→ {width} × {height}, {present.megapixels(height * width)} each"
