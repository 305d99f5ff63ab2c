"""What the parts share: arguments, time that is left, results, precisions."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from gsr_app.engine.timing import synchronize

BEGAN = time.monotonic()
PRECISIONS = ("fp32", "tf32", "bf16")


def read_arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def seconds_left() -> float:
    """Of this part, less a little for its end."""
    return float(os.environ.get("GSR_PART_SECONDS", "1e9")) - (time.monotonic() - BEGAN) - 2


def keep(path: Path | None, found: dict[str, Any]) -> None:
    """Write what was found so far: a part that is stopped leaves what it has."""
    if path is not None:
        path.write_text(json.dumps(found))


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Allow TF32, but for fp32. Autocast to bfloat16 is up to the work itself."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "fp32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def precisions(device: torch.device) -> tuple[str, ...]:
    return PRECISIONS if device.type == "cuda" else PRECISIONS[:1]


def time_ms(work: Callable[[], object], device: torch.device, repeats: int, limit_s: float = 3) -> float:
    """The median of a few runs, after one that does not count; fewer where they take long."""
    times: list[float] = []
    began = time.monotonic()
    for _ in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append((time.perf_counter() - start) * 1e3)
        if time.monotonic() - began > limit_s:
            break
    return sorted(times[1:] or times)[len(times[1:]) // 2]
