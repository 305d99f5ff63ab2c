"""The crops of a region of a picture, one of each pane, and their own scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from gsr_app.core import pixels
from gsr_app.viewer.contract import PaneSpec, Region, Scene

_LEAST_SSIM_PX = 11  # the window of SSIM
_MOST_FLIP_PIXELS = 1_000_000  # about a second


@dataclass(frozen=True, eq=False)
class Row:
    """One region of one picture."""

    scene: Scene
    region: Region
    pictures: Mapping[str, Image.Image]  # pane id -> whole picture

    @property
    def panes(self) -> list[PaneSpec]:
        return [pane for pane in self.scene.panes if pane.id in self.pictures]

    @property
    def aspect(self) -> float:
        """Width over height of a crop, in pixels of the output."""
        scale = self.scene.scale or {"x": 1.0, "y": 1.0}
        return self.region.width * scale["x"] / (self.region.height * scale["y"])


@dataclass(frozen=True)
class CropScore:
    """PSNR and SSIM on luma, and FLIP: of the crop alone, without a border."""

    psnr_db: float
    ssim: float | None  # None: the crop is smaller than SSIM's window
    flip: float | None  # None: not asked for, not computed for the whole picture, or the crop is too large


def cut(row: Row, pane: PaneSpec) -> Image.Image | None:
    """The pixels of a region as they are in the picture of a pane."""
    picture = row.pictures.get(pane.id)
    if picture is None or pane.span is None:
        return None
    ky, kx = picture.height / pane.span[0], picture.width / pane.span[1]
    region = row.region
    x, y = region.x - pane.origin[0], region.y - pane.origin[1]
    box = (
        max(0, _nearest(x * kx)),
        max(0, _nearest(y * ky)),
        min(picture.width, _nearest((x + region.width) * kx)),
        min(picture.height, _nearest((y + region.height) * ky)),
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    return picture.crop(box)


def _nearest(value: float) -> int:
    """The nearest integer, halves up as in the page: both cut the same pixels."""
    return math.floor(value + 0.5 + 1e-6)


def on_white(picture: Image.Image) -> Image.Image:
    """RGB, as print shows it: what is transparent is white, whatever colour lies hidden there."""
    if "A" not in picture.getbands():
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def score_crops(row: Row, cuts: Mapping[str, Image.Image | None], *, with_flip: bool = False) -> dict[str, CropScore]:
    """The scores of the methods' crops against the reference's, by pane id; none where one of them shows less."""
    reference = next((pane for pane in row.panes if pane.kind == "reference"), None)
    truth = cuts[reference.id] if reference else None
    if reference is None or truth is None:
        return {}
    scores: dict[str, CropScore] = {}
    for pane in row.panes:
        crop = cuts[pane.id]
        if pane.kind != "method" or crop is None:
            continue
        if crop.size != truth.size:
            crop = _cut_resized(row, pane, reference)
        if crop is not None and crop.size == truth.size:
            has_flip = with_flip and pane.metrics is not None and pane.metrics.flip is not None
            scores[pane.id] = _score(crop, truth, with_flip=has_flip)
    return scores


def _cut_resized(row: Row, pane: PaneSpec, reference: PaneSpec) -> Image.Image | None:
    """The crop of a picture of another size, resized as for the scores of the whole picture."""
    if (pane.span, pane.origin) != (reference.span, reference.origin):
        return None
    from gsr_app.engine.planes import resize_picture  # it imports torch

    whole, size = np.asarray(row.pictures[pane.id].convert("RGB")), row.pictures[reference.id].size
    resized = pixels.convert(resize_picture(whole, (size[1], size[0])), np.uint8)
    return cut(replace(row, pictures={pane.id: Image.fromarray(resized)}), pane)


def _score(crop: Image.Image, truth: Image.Image, *, with_flip: bool) -> CropScore:
    from gsr_app.engine import flip, metrics  # they import torch

    one, two, by = *(np.asarray(each.convert("RGB")) for each in (crop, truth)), metrics.convention("whole-y")
    ssim = metrics.ssim(one, two, by=by) if min(crop.size) >= _LEAST_SSIM_PX else None
    has_flip = with_flip and crop.width * crop.height <= _MOST_FLIP_PIXELS
    return CropScore(metrics.psnr(one, two, by=by), ssim, flip.flip(one, two, by=by) if has_flip else None)
