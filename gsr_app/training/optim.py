"""Optimizers, the moving average of the weights, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gsr_app.training.recipe import Optimizer, Schedule

_REFRESH_EVERY = 10  # steps between updates of the bases


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of the gradient covariance (Vyas et al., SOAP, 2024).

    A kernel is treated as a matrix [outputs, inputs * area]. Each side keeps a running covariance of the gradient. Its
    eigenvectors are the basis, updated by one step of orthogonal iteration every few steps.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float], epsilon: float = 1e-8):
        super().__init__(parameters, {"lr": rate, "betas": betas, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad.reshape(len(weight), -1), group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:  # the first gradient only initialises the bases
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side, matrix in (("left", gradient), ("right", gradient.T)):
                state[side] = matrix @ matrix.T
                state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1]
            return
        state["step"] += 1
        step, (beta, beta_square), rate = state["step"], group["betas"], group["lr"]
        left, right = state["left_basis"], state["right_basis"]
        state["mean"].lerp_(gradient, 1 - beta)
        turned = left.T @ gradient @ right
        state["square"].lerp_(turned.square(), 1 - beta_square)
        scale = (state["square"] / (1 - beta_square**step)).sqrt() + group["epsilon"]
        update = left @ ((left.T @ state["mean"] @ right) / scale) @ right.T
        weight.sub_(update.view(weight.shape), alpha=rate / (1 - beta**step))
        state["left"].lerp_(gradient @ gradient.T, 1 - beta_square)
        state["right"].lerp_(gradient.T @ gradient, 1 - beta_square)
        if step % _REFRESH_EVERY == 1:
            state["square"] = state["square"][_turn(state, "left")][:, _turn(state, "right")]


def _turn(state: dict[str, Any], side: str) -> Tensor:
    """Move a basis towards the eigenvectors of its covariance, largest first; returns the order of its old vectors."""
    image = state[side] @ state[f"{side}_basis"]
    order = (state[f"{side}_basis"] * image).sum(0).argsort(descending=True)
    state[f"{side}_basis"] = torch.linalg.qr(image[:, order])[0]
    return order


def build_optimizers(module: nn.Module, recipe: Optimizer) -> list[torch.optim.Optimizer]:
    """One optimizer or two; every parameter belongs to exactly one."""
    adam = list(module.parameters())
    optimizers: list[torch.optim.Optimizer] = []
    if recipe.name == "soap":
        matrices = [weight for weight in adam if weight.ndim >= 2]
        adam = [weight for weight in adam if weight.ndim < 2]
        optimizers.append(Soap(matrices, recipe.rate, recipe.betas))
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
    falling = max(0.0, min(progress, 1.0) - held) / (1 - held)
    return warm * 0.5 * (1 + math.cos(math.pi * falling))


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * factor


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, *, step: int, decay: float) -> None:
    """Update the exponential moving average of the weights; the decay is smaller during the first steps."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, share)
    for slow, fast in zip(average.buffers(), module.buffers(), strict=True):
        slow.copy_(fast)
