"""The figure of a comparison for a paper: an overview with boxes, and beside it the crops of every region.

Everything has the size at which it is printed: the page is one or two columns of a usual paper wide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image

from gsr_app.viewer.contract import PaneSpec, Scene
from gsr_app.viewer.crops import CropScore, Row, cut, score_crops
from gsr_app.viewer.pdf import Box, Line, Outline, Placed, Sheet, text_width, write_pdf

WIDTHS_IN = {"column": 3.5, "page": 7.16}
_GAP, _ROW_GAP, _SUBJECT_GAP, _LEAD, _TEXT_TOP = 4.0, 5.0, 9.0, 8.4, 7.6  # points
_OVERVIEW_DPI = 400
_MOST_LETTERS = 48
_COLOURS = ((0.84, 0.15, 0.16), (0.12, 0.47, 0.71), (0.17, 0.63, 0.17), (1.0, 0.5, 0.05), (0.58, 0.4, 0.74))


@dataclass(frozen=True, eq=False)
class _Cell:
    crop: Image.Image | None
    lines: tuple[tuple[tuple[str, bool], ...], ...]  # of parts, as `pdf.Line` has them


def write_figure(rows: Sequence[Row], width: str = "page") -> bytes:
    """The PDF of one or more regions, `width` as in `WIDTHS_IN`."""
    width_pt = 72 * WIDTHS_IN[width]
    pictures: list[Placed] = []
    lines: list[Line] = []
    outlines: list[Outline] = []
    top = 0.0
    for _, group in groupby(rows, key=lambda row: id(row.scene)):
        subject = _Subject(list(group), width_pt)
        top += _SUBJECT_GAP if top else 0.0
        subject.place(top, pictures, lines, outlines)
        top += subject.height
    return write_pdf(Sheet(width_pt, top, pictures, lines, outlines))


class _Subject:
    """One picture: its overview at the left, and the crops of its regions in a grid beside it."""

    def __init__(self, rows: list[Row], width_pt: float) -> None:
        self._rows, self._width_pt = rows, width_pt
        self._whole = _overview_pane(rows[0])
        picture = rows[0].pictures[self._whole.id]
        self._picture, self._aspect = picture, picture.width / picture.height * _stretch(rows[0].scene, self._whole)
        # As many columns as make the crops the largest.
        count = len(rows[0].panes)
        self._columns = max(range(1, count + 1), key=lambda columns: self._cell_width(columns, 2))
        self._cells = [_cells(row, self._cell_width(self._columns, 2)) for row in rows]
        self._text_lines = max(len(cell.lines) for cells in self._cells for cell in cells)
        self._cell = self._cell_width(self._columns, self._text_lines)

    def _depth(self, columns: int) -> int:
        """Rows of the grid per region."""
        return math.ceil(len(self._rows[0].panes) / columns)

    def _cell_width(self, columns: int, text_lines: int) -> float:
        """So that overview and crops fill the page's width, and end at the same height."""
        depth, text = self._depth(columns), _TEXT_TOP + _LEAD * (text_lines - 1) + 2
        tall = sum(depth / row.aspect for row in self._rows)
        fixed = (depth * len(self._rows) - 1) * (text + _ROW_GAP)
        return (self._width_pt - columns * _GAP - self._aspect * fixed) / (columns + self._aspect * tall)

    @property
    def _text_height(self) -> float:
        return _TEXT_TOP + _LEAD * (self._text_lines - 1) + 2

    @property
    def height(self) -> float:
        depth = self._depth(self._columns)
        tall = sum(depth * self._cell / row.aspect for row in self._rows)
        return tall + depth * len(self._rows) * (self._text_height + _ROW_GAP) - _ROW_GAP

    def place(self, top: float, pictures: list[Placed], lines: list[Line], outlines: list[Outline]) -> None:
        tall = self.height - self._text_height
        whole = Box(0.0, top, tall * self._aspect, tall)
        pictures.append(Placed(_reduced(self._picture, whole.width), whole))
        title = _title(self._rows[0].scene)
        lines.append(Line(whole.width / 2, top + tall + _TEXT_TOP, ((title, False),), whole.width))
        y = top
        for number, (row, cells) in enumerate(zip(self._rows, self._cells, strict=True)):
            colour = _COLOURS[number % len(_COLOURS)]
            outlines.append(Outline(_region_box(row, self._whole, whole), colour))
            height = self._cell / row.aspect
            for index, cell in enumerate(cells):
                line, column = divmod(index, self._columns)
                box = Box(
                    whole.width + _GAP + column * (self._cell + _GAP),
                    y + line * (height + self._text_height + _ROW_GAP),
                    self._cell, height,
                )  # fmt: skip
                if cell.crop is not None:
                    pictures.append(Placed(cell.crop, box))
                    if len(self._rows) > 1:
                        outlines.append(Outline(_inset(box, 0.45), colour))
                for k, parts in enumerate(cell.lines):
                    baseline = box.y + box.height + _TEXT_TOP + k * _LEAD
                    if any(text for text, _ in parts):
                        lines.append(Line(box.x + box.width / 2, baseline, parts, box.width))
            y += self._depth(self._columns) * (height + self._text_height + _ROW_GAP)


def _overview_pane(row: Row) -> PaneSpec:
    """What the overview shows: the reference, else a result, else whatever there is."""
    order = {"reference": 0, "method": 1, "input": 2}
    return min(row.panes, key=lambda pane: order[pane.kind])


def _stretch(scene: Scene, pane: PaneSpec) -> float:
    """How much wider than its pixels a picture is shown: the input, where the axes are scaled differently."""
    scale = scene.scale or {"x": 1.0, "y": 1.0}
    return scale["x"] / scale["y"] if pane.kind == "input" else 1.0


def _region_box(row: Row, pane: PaneSpec, whole: Box) -> Box:
    span = pane.span or (1.0, 1.0)
    kx, ky, region = whole.width / span[1], whole.height / span[0], row.region
    return Box(whole.x + region.x * kx, whole.y + region.y * ky, region.width * kx, region.height * ky)


def _inset(box: Box, by: float) -> Box:
    return Box(box.x + by, box.y + by, box.width - 2 * by, box.height - 2 * by)


def _reduced(picture: Image.Image, width_pt: float) -> Image.Image:
    """The overview at the resolution of print."""
    width = round(width_pt / 72 * _OVERVIEW_DPI)
    if picture.width <= width:
        return picture
    return picture.convert("RGB").resize((width, max(1, round(picture.height * width / picture.width))), 1)


def _title(scene: Scene) -> str:
    name = Path(scene.source.name).stem if scene.source else ""
    scale = scene.scale or {"x": 1.0, "y": 1.0}
    if scale["x"] == scale["y"]:
        return f"{name} (×{scale['x']:.4g})" if scale["x"] != 1 else name
    return f"{name} (×{scale['x']:.4g} by ×{scale['y']:.4g})"


# ---- captions ---------------------------------------------------------------------------------------------------


def _cells(row: Row, width: float) -> list[_Cell]:
    panes = row.panes
    cuts = {pane.id: cut(row, pane) for pane in panes}
    scores = score_crops(row, cuts)
    best = {
        "psnr": max((score.psnr_db for score in scores.values()), default=None),
        "ssim": max((score.ssim for score in scores.values() if score.ssim is not None), default=None),
    }
    with_ssim = best["ssim"] is not None
    names = {pane.id: _wrap(pane.name[:_MOST_LETTERS], width) for pane in panes}
    name_lines = max(len(name) for name in names.values())
    cells: list[_Cell] = []
    for pane in panes:
        lines: list[tuple[tuple[str, bool], ...]] = [((text, False),) for text in names[pane.id]]
        lines += [(("", False),)] * (name_lines - len(lines)) if scores else []
        if pane.id in scores:
            lines.append(_score_parts(scores[pane.id], best))
        elif scores and pane.kind == "reference":
            lines.append((("PSNR / SSIM" if with_ssim else "PSNR", False),))
        cells.append(_Cell(cuts[pane.id], tuple(lines)))
    return cells


def _score_parts(score: CropScore, best: Mapping[str, float | None]) -> tuple[tuple[str, bool], ...]:
    psnr = f"{score.psnr_db:.2f}" if math.isfinite(score.psnr_db) else "equal"
    if score.ssim is None:
        return ((f"{psnr} dB", score.psnr_db == best["psnr"]),)
    return ((psnr, score.psnr_db == best["psnr"]), (" / ", False), (f"{score.ssim:.4f}", score.ssim == best["ssim"]))


def _wrap(name: str, width: float) -> tuple[str, ...]:
    """A name in one line, or in the two that are the most equal."""
    words = [word for word in re.split(r"(?<=[\s_-])", name) if word]
    if text_width(name) <= width or len(words) < 2:
        return (name,)
    halves = [("".join(words[:at]).rstrip(), "".join(words[at:])) for at in range(1, len(words))]
    longest: Callable[[tuple[str, ...]], float] = lambda lines: max(map(text_width, lines))  # noqa: E731
    return min(halves, key=longest)
