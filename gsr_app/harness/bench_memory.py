"""`gsr bench memory`: the peak of a fresh process over the size of the input, until a limit of memory or time."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from gsr_app.core.errors import GsrError
from gsr_app.harness import bench_record
from gsr_app.harness.bench_record import Measure

# Run in a process of its own, so that one size's peak does not hide in another's.
_PROGRAM = """
import json, sys, numpy as np
from gsr_app.core.types import Scale
from gsr_app.engine.session import Session
side, method, scale, device = int(sys.argv[1]), *sys.argv[2:]
session = Session(device=device)
small = session.upscale(np.zeros((8, 8, 3), np.uint8), method=method, scale=Scale.parse(scale))
up = session.upscale(np.zeros((side, side, 3), np.uint8) + 7, method=method, scale=Scale.parse(scale))
print(json.dumps([small.timing.peak_bytes, up.timing.peak_bytes, up.timing.total_ms]))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", default="", help="default: the app's default method")
    parser.add_argument("--scale", default="4", help="a factor (default: %(default)s)")
    parser.add_argument("--limit-gb", type=float, default=6.0, help="stop above this peak (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90.0, help="start no further size after this long")
    bench_record.add_common_arguments(parser, quick="one small size")


def run(arguments: argparse.Namespace) -> int:
    from gsr_app.models import registry
    from gsr_app.models.weights import default_method

    method = registry.method(arguments.method or default_method()).id
    measures: list[Measure] = []
    detail: list[dict[str, Any]] = []
    began, side = time.monotonic(), 64
    while True:
        words = [sys.executable, "-c", _PROGRAM, str(side), method, arguments.scale, arguments.device]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode:  # the system's own limit came first
            last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            if not measures:  # of no size: a fault, and earlier measurements are kept
                raise GsrError(f"Nothing was measured: {last.rstrip('.')}.")
            detail.append({"side": side, "error": last})
            break
        base, peak, total_ms = json.loads(ended.stdout)
        case = f"{method} {side}x{side} x{arguments.scale}"
        measures.append(Measure(case, "peak", peak / 2**20, 0.0, 1, "MiB"))
        measures.append(Measure(case, "peak above idle", (peak - base) / 2**20, 0.0, 1, "MiB"))
        detail.append({"side": side, "idle_bytes": base, "peak_bytes": peak, "total_ms": total_ms})
        # Doubling the side asks for four times the time and, untiled, four times the memory.
        elapsed = time.monotonic() - began
        too_long = elapsed + 4 * total_ms / 1e3 > arguments.seconds
        if peak > arguments.limit_gb * 1e9 or too_long or arguments.quick:
            break
        side *= 2
    conditions = bench_record.read_conditions(arguments.device)
    bench_record.publish("memory", measures, conditions, arguments, detail=detail)
    return 0
