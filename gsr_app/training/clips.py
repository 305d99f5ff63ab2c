"""Clips on disk and the windows of frames of a training step, for networks that make one frame from several.

As for pictures, the windows of a step depend only on (seed, step, process). Frames are read when they are needed,
because a training set of clips does not fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.core.types import Scale
from gsr_app.engine.protocols import crop_frame_size, shrink_frames
from gsr_app.io.formats import by_number
from gsr_app.training.data import ENDINGS, Batch, Targets, load_picture
from gsr_app.training.recipe import Data


@dataclass(frozen=True)
class Clip:
    """The frames of a clip, in order."""

    frames: tuple[Path, ...]

    def read(self, start: int, count: int) -> Tensor:  # [count, 3, H, W] uint8
        read = [load_picture(path) for path in self.frames[start : start + count]]
        if len({one.shape for one in read}) != 1:
            raise ImageError(f"The frames of {self.frames[0].parent} differ in size.", hint="A clip has one size.")
        return torch.stack(read)


def find_clips(folder: Path, least: int) -> list[Clip]:
    """Every folder at any depth with at least `least` frames; fits the layouts of Vimeo-90K and of Vid4."""
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}.", hint="Name a folder of clips.")
    homes: dict[Path, list[Path]] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in ENDINGS:
            homes.setdefault(path.parent, []).append(path)
    clips = [Clip(tuple(sorted(homes[home], key=by_number))) for home in sorted(homes) if len(homes[home]) >= least]
    if not clips:
        raise ImageError(f"{folder} holds no folder of at least {least} frames.", hint="A clip is a folder of frames.")
    return clips


class Windows:
    """Random windows of a set of clips, one scale per axis for all of a batch."""

    def __init__(self, clips: Sequence[Clip], data: Data) -> None:
        self.clips = [clip for clip in clips if len(clip.frames) >= data.frames]
        self.data = data
        if not self.clips:
            raise InvalidArgument(
                f"None of {len(clips)} clips has {data.frames} frames.", hint="Train on longer clips."
            )

    def draw(self, seed: int, step: int, *process: int, count: int) -> Batch:
        """The windows of one step."""
        # All processes draw the same scale; their windows differ.
        scale = self.draw_scale(np.random.default_rng((seed, step)), step)
        rng = np.random.default_rng((seed, step, *process, 1))
        windows = torch.stack([self._draw_window(rng, scale) for _ in range(count)])  # [B, T, 3, H, W]
        side_px = self.data.patch_px
        lr = shrink_frames(windows.flatten(0, 1), Scale(windows.shape[-2] / side_px, windows.shape[-1] / side_px))
        return Batch(
            lr.unflatten(0, windows.shape[:2]), (Targets(windows[:, self.data.frames // 2], tuple(range(count))),)
        )

    def draw_scale(self, rng: np.random.Generator, step: int) -> Scale:
        """One of the scales of the recipe; during its easy epochs the largest one or a whole one more often."""
        low, high = self.data.scales
        epoch = step // self.data.epoch_steps
        if epoch < self.data.easy_epochs and epoch % 10 < 4:
            return Scale(high, high)
        if epoch < self.data.easy_epochs and epoch % 10 < 6:
            whole = float(rng.integers(2, int(high) + 1))
            return Scale(whole, whole)
        tenths = [Scale(at / 10, at / 10) for at in range(round(low * 10), round(high * 10) + 1)]
        pairs = [Scale(y, x) for y in self.data.pairs_of for x in self.data.pairs_of if y != x]
        return (tenths + pairs)[rng.integers(len(tenths) + len(pairs))]

    def _draw_window(self, rng: np.random.Generator, scale: Scale) -> Tensor:  # [T, 3, H, W] float
        clip = self.clips[rng.integers(len(self.clips))]
        frames = clip.read(int(rng.integers(len(clip.frames) - self.data.frames + 1)), self.data.frames)
        frames = frames.transpose(2, 3) if rng.random() < 0.5 else frames
        size = round(self.data.patch_px * scale.y), round(self.data.patch_px * scale.x)
        if frames.shape[2] < size[0] or frames.shape[3] < size[1]:
            raise InvalidArgument(
                f"{clip.frames[0].parent} has frames of {frames.shape[3]}x{frames.shape[2]}, "
                f"too small for a patch of {size[1]}x{size[0]}.",
                hint="Train on larger clips, or set a smaller patch_px in the recipe.",
            )
        top, left = (int(rng.integers(a - b + 1)) for a, b in zip(frames.shape[2:], size, strict=True))
        frames = frames[:, :, top : top + size[0], left : left + size[1]]
        for axis in (0, 2, 3):  # backwards in time, upside down, mirrored
            frames = frames.flip(axis) if rng.random() < 0.5 else frames
        return frames.float() / 255


def make_pair(clip: Clip, scale: float, frames: int) -> tuple[Tensor, Tensor]:
    """The window in the middle of a clip: low resolution [1, T, 3, h, w] and its centre frame [3, H, W]."""
    window = clip.read((len(clip.frames) - frames) // 2, frames)
    height, width = crop_frame_size((window.shape[2], window.shape[3]), Scale(scale, scale))
    hr = window[:, :, :height, :width].float() / 255
    return shrink_frames(hr, Scale(scale, scale))[None], hr[frames // 2]
