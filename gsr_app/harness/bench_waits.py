"""`gsr bench waits`: where people wait besides networks. Each figure stands beside another one from the same turns: the
start of a command or the app beside its imports, resizing and PNG files beside Pillow's, large Gaussians beside small
ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.types import Scale
from gsr_app.harness import bench_record
from gsr_app.harness.bench_app import serve
from gsr_app.harness.bench_record import Measure

_GAUSSIANS = 2000
_SIGMAS_PX = (100, 1000, 1_000_000)  # beside those of 15.9 px, the largest that are evaluated at every pixel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=7, help="turns (default: %(default)s)")
    bench_record.add_common_arguments(parser, quick="a tenth of the sides, two turns, no start of a command")


def run(arguments: argparse.Namespace) -> int:
    conditions = bench_record.read_conditions(arguments.device)
    repeats = 2 if arguments.quick else arguments.repeats
    shrink = 10 if arguments.quick else 1
    picture = _picture(3000 // shrink, 4000 // shrink)
    measures = [
        *([] if arguments.quick else _time_start(arguments.device, repeats)),
        *([] if arguments.quick else _time_app_start(arguments.device, repeats)),
        *_time_resize(picture, 0.5, arguments.device, repeats),
        *(_time_threads(picture, 0.5, repeats) if conditions.device == "cpu" else []),
        *_time_resize(picture[: len(picture) // 2, : picture.shape[1] // 2], 2.0, arguments.device, repeats),
        *_time_files(picture[: 2048 // shrink, : 2048 // shrink], repeats),
        *_time_large_gaussians(1000 // shrink, repeats),
    ]
    bench_record.publish("waits", measures, conditions, arguments)
    return 0


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth as photographs are, with the noise of a camera."""
    y, x, c = np.ogrid[:height, :width, :3]
    smooth = 127 + 90 * np.sin(y / 31 + c) * np.cos(x / 47 - c) + 30 * np.sin(x / 5) * (y % 400 < 100)
    noise = np.random.default_rng(0).normal(0, 2, (height, width, 1))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def _beside(case: str, works: dict[str, Callable[[], Any]], repeats: int) -> list[Measure]:
    """The times of works in turns, and those of each over the last one's."""
    return _compare(case, dict(zip(works, bench_record.time_in_turns_ms(list(works.values()), repeats), strict=True)))


def _compare(case: str, times: dict[str, list[float]]) -> list[Measure]:
    found = [Measure.of(case, name, taken, "ms") for name, taken in times.items()]
    *others, last = times
    for one in others:
        ratios = [mine / base for mine, base in zip(times[one], times[last], strict=True)]
        found.append(Measure.of(case, f"{one} / {last}", ratios, "ratio"))
    return found


def _time_start(device: str, repeats: int) -> list[Measure]:
    from gsr_app.io.images import Picture, write_image

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.png", Path(folder) / "out.png"
        write_image(source, Picture(_picture(64, 64)))
        upscale = ["-m", "gsr_app", "upscale", str(source), "-o", str(target), "--overwrite", "--device", device]
        return _beside(
            "cold-start",
            {"gsr upscale": lambda: _run_python(upscale), "import torch": lambda: _run_python(["-c", "import torch"])},
            repeats,
        )


def _time_app_start(device: str, repeats: int) -> list[Measure]:
    """From the start of the app until it serves its page."""
    if importlib.util.find_spec("gradio") is None:
        return []
    times: dict[str, list[float]] = {"app": [], "import torch, gradio": []}
    for _ in range(repeats):
        with serve(device) as (_, start_s):
            times["app"].append(start_s * 1e3)
        began = time.perf_counter()
        _run_python(["-c", "import torch, gradio"])
        times["import torch, gradio"].append((time.perf_counter() - began) * 1e3)
    return _compare("app-start", times)


def _run_python(words: Sequence[str]) -> None:
    """With compiled modules, as they are where the program is installed."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)


def _time_resize(picture: NDArray[np.uint8], factor: float, device: str, repeats: int) -> list[Measure]:
    from PIL import Image

    from gsr_app.engine.session import Session

    session, scale = Session(device=device, memory_bytes=0), Scale(factor, factor)
    height, width = scale.output_size((picture.shape[0], picture.shape[1]))
    theirs = Image.fromarray(np.ascontiguousarray(picture))
    return _beside(
        f"resize {picture.shape[1]}x{picture.shape[0]} x{factor:g}",
        {
            "bicubic": lambda: session.upscale(picture, method="bicubic", scale=scale),
            "Pillow": lambda: theirs.resize((width, height), Image.Resampling.BICUBIC),
        },
        repeats,
    )


def _time_threads(picture: NDArray[np.uint8], factor: float, repeats: int) -> list[Measure]:
    """Resizing with all threads beside one."""
    import torch

    from gsr_app.engine.session import Session

    threads = torch.get_num_threads()
    if threads == 1:
        return []
    session = Session(device="cpu", memory_bytes=0)

    def resize(count: int) -> Callable[[], Any]:
        def work() -> Any:
            torch.set_num_threads(count)
            return session.upscale(picture, method="bicubic", scale=Scale(factor, factor))

        return work

    try:
        works = {"1 thread": resize(1), f"{threads} threads": resize(threads)}
        return _beside(f"threads {picture.shape[1]}x{picture.shape[0]} x{factor:g}", works, repeats)
    finally:
        torch.set_num_threads(threads)


def _time_files(picture: NDArray[np.uint8], repeats: int) -> list[Measure]:
    from PIL import Image

    from gsr_app.io.vips import load_vips
    from gsr_app.viewer.png import encode_png

    case = f"encode-file {picture.shape[1]}x{picture.shape[0]}"
    pixels = np.ascontiguousarray(picture)
    pillow, vips = Image.fromarray(pixels), load_vips().Image.new_from_array(pixels)

    def by_pillow() -> bytes:
        file = io.BytesIO()
        pillow.save(file, "PNG", compress_level=1)
        return file.getvalue()

    works: dict[str, Callable[[], bytes]] = {
        "screen PNG": lambda: encode_png(pixels),
        "libvips, level 1": lambda: vips.pngsave_buffer(compression=1),
        "Pillow, level 1": by_pillow,
    }
    sizes = [Measure.of(case, f"{name}, size", [len(work()) / 2**20], "MiB") for name, work in works.items()]
    return _beside(case, dict(works), repeats) + sizes


def _time_large_gaussians(side: int, repeats: int) -> list[Measure]:
    import torch

    from gsr_app.ops import splat

    def draw(sigma_px: float) -> Callable[[], Any]:
        random = torch.Generator().manual_seed(0)
        mean = torch.rand(_GAUSSIANS, 2, generator=random) * side
        color = torch.rand(_GAUSSIANS, 3, generator=random)
        sigma, rho = torch.full((_GAUSSIANS, 2), float(sigma_px)), torch.zeros(_GAUSSIANS)
        return lambda: splat(mean, sigma, rho, color, (side, side))

    works = {f"{sigma:g} px": draw(sigma) for sigma in (*_SIGMAS_PX, 15.9)}
    return _beside(f"large-gaussians {_GAUSSIANS} on {side}x{side}", works, repeats)
