"""Mixed 2-D rotary positions: channel pairs rotate by an angle linear in x and y, with learned frequencies.

Heo et al., "Rotary Position Embedding for Vision Transformer", ECCV 2024, arXiv 2403.13298.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fresh_frequencies(heads: int, head_dim: int) -> Tensor:
    """Frequencies for training from scratch: log-spaced magnitudes along two directions at a random angle per head."""
    magnitude = 10.0 ** (-4.0 * torch.arange(head_dim // 4) / head_dim)  # [head_dim/4]
    angle = 2 * math.pi * torch.rand(heads, 1)
    along, across = angle, angle + math.pi / 2
    x = torch.cat((magnitude * along.cos(), magnitude * across.cos()), dim=1)
    y = torch.cat((magnitude * along.sin(), magnitude * across.sin()), dim=1)
    return torch.stack((x, y))  # [2, heads, head_dim/2]


def raster_positions(side: int) -> tuple[Tensor, Tensor]:
    """x and y of every token of a side × side raster, row by row, as float32."""
    token = torch.arange(side * side)
    return (token % side).float(), torch.div(token, side, rounding_mode="floor").float()


def rotation(freqs: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Unit complex numbers [tokens, heads, pairs] from frequencies [2, heads, pairs] and positions [tokens]."""
    angle = (x[:, None, None] * freqs[0] + y[:, None, None] * freqs[1]).float()
    return torch.polar(torch.ones_like(angle), angle)


def rotate(tokens: Tensor, turn: Tensor) -> Tensor:
    """Rotate channel pairs (2i, 2i+1) of tokens [batch, tokens, heads, channels]; computed in float32."""
    pairs = torch.view_as_complex(tokens.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(tokens)
