"""The figure of a report, as papers print it: a row of crops per region, a column per method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gsr_app.viewer.contract import PaneSpec, Region, Scene
from gsr_app.viewer.pdf import Cell, write_pdf

_SIDE_PX = 360  # the longer side of a crop
_GAP_PX, _TEXT_PX = 12, 26


@dataclass(frozen=True, eq=False)
class Row:
    """One region of one picture."""

    scene: Scene
    region: Region
    pictures: Mapping[str, Image.Image]  # pane id -> whole picture


def _crop(row: Row, pane: PaneSpec, size: tuple[int, int]) -> Image.Image | None:
    cut = _cut(row, pane)
    if cut is None:
        return None
    # Enlarged crops keep sharp pixels; only crops that are reduced are smoothed.
    return cut.resize(size, Image.Resampling.NEAREST if cut.width <= size[0] else Image.Resampling.LANCZOS)


def _cut(row: Row, pane: PaneSpec) -> Image.Image | None:
    """The pixels of a region."""
    picture = row.pictures.get(pane.id)
    if picture is None or pane.span is None:
        return None
    ky, kx = picture.height / pane.span[0], picture.width / pane.span[1]
    region = row.region
    box = (
        round(region.x * kx),
        round(region.y * ky),
        min(picture.width, round((region.x + region.width) * kx)),
        min(picture.height, round((region.y + region.height) * ky)),
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    return picture.crop(box).convert("RGB")


def draw_figure(rows: Sequence[Row]) -> Image.Image | None:
    """One row per region, one column per pane, with its name and score below."""
    if not rows:
        return None
    font = ImageFont.load_default(15)
    strips: list[Image.Image] = []
    for row in rows:
        aspect = row.region.width / row.region.height
        size = (_SIDE_PX, max(1, round(_SIDE_PX / aspect))) if aspect >= 1 else (round(_SIDE_PX * aspect), _SIDE_PX)
        panes = [pane for pane in row.scene.panes if pane.id in row.pictures]
        strip = Image.new("RGB", (len(panes) * (size[0] + _GAP_PX) - _GAP_PX, size[1] + _TEXT_PX), "white")
        pen = ImageDraw.Draw(strip)
        for column, pane in enumerate(panes):
            left = column * (size[0] + _GAP_PX)
            crop = _crop(row, pane, size)
            if crop is not None:
                strip.paste(crop, (left, 0))
            pen.text((left + size[0] // 2, size[1] + 5), _caption(pane), fill="black", font=font, anchor="mt")
        strips.append(strip)
    width = max(strip.width for strip in strips)
    figure = Image.new("RGB", (width, sum(s.height + _GAP_PX for s in strips) - _GAP_PX), "white")
    top = 0
    for strip in strips:
        figure.paste(strip, (0, top))
        top += strip.height + _GAP_PX
    return figure


def _caption(pane: PaneSpec) -> str:
    text = score_text(pane)
    return f"{pane.name}  {text}" if text else pane.name


def score_text(pane: PaneSpec) -> str:
    """ "31.42 dB" on luma, "29.80 dB RGB", or nothing."""
    metrics = pane.metrics
    if metrics and metrics.psnr_y is not None:
        return f"{metrics.psnr_y:.2f} dB"
    return f"{metrics.psnr_rgb:.2f} dB RGB" if metrics and metrics.psnr_rgb is not None else ""


def figure_files(rows: Sequence[Row]) -> tuple[bytes, bytes] | None:
    """(PNG, PDF) of the figure, or nothing without regions."""
    figure = draw_figure(rows)
    if figure is None:
        return None
    png = io.BytesIO()
    figure.save(png, "PNG")
    return png.getvalue(), write_pdf([_cells(row) for row in rows])


def _cells(row: Row) -> list[Cell]:
    """The crops of a region with the name and the region's own score below each."""
    panes = [pane for pane in row.scene.panes if pane.id in row.pictures]
    cuts = {pane.id: _cut(row, pane) for pane in panes}
    truth = next((cuts[pane.id] for pane in panes if pane.kind == "reference"), None)
    scores = {
        pane.id: _region_psnr(cut, truth)
        for pane in panes
        if pane.kind == "method" and truth is not None and (cut := cuts[pane.id]) is not None and cut.size == truth.size
    }
    best = max(scores.values(), default=None)
    return [
        Cell(
            cuts[pane.id], row.region.width / row.region.height,
            (pane.name, f"{scores[pane.id]:.2f} dB") if pane.id in scores else (pane.name,),
            bold=pane.id in scores and scores[pane.id] == best,
        )
        for pane in panes
    ]  # fmt: skip


def _region_psnr(cut: Image.Image, truth: Image.Image) -> float:
    """PSNR on luma, without a border."""
    from gsr_app.engine import metrics  # it imports torch

    return metrics.measure(np.asarray(cut), np.asarray(truth), by=metrics.convention("whole-y")).psnr_db
