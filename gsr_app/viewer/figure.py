"""The figure of a comparison as a picture: a row of crops per region, a column per pane."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from gsr_app.viewer.contract import PaneSpec
from gsr_app.viewer.crops import CropScore, Row, cut, on_white, score_crops

_SIDE_PX = 360  # the longer side of a crop
_GAP_PX, _TEXT_PX = 12, 26


def draw_figure(rows: Sequence[Row]) -> bytes | None:
    """A PNG with the name and the score of each crop below it; nothing without a region."""
    if not rows:
        return None
    font = ImageFont.load_default(15)
    strips: list[Image.Image] = []
    for row in rows:
        aspect = row.aspect
        size = max(1, round(_SIDE_PX * min(1, aspect))), max(1, round(_SIDE_PX / max(1, aspect)))
        panes = row.panes
        cuts = {pane.id: cut(row, pane) for pane in panes}
        scores = score_crops(row, cuts)
        captions = [_caption(pane, scores.get(pane.id)) for pane in panes]
        width = max(size[0], *(math.ceil(font.getlength(caption)) for caption in captions))  # of a column
        strip = Image.new("RGB", (len(panes) * (width + _GAP_PX) - _GAP_PX, size[1] + _TEXT_PX), "white")
        pen = ImageDraw.Draw(strip)
        for column, (pane, caption) in enumerate(zip(panes, captions, strict=True)):
            left = column * (width + _GAP_PX)
            crop = cuts[pane.id]
            if crop is not None:
                strip.paste(_enlarged(on_white(crop), size), (left + (width - size[0]) // 2, 0))
            pen.text((left + width // 2, size[1] + 5), caption, fill="black", font=font, anchor="mt")
        strips.append(strip)
    width = max(strip.width for strip in strips)
    figure = Image.new("RGB", (width, sum(s.height + _GAP_PX for s in strips) - _GAP_PX), "white")
    top = 0
    for strip in strips:
        figure.paste(strip, (0, top))
        top += strip.height + _GAP_PX
    png = io.BytesIO()
    figure.save(png, "PNG")
    return png.getvalue()


def _enlarged(crop: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Enlarged crops keep sharp pixels; only crops that are reduced are smoothed.
    return crop.resize(size, Image.Resampling.NEAREST if crop.width <= size[0] else Image.Resampling.LANCZOS)


def _caption(pane: PaneSpec, score: CropScore | None) -> str:
    name = " ".join(pane.name.split())  # in one line
    if score is None:
        return name
    return f"{name}  {score.psnr_db:.2f} dB" if math.isfinite(score.psnr_db) else f"{name}  equal"


def score_text(pane: PaneSpec) -> str:
    """ "31.42 dB" on luma, "29.80 dB RGB", or nothing."""
    metrics = pane.metrics
    if metrics and metrics.psnr_y is not None:
        return f"{metrics.psnr_y:.2f} dB"
    return f"{metrics.psnr_rgb:.2f} dB RGB" if metrics and metrics.psnr_rgb is not None else ""
