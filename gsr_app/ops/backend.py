"""Which implementation of `gsr::splat` runs, and why not a better one."""

from __future__ import annotations


def load(device_type: str) -> None:
    """Make the best implementation for a device available. Until one is built, the reference serves every device."""
