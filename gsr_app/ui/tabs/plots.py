"""The Plots tab: what this visitor has measured so far."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.core.types import GaussianField
from gsr_app.ui import plots
from gsr_app.ui.compare import House
from gsr_app.ui.viewer.contract import PaneSpec

_EMPTY = "Run a few comparisons: what they measure is drawn here. A round trip or a reference gives quality."


def build(house: House, tab: gr.Tab) -> None:
    with gr.Column(elem_classes=["gsr-page"]):
        note = gr.HTML(f'<p class="gsr-quiet">{_EMPTY}</p>', apply_default_css=False, padding=False)
        with gr.Row():
            times, quality = (gr.Plot(show_label=False, container=False) for _ in range(2))
        with gr.Row():
            sizes, strengths = (gr.Plot(show_label=False, container=False) for _ in range(2))

    def draw(request: gr.Request) -> list[Any]:
        runs = house.history.of(request.session_hash or "api")
        text = f"{len(runs)} runs of yours" if runs else _EMPTY
        fields = list(_fields(house, [run.pane for run in runs]).values())
        drawn = [plots.time_over_scale(runs), plots.quality_over_time(runs), *plots.field_spread(fields)]
        return [f'<p class="gsr-quiet">{html.escape(text)}</p>', *(drawn if runs else [None] * 4)]

    outputs = [note, times, quality, sizes, strengths]
    tab.select(draw, outputs=outputs, show_progress="hidden", api_name="plots", api_visibility="undocumented")


def _fields(house: House, panes: list[PaneSpec]) -> dict[str, tuple[PaneSpec, GaussianField]]:
    """The newest field of every method that is still kept."""
    found: dict[str, tuple[PaneSpec, GaussianField]] = {}
    for pane in reversed(panes):
        if pane.field is None or pane.id in found:
            continue
        try:
            found[pane.id] = (pane, house.engine.field(house.handles.get(pane.field.id)))
        except GsrError:
            continue  # no longer kept
    return found
