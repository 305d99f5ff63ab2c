"""Operations on tensors: drawing Gaussians and resizing pixels."""

from gsr_app.ops.drawing import render, splat

__all__ = ["render", "splat"]
