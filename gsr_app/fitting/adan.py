"""Adan (Xie et al., TPAMI 2024): momentum of the gradient and of its change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Adan:
    """Updates tensors in place from the caller's gradients; each tensor has its own learning rate."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        rates: Sequence[float] | float = 1e-3,
        *,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
    ) -> None:
        self.tensors = list(tensors)
        self.rates = [float(rates)] * len(self.tensors) if isinstance(rates, float | int) else list(rates)
        self.betas, self.eps = betas, eps
        self.steps, self.factor = 0, 1.0
        self.mean, self.change, self.square = ([torch.zeros_like(x) for x in self.tensors] for _ in range(3))
        self.before = [torch.zeros_like(x) for x in self.tensors]

    is_recordable = False

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        self.begin(factor)
        self.apply(gradients)

    def begin(self, factor: float = 1.0) -> None:
        self.steps += 1
        self.factor = factor

    @torch.no_grad()
    def apply(self, gradients: Sequence[Tensor]) -> None:
        b1, b2, b3 = self.betas
        root = math.sqrt(1 - b3**self.steps)
        for k, (x, g) in enumerate(zip(self.tensors, gradients, strict=True)):
            rate = self.rates[k] * self.factor
            change = g - self.before[k] if self.steps > 1 else torch.zeros_like(g)
            self.mean[k].lerp_(g, 1 - b1)
            self.change[k].lerp_(change, 1 - b2)
            ahead = g + b2 * change
            self.square[k].mul_(b3).addcmul_(ahead, ahead, value=1 - b3)
            scale = self.square[k].sqrt().div_(root).add_(self.eps)
            x.addcdiv_(self.mean[k], scale, value=-rate / (1 - b1**self.steps))
            x.addcdiv_(self.change[k], scale, value=-rate * b2 / (1 - b2**self.steps))
            self.before[k].copy_(g)

    def reset(self, rows: Tensor) -> None:
        """Clear the momentum of rows that now hold other Gaussians; the second moments are kept."""
        for moments in (self.mean, self.change, self.before):
            for one in moments:
                one[rows] = 0

    def state(self) -> dict[str, Any]:
        return {
            "steps": self.steps, "mean": self.mean, "change": self.change, "square": self.square, "before": self.before
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for name in ("mean", "change", "square", "before"):
            setattr(self, name, [x.to(self.tensors[0].device) for x in state[name]])
