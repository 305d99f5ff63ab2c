"""Sends one large picture through one method in a process of its own, checks what comes out, prints its time on
the processor and its peak of memory.

    python -m tests.engine.send_large METHOD SCALE [HEIGHT WIDTH] [--file SUFFIX] [--threads N]

The picture is 16-bit RGBA, and what must become of it is known everywhere: red and green are ramps across and down,
alpha is one along the diagonal, blue is flat in its left half and full of detail in its right.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gsr_app.core.types import Scale
from gsr_app.engine.session import Session
from gsr_app.engine.timing import process_peak_bytes
from gsr_app.models import registry
from tests.engine.shortened import REACH, shorten

FLAT = 0.25
GRAIN = 120  # source pixels: crops that start at multiples of this fall on whole output pixels at every scale here
CROP = 2 * GRAIN
MARGIN = 24  # of a crop, where it sees its own border and not what lies beyond


def picture(height: int, width: int) -> np.ndarray:  # [h, w, 4] uint16
    made = np.empty((height, width, 4), np.uint16)
    x = ((np.arange(width) + 0.5) / width)[None]
    for top in range(0, height, 256):
        y = (np.arange(top, min(top + 256, height))[:, None] + 0.5) / height
        detail = 0.5 + 0.4 * np.sin(y * height * 0.9 + 3 * x) * np.sin(x * width * 1.3)
        planes = (ramp(x) + 0 * y, ramp(y) + 0 * x, np.where(x < 0.5, FLAT, detail), ramp((x + y) / 2))
        made[top : top + 256] = np.round(np.stack(planes, -1) * 65535)
    return made


def ramp(at: np.ndarray) -> np.ndarray:
    return 0.1 + 0.8 * at


def measure_errors(
    answer: np.ndarray, source: np.ndarray, scale: Scale, upscale: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """The largest errors, in steps of 16 bits, over all that is known of the answer."""
    (height, width), size = source.shape[:2], scale.output_size(source.shape[:2])
    assert answer.shape == (*size, 4), answer.shape
    assert answer.dtype == np.uint16
    x = ((np.arange(size[1]) + 0.5) / scale.x / width)[None]
    inner = [round(MARGIN * one) for one in (scale.y, scale.x)]
    columns = slice(inner[1], size[1] - inner[1])
    flat = slice(inner[1], size[1] // 2 - inner[1])
    worst = dict.fromkeys(("red", "green", "blue", "alpha"), 0.0)
    for top in range(inner[0], size[0] - inner[0], 37):  # not a divisor of any tile: every row of a tile has its turn
        y = (top + 0.5) / scale.y / height
        row = answer[top].astype(np.float64) / 65535
        expected = {"red": ramp(x[0]), "green": ramp(y + 0 * x[0]), "alpha": ramp((x[0] + y) / 2)}
        for name, plane in (("red", 0), ("green", 1), ("alpha", 3)):
            worst[name] = max(worst[name], float(np.abs(row[columns, plane] - expected[name][columns]).max()))
        worst["blue"] = max(worst["blue"], float(np.abs(row[flat, 2] - FLAT).max()))
    found = {name: value * 65535 for name, value in worst.items()}
    # Two crops far apart, in the detail and across its edge, equal the same crops sent through alone.
    for number, (part_y, part_x) in enumerate(((0.2, 0.45), (0.8, 0.9))):
        top, left = (int(part * (side - CROP)) // GRAIN * GRAIN for part, side in ((part_y, height), (part_x, width)))
        alone = upscale(np.ascontiguousarray(source[top : top + CROP, left : left + CROP]))
        at_y, at_x = round(top * scale.y), round(left * scale.x)
        part = answer[at_y : at_y + alone.shape[0], at_x : at_x + alone.shape[1]]
        core = (slice(inner[0], -inner[0]), slice(inner[1], -inner[1]))
        found[f"crop {number}"] = float(np.abs(part[core].astype(int) - alone[core]).max())
    return found


def shortened(method_id: str) -> str:
    """The id of the method with its network shortened, which needs no weights."""
    method = registry.method(method_id)
    if method.kind == "resize":
        return method_id
    assert MARGIN > REACH
    arch = replace(shorten(registry.architecture(method.arch)), id="shortened")
    return registry.register(replace(method, id="shortened", arch="", files=()), arch).id


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("method")
    parser.add_argument("scale", type=float)
    parser.add_argument("size", type=int, nargs="*", default=(3000, 4000))
    parser.add_argument("--file", default="")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    method = shortened(given.method)
    session = Session("cpu")
    source = picture(*given.size)
    scale = Scale(given.scale, given.scale)

    def upscale(image: np.ndarray) -> np.ndarray:
        return session.upscale(image, method=method, scale=scale).image

    began = time.process_time()
    if given.file:
        from gsr_app.engine.image_job import FileJob, upscale_file
        from gsr_app.io import images
        from gsr_app.models import registry

        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{name}.{given.file}" for name in ("source", "answer")]
            images.write_image(paths[0], images.Picture(source))
            Path("/proc/self/clear_refs").write_text("5")
            began = time.process_time()
            job = FileJob(registry.method(method), images.RowReader(paths[0]), paths[1], scale)
            for _ in upscale_file(session, job):
                pass
            seconds, peak = time.process_time() - began, process_peak_bytes()
            answer = images.read_image(paths[1]).pixels
    else:
        answer = upscale(source)
        seconds, peak = time.process_time() - began, process_peak_bytes()
    found = measure_errors(answer, source, scale, upscale)
    print(json.dumps({"cpu_seconds": round(seconds, 1), "peak_bytes": peak, "errors": found}))


if __name__ == "__main__":
    main()
