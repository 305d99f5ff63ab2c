"""The Plots tab: plots of this visitor's runs."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.core.types import GaussianField
from gsr_app.ui import plots
from gsr_app.ui.state import AppState
from gsr_app.viewer.contract import PaneSpec

# The plots to come: a name, a sentence, and a sketch as an SVG path in 120 x 44.
_COMING = (
    ("Time by scale", "What a larger picture costs, a line per method.", "M4 38 C40 36 70 30 116 6 M4 40 L116 30"),
    ("Quality by time", "PSNR of each run, best at the top left. Needs a reference or a round trip.",
     "M22 12h.1 M40 20h.1 M58 10h.1 M84 26h.1 M104 8h.1"),
    ("Sizes of Gaussians", "How fine or wide a field's Gaussians are.", "M4 40 C30 40 34 8 52 8 S76 40 116 40"),
    ("Their strength", "How strongly each of them colours the picture.", "M4 10 C20 38 50 40 116 40"),
)  # fmt: skip
_GO = "() => document.querySelector('#gsr-tabs [role=tab]').click()"  # Compare is the first


def build(app: AppState, tab: gr.Tab) -> None:
    with gr.Column(elem_classes=["gsr-page"]):
        with gr.Column(elem_classes=["gsr-coming"]) as nothing:
            gr.HTML(_invitation(), apply_default_css=False, padding=False)
            gr.Button("Run a comparison", variant="primary", size="sm").click(None, js=_GO, api_visibility="private")
        with gr.Column(visible=False) as drawings:
            note = gr.HTML(apply_default_css=False, padding=False)
            with gr.Row(elem_classes=["gsr-plotrow"]):
                times, quality = (gr.Plot(show_label=False, container=False) for _ in range(2))
            with gr.Row(elem_classes=["gsr-plotrow"]):
                sizes, strengths = (gr.Plot(show_label=False, container=False) for _ in range(2))

    def draw(request: gr.Request) -> list[Any]:
        runs = app.history.find(request.session_hash or "api") or ()
        text = f"{len(runs)} run{'s' if len(runs) > 1 else ''} of yours"
        if any(run.pane.timing and run.pane.timing.cold for run in runs):
            text += ". Time by scale leaves out first runs, which load the method."
        fields = list(_fields(app, [run.pane for run in runs]).values())
        drawn = [plots.time_over_scale(runs), plots.quality_over_time(runs), *plots.field_spread(fields)]
        shown = [gr.update(visible=not runs), gr.update(visible=bool(runs))]
        return [*shown, f'<p class="gsr-quiet">{html.escape(text)}</p>', *(drawn if runs else [None] * 4)]

    outputs = [nothing, drawings, note, times, quality, sizes, strengths]
    tab.select(draw, outputs=outputs, show_progress="hidden", api_name="plots", api_visibility="undocumented")


def _invitation() -> str:
    """The tab before the first run."""
    cards = "".join(
        f'<li><svg viewBox="0 0 120 44" aria-hidden="true"><path d="{path}"/></svg>'
        f"<b>{name}</b><span>{text}</span></li>"
        for name, text, path in _COMING
    )
    return (
        "<h2>Nothing measured yet</h2><p>Run two or three methods at a few scales: every run adds to these drawings, "
        f"for as long as this page is open.</p><ul>{cards}</ul>"
    )


def _fields(app: AppState, panes: list[PaneSpec]) -> dict[str, tuple[PaneSpec, GaussianField]]:
    """The newest field of every method that is still kept."""
    found: dict[str, tuple[PaneSpec, GaussianField]] = {}
    for pane in reversed(panes):
        if pane.field is None or pane.id in found:
            continue
        try:
            found[pane.id] = (pane, app.engine.field(app.handles.get(pane.field.id)))
        except GsrError:
            continue  # no longer kept
    return found
