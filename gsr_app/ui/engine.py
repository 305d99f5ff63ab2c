"""The engine of the app: a session of this machine, the fields of other processes and files, and the weights.

Torch is imported by the first call that needs it. The app's tests override the methods that take long.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gsr_app.core.types import FieldHandle, GaussianField, Part, Progress, Rendered, Scale, Upscaled, View
from gsr_app.engine.verification import Check, verify
from gsr_app.models import weights
from gsr_app.models.registry import Method, catalogue
from gsr_app.models.weights import Availability
from gsr_app.ui import zerogpu
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.comparison import Engine as ComparisonEngine

if TYPE_CHECKING:  # they import torch
    from gsr_app.engine.image_job import FileJob, Saved
    from gsr_app.engine.session import Session
    from gsr_app.engine.video_job import SavedVideo, VideoJob, VideoStep

_MOST_FIELDS = 12


class Engine:
    """Everything that the app computes."""

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        # Fields that the session did not make, by handle.
        self._fields: BoundedStore[GaussianField] = BoundedStore(_MOST_FIELDS)

    @functools.cached_property
    def session(self) -> Session:
        from gsr_app.engine.session import Session

        # On ZeroGPU this process never has the GPU itself.
        return Session(device="cpu" if zerogpu.is_active() else self._device)

    def describe(self) -> str:
        """The device, in a few words."""
        from gsr_app.engine import devices

        return devices.describe(self.session.device)

    def warm(self) -> None:
        """Load the drawing kernels, which may have to be compiled."""
        from gsr_app.engine import runners

        runners.backend("field", self.session.device)

    # ---- methods and their weights ------------------------------------------------------------------------------

    @property
    def methods(self) -> tuple[Method, ...]:
        """For pictures."""
        return tuple(method for method in catalogue().values() if method.kind != "video")

    @property
    def video_methods(self) -> tuple[Method, ...]:
        """For videos: those made for them first."""
        return tuple(sorted(catalogue().values(), key=lambda method: method.kind != "video"))

    def availability(self, method: Method) -> Availability:
        return weights.availability(method)

    def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
        weights.obtain(method, report=report)

    def verify(self, method: Method) -> list[Check]:
        return verify(method)

    def remove(self, method: Method) -> int:
        return weights.remove(method)

    def keep(self, method: Method, files: Sequence[Path]) -> int:
        """Use these weight files for a method from now on, if they fit it; returns their bytes."""
        from gsr_app.models import local

        return local.keep(method, files)

    def add_model(self, path: Path) -> str:
        """Keep a model file of another author from now on, if it can be used; returns its method id."""
        from gsr_app.models.community import loading

        return loading.keep(path)

    # ---- pictures, fields, videos -------------------------------------------------------------------------------

    def stream(
        self,
        image: NDArray[Any],
        *,
        method: str,
        scale: Scale,
        cancel: Callable[[], bool],
        part: Part | None = None,  # only the result's pixels of this rectangle
    ) -> Iterator[Progress | Upscaled]:
        if zerogpu.is_active():
            return zerogpu.stream(image, method=method, scale=scale, cancel=cancel, keep=self._keep, part=part)
        return self.session.stream(image, method=method, scale=scale, cancel=cancel, part=part)

    def without_cache(self) -> ComparisonEngine:
        """An engine that reuses nothing of earlier runs, so that its timing is that of the whole work."""
        return self if zerogpu.is_active() else self.session.without_cache()

    def encode(self, image: NDArray[Any], *, method: str, scale: Scale) -> FieldHandle:
        return self.session.encode(image, method=method, scale=scale)

    def render(self, handle: FieldHandle, view: View, cancel: Callable[[], bool] | None = None) -> Rendered:
        """Draw a view of a field; ends in `Cancelled` soon after `cancel()` becomes true."""
        from gsr_app.engine.cancellation import cancelling

        field = self._fields.find(handle.id)
        with cancelling(cancel):
            return self.session.render(handle if field is None else field, view)

    def count_values(self, handle: FieldHandle, view: View) -> float:
        """At most how many values of Gaussians a view takes: its cost."""
        from gsr_app.engine.rows import count_values

        return count_values(self.field(handle), view)

    def field(self, handle: FieldHandle) -> GaussianField:
        field = self._fields.find(handle.id)
        return self.session.field(handle) if field is None else field

    def keep_field(self, field: GaussianField, method: str) -> FieldHandle:
        """Keep a field, so that views of it can be drawn."""
        handle = FieldHandle(secrets.token_hex(8), method, len(field), field.source_size)
        self._keep(handle, field)
        return handle

    def _keep(self, handle: FieldHandle, field: GaussianField) -> None:
        self._fields.put(field, handle.id)

    @property
    def device(self) -> Any:
        """Where this process computes: a device of torch."""
        return self.session.device

    def upscale_file(self, job: FileJob, cancel: Callable[[], bool]) -> Generator[Progress, None, Saved]:
        """A picture's file from another, with its metadata."""
        from gsr_app.engine.image_job import upscale_file

        return upscale_file(self, job, cancel)

    def upscale_video(self, job: VideoJob, cancel: Callable[[], bool]) -> Generator[VideoStep, None, SavedVideo]:
        from gsr_app.engine.video_job import upscale_video

        return upscale_video(self.session, job, cancel=cancel)
