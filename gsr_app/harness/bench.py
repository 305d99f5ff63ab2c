"""`gsr bench`: one benchmark by name, or two of their files compared."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.bench_record import FOLDER

# name: (module, what it measures)
BENCHES = {
    "splat": ("gsr_app.harness.bench_splat", "drawing Gaussians, per backend, against one matrix product"),
    "model": ("gsr_app.harness.bench_model", "networks: encoder, decoder, drawing, peak memory"),
    "end-to-end": ("gsr_app.harness.bench_end_to_end", "whole pictures, from file to file, cold and warm"),
    "waits": ("gsr_app.harness.bench_waits", "start, resizing, PNG files, large Gaussians, beside other programs"),
    "memory": ("gsr_app.harness.bench_memory", "peak memory over the size of the input"),
    "app": ("gsr_app.harness.bench_app", "the HTTP API: requests per second and latency"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD.csv", "NEW.csv"), help="say what became slower")
    parser.add_argument("--warn", action="store_true", help="with --compare: only what became worse, and no error code")
    parser.add_argument("--report", action="store_true", help="write the page of all kept results from their CSVs")
    benches = parser.add_subparsers(dest="bench", help="one of", metavar="{" + ",".join(BENCHES) + "}")
    for name, (module, summary) in BENCHES.items():
        bench = benches.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        importlib.import_module(module).add_arguments(bench)


def run(arguments: argparse.Namespace) -> int:
    if arguments.compare:
        from gsr_app.harness import bench_compare

        return bench_compare.run(*arguments.compare, only_warns=arguments.warn)
    if arguments.report:
        from gsr_app.harness import bench_page

        print(bench_page.write(FOLDER))
        return 0
    if arguments.bench is None:
        raise InvalidArgument("Which benchmark?", hint=f"Known: {', '.join(BENCHES)}; or --compare OLD.csv NEW.csv.")
    module = importlib.import_module(BENCHES[arguments.bench][0])
    return int(module.run(arguments))
