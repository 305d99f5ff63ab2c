"""What the app needs of an engine, and the real one behind it.

Everything that computes is on the other side of `Engine`: the app and its tests know only this.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsr_app.core import settings
from gsr_app.core.errors import WeightsError
from gsr_app.core.types import FieldHandle, GaussianField, Progress, Rendered, Scale, Upscaled, View
from gsr_app.models.registry import Method, catalogue
from gsr_app.ui import zerogpu
from gsr_app.viewer.comparison import Engine as ComparisonEngine

if TYPE_CHECKING:  # they import torch
    from gsr_app.engine.video_job import SavedVideo, VideoStep
    from gsr_app.fitting.fitter import FitStatus

Pixels = NDArray[Any]
_MOST_CARRIED = 12


@dataclass(frozen=True)
class Availability:
    """Whether a method can run here: now, after a download, or not (and why)."""

    here: bool
    download_bytes: int | None = None
    reason: str = ""
    own: bool = False  # whether somebody's own weights stand in for the published ones


class Engine(Protocol):
    """Pictures in, pictures and the truth about them out."""

    @property
    def methods(self) -> tuple[Method, ...]: ...

    def availability(self, method: Method) -> Availability: ...

    def describe(self) -> str:
        """Where things run, in a few words."""
        ...

    def stream(
        self, image: Pixels, *, method: str, scale: Scale, cancel: Callable[[], bool]
    ) -> Iterator[Progress | Upscaled]: ...

    def forgetting(self) -> ComparisonEngine:
        """An engine that reuses nothing of earlier runs, so that its timing is that of the whole work."""
        ...

    def encode(self, image: Pixels, *, method: str, scale: Scale) -> FieldHandle: ...

    def render(self, handle: FieldHandle, view: View) -> Rendered: ...

    def field(self, handle: FieldHandle) -> GaussianField: ...

    @property
    def video_methods(self) -> tuple[Method, ...]:
        """What can be run on videos."""
        ...

    def look_at_video(self, path: Path) -> Any:
        """A `VideoInfo`."""
        ...

    def upscale_video(
        self,
        source: Path,
        target: Path,
        *,
        method: str,
        scale: Scale,
        start_s: Fraction | None,
        end_s: Fraction | None,
        round_trip: bool,
        cancel: Callable[[], bool],
    ) -> Generator[VideoStep, None, SavedVideo]:
        """Frame by frame."""
        ...

    def open_fit(self, image: Pixels, *, start: str, gaussians: int | None, seconds: float) -> Any:
        """A fit that has not begun; an answer of its own, which the others take."""
        ...

    def run_fit(self, fit: Any, *, more_seconds: float | None, cancel: Callable[[], bool]) -> Iterator[FitStatus]:
        """The status twice a second. `more_seconds`: go on after the end."""
        ...

    def draw_fit(self, fit: Any) -> Pixels:
        """The best Gaussians so far as a picture, [H, W, 3] uint8."""
        ...

    def keep_fit(self, fit: Any) -> FieldHandle:
        """The best Gaussians so far, so that views of them can be drawn."""
        ...

    def keep_field(self, path: Path) -> FieldHandle:
        """The field in a file."""
        ...

    def fetch(self, method: Method, report: Callable[[Progress], None]) -> None: ...

    def verify(self, method: Method) -> bool | None: ...

    def remove(self, method: Method) -> int: ...

    def keep(self, method: Method, files: Sequence[Path]) -> int:
        """Use these weight files for a method from now on, if they fit it; returns their bytes."""
        ...


class LocalEngine:
    """The engine of this repository, on this machine. Torch is imported at the first call that needs it."""

    def __init__(self, device: str = "auto", weights: Path | None = None) -> None:
        self._device = device
        self._weights = weights
        self._session: Any = None
        self._carried: OrderedDict[str, GaussianField] = OrderedDict()  # fields that came from a lent GPU

    @property
    def session(self) -> Any:
        if self._session is None:
            from gsr_app.engine.session import Session

            # On ZeroGPU this process never has the GPU itself.
            device = "cpu" if zerogpu.is_active() else self._device
            self._session = Session(device=device, weights=self._weights)
        return self._session

    @property
    def methods(self) -> tuple[Method, ...]:
        return tuple(method for method in catalogue().values() if method.kind != "video")

    def availability(self, method: Method) -> Availability:
        from gsr_app.models import weights

        if not method.files:
            return Availability(here=True)
        try:
            here = weights.find(method, self._weights) is not None
        except WeightsError as error:
            return Availability(here=False, reason=str(error))
        if here:
            return Availability(here=True, own=self._weights is None and weights.is_local(method))
        if method.is_packaged:
            return Availability(here=False, reason="its weights are not part of this copy")
        by_hand = f"no direct download: get it from {method.page}" if method.page else ""
        offline = "this machine is set to stay offline" if settings.is_offline() else ""
        return Availability(here=False, download_bytes=method.bytes, reason=by_hand or offline)

    def describe(self) -> str:
        from gsr_app.engine import devices

        return devices.describe(self.session.device)

    def warm(self) -> None:
        """Get the drawing kernels ready, which may compile them once; the page need not wait for it."""
        from gsr_app.engine import runners

        runners.backend("field", self.session.device)

    def stream(
        self, image: Pixels, *, method: str, scale: Scale, cancel: Callable[[], bool]
    ) -> Iterator[Progress | Upscaled]:
        if zerogpu.is_active():
            return zerogpu.stream(
                image, method=method, scale=scale, weights=self._weights, cancel=cancel, keep=self._keep
            )
        return self.session.stream(image, method=method, scale=scale, cancel=cancel)

    def forgetting(self) -> ComparisonEngine:
        return self if zerogpu.is_active() else self.session.forgetting()

    def _keep(self, handle: FieldHandle, field: GaussianField) -> None:
        self._carried[handle.id] = field
        while len(self._carried) > _MOST_CARRIED:
            self._carried.popitem(last=False)

    def encode(self, image: Pixels, *, method: str, scale: Scale) -> FieldHandle:
        return self.session.encode(image, method=method, scale=scale)

    def render(self, handle: FieldHandle, view: View) -> Rendered:
        carried = self._carried.get(handle.id)
        return self.session.render(carried if carried is not None else handle, view)

    def field(self, handle: FieldHandle) -> GaussianField:
        carried = self._carried.get(handle.id)
        return carried if carried is not None else self.session.field(handle)

    @property
    def video_methods(self) -> tuple[Method, ...]:
        usable = [method for method in catalogue().values() if method.kind != "metric"]
        return tuple(sorted(usable, key=lambda method: method.kind != "video"))

    def look_at_video(self, path: Path) -> Any:
        from gsr_app.io import video

        return video.open_video(path).info

    def upscale_video(
        self,
        source: Path,
        target: Path,
        *,
        method: str,
        scale: Scale,
        start_s: Fraction | None,
        end_s: Fraction | None,
        round_trip: bool,
        cancel: Callable[[], bool],
    ) -> Generator[VideoStep, None, SavedVideo]:
        from gsr_app.engine.video_job import VideoJob, upscale_video

        job = VideoJob(
            source, target, method, lambda _: scale, start_s=start_s, end_s=end_s, round_trip=round_trip,
            overwrite=True, restart=True, drop_unfit_sound=True,
        )  # fmt: skip
        return upscale_video(self.session, job, cancel=cancel)

    def open_fit(self, image: Pixels, *, start: str, gaussians: int | None, seconds: float) -> Any:
        from gsr_app.fitting.fitter import Fitter
        from gsr_app.fitting.options import FitOptions

        full = {"uint8": 255.0, "uint16": 65535.0}.get(image.dtype.name, 1.0)
        planes = image[:, :, None] if image.ndim == 2 else image
        rgb = planes[..., :3] if planes.shape[2] >= 3 else planes[..., :1].repeat(3, axis=2)
        values = np.ascontiguousarray((rgb / full).astype(np.float32).transpose(2, 0, 1))
        return Fitter(values, FitOptions(start=start, gaussians=gaussians, seconds=seconds))  # type: ignore[arg-type]

    def run_fit(self, fit: Any, *, more_seconds: float | None, cancel: Callable[[], bool]) -> Iterator[FitStatus]:
        if more_seconds is not None:
            fit.extend(seconds=more_seconds)
        yield from fit.run(report_seconds=0.5, stop=cancel)

    def draw_fit(self, fit: Any) -> Pixels:
        return (fit.draw().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()

    def keep_fit(self, fit: Any) -> FieldHandle:
        return self._keep_new(fit.field, f"fit-{fit.options.start}")

    def keep_field(self, path: Path) -> FieldHandle:
        from gsr_app.io.fields import load_field

        return self._keep_new(load_field(path), "field")

    def _keep_new(self, field: GaussianField, method: str) -> FieldHandle:
        import secrets

        handle = FieldHandle(secrets.token_hex(8), method, len(field), field.source_size)
        self._keep(handle, field)
        return handle

    def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
        from gsr_app.models import weights

        weights.obtain(method, self._weights, report)

    def verify(self, method: Method) -> bool | None:
        from gsr_app.models import weights

        return weights.verify(method)

    def remove(self, method: Method) -> int:
        from gsr_app.models import weights

        return weights.remove(method)

    def keep(self, method: Method, files: Sequence[Path]) -> int:
        from gsr_app.models import local

        if self._weights is not None:
            raise WeightsError(
                "The app was started with --weights-dir, and looks nowhere else.", hint="Start it without."
            )
        return local.keep(method, files)
