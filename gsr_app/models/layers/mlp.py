"""Small fully connected networks, with the parameter names of two families of checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    """Linear layers with an activation between them; parameter names of the implicit methods."""

    def __init__(self, sizes: Sequence[int], *, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class FeedForward(nn.Module):
    """Two linear layers, as many channels out as in; parameter names of the window transformers."""

    def __init__(
        self, channels: int, hidden: int, *, activation: Callable[[torch.Tensor], torch.Tensor] = F.gelu
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation(self.fc1(x)))
