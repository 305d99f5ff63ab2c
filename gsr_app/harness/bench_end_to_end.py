"""`gsr bench end-to-end`: how long a user waits. Cold is a new process from its start to the written file; warm is a
session that has run before, from array to array, by stage.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import Scale
from gsr_app.harness import bench_record
from gsr_app.harness.bench_record import Measure
from gsr_app.models import registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", default="", help="ids separated by commas (default: bicubic and the default one)")
    parser.add_argument("--size", default="256x256", metavar="WxH", help="of the input (default: %(default)s)")
    parser.add_argument("--scale", default="4", help="a factor (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="warm runs per method")
    bench_record.add_common_arguments(parser, quick="128x128 and three warm runs")


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from gsr_app.engine.session import Session
    from gsr_app.io.images import Picture, write_image
    from gsr_app.models.weights import default_method

    size = "128x128" if arguments.quick else arguments.size
    repeats = min(3, arguments.repeats) if arguments.quick else arguments.repeats
    height, width = bench_record.read_size(size)
    scale = Scale.parse(arguments.scale)
    methods = [one for one in arguments.methods.split(",") if one] or ["bicubic", default_method()]
    for method in methods:
        registry.method(method)  # an unknown name is refused before any work
    if repeats < 1:
        raise InvalidArgument(f"--repeats must be at least 1, found {repeats}.")
    picture = (np.random.default_rng(0).random((height, width, 3)) * 255).astype(np.uint8)
    conditions = bench_record.read_conditions(arguments.device)
    measures: list[Measure] = []
    detail: list[dict[str, Any]] = []
    for method in dict.fromkeys(methods):
        case = f"{method} {size} x{scale}"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.png"
            write_image(source, Picture(picture))
            measures.append(Measure.of(case, "cold process", [_cold_ms(source, method, arguments)], "ms"))
        # Without stored features a session computes the picture anew each time; the network stays loaded.
        session = Session(device=arguments.device, memory_bytes=0)
        runs = [session.upscale(picture, method=method, scale=scale) for _ in range(repeats + 1)]
        timings = [one.timing for one in runs[1:]]
        totals = [one.total_ms for one in timings]
        measures.append(Measure.of(case, "warm total", totals, "ms"))
        measures += [
            Measure.of(case, f"warm {stage}", [one.stages_ms.get(stage, 0.0) for one in timings], "ms")
            for stage in timings[0].stages_ms
        ]
        units = [total / conditions.matmul_unit_ms for total in totals]
        measures.append(Measure.of(case, "warm matmul units", units, "ratio"))
        megapixels = runs[0].image.shape[0] * runs[0].image.shape[1] / 1e6
        measures.append(Measure.of(case, "output", [megapixels / total * 1e3 for total in totals], "Mpx/s"))
        peaks = [one.peak_bytes / 2**20 for one in timings if one.peak_bytes]
        measures += [Measure.of(case, "peak", peaks, "MiB")] if peaks else []
        detail += [{"method": method, **dataclasses.asdict(one)} for one in timings]
    bench_record.publish("end-to-end", measures, conditions, arguments, detail=detail)
    return 0


def _cold_ms(source: Path, method: str, arguments: argparse.Namespace) -> float:
    words = [sys.executable, "-m", "gsr_app", "upscale", str(source), "-o", str(source.with_name("out.png"))]
    words += ["--method", method, "--scale", arguments.scale, "--device", arguments.device]
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1e3
