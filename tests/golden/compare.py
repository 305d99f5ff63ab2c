"""What every network's golden test does: load the small golden, compare keys, compare numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent / "nets"


def load(name: str) -> dict[str, torch.Tensor]:
    """A small golden of the repository: the published code's output for filled weights."""
    with np.load(HERE / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def digest(of_shapes: dict[str, tuple[int, ...]]) -> str:
    """One line for all keys and shapes, whatever their order."""
    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in of_shapes.items())
    return f"{len(lines)} tensors, sha256 {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def expected_digest(name: str) -> str:
    return json.loads((HERE / "keys.json").read_text())[name]


def assert_same(found: torch.Tensor, expected: torch.Tensor, *, relative: float = 1e-4) -> None:
    """The bound that float32 rounding leaves, whatever the order of the sums: relative to the output's spread."""
    assert found.shape == expected.shape
    bound = relative * float(expected.std()) + 1e-5
    worst = float((found - expected).abs().max())
    assert worst <= bound, f"differs by {worst:.2e}, allowed {bound:.2e}"
