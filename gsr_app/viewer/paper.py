"""The figure of a comparison for a paper: an overview with boxes, and beside it the crops of every region.

Everything has the size at which it is printed: the page is one or two columns of a usual paper wide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from PIL import Image

from gsr_app.viewer.contract import PaneSpec, Scene
from gsr_app.viewer.crops import CropScore, Row, cut, on_white, score_crops
from gsr_app.viewer.pdf import Box, Line, Outline, Placed, Sheet, text_width, write_pdf

WIDTHS_IN = {"column": 3.5, "page": 7.16}
_GAP, _ROW_GAP, _SUBJECT_GAP, _LEAD, _TEXT_TOP = 4.0, 5.0, 9.0, 8.4, 7.6  # points
_OVERVIEW_DPI = 400
_OVERVIEW_SHARE = 0.6  # the largest height of an overview above its crops, over the page's width
_LEAST_CROP_PT = 42.0  # wide enough for a score
_NARROWED = 0.85  # letters may be this narrow before a name is broken
_MOST_LETTERS = 48
_PLACES = {"input": 0, "method": 1, "reference": 2}
_COLOURS = ((0.84, 0.15, 0.16), (0.12, 0.47, 0.71), (0.17, 0.63, 0.17), (1.0, 0.5, 0.05), (0.58, 0.4, 0.74))


@dataclass(frozen=True, eq=False)
class _Cell:
    crop: Image.Image | None
    lines: tuple[tuple[tuple[str, bool], ...], ...]  # of parts, as `pdf.Line` has them


def write_figure(rows: Sequence[Row], width: str = "page") -> bytes:
    """The PDF of one or more regions, `width` as in `WIDTHS_IN`."""
    return write_pdf(lay_out(rows, width))


def lay_out(rows: Sequence[Row], width: str) -> Sheet:
    """Where everything of the figure stands."""
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
    return Sheet(width_pt, top, pictures, lines, outlines)


class _Subject:
    """One picture: its overview, and the crops of its regions in a grid beside it, or below if too small."""

    def __init__(self, rows: list[Row], width_pt: float) -> None:
        self._rows, self._width_pt = rows, width_pt
        self._whole = _overview_pane(rows[0])
        picture = on_white(rows[0].pictures[self._whole.id])
        self._picture, self._aspect = picture, picture.width / picture.height * _stretch(rows[0].scene, self._whole)
        count = len(rows[0].panes)
        # As many columns as make the crops the largest.
        self._columns = max(range(1, count + 1), key=lambda columns: self._width_beside(columns, 2))
        self._is_beside = self._width_beside(self._columns, 2) >= _LEAST_CROP_PT
        if not self._is_beside:
            depth = math.ceil(count / max(1, int((width_pt + _GAP) / (_LEAST_CROP_PT + _GAP))))
            self._columns = math.ceil(count / depth)
        self._cells = [_cells(row, self._cell_width(2)) for row in rows]
        self._text_lines = max(len(cell.lines) for cells in self._cells for cell in cells)
        self._cell = self._cell_width(self._text_lines)
        self._depth = self._rows_of(self._columns)
        tall = sum(self._depth * self._cell / row.aspect for row in rows)
        self._grid_height = tall + self._depth * len(rows) * (_text_height(self._text_lines) + _ROW_GAP) - _ROW_GAP

    def _rows_of(self, columns: int) -> int:
        """Rows of the grid per region."""
        return math.ceil(len(self._rows[0].panes) / columns)

    def _cell_width(self, text_lines: int) -> float:
        if self._is_beside:
            return self._width_beside(self._columns, text_lines)
        return (self._width_pt - (self._columns - 1) * _GAP) / self._columns

    def _width_beside(self, columns: int, text_lines: int) -> float:
        """So that overview and crops fill the page's width, and end at the same height."""
        depth = self._rows_of(columns)
        tall = sum(depth / row.aspect for row in self._rows)
        fixed = (depth * len(self._rows) - 1) * (_text_height(text_lines) + _ROW_GAP)
        return (self._width_pt - columns * _GAP - self._aspect * fixed) / (columns + self._aspect * tall)

    @property
    def _overview(self) -> Box:
        if self._is_beside:
            tall = self._grid_height - _text_height(self._text_lines)
            return Box(0.0, 0.0, tall * self._aspect, tall)
        wide = min(self._width_pt, _OVERVIEW_SHARE * self._width_pt * self._aspect)
        return Box((self._width_pt - wide) / 2, 0.0, wide, wide / self._aspect)

    @property
    def _grid_top(self) -> float:
        return 0.0 if self._is_beside else self._overview.height + _text_height(1) + _ROW_GAP

    @property
    def height(self) -> float:
        return self._grid_top + self._grid_height

    def place(self, top: float, pictures: list[Placed], lines: list[Line], outlines: list[Outline]) -> None:
        whole = replace(self._overview, y=top)
        pictures.append(Placed(_reduced(self._picture, whole.width), whole, smooth=True))
        title = _title(self._rows[0].scene)
        lines.append(Line(whole.x + whole.width / 2, top + whole.height + _TEXT_TOP, ((title, False),), self._width_pt))
        left, y = whole.width + _GAP if self._is_beside else 0.0, top + self._grid_top
        for number, (row, cells) in enumerate(zip(self._rows, self._cells, strict=True)):
            colour = _COLOURS[number % len(_COLOURS)]
            outlines.append(Outline(_region_box(row, self._whole, whole), colour))
            height = self._cell / row.aspect
            step = height + _text_height(self._text_lines) + _ROW_GAP
            for index, cell in enumerate(cells):
                line, column = divmod(index, self._columns)
                box = Box(left + column * (self._cell + _GAP), y + line * step, self._cell, height)
                if cell.crop is not None:
                    pictures.append(Placed(cell.crop, box))
                    if len(self._rows) > 1:
                        outlines.append(Outline(_inset(box, 0.45), colour))
                for k, parts in enumerate(cell.lines):
                    baseline = box.y + box.height + _TEXT_TOP + k * _LEAD
                    if any(text for text, _ in parts):
                        lines.append(Line(box.x + box.width / 2, baseline, parts, box.width))
            y += self._depth * step


def _text_height(lines: int) -> float:
    return _TEXT_TOP + _LEAD * (lines - 1) + 2


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
    x, y = whole.x + (region.x - pane.origin[0]) * kx, whole.y + (region.y - pane.origin[1]) * ky
    return Box(x, y, region.width * kx, region.height * ky)


def _inset(box: Box, by: float) -> Box:
    return Box(box.x + by, box.y + by, box.width - 2 * by, box.height - 2 * by)


def _reduced(picture: Image.Image, width_pt: float) -> Image.Image:
    """The overview at the resolution of print."""
    width = round(width_pt / 72 * _OVERVIEW_DPI)
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), 1)


def _title(scene: Scene) -> str:
    name = Path(scene.source.name).stem if scene.source else ""
    scale = scene.scale or {"x": 1.0, "y": 1.0}
    if scale["x"] == scale["y"]:
        return f"{name} (×{scale['x']:.4g})" if scale["x"] != 1 else name
    return f"{name} (×{scale['x']:.4g} by ×{scale['y']:.4g})"


# ---- captions ---------------------------------------------------------------------------------------------------


def _cells(row: Row, width: float) -> list[_Cell]:
    panes = sorted(row.panes, key=lambda pane: _PLACES[pane.kind])
    cuts = {pane.id: cut(row, pane) for pane in panes}
    scores = score_crops(row, cuts, with_flip=True)
    best = {
        "psnr": max((score.psnr_db for score in scores.values()), default=None),
        "ssim": max((score.ssim for score in scores.values() if score.ssim is not None), default=None),
        "flip": min((score.flip for score in scores.values() if score.flip is not None), default=None),
    }
    title = "PSNR / SSIM" if best["ssim"] is not None else "PSNR"
    names = {pane.id: _wrap(pane.name[:_MOST_LETTERS], width) for pane in panes}
    name_lines = max(len(name) for name in names.values())
    cells: list[_Cell] = []
    for pane in panes:
        lines: list[tuple[tuple[str, bool], ...]] = [((text, False),) for text in names[pane.id]]
        lines += [(("", False),)] * (name_lines - len(lines)) if scores else []
        if pane.id in scores:
            lines.append(_score_parts(scores[pane.id], best))
            if (flip := scores[pane.id].flip) is not None:
                lines.append(((f"{flip:.4f}", flip == best["flip"]),))
        elif scores and pane.kind == "reference":
            lines += [((text, False),) for text in (title, *(["FLIP"] if best["flip"] is not None else []))]
        crop = cuts[pane.id]
        cells.append(_Cell(crop and on_white(crop), tuple(lines)))
    return cells


def _score_parts(score: CropScore, best: Mapping[str, float | None]) -> tuple[tuple[str, bool], ...]:
    psnr = f"{score.psnr_db:.2f}" if math.isfinite(score.psnr_db) else "equal"
    if score.ssim is None:
        return ((f"{psnr} dB", score.psnr_db == best["psnr"]),)
    return ((psnr, score.psnr_db == best["psnr"]), (" / ", False), (f"{score.ssim:.4f}", score.ssim == best["ssim"]))


def _wrap(name: str, width: float) -> tuple[str, ...]:
    """A name in one line, slightly narrowed if need be, or in the two that are the most equal."""
    words = [word for word in re.split(r"(?<=[\s_-])", name) if word]
    halves = [("".join(words[:at]).rstrip(), "".join(words[at:])) for at in range(1, len(words))]
    halves = [one for one in halves if min(map(len, one)) > 2]
    if text_width(name) <= width / _NARROWED or not halves:
        return (name,)
    return min(halves, key=lambda lines: max(map(text_width, lines)))
