"""`gsr bench splat`: its arguments, and which drawings are timed. How they are timed: `splat_times.py`."""

from __future__ import annotations

import argparse
import sys

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.bench_record import Measure, add_common_arguments, publish, read_conditions

SCALES = ((180, 2.0), (180, 4.0), (180, 8.0), (40, 4.0), (360, 4.0), (720, 4.0))  # source pixels per side, factor
QUICK_SCALES = ((60, 4.0), (180, 4.0))
GROWTH = (80, 180, 360, 720)  # source pixels per side: from 0.1 to 8.3 million Gaussians at x4
QUICK_GROWTH = (80, 180)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, quick="two sizes, few repeats")
    parser.add_argument("--threads", type=int, default=0, help="threads on the CPU (default: torch's)")
    parser.add_argument("--reference", action="store_true", help="time the plain torch reference, too (slow)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.threads < 0:
        raise InvalidArgument(f"--threads must be positive, found {arguments.threads}.")

    import torch

    from gsr_app.engine import devices
    from gsr_app.harness.splat_times import measure, measure_growth
    from gsr_app.ops import backend

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = devices.choose_device(arguments.device)
    report = backend.load(device.type)
    if report:
        print(f"gsr: drawing falls back to {report}", file=sys.stderr)
    measures: list[Measure] = []
    for source, scale in QUICK_SCALES if arguments.quick else SCALES:
        measures += measure(source, scale, device, report.backend, repeats=5 if arguments.quick else 11)
        if arguments.reference and report.backend != "reference" and (source, scale) == (180, 4.0):
            measures += measure(source, scale, device, "reference", repeats=3)
    if report.backend != "reference":
        sources = QUICK_GROWTH if arguments.quick else GROWTH
        measures += measure_growth(sources, device, report.backend, rounds=3 if arguments.quick else 9)
    publish("splat", measures, read_conditions(arguments.device), arguments)
    return 0
