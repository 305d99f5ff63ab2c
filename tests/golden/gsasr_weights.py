"""The rule by which the goldens of GSASR were made: every weight and input from its own name, so that order is free."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

# Geometry stays as the constructor made it.
_LEFT = ("relative_position_index", "attn_mask", "rope_t_x", "rope_t_y")
_EMBEDDINGS = ("gs_embedding", "pos_embedding", "relative_position_bias_table")


def _is_left(key: str, tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or any(name in key for name in _LEFT)


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _value(key: str, shape: Sequence[int]) -> np.ndarray:
    z = _generator(key).standard_normal(tuple(shape), dtype=np.float32)
    if "rope_freqs" in key:
        return z * np.float32(0.1)
    if len(shape) >= 2:
        embeds = key.rpartition(".")[2] in _EMBEDDINGS
        return z * np.float32(0.02) if embeds else z / np.float32(math.sqrt(math.prod(shape[1:])))
    spread = np.float32(0.1) * z
    return spread + np.float32(1) if key.endswith("weight") else spread


@torch.no_grad()
def fill(module: nn.Module) -> nn.Module:
    """Overwrite every learned tensor of an encoder or a decoder."""
    for key, tensor in module.state_dict().items():
        if not _is_left(key, tensor):
            tensor.copy_(torch.from_numpy(_value(key, tensor.shape)))
    return module


def make_input(name: str, shape: Sequence[int]) -> Tensor:
    return torch.from_numpy(_generator(f"input:{name}").random(tuple(shape), dtype=np.float32))


def digest(module: nn.Module, *, filled: bool) -> str:
    """One line for all values: of the filled tensors, or of those left as constructed."""
    sha = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        if _is_left(key, tensor) != filled:
            sha.update(key.encode())
            sha.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return sha.hexdigest()


def describe_state(module: nn.Module) -> list[list[object]]:
    """Key, shape, type and kind of every tensor, sorted by key."""
    parameters = {name for name, _ in module.named_parameters()}
    return sorted(
        [key, list(x.shape), str(x.dtype).removeprefix("torch."), "parameter" if key in parameters else "buffer"]
        for key, x in module.state_dict().items()
    )


def digest_state(described: Sequence[Sequence[object]]) -> str:
    """One line for all keys and shapes."""
    lines = sorted(" ".join(map(str, entry)) for entry in described)
    return f"{len(lines)} tensors, sha256 {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
