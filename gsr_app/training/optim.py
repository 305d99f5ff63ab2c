"""Optimizers, the moving average of the weights, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.training.recipe import Optimizer, Schedule

_REFRESH_EVERY = 10  # steps between updates of the bases


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of the gradient covariance (Vyas et al., SOAP, 2024).

    A kernel is treated as a matrix [outputs, inputs * area]. Each side keeps a running covariance of the gradient. Its
    eigenvectors are the basis, updated by one step of orthogonal iteration every few steps. Kernels of one shape are
    stacked, [K, outputs, inputs * area], and their state is kept with the first of them.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float,
        betas: tuple[float, float],
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,  # decoupled, as in AdamW
    ) -> None:
        defaults = {"lr": rate, "betas": betas, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(weight.shape, []).append(weight)
            for weights in by_shape.values():
                self._move(weights, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradient = torch.stack([weight.grad.reshape(len(weight), -1) for weight in weights])  # type: ignore[union-attr]
        state = self.state[weights[0]]
        if not state:  # the first gradient only initialises the bases
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side, matrix in (("left", gradient), ("right", gradient.mT)):
                state[side] = matrix @ matrix.mT
                state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1]
            return
        state["step"] += 1
        step, (beta, beta_square), rate = state["step"], group["betas"], group["lr"]
        left, right = state["left_basis"], state["right_basis"]
        state["mean"].lerp_(gradient, 1 - beta)
        turned = left.mT @ gradient @ right
        state["square"].lerp_(turned.square(), 1 - beta_square)
        scale = (state["square"] / (1 - beta_square**step)).sqrt() + group["epsilon"]
        update = left @ ((left.mT @ state["mean"] @ right) / scale) @ right.mT
        decay = group.get("weight_decay", 0.0)  # states of earlier versions have none
        for weight, one in zip(weights, update, strict=True):
            if decay:
                weight.mul_(1 - rate * decay)
            weight.sub_(one.view(weight.shape), alpha=rate / (1 - beta**step))
        state["left"].lerp_(gradient @ gradient.mT, 1 - beta_square)
        state["right"].lerp_(gradient.mT @ gradient, 1 - beta_square)
        if step % _REFRESH_EVERY == 1:
            rows, columns = _turn(state, "left"), _turn(state, "right")
            square = torch.take_along_dim(state["square"], rows[:, :, None], 1)
            state["square"] = torch.take_along_dim(square, columns[:, None], 2)


def _turn(state: dict[str, Any], side: str) -> Tensor:
    """Move bases towards the eigenvectors of their covariances, largest first; returns the order of the old vectors."""
    basis = state[f"{side}_basis"]
    image = state[side] @ basis
    order = (basis * image).sum(1).argsort(dim=1, descending=True)
    vectors = torch.take_along_dim(image, order[:, None], 2)
    state[f"{side}_basis"] = orthonormalize(vectors) if vectors.is_cuda else torch.linalg.qr(vectors)[0]
    return order


def orthonormalize(vectors: Tensor) -> Tensor:  # [K, n, n] -> [K, n, n]
    """The columns made orthonormal in their order, as by `qr`, up to signs.

    A GPU's `qr` is slow for matrices of some hundred rows. The Cholesky factor of the columns' products, applied twice
    in float64, gives the same where the columns are not nearly dependent; where they are, `qr` does it.
    """
    columns = F.normalize(vectors.double(), dim=1)
    for _ in range(2):
        factor, failed = torch.linalg.cholesky_ex(columns.mT @ columns)
        if bool(failed.any()):
            return torch.linalg.qr(vectors)[0]
        columns = torch.linalg.solve_triangular(factor.mT, columns, upper=True, left=False)
    return columns.to(vectors.dtype)


def build_optimizers(module: nn.Module, recipe: Optimizer) -> list[torch.optim.Optimizer]:
    """One optimizer or two; every parameter belongs to exactly one."""
    adam = list(module.parameters())
    optimizers: list[torch.optim.Optimizer] = []
    if recipe.name == "soap":
        matrices = [weight for weight in adam if weight.ndim >= 2]
        adam = [weight for weight in adam if weight.ndim < 2]
        optimizers.append(Soap(matrices, recipe.rate, recipe.betas, weight_decay=recipe.weight_decay))
    if adam:
        optimizers.append(torch.optim.AdamW(adam, recipe.rate, betas=recipe.betas, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full_rate"] = group["lr"]
    return optimizers


def rate_factor(step: int, progress: float, schedule: Schedule) -> float:
    """The factor on the full learning rate at a step; `progress` (0..1) is the completed part of the run."""
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.kind == "halve":
        return warm * 0.5 ** sum(progress >= at for at in schedule.halve_at)
    if schedule.kind == "restarts":
        position = min(progress, 1.0) * len(schedule.peaks)
        cycle = min(int(position), len(schedule.peaks) - 1)
        return warm * schedule.peaks[cycle] * 0.5 * (1 + math.cos(math.pi * (position - cycle)))
    held = schedule.hold if schedule.kind == "hold" else 0.0
    falling = max(0.0, min(progress, 1.0) - held) / (1 - held) if held < 1 else 0.0
    return warm * 0.5 * (1 + math.cos(math.pi * falling))


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * factor


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, *, step: int, decay: float) -> None:
    """Update the exponential moving average of the weights; the decay is smaller during the first steps."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    slow: list[Tensor] = list(average.parameters())
    fast: list[Tensor] = list(module.parameters())
    torch._foreach_lerp_(slow, fast, share)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    for slow_buffer, fast_buffer in zip(average.buffers(), module.buffers(), strict=True):
        slow_buffer.copy_(fast_buffer)
