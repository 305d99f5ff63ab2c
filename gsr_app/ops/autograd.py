"""The gradient of `gsr::splat` is `gsr::splat_backward`, for every implementation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gsr_app.ops.schema import LIBRARY


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.frame = inputs[4:]


def _register(name: str) -> None:
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        op = getattr(torch.ops.gsr, f"{name}_backward")
        return *op(grad.contiguous(), *ctx.saved_tensors, *ctx.frame), *(None for _ in ctx.frame)

    torch.library.register_autograd(f"gsr::{name}", backward, setup_context=_save, lib=LIBRARY)


_register("splat")
_register("splat_reference")
