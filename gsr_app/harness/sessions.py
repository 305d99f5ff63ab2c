"""One session per worker process, kept between its jobs, and the arguments that configure it."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gsr_app.core.errors import InvalidArgument
from gsr_app.models import registry
from gsr_app.models.community.files import SUFFIXES, use_file

if TYPE_CHECKING:
    from gsr_app.engine.session import Session


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="PATH", help="your own weights: a file, or a folder with one per part")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16 (recent GPUs)")
    parser.add_argument("--tile", type=int, metavar="PX", help="side of a tile, source pixels (default: what fits)")


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        help="a model file of another author instead of a method: .pth, .safetensors",
    )


def use_model(arguments: argparse.Namespace) -> str:
    """The method id of the file given with --model; empty if none is given."""
    path: Path | None = arguments.model
    if path is None:
        return ""
    if arguments.method or arguments.weights:
        raise InvalidArgument("--model stands instead of --method and --weights.", hint="Leave one of them out.")
    return use_model_file(path)


def use_model_file(path: Path) -> str:
    """The method id of a model file of another author."""
    if not path.exists():
        raise InvalidArgument(f"There is no model file {path}.", hint="Check the path's spelling.")
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise InvalidArgument(f"{path} is not a model file.", hint=f"Expected a file {', '.join(SUFFIXES)}.")
    method_id = use_file(path)
    registry.method(method_id)  # says at once what is wrong with it
    return method_id


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
