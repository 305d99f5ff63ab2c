"""How much memory a training step needs, known before the first one, and how a batch is split that does not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, View
from gsr_app.models.registry import Architecture
from gsr_app.training.data import Batch, Targets
from gsr_app.training.predict import Wanted, predict
from gsr_app.training.recipe import Recipe

_PROBE_PX = 16  # side of the patch that the memory is measured with: it grows with the area
_TRANSIENT = 1.35  # what a step needs at its peak, over what it keeps for the backward pass
_USABLE = 0.8  # of the free memory


def measure_patch_bytes(module: nn.Module, arch: Architecture, recipe: Recipe) -> int:
    """What a step needs for each patch, from what a forward pass of a small patch keeps for the backward pass."""
    multiple = math.lcm(arch.multiple_of, 2)
    side = math.ceil(max(_PROBE_PX, arch.minimum_size) / multiple) * multiple
    scale = float(arch.native_scale or recipe.data.scales[1])
    count = 2 if has_batch_statistics(module) else 1
    shape = (count, recipe.data.frames, 3, side, side) if arch.kind == "video" else (count, 3, side, side)
    device = next(module.parameters()).device
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x
        return x

    size = (round(side * scale), round(side * scale))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), torch.random.fork_rng(devices=[]):
        predict(module, arch, torch.rand(shape, device=device), [Wanted(size, tuple(range(count)))], draw=_draw_flat)
    found = sum(x.untyped_storage().nbytes() for x in kept.values()) / count
    return round(_TRANSIENT * found * (recipe.data.patch_px / side) ** 2)


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether its layers compare the patches of a batch, so that it needs two or more at a time."""
    return any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for part in module.modules())


def _draw_flat(field: GaussianField, view: View) -> Tensor:
    """In place of a drawing, whose own needs are small: something that depends on all of the field."""
    parts = [torch.as_tensor(x) for x in (field.color, field.mean, field.sigma, field.rho)]
    color = parts[0].mean(0) * torch.stack([x.mean() for x in parts]).sum()
    return color[:, None, None].expand(-1, *view.size)


def measure_fixed_bytes(module: nn.Module, optimizer: str) -> int:
    """Weights, gradients, averaged weights, and the state of the optimizer."""
    weights = sum(4 * weight.numel() for weight in module.parameters())
    bases = 0
    if optimizer == "soap":  # two covariances and two bases for each kernel, as a matrix
        shapes = [(len(weight), weight[0].numel()) for weight in module.parameters() if weight.ndim >= 2]
        bases = sum(2 * 4 * (rows**2 + columns**2) for rows, columns in shapes)
    return 5 * weights + bases


def choose_parts(count: int, patch_bytes: int, fixed_bytes: int, free_bytes: int) -> int:
    """Into how many parts a batch of `count` patches is split so that each fits."""
    room = max(_USABLE * free_bytes - fixed_bytes, 1.0)
    fitting = max(1, min(count, int(room // max(1, patch_bytes))))
    return math.ceil(count / fitting)


def split_batch(batch: Batch, parts: int) -> list[tuple[Batch, float]]:
    """Parts of a batch and the share of each in its loss: the sum of share * loss is the loss of the whole."""
    count = len(batch.lr)
    if parts <= 1 or count <= 1:
        return [(batch, 1.0)]
    size = math.ceil(count / parts)
    pieces = [_take(batch, first, min(first + size, count)) for first in range(0, count, size)]
    weights = [sum(one.weight * len(one.of) for one in piece.targets) for piece in pieces]
    return [(piece, weight / sum(weights)) for piece, weight in zip(pieces, weights, strict=True)]


def _take(batch: Batch, first: int, last: int) -> Batch:
    targets: list[Targets] = []
    for one in batch.targets:
        rows: Sequence[int] = [row for row, of in enumerate(one.of) if first <= of < last]
        if rows:
            targets.append(replace(one, hr=one.hr[rows], of=tuple(one.of[row] - first for row in rows)))
    return Batch(batch.lr[first:last], tuple(targets))
