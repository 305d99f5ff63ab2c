"""The rule by which every golden's weights and inputs were made: each tensor from its own name, so order is free."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

# Geometry and counters stay as the constructor made them.
_LEFT = ("relative_position_index", "attn_mask", "rope_t_x", "rope_t_y", "num_batches_tracked", "rpe_biases")
_LEFT += ("escape_NaN", "inv_freq", "relative_coords_table")
_SMALL = ("relative_position_bias_table", "absolute_pos_embed")


def _normal(name: str, shape: Sequence[int]) -> np.ndarray:
    return np.asarray(_generator(name).standard_normal(tuple(shape), dtype=np.float32))


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def filled(key: str, shape: Sequence[int]) -> np.ndarray:
    """The value of one tensor; float32 throughout."""
    z = _normal(key, shape)
    if len(shape) >= 2:
        return 0.02 * z if any(name in key for name in _SMALL) else z / math.sqrt(math.prod(shape[1:]))
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    about_one = (len(shape) == 1 and key.endswith("weight")) or (
        tuple(shape) in {(), (1,)} and key.endswith(("gamma", "scale", "temperature"))
    )
    return 0.1 * z + 1 if about_one else 0.1 * z


@torch.no_grad()
def fill(module: nn.Module, *, leave: Sequence[str] = ()) -> nn.Module:
    """Fill every float tensor of a module's state in place."""
    for key, tensor in module.state_dict().items():
        skip = not tensor.is_floating_point() or any(name in key for name in _LEFT) or key in leave
        if not skip:
            tensor.copy_(torch.from_numpy(np.asarray(filled(key, tensor.shape), dtype=np.float32)))
    return module


def make_input(name: str, shape: Sequence[int]) -> torch.Tensor:
    return torch.from_numpy(_generator("input:" + name).random(tuple(shape), dtype=np.float32))
