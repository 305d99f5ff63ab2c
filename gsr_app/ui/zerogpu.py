"""Running a method on a ZeroGPU Space, where a process forked from the app has the GPU for the time of one call.

Arguments and results are pickled, and the caches of that process are lost. So a result carries its Gaussians as numpy
arrays, and the app's own process draws views of them. Without the package `spaces` everything runs in this process.
"""

from __future__ import annotations

import functools
import importlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsr_app.core import settings
from gsr_app.core.errors import Cancelled
from gsr_app.core.types import FieldHandle, GaussianField, Part, Progress, Scale, Upscaled

_LEAST_S, _MOST_S = 15.0, 120.0
# Seconds on such a GPU: start and loading; per megapixel of input by weight of the network; per megapixel of output.
_START_S, _PER_OUTPUT_MEGAPIXEL_S = 8.0, 0.4
_PER_INPUT_MEGAPIXEL_S = {"resize": 0.1, "field": 12.0, "pixels": 10.0, "continuous": 20.0}


@dataclass(frozen=True, eq=False)
class ResultWithField:
    """A result and its field, if it has one."""

    result: Upscaled
    field: GaussianField | None


def is_active() -> bool:
    """Whether this is a Space that gets a GPU for each call."""
    return settings.is_zero_gpu()


def duration_s(image: Any, method: str, scale: Scale, part: Part | None = None) -> int:
    """For how many seconds to request the GPU, by the size of what is made and the kind of method."""
    from gsr_app.models import registry

    height, width = (part.height, part.width) if part else image.shape[:2]
    out_height, out_width = scale.output_size((height, width))
    per_input = _PER_INPUT_MEGAPIXEL_S.get(registry.method(method).kind, 20.0)
    wanted = _START_S + per_input * height * width / 1e6 + _PER_OUTPUT_MEGAPIXEL_S * out_height * out_width / 1e6
    return round(min(_MOST_S, max(_LEAST_S, wanted)))


def run(image: Any, method: str, scale: Scale, part: Part | None = None) -> Iterator[Progress | ResultWithField]:
    """What runs in the process with the GPU: a function of the module with plain arguments, which can be pickled."""
    from gsr_app.engine.session import Session

    session = Session(device="auto")
    for event in session.stream(image, method=method, scale=scale, part=part):
        if isinstance(event, Progress):
            yield event
            continue
        field = session.field(event.field) if event.field else None
        yield ResultWithField(replace(event, field=None), as_numpy(field) if field else None)


def as_numpy(field: GaussianField) -> GaussianField:
    """The field as numpy arrays, which can be pickled without a GPU."""

    def array(values: Any) -> Any:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)

    arrays = {name: array(getattr(field, name)) for name in ("mean", "sigma", "rho", "color")}
    return replace(field, **arrays)


@functools.cache
def run_on_gpu() -> Callable[..., Iterator[Progress | ResultWithField]]:
    """`run` in the process with the GPU, if there is one."""
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return run
    return spaces.GPU(duration=duration_s)(run)


def stream(
    image: Any,
    *,
    method: str,
    scale: Scale,
    cancel: Callable[[], bool],
    keep: Callable[[FieldHandle, GaussianField], None],
    part: Part | None = None,
) -> Iterator[Progress | Upscaled]:
    """As `Session.stream`. A field is passed to `keep`, with a handle of this process."""
    steps = run_on_gpu()(image, method, scale, part)
    for event in steps:
        if cancel():
            close = getattr(steps, "close", None)
            if close:
                close()
            raise Cancelled("The run was stopped.")
        if isinstance(event, Progress):
            yield event
            continue
        handle = None
        if event.field is not None:
            handle = FieldHandle(secrets.token_hex(16), method, len(event.field), event.field.source_size)
            keep(handle, event.field)
        yield replace(event.result, field=handle)
