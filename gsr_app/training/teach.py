"""Targets from a slower network (the teacher), made once and kept in a pack.

A teacher's answer is close to the mean of all pictures that fit the low resolution. As a target it has much less noise
than the original photograph, and the same low resolution can have a target at several scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.models.checkpoint import load_state, read_state
from gsr_app.models.registry import architecture
from gsr_app.training.data import measure_detail, resize_bytes, to_bytes

MARGIN_PX = 4  # the teacher sees this much more on each side, so that padding does not disturb its answer
_TAUGHT_AT_ONCE = 32
_CPU = torch.device("cpu")


class Pool(NamedTuple):
    """How the tiles of a pack are chosen."""

    tile_px: int = 96
    shrink: tuple[float, float] = (1.5, 6.0)  # from the photograph to the low resolution, log-uniform
    drawn_share: float = 0.15  # tiles of drawn text and grids
    drawn_px: int = 640
    drawn_shrink: tuple[float, float] = (1.0, 4.0)
    busiest_of: int = 2  # windows looked at for every tile; the one with the most detail is taken


POOL = Pool()


def load_teachers(named: Sequence[str], device: torch.device = _CPU) -> dict[int, nn.Module]:
    """Networks of one scale with their weights, each given as ARCHITECTURE=FILE; by scale."""
    teachers: dict[int, nn.Module] = {}
    for text in named:
        name, separator, file = text.partition("=")
        if not separator:
            raise InvalidArgument(f"--teacher {text} names no weights.", hint="Write it as ARCHITECTURE=FILE.")
        arch = architecture(name)
        if arch.kind != "pixels" or arch.native_scale is None:
            raise InvalidArgument(
                f"{name} is not a network of one scale.", hint="A teacher is, such as smfanet-plus-x2."
            )
        module = arch.build().eval()
        load_state(module, read_state(Path(file)), file)
        teachers[arch.native_scale] = module.to(device, memory_format=_fastest_layout(device))  # type: ignore[call-overload]
    return teachers


def teach(
    pictures: Sequence[Tensor],  # [3, H, W] uint8
    teachers: Mapping[int, nn.Module],  # by scale
    pool: Pool,
    indices: range,
    seed: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Tiles for a pack: `lr` [3, t, t] and for every scale `x2`, `x3`, … [3, t * s, t * s], all uint8.

    A tile follows from the seed and its index alone, so several processes can share the work.
    """
    side = pool.tile_px + 2 * MARGIN_PX
    usable = [one for one in pictures if min(one.shape[1:]) >= side * pool.shrink[0]]
    if not usable:
        raise InvalidArgument(f"No picture is large enough for tiles of {pool.tile_px} pixels.")
    weights = np.array([math.sqrt(one.shape[1] * one.shape[2]) for one in usable])
    weights /= weights.sum()
    for index in indices:
        rng = np.random.default_rng((seed, index))
        lr = _draw_tile(rng, usable, weights, side, pool)
        answers = answer(teachers, lr[None])
        yield {"lr" if scale == 1 else f"x{scale}": one[0] for scale, one in answers.items()}


@torch.inference_mode()
def answer(teachers: Mapping[int, nn.Module], lr: Tensor) -> dict[int, Tensor]:  # [n, 3, t, t] uint8
    """The low resolutions (key 1) and their teachers' pictures by scale, all uint8, less the margin."""
    parts: dict[int, list[Tensor]] = {1: [_cut(lr, MARGIN_PX)]}
    for part in lr.split(_TAUGHT_AT_ONCE):
        source = (part.float() / 255).contiguous(memory_format=_fastest_layout(lr.device))
        for scale, module in teachers.items():
            parts.setdefault(scale, []).append(_cut(to_bytes(module(source)), MARGIN_PX * scale))
    return {scale: torch.cat(found) for scale, found in parts.items()}


def _fastest_layout(device: torch.device) -> torch.memory_format:
    """For the depthwise convolutions of small networks."""
    return torch.contiguous_format if device.type == "cuda" else torch.channels_last


def _draw_tile(
    rng: np.random.Generator, pictures: Sequence[Tensor], weights: np.ndarray, side: int, pool: Pool
) -> Tensor:  # [3, side, side] uint8
    from gsr_app.training.drawn import draw_picture  # needs the picture library, as a machine for training may not

    windows: list[Tensor] = []
    is_drawn = rng.random() < pool.drawn_share
    for _ in range(1 if is_drawn else pool.busiest_of):
        picture = draw_picture(rng, pool.drawn_px) if is_drawn else pictures[rng.choice(len(pictures), p=weights)]
        least, most = pool.drawn_shrink if is_drawn else pool.shrink
        most = min(most, min(picture.shape[1:]) / side)
        taken = round(side * math.exp(rng.uniform(math.log(least), math.log(most))))
        top, left = (int(rng.integers(length - taken + 1)) for length in picture.shape[1:])
        windows.append(resize_bytes(picture[:, top : top + taken, left : left + taken], (side, side)))
    return max(windows, key=measure_detail)


def _cut(pictures: Tensor, margin: int) -> Tensor:
    return pictures[..., margin:-margin, margin:-margin]
