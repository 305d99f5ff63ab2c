"""Drawn pictures for training: text in many fonts and regular grids, which photographs have too little of."""

from __future__ import annotations

import math

import numpy as np
import pyvips
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.ops.resize import resize
from gsr_app.training.data import to_bytes

# Font families; Pango takes the closest it has where one is not installed.
_FAMILIES = (
    *("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "DejaVu Sans Condensed", "Liberation Sans", "Noto Sans"),
    *("Liberation Serif", "Liberation Mono", "Liberation Sans Narrow", "Noto Serif", "Roboto", "Roboto Slab", "Lato"),
    *("Roboto Condensed", "Open Sans", "Nimbus Roman", "URW Gothic", "C059", "Z003", "Noto Sans Mono"),
)
_STYLES = ("", "Bold", "Italic", "Bold Italic", "Light")
_TEXT = (
    "the of and to in is was for on that with as by at from his it an were which are this also be had first one their "
    "its new after but who not they have her she two been other when there all during into school time may years more "
    "most only over city some world would where later up such used many can state about national out known university "
    "EXIT STOP SALE OPEN Street Station Platform Menu File Edit View Help Figure Table Chapter Straße façade Ελλάδα "
    "Москва мир дом слово λόγος über naïve señor İstanbul Łódź"
)
_WORDS = _TEXT.split()
_SUPERSAMPLING = 3  # shapes are drawn so much larger and shrunk, which gives clean edges


def draw_picture(rng: np.random.Generator, side_px: int) -> Tensor:
    """A page of text or a regular grid, [3, side, side] uint8."""
    return draw_text(rng, side_px) if rng.random() < 0.6 else draw_grid(rng, side_px)


def draw_text(rng: np.random.Generator, side_px: int) -> Tensor:
    """Blocks of text of different font, size, colour and slant on a plain or shaded background."""
    page = _draw_background(rng, side_px)
    for _ in range(rng.integers(2, 6)):
        size_pt = float(np.exp(rng.uniform(math.log(9), math.log(90))))
        font = f"{rng.choice(_FAMILIES)} {rng.choice(_STYLES)} {size_pt:.1f}"
        lines = range(int(rng.integers(1, max(2, int(300 / size_pt)))))
        text = "\n".join(_draw_line(rng) for _ in lines)
        mask = pyvips.Image.text(text.replace("&", "&amp;"), font=font, dpi=72, spacing=int(rng.integers(0, 8)))
        if rng.random() < 0.4:
            mask = mask.rotate(float(rng.normal(0, 15)))
        array: np.ndarray = mask.numpy()
        cover = torch.from_numpy(np.ascontiguousarray(array.reshape(*array.shape[:2], -1)[..., 0])).float() / 255
        cover = cover[:side_px, :side_px]
        top, left = (int(rng.integers(-side // 4, max(1, side_px - side))) for side in cover.shape)
        cover = cover[max(0, -top) :, max(0, -left) :]
        height, width = cover.shape
        at = (slice(None), slice(max(0, top), max(0, top) + height), slice(max(0, left), max(0, left) + width))
        cover = cover[: page[at].shape[1], : page[at].shape[2]]
        ink = _choose_ink(rng, page[at])
        page[at] = page[at] + (ink - page[at]) * cover
    return to_bytes(page)


def draw_grid(rng: np.random.Generator, side_px: int) -> Tensor:
    """Bars, bricks or windows in perspective: straight edges that repeat."""
    side = side_px * _SUPERSAMPLING
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    angle = rng.normal(0, 0.12) if rng.random() < 0.6 else rng.uniform(0, math.pi)
    tilt = rng.uniform(-0.35, 0.35, 2)
    depth = 1 + tilt[0] * x + tilt[1] * y
    u, v = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
    counts = np.exp(rng.uniform(math.log(4), math.log(side_px / 10), 2))  # periods over the picture
    u, v = u / depth * counts[0] / 2, v / depth * counts[1] / 2
    if rng.random() < 0.3:  # bricks: every other row is moved by half a period
        u = u + 0.5 * (v.floor() % 2)
    filled = rng.uniform(0.15, 0.85, 2)
    kind = rng.integers(3)
    first, second = (u % 1) < filled[0], (v % 1) < filled[1]
    inside = first if kind == 0 else first & second if kind == 1 else first ^ second
    colors = torch.from_numpy(rng.uniform(0, 1, (4, 3, 1, 1)).astype(np.float32))
    picture = torch.where(inside, colors[0], colors[1])
    if rng.random() < 0.5:  # thin frames around the cells
        thin = rng.uniform(0.03, 0.12)
        picture = torch.where(((u % 1) < thin) | ((v % 1) < thin), colors[2], picture)
    if rng.random() < 0.5:  # light that changes over the picture
        picture = picture * (1 + 0.3 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)))
    return to_bytes(F.avg_pool2d(picture[None], _SUPERSAMPLING)[0])


def _draw_line(rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        return " ".join(str(number) for number in rng.integers(0, 100_000, 6))
    return " ".join(rng.choice(_WORDS, int(rng.integers(2, 12))))


def _draw_background(rng: np.random.Generator, side_px: int) -> Tensor:  # [3, side, side], 0..1
    if rng.random() < 0.4:
        return torch.full((3, side_px, side_px), float(rng.uniform(0.85, 1))).clone()
    corners = rng.uniform(0, 1, (1, 3, 1, 1)) + rng.normal(0, 0.15, (1, 3, 2, 2))
    return resize(torch.from_numpy(corners.astype(np.float32)), size=(side_px, side_px))[0].clamp(0, 1)


def _choose_ink(rng: np.random.Generator, behind: Tensor) -> Tensor:  # [3, 1, 1]
    """A colour that can be told from what lies behind it; mostly black or white."""
    dark = float(behind.mean()) > 0.5
    ink = np.full(3, 0.05 if dark else 0.97) if rng.random() < 0.5 else rng.uniform(0, 0.45, 3) + (0 if dark else 0.55)
    return torch.from_numpy(ink.astype(np.float32)).view(3, 1, 1)
