"""Plots of a visitor's runs: time over scale, quality over time, and the distribution of a field's Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from gsr_app.core.types import GaussianField
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.contract import PaneSpec, Scene

_RUNS_PER_VISITOR = 300
_BINS = 60
_NO_FIELD = "Needs a run of a method that makes Gaussians."
_INK, _LINE = "#7d8287", "rgba(128,128,128,0.22)"


@dataclass(frozen=True, eq=False)
class Run:
    """One finished method of one comparison."""

    scale: float
    source: str
    pane: PaneSpec


def runs_of(scene: Scene) -> tuple[Run, ...]:
    """The finished methods of a comparison."""
    scale = scene.scale or {"x": 1.0, "y": 1.0}
    factor = (scale["x"] * scale["y"]) ** 0.5
    name = scene.source.name if scene.source else ""
    return tuple(Run(factor, name, pane) for pane in scene.panes if pane.kind == "method" and pane.timing)


def add_runs(history: BoundedStore[tuple[Run, ...]], visitor: str, scene: Scene) -> None:
    """Append a comparison to what its visitor has measured; the oldest runs are dropped."""
    history.change(visitor, lambda before: ((before or ()) + runs_of(scene))[-_RUNS_PER_VISITOR:])


def _figure(title: str, x: str, y: str) -> Any:
    axis: dict[str, Any] = {"gridcolor": _LINE, "zeroline": False, "linecolor": _LINE, "ticks": ""}
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 13}, "x": 0.01},
        xaxis={**axis, "title": x},
        yaxis={**axis, "title": y},
        font={"family": "Inter, Liberation Sans, sans-serif", "size": 12, "color": _INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 12, "t": 40, "b": 44},
        height=320,
        legend={"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    )
    return figure


def _or_note(figure: Any, why: str) -> Any:
    """A plot without data shows what it needs, instead of empty axes."""
    if not figure.data:
        figure.add_annotation(text=why, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure


def _by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.pane.id, []).append(run)
    return grouped


def time_over_scale(runs: Sequence[Run]) -> Any:
    """Seconds against the scale, one line per method; first runs, which load the network, are left out."""
    figure = _figure("Time by scale", "scale", "seconds")
    figure.update_yaxes(type="log")
    for method_runs in _by_method([run for run in runs if run.pane.timing and not run.pane.timing.cold]).values():
        ordered = sorted(method_runs, key=lambda run: run.scale)
        pane = ordered[0].pane
        figure.add_scatter(
            x=[run.scale for run in ordered],
            y=[run.pane.timing.total_ms / 1000 for run in ordered if run.pane.timing],
            name=pane.name,
            mode="lines+markers",
            line={"color": pane.colour, "width": 1.5},
            text=[run.source + (", draw only" if _is_draw_only(run.pane) else "") for run in ordered],
            hovertemplate="×%{x:.2f} · %{y:.3g} s<br>%{text}",
        )
    return _or_note(figure, "First runs load the network and are left out: run again.")


def _is_draw_only(pane: PaneSpec) -> bool:
    """Whether the field was kept from an earlier run."""
    return pane.field is not None and pane.timing is not None and "encode" not in pane.timing.stages_ms


def quality_over_time(runs: Sequence[Run]) -> Any:
    """PSNR-Y against seconds, one point per run that had a reference."""
    figure = _figure("Quality by time", "seconds", "PSNR-Y, dB")
    figure.update_xaxes(type="log")
    scored = [run for run in runs if run.pane.metrics and run.pane.metrics.psnr_y is not None and run.pane.timing]
    for method_runs in _by_method(scored).values():
        pane = method_runs[0].pane
        figure.add_scatter(
            x=[run.pane.timing.total_ms / 1000 for run in method_runs if run.pane.timing],
            y=[run.pane.metrics.psnr_y for run in method_runs if run.pane.metrics],
            name=pane.name,
            mode="markers",
            marker={"color": pane.colour, "size": 9},
            text=[f"{run.source} ×{run.scale:.2f}" for run in method_runs],
            hovertemplate="%{y:.2f} dB · %{x:.3g} s<br>%{text}",
        )
    return _or_note(figure, "Needs a run with a reference or a round trip.")


def _array(values: Any) -> NDArray[np.float32]:
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values, np.float32)


def field_spread(fields: Sequence[tuple[PaneSpec, GaussianField]]) -> tuple[Any, Any]:
    """Distributions of the Gaussians' sizes (both axes) and of their strength (the largest colour channel)."""
    sizes = _figure("Sizes of the Gaussians", "σ, source pixels", "share, %")
    strengths = _figure("Strength of the Gaussians", "largest colour channel", "share, %")
    for pane, field in fields:
        strength = np.abs(_array(field.color)).max(1)
        for figure, values in ((sizes, _array(field.sigma).ravel()), (strengths, strength)):
            if not len(values):
                continue
            low, high = (float(edge) for edge in np.percentile(values, (0.1, 99.9)))
            margin = 0.01 * max(abs(low), abs(high), 1e-3)  # also where all are equal
            counts, edges = np.histogram(values.astype(np.float64), _BINS, (low - margin, high + margin))
            figure.add_scatter(
                x=(edges[1:] + edges[:-1]) / 2,
                y=100 * counts / len(values),
                name=pane.name,
                mode="lines",
                line={"color": pane.colour, "width": 1.5, "shape": "hvh"},
                hovertemplate="%{x:.3g} · %{y:.2f} %",
            )
    return _or_note(sizes, _NO_FIELD), _or_note(strengths, _NO_FIELD)
