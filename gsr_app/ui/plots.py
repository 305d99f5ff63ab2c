"""Plots of a visitor's runs: time over scale, quality over time, and the distribution of a field's Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
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
    axis: dict[str, Any] = {"gridcolor": _LINE, "zeroline": False, "linecolor": _LINE, "ticks": "", "automargin": True}
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 13}, "x": 0.01},
        xaxis={**axis, "title": x},
        yaxis={**axis, "title": y},
        font={"family": "Inter, Liberation Sans, sans-serif", "size": 12, "color": _INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 12, "t": 40, "b": 44},
        height=360,
        # Below the axis: beside the title there is no room for six methods.
        legend={"orientation": "h", "y": -0.2, "x": 0, "xanchor": "left", "yanchor": "top"},
    )
    return figure


def _or_note(figure: Any, why: str) -> Any:
    """A plot without data shows what it needs, instead of empty axes."""
    if not figure.data:
        figure.add_annotation(text=why, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure


def _grouped(runs: Sequence[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    found: dict[Any, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def _seconds(run: Run) -> float:
    return run.pane.timing.total_ms / 1000 if run.pane.timing else 0.0


@dataclass(frozen=True)
class _Spread:
    """The times of several runs, in seconds."""

    median: float
    below: float  # from the median to the least
    above: float  # from the median to the most
    text: str

    @classmethod
    def of(cls, runs: Sequence[Run]) -> _Spread:
        times = [_seconds(run) for run in runs]
        middle = median(times)
        names = list(dict.fromkeys(run.source for run in runs))
        sources = names[0] if len(names) == 1 else f"{len(names)} pictures"
        text = f"median of {len(times)}, {min(times):.3g} to {max(times):.3g} s" if len(times) > 1 else "1 run"
        return cls(middle, middle - min(times), max(times) - middle, f"{sources}<br>{text}")


def _error_bars(spreads: Sequence[_Spread], **options: Any) -> dict[str, Any]:
    """From the least to the most, where there are several."""
    below, above = [one.below for one in spreads], [one.above for one in spreads]
    return {
        "type": "data", "symmetric": False, "arrayminus": below, "array": above, "thickness": 1, "width": 4,
        "visible": any(below) or any(above), **options,
    }  # fmt: skip


_FINE_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with a few round numbers, written out."""
    if not values:
        return {"type": "log"}
    low, high = min(values) / 1.25, max(values) * 1.25
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3.2 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    shown: list[float] = []
    for each in (steps, _FINE_STEPS):  # the fine ones where the others give no scale
        if len(shown) < 2:
            shown = [tick for power in powers for step in each if low <= (tick := step * 10.0**power) <= high]
    return {
        "type": "log", "range": [math.log10(low), math.log10(high)], "tickvals": shown,
        "ticktext": [f"{float(f'{tick:.3g}'):g}" for tick in shown],
    }  # fmt: skip


_MOST_TICKS = 8


def time_over_scale(runs: Sequence[Run]) -> Any:
    """Seconds against the scale: per method the median of the runs at each scale, and bars from the least to the most.

    First runs, which load the network, are left out. Runs that drew a field of an earlier run are a line of their own.
    """
    figure = _figure("Time by scale", "scale", "seconds")
    timed = [run for run in runs if run.pane.timing and not run.pane.timing.cold]
    for (_, drawn_only), line in _grouped(timed, lambda run: (run.pane.id, _is_draw_only(run.pane))).items():
        by_scale = _grouped(sorted(line, key=lambda run: run.scale), lambda run: run.scale)
        spreads = [_Spread.of(group) for group in by_scale.values()]
        pane = line[0].pane
        figure.add_scatter(
            x=list(by_scale),
            y=[one.median for one in spreads],
            error_y=_error_bars(spreads, color=pane.colour),
            name=pane.name + (", draw only" if drawn_only else ""),
            mode="lines+markers",
            line={"color": pane.colour, "width": 1.5, "dash": "dot" if drawn_only else "solid"},
            text=[one.text for one in spreads],
            hovertemplate="×%{x:.3g} · %{y:.3g} s<br>%{text}",
        )
    figure.update_yaxes(**_log_axis([_seconds(run) for run in timed]))
    scales = sorted({run.scale for run in timed})
    if 0 < len(scales) <= _MOST_TICKS:
        figure.update_xaxes(tickvals=scales, ticktext=[f"×{scale:.3g}" for scale in scales])
    else:
        figure.update_xaxes(tickprefix="×", nticks=_MOST_TICKS)
    return _or_note(figure, "First runs load the network and are left out: run again.")


def _is_draw_only(pane: PaneSpec) -> bool:
    """Whether the field was kept from an earlier run."""
    return pane.field is not None and pane.timing is not None and "encode" not in pane.timing.stages_ms


def quality_over_time(runs: Sequence[Run]) -> Any:
    """PSNR-Y against seconds: a point per method, picture and scale with a reference, at the median of its times."""
    figure = _figure("Quality by time", "seconds", "PSNR-Y, dB")
    scored = [run for run in runs if run.pane.metrics and run.pane.metrics.psnr_y is not None and run.pane.timing]
    for method_runs in _grouped(scored, lambda run: run.pane.id).values():
        points = list(_grouped(method_runs, lambda run: (run.source, run.scale, _psnr(run))).values())
        spreads = [_Spread.of(group) for group in points]
        pane = method_runs[0].pane
        figure.add_scatter(
            x=[one.median for one in spreads],
            y=[_psnr(group[0]) for group in points],
            error_x=_error_bars(spreads, color=pane.colour),
            name=pane.name,
            mode="markers",
            marker={"color": pane.colour, "size": 9},
            text=[f"×{group[0].scale:.3g} {one.text}" for group, one in zip(points, spreads, strict=True)],
            hovertemplate="%{y:.2f} dB · %{x:.3g} s<br>%{text}",
        )
    figure.update_xaxes(**_log_axis([_seconds(run) for run in scored]))
    return _or_note(figure, "Needs a run with a reference or a round trip.")


def _psnr(run: Run) -> float | None:
    return run.pane.metrics.psnr_y if run.pane.metrics else None


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
