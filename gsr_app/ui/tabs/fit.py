"""The Fit tab: a picture, starts and a budget on the left; the growing fit on the right."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.io.fields import SUFFIX
from gsr_app.ui import compare, fit, rail
from gsr_app.ui.components.viewer import ViewerComponent
from gsr_app.ui.inputs import PictureInput
from gsr_app.ui.state import AppState
from gsr_app.ui.views import server_functions
from gsr_app.viewer.contract import Refused, Scene


def build(app: AppState) -> None:
    """Lay out the tab and connect its events."""
    kept = fit.fit_store()
    with gr.Row(elem_id="fit"):
        with gr.Column(elem_id="fitrail"):
            rail.heading("Image")
            picture = PictureInput(
                elem_id="fitpicture", show_label=False, sources=["upload", "clipboard"],
                placeholder="Drop, paste or choose a picture", container=False,
            )  # fmt: skip
            rail.heading("Start")
            starts = gr.CheckboxGroup(
                [(title, start) for start, (title, _) in fit.STARTS.items()], value=["network"], show_label=False,
                container=False, elem_id="fitstarts",
            )  # fmt: skip
            rail.heading("Gaussians")
            gaussians = gr.Textbox(
                "auto", show_label=False, label="Gaussians", container=False, max_lines=1, max_length=12,
                placeholder="auto, or 7000", elem_id="fitcount",
            )  # fmt: skip
            rail.heading("Seconds per start")
            seconds = gr.Slider(
                1, fit.MOST_SECONDS, 10, step=1, label="Seconds per start", show_label=False, container=False,
                elem_id="fitseconds", buttons=[],
            )  # fmt: skip
            with gr.Accordion("Open .gsr file", open=False, elem_id="fitopen"):
                file = gr.File(
                    show_label=False, container=False, type="filepath", file_types=[SUFFIX], elem_id="fitfile"
                )
            with gr.Column(elem_id="fitfoot"):
                notice = gr.HTML(elem_id="fitnotice", padding=False, apply_default_css=False)
                rail.settings_button()
                run = gr.Button("Fit", variant="primary", elem_id="fitrun")
                more = gr.Button("Continue", variant="secondary", elem_id="fitmore", visible=False)
                stop = gr.Button("Stop", variant="secondary", elem_id="fitstop", visible=False)
        with gr.Column(elem_id="fitstage"):
            viewer = ViewerComponent(elem_id="fitviewer", server=server_functions(app))
            curve = gr.Plot(show_label=False, container=False, elem_id="fitcurve", visible=False)

    def show(job: fit.FitJob, request: gr.Request) -> Iterator[Any]:
        begun = False
        scene = None
        visitor = rail.visitor(request)
        for scene, drawn in rail.while_heard(app, request, fit.watch(app, visitor, job)):
            if not begun:  # it runs: no other picture that is looked at takes its place any more
                kept.put(job, visitor)
            figure = gr.skip() if drawn is None else gr.update(value=drawn, visible=True)
            yield scene, figure, *([gr.skip()] * 4 if begun else rail.begun(starters=2))
            begun = True
        yield scene, *[gr.skip()] * 4, _summary(job)

    def begin(path: Any, chosen: Any, count: Any, budget: Any, request: gr.Request) -> Iterator[Any]:
        try:
            job = fit.prepare(app, path, chosen, count, budget)
        except GsrError as error:
            yield Refused(), *[gr.skip()] * 4, rail.error_note(error)
            return
        try:
            yield from show(job, request)
        except GsrError as error:
            yield *[gr.skip()] * 5, rail.error_note(error)

    def go_on(budget: Any, request: gr.Request) -> Iterator[Any]:
        visitor = rail.visitor(request)
        try:
            job = replace(kept.get(visitor), continues=True, seconds=fit.read_seconds(budget))
            yield from show(job, request)
        except GsrError as error:
            yield *[gr.skip()] * 5, rail.error_note(error)

    def come_back(visitor: str) -> list[Any]:
        has_fit = kept.find(visitor) is not None
        return [gr.update(visible=True), gr.update(visible=has_fit), gr.update(visible=False)]

    def halt(request: gr.Request) -> None:
        app.runs.stop("fit", rail.visitor(request))

    def show_picture(path: Any, request: gr.Request) -> tuple[Any, ...]:
        """The new picture on the stage, in place of the fit of another, which ends with it."""
        if not path:
            return *[gr.skip()] * 3, ""
        try:
            scene, said = compare.preview(app, path)[0], ""
        except GsrError as error:
            scene, said = Scene(), rail.error_note(error)
        visitor = rail.visitor(request)
        if app.runs.is_running("fit", visitor):
            return *[gr.skip()] * 3, said
        kept.drop(visitor)
        return scene, gr.update(value=None, visible=False), gr.update(visible=False), said

    def open_file(path: Any, request: gr.Request) -> tuple[Any, ...]:
        """The field of a file in place of the fit that was shown, and without its picture and curves."""
        if not path:
            return (*[gr.skip()] * 4, "")
        visitor = rail.visitor(request)
        try:
            stop_first = InvalidArgument("Stop the fit first.", hint="Then open the file again.")
            if app.runs.is_running("fit", visitor):
                raise stop_first
            scene = fit.open_field(app, path)
            if app.runs.is_running("fit", visitor):  # begun while the file waited in the queue
                raise stop_first
        except GsrError as error:
            return (*[gr.skip()] * 4, rail.error_note(error))
        kept.drop(visitor)
        return scene, gr.update(value=None, visible=False), None, gr.update(visible=False), ""

    streaming = rail.streaming([viewer, curve, run, more, stop, notice])
    inputs = [picture, starts, gaussians, seconds]
    started = run.click(begin, inputs, api_name="fit_run", **streaming)
    continued = more.click(go_on, [seconds], api_name="fit_more", **streaming)
    shown = viewer.example(
        lambda: app.first_example,
        outputs=picture,
        api_name="fit_example",
        **rail.QUIET,
    )
    started_example = shown.then(begin, inputs, api_name="fit_run_example", **streaming)
    for event, name in ((started, "fit"), (continued, "fit_more"), (started_example, "fit_example")):
        rail.come_back(app, "fit", event, [run, more, stop], name, come_back)
    # The fit ends itself when it is cancelled: the best so far stays on the stage.
    stop.click(halt, api_name="fit_stop", **rail.STOPPING)
    picture.change(show_picture, picture, [viewer, curve, more, notice], api_name="fit_picture", **rail.LATEST)
    file.change(open_file, file, [viewer, curve, picture, more, notice], api_name="fit_open", **rail.LATEST)


def _summary(job: fit.FitJob) -> str:
    """The last status of each start."""
    lines = [
        f"<b>{fit.STARTS[start][0]}</b> {html.escape(fit.describe(frames[-1]))}"
        for start, frames in job.curves.items()
        if frames
    ]
    return f'<div class="gsr-facts" aria-live="polite">{"<br>".join(lines)}</div>'
