"""How weights move: Adam, Soap, the averaged copy, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gsr_app.training.recipe import Optimizer, Schedule

_REFRESH_EVERY = 10  # steps between two looks at the bases


class Soap(torch.optim.Optimizer):
    """Adam in a basis where a kernel's gradients hardly correlate (Vyas et al., SOAP, 2024).

    A kernel counts as the matrix [outputs, inputs * area]. Both sides have a running covariance of the gradient; its
    eigenvectors are the basis, followed by one step of orthogonal iteration every few steps.
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
        if not state:  # the first gradient only tells where to look
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
    """Moves a basis towards the eigenvectors of its covariance, largest first; says how its vectors were reordered."""
    image = state[side] @ state[f"{side}_basis"]
    order = (state[f"{side}_basis"] * image).sum(0).argsort(descending=True)
    state[f"{side}_basis"] = torch.linalg.qr(image[:, order])[0]
    return order


def build_optimizers(module: nn.Module, recipe: Optimizer) -> list[torch.optim.Optimizer]:
    """One optimizer or two; together they own every parameter once."""
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
    """The share of the full learning rate at a step, `progress` (0..1) of the way through the run."""
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.kind == "halve":
        return warm * 0.5 ** sum(progress >= at for at in schedule.halve_at)
    if schedule.kind == "restarts":
        place = min(progress, 1.0) * len(schedule.peaks)
        leg = min(int(place), len(schedule.peaks) - 1)
        return warm * schedule.peaks[leg] * 0.5 * (1 + math.cos(math.pi * (place - leg)))
    held = schedule.hold if schedule.kind == "hold" else 0.0
    falling = max(0.0, min(progress, 1.0) - held) / (1 - held)
    return warm * 0.5 * (1 + math.cos(math.pi * falling))


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
