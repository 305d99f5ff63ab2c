"""One session per worker process, kept between its jobs, and the arguments that configure it."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsr_app.engine.session import Session


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="PATH", help="your own weights: a file, or a folder with one per part")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16 (recent GPUs)")
    parser.add_argument("--tile", type=int, metavar="PX", help="side of a tile, source pixels (default: what fits)")


@functools.cache
def open_session(
    threads: int | None,
    device: str = "auto",
    precision: str = "auto",
    weights: str | None = None,
    tile: int | None = None,
) -> Session:
    """The session of this process for these settings; `threads`, when given, is set for torch."""
    import torch

    from gsr_app.engine.session import Session

    if threads is not None:
        torch.set_num_threads(threads)
    return Session(device, precision, weights, tile)
