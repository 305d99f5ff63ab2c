"""PSNR and loss of runs over steps and seconds, as one page by plotly: for fits and for training."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.atomic import write_whole
from gsr_app.core.extras import needs_extra

_COLORS = ("#1f9d8a", "#e07b39", "#4c6fbf", "#b0517f", "#7a8b2f")


def write(runs: Mapping[str, NDArray[np.float32]], score: str, out: Path) -> None:
    """Write the page. A run has rows of step, loss, score and, if known, seconds; NaN where there is no figure."""
    title = escape(", ".join(runs) or "Runs")
    body = draw(runs, score).to_html(include_plotlyjs=True, full_html=False)
    head = (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}: {escape(score)}</title></head>'
    )
    write_whole(out, f"{head}\n<body>{body}</body>\n</html>\n")


def draw(runs: Mapping[str, NDArray[np.float32]], score: str) -> Any:
    """The figure; `score` names the third column."""
    with needs_extra("app", "The plot of fits"):
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

    figure: Any = make_subplots(rows=2, cols=2, shared_yaxes=True, vertical_spacing=0.1, horizontal_spacing=0.05)
    for number, (name, rows) in enumerate(runs.items()):
        color = _COLORS[number % len(_COLORS)]
        for column, x in ((1, rows[:, 0]), (2, rows[:, 3] if rows.shape[1] > 3 else rows[:, 0])):
            for row, y in ((1, rows[:, 2]), (2, rows[:, 1])):
                shown = {"showlegend": row == column == 1, "legendgroup": str(number), "line": {"color": color}}
                line = go.Scatter(x=x, y=y, name=name, mode="lines", connectgaps=True, **shown)
                figure.add_trace(line, row=row, col=column)
    figure.update_yaxes(title=score, row=1, col=1)
    figure.update_yaxes(title="loss", type="log", row=2, col=1)
    figure.update_xaxes(title="step", row=2, col=1)
    figure.update_xaxes(title="seconds", row=2, col=2)
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 20, "t": 30, "b": 50})
    return figure
