"""Photographs in memory, and the patches of a step.

A step's patches follow from (seed, step, process) alone, so that a run that was cut and resumed sees what an unbroken
one sees. The low resolution is made of the very patch, mirrored at its border, as a test makes it of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
import torch
from torch import Tensor

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.ops.resize import resize
from gsr_app.training.recipe import Data

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif"})


@dataclass(frozen=True)
class Batch:
    lr: Tensor  # [B, 3, patch, patch], 0..1 in steps of 1/255; of clips [B, T, 3, patch, patch], as they come
    hr: tuple[Tensor, ...]  # B pictures [3, H, W], 0..1; H and W differ from one to the next

    def to(self, device: torch.device) -> Batch:
        return Batch(self.lr.to(device), tuple(one.to(device) for one in self.hr))


def load_pictures(folder: Path) -> list[Tensor]:
    """Every picture of a folder, [3, H, W] uint8, in the order of their names."""
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}.", hint="Name a folder of pictures with --data.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise ImageError(f"{folder} holds no pictures.", hint=f"Looked for {', '.join(sorted(ENDINGS))}.")
    return [load_picture(path) for path in files]


def load_picture(path: Path) -> Tensor:
    try:
        picture = pyvips.Image.new_from_file(str(path)).autorot().colourspace("srgb")
        picture = picture.flatten() if picture.hasalpha() else picture
        array: np.ndarray = picture.cast("uchar").numpy()
    except pyvips.Error as error:
        raise ImageError(f"Cannot read {path}: {error}") from None
    array = array.reshape(*array.shape[:2], -1)
    array = array.repeat(3, axis=2) if array.shape[2] == 1 else array
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def quantise(picture: Tensor) -> Tensor:
    """Rounded to the 256 levels of a file, still 0..1."""
    return (picture.clamp(0, 1) * 255).round() / 255


def shrink(hr: Tensor, scale: float) -> Tensor:  # [3, H, W] -> [1, 3, ceil(H / scale), ceil(W / scale)]
    """The low resolution of a whole picture, as the tests of the field make it."""
    return quantise(resize(hr[None], scale=1 / scale))


class Patches:
    """Random patches of a set of pictures."""

    def __init__(self, pictures: list[Tensor], data: Data) -> None:
        least_px = math.ceil(data.patch_px * data.scales[0])
        self.pictures = [one for one in pictures if min(one.shape[1:]) >= least_px]
        self.data = data
        if not self.pictures:
            raise InvalidArgument(
                f"None of {len(pictures)} pictures has {least_px} pixels on its shorter side.",
                hint="Train on larger pictures, or set a smaller patch_px in the recipe.",
            )

    def draw(self, *seed: int, count: int) -> Batch:
        """The patches of one step."""
        rng = np.random.default_rng(seed)
        scale = self._draw_scale(rng)
        pairs = [
            self._draw_pair(rng, self._draw_scale(rng) if self.data.scale_per == "patch" else scale)
            for _ in range(count)
        ]
        return Batch(torch.cat([lr for lr, _ in pairs]), tuple(hr for _, hr in pairs))

    def _draw_pair(self, rng: np.random.Generator, scale: float) -> tuple[Tensor, Tensor]:
        """[1, 3, patch, patch] and [3, H, W], 0..1."""
        size_px = self.data.patch_px
        if rng.random() < self.data.edge_share:
            return draw_edge(rng, size_px, round(scale * size_px))
        hr = self._draw_patch(rng, scale)
        return quantise(resize(hr[None], size=(size_px, size_px))), hr

    def _draw_scale(self, rng: np.random.Generator) -> float:
        low, high = self.data.scales
        if rng.random() < self.data.favourite_share:
            return float(rng.choice(self.data.favourites))
        return (
            math.exp(rng.uniform(math.log(low), math.log(high)))
            if self.data.spread == "log"
            else rng.uniform(low, high)
        )

    def _draw_patch(self, rng: np.random.Generator, scale: float) -> Tensor:  # [3, H, W] float
        windows = [self._draw_window(rng, scale) for _ in range(self.data.busiest_of)]
        patch = max(windows, key=_measure_detail) if len(windows) > 1 else windows[0]
        patch = patch.rot90(int(rng.integers(4)), (1, 2))
        patch = patch.flip(2) if rng.random() < 0.5 else patch
        return patch.float() / 255

    def _draw_window(self, rng: np.random.Generator, scale: float) -> Tensor:  # [3, H, W] uint8
        picture = self.pictures[rng.integers(len(self.pictures))]
        height, width = picture.shape[1:]
        # A picture that is too small for the scale serves at the largest that it allows.
        side = min(max(round(scale * self.data.patch_px), self.data.patch_px), height, width)
        most = self.data.shrink_most
        taken = min(round(side * rng.uniform(1, most)), height, width) if most > 1 else side
        top, left = rng.integers(height - taken + 1), rng.integers(width - taken + 1)
        window = picture[:, top : top + taken, left : left + taken]
        if taken == side:
            return window
        shrunk = resize(window[None].float() / 255, size=(side, side))[0]
        return (shrunk.clamp(0, 1) * 255).round().to(torch.uint8)


def draw_edge(rng: np.random.Generator, lr_px: int, hr_px: int) -> tuple[Tensor, Tensor]:
    """Two colours with a straight edge between them, as a camera without sharpening sees it, at both resolutions."""
    first, second = torch.from_numpy(rng.uniform(0, 1, (2, 3, 1, 1)).astype(np.float32))
    if rng.random() < 0.5:  # along the pixels, and between two of them
        normal = ((1.0, 0.0), (0.0, 1.0))[rng.integers(2)]
        distance = float(rng.integers(1, lr_px)) / lr_px - 0.5
    else:
        angle = rng.uniform(0, 2 * math.pi)
        normal, distance = (math.cos(angle), math.sin(angle)), rng.uniform(-0.4, 0.4)

    def see(side_px: int) -> Tensor:  # [3, side, side]
        at = (torch.arange(side_px) + 0.5) / side_px - 0.5
        depth = (at * normal[0] + at[:, None] * normal[1] - distance) * side_px
        cover = (depth / (abs(normal[0]) + abs(normal[1])) + 0.5).clamp(0, 1)  # how much of a pixel lies behind
        return first + (second - first) * cover

    return quantise(see(lr_px)[None]), see(hr_px)


def _measure_detail(window: Tensor) -> float:  # [3, H, W] uint8
    """Mean difference of neighbours in the green channel."""
    green = window[1].to(torch.int16)
    return float(green.diff(dim=0).abs().float().mean() + green.diff(dim=1).abs().float().mean())
