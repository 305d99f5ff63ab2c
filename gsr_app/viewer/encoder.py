"""The weights of swift as a file that a browser reads, for the encoder that runs there."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gsr_app.io.fields import write_tensors
from gsr_app.models import registry, weights

METHOD = "swift"
FORMAT, VERSION = "gsr-encoder", 1

# Integers of 16 bits with a factor per kernel take a tenth more than float16, and have an eighth of its error.
Precision = Literal["int16", "float32"]


@functools.cache
def encoder_weights(precision: Precision = "int16", given: Path | None = None) -> bytes:
    """A safetensors file; its texts hold the network's configuration and the weights' id and licence."""
    from gsr_app.models import checkpoint  # it imports torch

    method = registry.method(METHOD)
    found = weights.obtain(method, given)
    return pack_encoder(checkpoint.load_files(registry.build(method.arch), found.files), precision, found.id)


def pack_encoder(network: Any, precision: Precision = "int16", weights_id: str = "") -> bytes:
    """The file of a `Swift` of any size."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in network.state_dict().items():
        weight = np.ascontiguousarray(value.numpy(), np.float32)
        if precision == "float32":
            arrays[name] = weight
        else:
            arrays[name], arrays[f"{name}.largest"] = to_int16(weight)
    texts = {
        "format": FORMAT,
        "version": str(VERSION),
        "precision": precision,
        "config": json.dumps(asdict(network.config), separators=(",", ":")),
        "weights": weights_id,
        "licence": registry.method(METHOD).weights_licence,
    }
    return write_tensors(arrays, texts)


def to_int16(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """Codes [..., 3, 3], and the largest value of each kernel: a weight is (code - 32768) / 32767 of it."""
    most = np.abs(weight).max((-2, -1))
    largest = most.astype(np.float16)
    largest = np.where(largest < most, np.nextafter(largest, np.float16(np.inf)), largest)
    unit = np.maximum(largest.astype(np.float32), 1e-30) / 32767
    return (np.rint(weight / unit[..., None, None]) + 32768).astype(np.uint16), largest


def from_int16(codes: NDArray[np.uint16], largest: NDArray[np.float16]) -> NDArray[np.float32]:
    factor = (largest.astype(np.float32) / 32767)[..., None, None]
    return ((codes.astype(np.float32) - 32768) * factor).astype(np.float32)
