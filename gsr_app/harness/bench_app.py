"""`gsr bench app`: requests per second and latency of the app through its HTTP API."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from gsr_app.core.errors import GsrError
from gsr_app.core.extras import needs_extra
from gsr_app.harness import bench_record
from gsr_app.harness.bench_record import Measure

_START_LIMIT_S = 90


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", default="bicubic", help="what the requests ask for (default: %(default)s)")
    parser.add_argument("--size", default="128x128", metavar="WxH", help="of the picture (default: %(default)s)")
    parser.add_argument("--scale", default="2", help="a factor (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="visitors at the same time")
    parser.add_argument("--requests", type=int, default=10, help="of each visitor")
    bench_record.add_common_arguments(parser, quick="one visitor, three requests")


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from gsr_app.io.images import Picture, write_image

    clients, requests = (1, 3) if arguments.quick else (arguments.clients, arguments.requests)
    height, width = bench_record.read_size(arguments.size)
    picture = (np.random.default_rng(0).random((height, width, 3)) * 255).astype(np.uint8)
    conditions = bench_record.read_conditions(arguments.device)
    with tempfile.TemporaryDirectory() as folder, serve(arguments.device) as (address, start_s):
        source = Path(folder) / "in.png"
        write_image(source, Picture(picture))
        _ask(address, source, arguments, 1)  # the first request loads the network
        latencies_ms: list[float] = []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=lambda: latencies_ms.extend(_ask(address, source, arguments, requests)))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed_s = time.perf_counter() - began
    if len(latencies_ms) < clients * requests:
        raise GsrError(f"Only {len(latencies_ms)} of {clients * requests} requests were answered.")
    case = f"{arguments.method} {arguments.size} x{arguments.scale}, {clients} visitor(s)"
    ordered = sorted(latencies_ms)
    measures = [
        Measure(case, "start", start_s * 1e3, 0.0, 1, "ms"),
        Measure(case, "requests", len(ordered) / elapsed_s, 0.0, len(ordered), "1/s"),
        Measure.of(case, "latency", ordered, "ms"),
        Measure(case, "latency, 95 %", ordered[int(0.95 * (len(ordered) - 1))], 0.0, len(ordered), "ms"),
    ]
    bench_record.publish("app", measures, conditions, arguments, detail=ordered)
    return 0


@contextlib.contextmanager
def serve(device: str) -> Generator[tuple[str, float]]:
    """The app in a process of its own: its address, and how long it took until it served."""
    port = 20_000 + os.getpid() % 20_000
    words = [sys.executable, "-u", "-m", "gsr_app", "app", "--port", str(port), "--device", device]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as stream:
            process = subprocess.Popen(words, stdout=stream, stderr=stream)
        try:
            while "The app is at" not in log.read_text():
                if process.poll() is not None or time.perf_counter() - began > _START_LIMIT_S:
                    last = (log.read_text().strip().splitlines() or ["it printed nothing"])[-1]
                    raise GsrError(f"The app did not start: {last}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(timeout=20)


def _ask(address: str, source: Path, arguments: argparse.Namespace, requests: int) -> list[float]:
    """Milliseconds of each request of one visitor."""
    with needs_extra("app", "gsr bench app"):
        from gradio_client import Client, handle_file

    client: Any = Client(address, verbose=False)
    times: list[float] = []
    for _ in range(requests):
        start = time.perf_counter()
        client.predict(handle_file(source), arguments.method, arguments.scale, api_name="/upscale")
        times.append((time.perf_counter() - start) * 1e3)
    return times
