"""The optimizers of a fit, behind one interface: step, reset, state, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gsr_app.fitting.adan import Adan

_BETAS, _EPS = (0.9, 0.99), 1e-12


class Optimizer(Protocol):
    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None: ...
    def reset(self, rows: Tensor) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Adam:
    """Adam on a few tensors, each with its own learning rate, in few and large operations."""

    def __init__(self, tensors: Sequence[Tensor], rates: Sequence[float]) -> None:
        self.tensors, self.rates = list(tensors), list(rates)
        self.mean, self.square = ([torch.zeros_like(x) for x in tensors] for _ in range(2))
        self.steps = 0

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        b1, b2 = _BETAS
        self.steps += 1
        root = (1 - b2**self.steps) ** 0.5
        for x, g, m, v, rate in zip(self.tensors, gradients, self.mean, self.square, self.rates, strict=True):
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            x.addcdiv_(m, v.sqrt().add_(_EPS), value=-rate * factor * root / (1 - b1**self.steps))

    def reset(self, rows: Tensor) -> None:
        """Clear the momentum of rows that now hold other Gaussians; the second moments are kept."""
        for one in self.mean:
            one[rows] = 0

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "mean": self.mean, "square": self.square}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps, self.mean, self.square = state["steps"], state["mean"], state["square"]


def build_optimizer(name: Literal["adam", "adan"], tensors: Sequence[Tensor], rates: Sequence[float]) -> Optimizer:
    if name == "adan":
        # Adan adds the change of the gradient, and so moves about three times as far as Adam at the same rate.
        return Adan(tensors, [rate / 3 for rate in rates], betas=(0.9, 0.9, 0.99), eps=_EPS)
    return Adam(tensors, rates)
