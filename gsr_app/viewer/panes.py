"""Panes of a scene, made from methods and their results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import GsrError
from gsr_app.core.pixels import has_alpha
from gsr_app.core.types import Scale, Timing, Upscaled
from gsr_app.models.registry import Method
from gsr_app.viewer.contract import PaneError, PaneField, PaneMetrics, PaneSpec
from gsr_app.viewer.results import ForeignResult
from gsr_app.viewer.sink import Stored

Pixels = NDArray[Any]

INPUT_COLOUR, REFERENCE_COLOUR = "#c9b28a", "#e9e9e6"
_RESULT_COLOURS = ("#7d9bc1", "#c17d9b", "#9bc17d", "#c1a77d", "#7dc1b4", "#a57dc1")
NO_LICENCE = "not stated"  # of results that were made elsewhere


def licences(method: Method) -> str:
    if not method.weights_licence or method.weights_licence == method.code_licence:
        return method.code_licence
    return f"code {method.code_licence}, weights {method.weights_licence}"


def waiting_pane(method: Method) -> PaneSpec:
    return PaneSpec(method.id, method.title, method.color, licence=licences(method))


def waiting_result(result: ForeignResult) -> PaneSpec:
    """The pane of a result that was made elsewhere, before its file is read."""
    return PaneSpec(result.id, result.name, result_colour(result), elsewhere=True, licence=NO_LICENCE)


def result_colour(result: ForeignResult) -> str:
    return _RESULT_COLOURS[result.number % len(_RESULT_COLOURS)]


def picture_pane(pixels: Pixels, url: str, span: tuple[float, float], **fields: Any) -> PaneSpec:
    """The pane of a finished picture; `fields` are further fields of `PaneSpec`."""
    alpha = has_alpha(pixels)
    bits = 8 * pixels.dtype.itemsize
    return PaneSpec(state="done", url=url, bits=bits, alpha=alpha, span=span, **fields)


def result_pane(
    method: Method,
    result: Upscaled,
    timing: Timing,
    stored: Stored,
    *,
    scale: Scale,
    field: PaneField | None = None,
    metrics: PaneMetrics | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
) -> PaneSpec:
    """The pane of a method's result."""
    pixels = np.asarray(result.image)
    height, width = pixels.shape[:2]
    total_ms = timing.total_ms
    return picture_pane(
        pixels,
        stored.url,
        (height / scale.y, width / scale.x),
        origin=origin,
        id=method.id,
        name=method.title,
        colour=method.color,
        download_url=stored.download_url,
        download_name=stored.download_name,
        field=field,
        timing=replace(timing, stages_ms={stage: round(ms, 3) for stage, ms in timing.stages_ms.items()}),
        megapixels_per_second=round(height * width / 1000 / total_ms, 3) if total_ms > 0 else None,
        metrics=metrics,
        done=result.done,
        weights_id=result.weights_id,
        licence=licences(method),
        warnings=tuple(f"{method.title}: {warning}" for warning in result.warnings),
    )


def pane_error(error: Exception, name: str, hint: str = "The app's log has the details.") -> PaneError:
    """An exception as a pane shows it. The text of an unexpected one is left out: it may name files of this machine."""
    if isinstance(error, GsrError):
        return PaneError(str(error), error.hint)
    if isinstance(error, MemoryError):
        return PaneError("There was not enough memory.", "Choose a smaller scale or a lighter method.")
    return PaneError(f"{name} stopped: {type(error).__name__}.", hint)
