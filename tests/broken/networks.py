"""A network with every kind of parameter that weight files hold, but small."""

from __future__ import annotations

from torch import nn


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)).eval()
