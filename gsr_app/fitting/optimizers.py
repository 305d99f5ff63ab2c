"""The optimizers of a fit, behind one interface: step, reset, state, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gsr_app.fitting.adan import Adan

_BETAS, _EPS = (0.9, 0.99), 1e-12


class Optimizer(Protocol):
    """A step is `begin`, which counts it, and `apply`, which a CUDA graph can record where `is_recordable`."""

    is_recordable: bool

    def begin(self, factor: float = 1.0) -> None: ...
    def apply(self, gradients: Sequence[Tensor]) -> None: ...
    def reset(self, rows: Tensor) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Adam:
    """Adam on a few tensors, each with its own learning rate, in few and large operations."""

    def __init__(self, tensors: Sequence[Tensor], rates: Sequence[float], *, is_recordable: bool = False) -> None:
        self.tensors, self.rates, self.is_recordable = list(tensors), list(rates), is_recordable
        self.mean, self.square = ([torch.zeros_like(x) for x in tensors] for _ in range(2))
        self.steps = 0
        self._sizes = [0.0 for _ in rates]
        self._sent = [x.new_zeros(()) for x in tensors]  # the sizes where a graph reads them

    def begin(self, factor: float = 1.0) -> None:
        b1, b2 = _BETAS
        self.steps += 1
        root = (1 - b2**self.steps) ** 0.5
        self._sizes = [-rate * factor * root / (1 - b1**self.steps) for rate in self.rates]
        if self.is_recordable:
            for sent, size in zip(self._sent, self._sizes, strict=True):
                sent.fill_(size)

    def apply(self, gradients: Sequence[Tensor]) -> None:
        b1, b2 = _BETAS
        for k, (x, g, m, v) in enumerate(zip(self.tensors, gradients, self.mean, self.square, strict=True)):
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            scale = v.sqrt().add_(_EPS)
            if self.is_recordable:
                x.addcmul_(m / scale, self._sent[k])
            else:
                x.addcdiv_(m, scale, value=self._sizes[k])

    def reset(self, rows: Tensor) -> None:
        """Clear the momentum of rows that now hold other Gaussians; the second moments are kept."""
        for one in self.mean:
            one[rows] = 0

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "mean": self.mean, "square": self.square}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for own, kept in ((self.mean, state["mean"]), (self.square, state["square"])):
            own[:] = [x.to(self.tensors[0].device) for x in kept]


def build_optimizer(
    name: Literal["adam", "adan"], tensors: Sequence[Tensor], rates: Sequence[float], *, is_recordable: bool = False
) -> Optimizer:
    if name == "adan":
        # Adan adds the change of the gradient, and so moves about three times as far as Adam at the same rate.
        return Adan(tensors, [rate / 3 for rate in rates], betas=(0.9, 0.9, 0.99), eps=_EPS)
    return Adam(tensors, rates, is_recordable=is_recordable)
