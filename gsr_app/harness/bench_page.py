"""`gsr bench --report`: one page of everything that was kept, made from the CSVs alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError
from gsr_app.harness.bench_record import Measure, read_csv, shorten

_INTRO = """# Benchmarks

Made by `python -m gsr_app bench --report` from the CSV files beside it; each file is named by its conditions.
Machines are noisy and differ: compare ratios and matmul units, not milliseconds. Every figure is a median, with the
distance between the quartiles after it.
"""


def write(folder: Path) -> Path:
    """Write README.md, and one drawing per CSV, into the folder; returns the page."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise GsrError(f"{folder} holds no results.", hint="Run a benchmark first: gsr bench end-to-end.")
    parts = [_INTRO]
    for path in paths:
        conditions, measures = read_csv(path)
        picture = path.with_suffix(".svg")
        _draw(path.stem, measures, picture)
        parts.append(_section(path, conditions, measures, picture))
    page = folder / "README.md"
    write_whole(page, "\n".join(parts))
    return page


def _section(path: Path, conditions: dict[str, str], measures: list[Measure], picture: Path) -> str:
    lines = [
        f"## {path.stem}",
        "",
        f"{conditions.get('cpu', '?')}, {conditions.get('threads', '?')} thread(s), {conditions.get('device', '?')}, "
        f"drawing by {conditions.get('backend', '?')}, torch {conditions.get('torch', '?')}, "
        f"{conditions.get('date', 'date unknown')}, revision {conditions.get('revision') or '?'}, "
        f"matmul unit {conditions.get('matmul_unit_ms', '?')} ms.",
        "",
        f"![{path.stem}]({picture.name})",
        "",
        "| case | metric | median | spread | n |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [f"| {m.case} | {m.metric} | {shorten(m.median)} {m.unit} | {shorten(m.iqr)} | {m.n} |" for m in measures]
    return "\n".join([*lines, ""])


def _draw(title: str, measures: list[Measure], picture: Path) -> None:
    """Times as bars, or what there is when nothing was timed; a drawing holds one unit."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise GsrError("Drawing the page needs plotly and kaleido.", hint="pip install plotly kaleido") from None
    unit = "ms" if any(one.unit == "ms" for one in measures) else measures[0].unit
    shown = [one for one in measures if one.unit == unit]
    if chromium := shutil.which("chromium"):
        os.environ.setdefault("BROWSER_PATH", chromium)  # kaleido draws in a browser
    figure: Any = go.Figure()
    for metric in dict.fromkeys(one.metric for one in shown):
        of_metric = [one for one in shown if one.metric == metric]
        figure.add_bar(
            name=metric,
            y=[one.case for one in of_metric],
            x=[one.median for one in of_metric],
            error_x={"array": [one.iqr / 2 for one in of_metric]},
            orientation="h",
        )
    rows = len({one.case for one in shown}) * len({one.metric for one in shown})
    figure.update_layout(
        title=title,
        xaxis={"title": unit, "type": "log"},
        yaxis={"autorange": "reversed", "automargin": True},
        template="plotly_white",
        width=900,
        height=180 + 16 * rows,
        margin={"l": 20, "r": 20, "t": 50, "b": 50},
    )
    try:
        figure.write_image(picture)
    except Exception as error:  # kaleido raises its browser's own kinds
        raise GsrError(
            f"The drawing {picture.name} could not be made: {str(error).splitlines()[0]}",
            hint="It needs kaleido and a Chromium: pip install kaleido.",
        ) from None
