"""A field of Gaussians as bytes for the browser: a JSON header, then arrays; 20 bytes per Gaussian.

Centres stay float32; shapes and colours are float16. Gaussians are sorted by grid cell, row by row, with the start
of every cell beside them, so that the ones in a rectangle are a few contiguous runs. `static/field.js` reads this.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.types import GaussianField

MAGIC, VERSION = b"GSRF", 1
_PER_CELL = 64  # Gaussians per cell, about: few enough to skip quickly, enough to keep the index small


def _array(values: Any, dtype: type) -> NDArray[Any]:
    """From numpy or from whatever the engine computes with."""
    return np.ascontiguousarray(values.numpy() if hasattr(values, "numpy") else values, dtype=dtype)


def pack_field(field: GaussianField) -> bytes:
    mean, sigma = _array(field.mean, np.float32), _array(field.sigma, np.float32)
    rho, color = _array(field.rho, np.float32), _array(field.color, np.float32)
    count = len(mean)
    if color.shape[1] != 3:
        color = np.repeat(color[:, :1], 3, axis=1)
    height, width = field.source_size
    cell = max(1.0, float(np.sqrt(height * width * _PER_CELL / max(1, count))))
    columns, rows = int(np.ceil(width / cell)), int(np.ceil(height / cell))
    at = np.clip((mean / cell).astype(np.int64), 0, (columns - 1, rows - 1))
    key = at[:, 1] * columns + at[:, 0]
    order = np.argsort(key, kind="stable")
    starts = np.searchsorted(key[order], np.arange(columns * rows + 1)).astype(np.uint32)
    peak = float(np.percentile(np.abs(color).max(1), 98)) if count else 1.0
    sizes = np.percentile(sigma.max(1), (2, 98)).tolist() if count else [0.0, 1.0]
    arrays = {
        "starts": starts,
        "mean": mean[order],
        "sigma": sigma[order].astype(np.float16),
        "rho": rho[order].astype(np.float16),
        "color": color[order].astype(np.float16),
    }
    offsets, body, offset = {}, [], 0
    for name, values in arrays.items():
        data = values.tobytes()
        data += b"\0" * (-len(data) % 4)
        offsets[name] = offset
        offset += len(data)
        body.append(data)
    header = {
        "count": count,
        "source": [height, width],
        "normalize": field.normalize,
        "cell": cell,
        "columns": columns,
        "rows": rows,
        "peak": max(peak, 1e-6),
        "sizes": sizes,
        "offsets": offsets,
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return MAGIC + struct.pack("<II", VERSION, len(text)) + text + b"".join(body)
