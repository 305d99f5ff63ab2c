"""Networks, the catalogue of methods, and their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def build(arch_id: str) -> nn.Module:
    """A network with fresh weights, in eval mode: `build("rgt-x4")`."""
    from gsr_app.models import registry

    return registry.build(arch_id)


__all__ = ["build"]
