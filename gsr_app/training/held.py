"""Training data that lies in the memory of a GPU, where patches are cut without waiting for the CPU.

The patches of a step depend only on (seed, step, process), as those of `data.Patches` do.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.training.data import Batch, Targets, check_taught, draw_scale, measure_detail, resize_bytes
from gsr_app.training.degrade_batch import degrade_batch
from gsr_app.training.recipe import NO_DEGRADATION, Data, Degradation
from gsr_app.training.sending import send
from gsr_app.training.teach import MARGIN_PX, POOL, Pool, answer

_LEVELS = 10  # sizes that every picture is kept in
_TILES_OF_A_PAGE = 16  # drawn text and grids
_PICTURE_SHARE = 0.1  # of the patches, at all the scales that have no teacher


class Pyramid:
    """Pictures in several sizes, from which windows are cut."""

    def __init__(
        self,
        pictures: Sequence[Tensor],  # [3, H, W] uint8
        shrink: tuple[float, float],  # log-uniform; the exact factors differ from picture to picture
        least_px: int,  # smaller pictures are not used
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        self.levels: list[list[Tensor]] = []  # by level, so that all factors are equally frequent
        here = [picture.to(device) for picture in pictures]
        steps = np.linspace(math.log(shrink[0]), math.log(shrink[1]), _LEVELS + 1)
        for low, high in itertools.pairwise(steps):
            level: list[Tensor] = []
            for picture in here:
                factor = math.exp(rng.uniform(low, high))
                size = round(picture.shape[1] / factor), round(picture.shape[2] / factor)
                if min(size) >= least_px:
                    level.append(resize_bytes(picture, size))
            if level:
                self.levels.append(level)
        if not self.levels:
            raise InvalidArgument(f"None of {len(pictures)} pictures is large enough for windows of {least_px} pixels.")

    @property
    def largest_px(self) -> int:
        """The side of the largest window that can be cut."""
        return max(min(one.shape[1:]) for level in self.levels for one in level)

    def cut(self, rng: np.random.Generator, side_px: int, count: int, busiest_of: int = 1) -> Tensor:
        """[count, 3, side, side] uint8; of several windows each, the one with the most detail."""
        windows = torch.stack([self._cut_one(rng, side_px) for _ in range(count * busiest_of)])
        if busiest_of == 1:
            return windows
        best = measure_detail(windows).view(count, busiest_of).argmax(1)
        return windows[best + torch.arange(count, device=best.device) * busiest_of]

    def _cut_one(self, rng: np.random.Generator, side_px: int) -> Tensor:
        while True:
            level = self.levels[rng.integers(len(self.levels))]
            picture = level[rng.integers(len(level))]
            if min(picture.shape[1:]) >= side_px:  # not every picture holds a window of every scale
                break
        top, left = (int(rng.integers(side - side_px + 1)) for side in picture.shape[1:])
        return picture[:, top : top + side_px, left : left + side_px]


def hold(
    pictures: Sequence[Tensor],  # [3, H, W] uint8
    teachers: Mapping[int, nn.Module],  # by scale, on the device
    data: Data,
    *,
    tiles: int,
    seed: int,
    device: torch.device,
    degradation: Degradation = NO_DEGRADATION,
    pages: Sequence[Tensor] | None = None,  # drawn before; by default they are drawn here
    sizes: int = 0,
    pool: Pool = POOL,
) -> HeldPatches:
    """Make taught tiles of pictures and of drawn pages, and keep them on a device with the pictures."""
    check_taught((f"x{scale}" for scale in teachers), pool.tile_px, data)
    rng, side = np.random.default_rng(seed), pool.tile_px + 2 * MARGIN_PX
    pages = _draw_pages(rng, pool, tiles) if pages is None else pages
    drawn = round(pool.drawn_share * tiles) if pages else 0
    lr = [Pyramid(pictures, pool.shrink, side, device, rng).cut(rng, side, tiles - drawn, pool.busiest_of)]
    if drawn:
        lr.append(Pyramid(pages, pool.drawn_shrink, side, device, rng).cut(rng, side, drawn))
    answers = answer(teachers, torch.cat(lr))
    shown = Pyramid(pictures, (1.0, data.shrink_most), math.ceil(data.patch_px * data.scales[0]), device, rng)
    return HeldPatches(answers, shown, _PICTURE_SHARE, data, degradation, sizes)


def _draw_pages(rng: np.random.Generator, pool: Pool, tiles: int) -> list[Tensor]:
    try:
        from gsr_app.training.drawn import draw_picture
    except ModuleNotFoundError as error:
        warnings.warn(f"No text and grids are drawn for training: {error}.", stacklevel=2)
        return []
    return [draw_picture(rng, pool.drawn_px) for _ in range(math.ceil(pool.drawn_share * tiles / _TILES_OF_A_PAGE))]


@dataclass(frozen=True)
class HeldPatches:
    """Patches of taught tiles and of pictures, all on one device; stands in for `data.Patches`."""

    tiles: Mapping[int, Tensor]  # by scale [T, 3, t * scale, t * scale] uint8, 1 the low resolution
    pictures: Pyramid | None
    picture_share: float
    data: Data
    degradation: Degradation = NO_DEGRADATION
    sizes: int = 0  # of the patches of pictures, for CUDA graphs: so few, and as many patches in each step; 0: any

    def draw(self, *seed: int, count: int) -> Batch:
        """The patches of one step; those of pictures share one scale."""
        rng = np.random.default_rng(seed)
        scale = draw_scale(rng, self.data)
        shown = int(rng.binomial(count, self.picture_share)) if self.pictures else 0
        if self.sizes:
            low, high = (math.log(one) for one in self.data.scales)
            nearest = round((math.log(scale) - low) / (high - low) * (self.sizes - 1)) if high > low else 0
            scale = math.exp(low + (high - low) * nearest / max(1, self.sizes - 1))
            shown = round(count * self.picture_share) if self.pictures else 0
        lr: list[Tensor] = []
        targets: list[Targets] = []
        if shown < count:
            lr.append(self._draw_taught(rng, count - shown, targets))
        if self.pictures and shown:
            side_px = min(round(scale * self.data.patch_px), self.pictures.largest_px)
            hr = _turn(rng, self.pictures.cut(rng, side_px, shown, self.data.busiest_of)).float() / 255
            targets.append(Targets(hr, tuple(range(count - shown, count))))
            lr.append(self._shrink(rng, hr))
        return Batch(torch.cat(lr), tuple(targets))

    def _shrink(self, rng: np.random.Generator, hr: Tensor) -> Tensor:
        return degrade_batch(rng, hr, (self.data.patch_px, self.data.patch_px), self.degradation)

    def _draw_taught(self, rng: np.random.Generator, count: int, targets: list[Targets]) -> Tensor:
        low, patch_px = self.tiles[1], self.data.patch_px
        tile = rng.integers(len(low), size=count)
        corner = rng.integers(low.shape[2] - patch_px + 1, size=(2, count))
        flips = rng.integers(2, size=(3, count))
        # Few numbers; the indices of pixels are made on the device.
        choice = send(np.concatenate([tile[None], corner, flips]), low.device)  # [6, count]
        weights = self.data.taught_weights or {f"x{scale}": 1.0 for scale in self.tiles if scale != 1}
        for name, weight in weights.items():
            scale = int(name[1:])
            hr = _cut_turned(self.tiles[scale], choice, scale, patch_px)
            targets.append(Targets(hr, tuple(range(count)), weight / sum(weights.values())))
        lr = _cut_turned(low, choice, 1, patch_px)
        # The teacher has answered to the clean tile.
        return self._shrink(rng, lr) if self.degradation.share > 0 else lr


def _cut_turned(tiles: Tensor, choice: Tensor, scale: int, patch_px: int) -> Tensor:  # [n, 3, side, side] float
    """The same patches of the same tiles at any scale, mirrored and transposed alike."""
    side = patch_px * scale
    of, top, left, *flips = choice[:, :, None]  # [n, 1] each
    along = torch.arange(side, device=tiles.device)
    y, x = (
        start * scale + torch.where(flip == 1, side - 1 - along, along)
        for start, flip in zip((top, left), flips[:2], strict=True)
    )
    # The indices of the first and the last two axes are apart, so that torch puts the channels last.
    patch = tiles[of[:, :, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
    return torch.where(flips[2][:, :, None, None] == 1, patch.mT, patch).float() / 255


def _turn(rng: np.random.Generator, windows: Tensor) -> Tensor:  # [n, 3, side, side]
    flips = send(rng.integers(2, size=(3, len(windows), 1, 1, 1)), windows.device) == 1
    windows = torch.where(flips[0], windows.flip(2), windows)
    windows = torch.where(flips[1], windows.flip(3), windows)
    return torch.where(flips[2], windows.mT, windows)
