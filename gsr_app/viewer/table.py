"""The scores of a comparison as a table: LaTeX or Markdown for a paper, CSV for another program."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from gsr_app.viewer.contract import PaneMetrics, PaneSpec, Scene

FORMATS = ("tex", "md", "csv")
_NONE = "–"


@dataclass(frozen=True)
class _Scores:
    psnr: float | None
    ssim: float | None
    flip: float | None


_FORMS = {"psnr": (2, 1), "ssim": (4, 1), "flip": (4, -1)}  # digits, and the sign of the better direction


@dataclass(frozen=True)
class _Line:
    name: str
    scores: tuple[_Scores | None, ...]  # per column; None where the method has none
    time: str


def write_table(pages: Sequence[tuple[str, Scene]], form: str) -> str:
    """A row per method and a column per picture, with the means over several; CSV has a row per method and picture."""
    if form == "csv":
        return _csv(pages)
    rows = list(dict.fromkeys((pane.name, pane.elsewhere) for _, scene in pages for pane in _methods(scene)))
    scored = any(pane.metrics for _, scene in pages for pane in _methods(scene))
    titles = [Path(title).stem for title, _ in pages] if scored else []
    lines = [_line(name, elsewhere, pages, scored) for name, elsewhere in rows]
    if scored and len(pages) > 1:
        titles.append("mean")
    convention = next((pane.metrics.convention for _, scene in pages for pane in _methods(scene) if pane.metrics), "")
    kinds = ["PSNR in dB", "SSIM", *(["FLIP"] if _has_flip(lines) else [])]
    note = f"{' / '.join(kinds)}, {convention}" if scored else ""
    return _latex(titles, lines, note) if form == "tex" else _markdown(titles, lines, note)


def _methods(scene: Scene) -> list[PaneSpec]:
    return [pane for pane in scene.panes if pane.kind == "method"]


def _line(name: str, elsewhere: bool, pages: Sequence[tuple[str, Scene]], scored: bool) -> _Line:
    # A result that was made elsewhere may have the name of a method.
    row = name, elsewhere
    panes = [next((pane for pane in _methods(scene) if (pane.name, pane.elsewhere) == row), None) for _, scene in pages]
    scores = [_scores(pane) if pane else None for pane in panes] if scored else []
    if scored and len(pages) > 1:
        whole = [score for score in scores if score and score.psnr is not None]
        scores.append(_mean(whole) if len(whole) == len(pages) else None)
    return _Line(name, tuple(scores), _time([pane for pane in panes if pane]))


def _scores(pane: PaneSpec) -> _Scores | None:
    metrics = pane.metrics
    if metrics is None:
        return None
    if metrics.psnr_y is not None:
        return _Scores(metrics.psnr_y, metrics.ssim_y, metrics.flip)
    return _Scores(metrics.psnr_rgb, metrics.ssim_rgb, metrics.flip)


def _mean(scores: Sequence[_Scores]) -> _Scores:
    def of(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    return _Scores(*(of([getattr(score, name) for score in scores]) for name in _FORMS))


def _has_flip(lines: Sequence[_Line]) -> bool:
    return any(score.flip is not None for line in lines for score in line.scores if score)


def _time(panes: Sequence[PaneSpec]) -> str:
    if any(pane.elsewhere for pane in panes):
        return "made elsewhere"
    times = [pane.timing.total_ms for pane in panes if pane.timing]
    return f"{sum(times) / len(times) / 1000:.3g} s" if times else _NONE


# ---- formats ----------------------------------------------------------------------------------------------------


def _cells(line: _Line, lines: Sequence[_Line], bold: str) -> list[str]:
    """The texts of a line's scores; `bold` marks the best of a column, such as "**{}**"."""
    cells: list[str] = []
    for column, score in enumerate(line.scores):
        if score is None:
            cells.append(_NONE)
            continue
        others = [other for one in lines if (other := one.scores[column])]
        parts: list[str] = []
        for name, (digits, sign) in _FORMS.items():
            value: float | None = getattr(score, name)
            if value is None:
                continue
            text = f"{value:.{digits}f}" if math.isfinite(value) else "equal"
            best = sign * max(sign * found for one in others if (found := getattr(one, name)) is not None)
            parts.append(bold.format(text) if len(others) > 1 and round(value, digits) == round(best, digits) else text)
        cells.append(" / ".join(parts))
    return cells


def _latex(titles: Sequence[str], lines: Sequence[_Line], note: str) -> str:
    out = [*([f"% {note}"] if note else []), "% \\usepackage{booktabs}"]
    out += [f"\\begin{{tabular}}{{l{'c' * len(titles)}r}}", "\\toprule"]
    out += [" & ".join(["Method", *map(_escape, titles), "Time"]) + r" \\", "\\midrule"]
    for line in lines:
        cells = [cell.replace(_NONE, "--") for cell in _cells(line, lines, r"\textbf{{{}}}")]
        out.append(" & ".join([_escape(line.name), *cells, _escape(line.time).replace(_NONE, "--")]) + r" \\")
    return "\n".join([*out, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _escape(text: str) -> str:
    words = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum"}
    words |= {"<": "textless", ">": "textgreater", "|": "textbar"}  # other signs in LaTeX's usual fonts
    special = {"×": r"$\times$"} | {sign: f"\\{word}{{}}" for sign, word in words.items()}
    return re.sub(r"[\\~^<>|×&%$#_{}]", lambda found: special.get(found[0], "\\" + found[0]), text)


def _markdown(titles: Sequence[str], lines: Sequence[_Line], note: str) -> str:
    head = ["Method", *titles, "Time"]
    out = [f"| {' | '.join(_plain(cell) for cell in head)} |", "|---|" + ":-:|" * len(titles) + "--:|"]
    for line in lines:
        out.append(f"| {' | '.join([_plain(line.name), *_cells(line, lines, '**{}**'), line.time])} |")
    return "\n".join([*out, *(["", f"{note}."] if note else [])]) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"[\\`*<|]", r"\\\g<0>", text)


def _csv(pages: Sequence[tuple[str, Scene]]) -> str:
    names = [field.name for field in fields(PaneMetrics) if field.name not in {"convention", "without_flip"}]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "method", "made", *names, "convention", "total_ms", "state"])
    for title, scene in pages:
        for pane in _methods(scene):
            metrics = pane.metrics
            scores = [getattr(metrics, name) if metrics else None for name in names]
            shown = ["" if value is None else f"{value:.6f}" for value in scores]
            time = f"{pane.timing.total_ms:.3f}" if pane.timing else ""
            made = "elsewhere" if pane.elsewhere else "here"
            convention = metrics.convention if metrics else ""
            writer.writerow([title, pane.name, made, *shown, convention, time, pane.state])
    return text.getvalue()
