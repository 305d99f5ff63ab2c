"""Normalisation over the channels of a map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels at each pixel of [B, C, H, W]."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        last = input.permute(0, 2, 3, 1)  # a view when the input is channels-last
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
