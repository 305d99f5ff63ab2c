"""How weights move: Adam, Muon, the averaged copy, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.training.recipe import Optimizer, Schedule

# Five steps of this odd polynomial send every singular value to somewhere near one (K. Jordan et al., Muon, 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose step is the nearest orthogonal matrix: every direction of a kernel moves by as much.

    A convolution's kernel counts as the matrix [outputs, inputs * area].
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}  # matrices of one shape go together
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(momentum, group["momentum"])
                matrix = update.reshape(len(update), -1)
                alike.setdefault((matrix.shape[0], matrix.shape[1]), []).append((weight, matrix))
            for (rows, columns), pairs in alike.items():
                steps = orthogonalise(torch.stack([matrix for _, matrix in pairs]))
                length = group["lr"] * math.sqrt(max(1.0, rows / columns))
                for (weight, _), step in zip(pairs, steps, strict=True):
                    weight.sub_(step.view(weight.shape), alpha=length)


def orthogonalise(matrices: Tensor) -> Tensor:  # [K, rows, columns]
    """Matrices with the same singular vectors and singular values near one."""
    a, b, c = _QUINTIC
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x


def build_optimizers(module: nn.Module, recipe: Optimizer) -> list[torch.optim.Optimizer]:
    """One optimizer or two; together they own every parameter once."""
    named = dict(module.named_parameters())
    adam = dict(named)
    optimizers: list[torch.optim.Optimizer] = []
    if recipe.name == "muon":
        kernels = {
            name: weight
            for name, weight in named.items()
            if weight.ndim >= 2 and name.startswith(tuple(f"{part}." for part in recipe.muon_parts))
        }
        if not kernels:
            raise InvalidArgument(f"muon_parts names none of {', '.join(sorted({n.split('.')[0] for n in named}))}.")
        optimizers.append(Muon(kernels.values(), recipe.muon_rate, recipe.muon_momentum))
        adam = {name: weight for name, weight in named.items() if name not in kernels}
    optimizers.append(
        torch.optim.AdamW(adam.values(), recipe.rate, betas=recipe.betas, weight_decay=recipe.weight_decay)
    )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full_rate"] = group["lr"]
    return optimizers


def rate_factor(step: int, progress: float, schedule: Schedule) -> float:
    """The share of the full learning rate at a step, `progress` (0..1) of the way through the run."""
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.kind == "halve":
        return warm * 0.5 ** sum(progress >= at for at in schedule.halve_at)
    return warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * factor


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, *, step: int, decay: float) -> None:
    """Move the averaged weights towards the present ones; faster at first, when there is little to average."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, share)
    for slow, fast in zip(average.buffers(), module.buffers(), strict=True):
        slow.copy_(fast)
