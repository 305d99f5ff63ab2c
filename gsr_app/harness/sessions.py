"""One session per worker process, kept between its jobs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsr_app.engine.session import Session


@functools.cache
def open_session(
    threads: int | None,
    device: str = "auto",
    precision: str = "auto",
    weights: str | None = None,
    tile: int | None = None,
) -> Session:
    """This process's session for these settings; `threads`, when given, is what it computes with."""
    import torch

    from gsr_app.engine.session import Session

    if threads is not None:
        torch.set_num_threads(threads)
    return Session(device, precision, weights, tile)
