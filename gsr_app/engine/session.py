"""What the app and the command line call: pictures in, pictures and how they were made out.

    session = Session()
    up = session.upscale("cat.png", method="bicubic", scale=Scale(3.7, 3.7))    # Upscaled
    handle = session.encode("cat.png", method="swift")                          # FieldHandle
    frame = session.render(handle, View((10, 10), (40, 60), (700, 1000)))       # Rendered

A session is cheap and thread-safe; loaded networks are shared by all sessions of a process.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from gsr_app.core import pixels, settings
from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.pixels import Layout
from gsr_app.core.types import FieldHandle, GaussianField, Part, Progress, Rendered, Scale, Upscaled, View
from gsr_app.engine import cancellation, devices, networks, parts, runners, temporal
from gsr_app.engine.cache import ByteLru, fingerprint
from gsr_app.engine.planes import Planes, stack, unstack
from gsr_app.engine.rows import ArraySink, PlaneSink, RowSink
from gsr_app.engine.runners import NetworkRun, Steps
from gsr_app.engine.strength import choose_strength
from gsr_app.engine.timing import Stopwatch
from gsr_app.models import registry
from gsr_app.models.registry import Method
from gsr_app.ops import backend

Image = str | Path | np.ndarray
Window = Literal["published", "none"]

_GAUSSIAN_BYTES = 32  # mean, sigma, rho and colour in float32


@dataclass(frozen=True, eq=False)
class KeptField:
    """What a field handle stands for."""

    color: GaussianField
    alpha: GaussianField | float | None  # a field of its own, one value everywhere, or none
    layout: Layout  # of the picture that it was made from


class Session:
    """One way of running methods: where, how precisely, with which weights, in which tiles."""

    def __init__(
        self,
        device: str = "auto",
        precision: str = "auto",
        weights: str | Path | None = None,
        tile: int | None = None,  # side of a tile's core in source pixels; None: whatever fits into memory
        memory_bytes: int | None = None,  # for features and fields that may be asked for again; None: as set
    ) -> None:
        if tile is not None and tile < 1:
            raise InvalidArgument(f"tile must be at least one pixel, found {tile}.")
        self.device = devices.choose_device(device)
        self.dtype = devices.choose_precision(precision, self.device)
        self.weights = weights
        self.tile = tile
        self.memory = ByteLru(settings.memory_bytes() if memory_bytes is None else memory_bytes)

    # ---- verbs --------------------------------------------------------------------------------------------------

    def upscale(self, image: Image, *, method: str, scale: Scale | float, window: Window = "published") -> Upscaled:
        """The picture at another scale."""
        return runners.run_to_end(self._upscale(image, method, scale, window))

    def stream(
        self,
        image: Image,
        *,
        method: str,
        scale: Scale | float,
        window: Window = "published",  # of checkpoints that were run with one; "none" draws Gaussians to their end
        part: Part | None = None,  # only the result's pixels of this rectangle, without a field
        cancel: Callable[[], bool] | None = None,  # asked between layers; once true, the run ends in `Cancelled`
    ) -> Generator[Progress | Upscaled, None, None]:
        """As `upscale`, step by step: `Progress` before every tile, the `Upscaled` last. Closing it stops the work."""
        steps = self._upscale(image, method, scale, window, part)
        try:
            while True:
                with cancellation.cancelling(cancel):  # for each step alone: not set while the caller's code runs
                    event = next(steps)
                yield event
        except StopIteration as end:
            yield end.value
        finally:
            steps.close()

    def encode(
        self, image: Image, *, method: str, scale: Scale | float = 4.0, window: Window = "published"
    ) -> FieldHandle:
        """The image as a field to draw from, kept by this session. `scale` matters to networks that ask for it."""
        array, quality = _read(image)
        found, _ = choose_strength(registry.method(method), array, quality)
        if found.kind != "field":
            raise InvalidArgument(f"{found.id} makes pixels and has no field.", hint="Choose one of kind 'field'.")
        watch = Stopwatch(self.device)
        run, key = runners.run_to_end(self._field_run(found, array, _scale(scale), window, watch))
        handle, _ = runners.run_to_end(self._encode(found, run, key, Planes.of(array)))
        if not self.has(handle):
            raise GsrError(
                f"The field of {handle.count:,} Gaussians is larger than what this session keeps.",
                hint=f"Allow more than {self.memory.limit_bytes >> 20:,} MiB with GSR_MEMORY_BYTES.",
            )
        return handle

    def render(self, field: FieldHandle | KeptField | GaussianField, view: View) -> Rendered:
        """Draw a view: of a kept field with its image's dtype and channels, of Gaussians as float32 [H, W, C]."""
        watch = Stopwatch(self.device)
        if isinstance(field, FieldHandle):
            field = self.kept(field)
        if isinstance(field, KeptField):
            image = runners.run_to_end(_draw(field, view, watch))
        else:
            sink = PlaneSink(view.size[0])
            runners.run_to_end(runners.draw(field, view, watch, sink))
            image = pixels.from_planes(sink.planes[0].numpy(), np.float32)
        ran = runners.backend("field", self.device)
        return Rendered(image, watch.timing(backend=ran, device=devices.describe(self.device)), ran)

    def field(self, handle: FieldHandle) -> GaussianField:
        """The Gaussians behind a handle."""
        return self.kept(handle).color

    def kept(self, handle: FieldHandle) -> KeptField:
        """What a handle stands for."""
        kept = self.memory.get(handle.id)
        if kept is None:
            raise GsrError(f"The field {handle.id[:8]} of {handle.method} is no longer kept.", hint="Encode it again.")
        return kept

    def has(self, handle: FieldHandle) -> bool:
        """Whether the field of a handle is still kept."""
        return self.memory.get(handle.id) is not None

    def without_cache(self) -> Session:
        """A copy of this session that keeps nothing, for pictures that come only once."""
        return self._with_cache(0)

    def network_run(self, method: Method, scale: Scale, watch: Stopwatch) -> Steps[NetworkRun]:
        """A run of a method's network with this session's options, and a cache of the same size of its own."""
        return self._with_cache(self.memory.limit_bytes)._run(method, None, scale, "published", watch)

    def _with_cache(self, limit_bytes: int) -> Session:
        session = copy.copy(self)
        session.memory = ByteLru(limit_bytes)
        return session

    def close(self) -> None:
        """Forget everything that was kept for later."""
        self.memory.clear()

    # ---- how ----------------------------------------------------------------------------------------------------

    def _upscale(
        self, image: Image, method_id: str, scale: Scale | float, window: Window, part: Part | None = None
    ) -> Steps[Upscaled]:
        asked, scale = registry.method(method_id), _scale(scale)
        if asked.kind in {"resize", "field"}:
            # Native code is built at its first use, which takes half a minute: no part of the time of a method.
            backend.load("cpu" if asked.kind == "resize" else self.device.type)
        watch = Stopwatch(self.device)
        with watch("read"):
            array, quality = _read(image)
            planes = Planes.of(array)
            method, strength = choose_strength(asked, array, quality)
        handle, weights_id = None, ""
        cut = parts.Cut.of(part, planes.size, scale) if part else None
        if method.kind == "field" and cut is None:
            run, key = yield from self._field_run(method, array, scale, window, watch)
            weights_id, view = run.loaded.weights_id, View.whole(planes.size, scale)
            if self._fits(run, planes):
                handle, kept = yield from self._encode(method, run, key, planes)
                result, count = (yield from _draw(kept, view, watch)), handle.count
                handle = handle if self.has(handle) else None
            else:
                result, count = yield from _encode_and_draw(run, planes, view)
            done = f"field of {count:,} Gaussians drawn at x{scale}"
        else:
            run = None if method.kind == "resize" else (yield from self._run(method, array, scale, window, watch))
            weights_id = run.loaded.weights_id if run else ""
            if cut is None:
                result = yield from _make_pixels(method, run, planes, scale, watch)
            else:
                result = yield from _make_part(method, run, planes, cut, watch)
            done = _describe(method, scale) + (f", of {part} alone" if part else "")
        ran = runners.backend(method.kind, self.device)
        timing = watch.timing(backend=ran, device=devices.describe(self.device))
        warnings = warnings_for(method, scale)
        if method.kind != "resize" and planes.exceeds:
            warnings += (f"{method.id} saw the colours clipped to 0..1, within which it was trained",)
        warnings += tuple(run.notes) if run else ()
        done = f"{done}, {strength}" if strength else done
        return Upscaled(result, timing, asked.id, scale, done, handle, weights_id, warnings)

    def _field_run(
        self, method: Method, array: np.ndarray, scale: Scale, window: Window, watch: Stopwatch
    ) -> Steps[tuple[NetworkRun, str]]:
        """How to make a field, and the name it is kept under."""
        run = yield from self._run(method, array, scale, window, watch)
        belongs_to = scale if run.loaded.arch.scale_conditioned else "any scale"
        options = f"{run.source_id} {run.loaded.id} {self.tile} {self.dtype} {window} {belongs_to}"
        return run, hashlib.blake2b(options.encode(), digest_size=16).hexdigest()

    def _fits(self, run: NetworkRun, planes: Planes) -> bool:
        """Whether there is room for all the Gaussians of a picture."""
        height, width = planes.size
        fields = 1 if planes.varying_alpha is None else 2
        count = height * width * run.loaded.arch.lattice**2 * fields
        return count * _GAUSSIAN_BYTES <= self.memory.limit_bytes

    def _encode(
        self, method: Method, run: NetworkRun, key: str, planes: Planes
    ) -> Steps[tuple[FieldHandle, KeptField]]:
        kept: KeptField | None = self.memory.get(key)
        if kept is None:
            fields: dict[str, GaussianField] = {}
            for name, plane in planes.network_inputs():
                fields[name] = yield from runners.encode_field(run, plane, name)
            kept = KeptField(fields["color"], fields.get("alpha", planes.constant_alpha), planes.layout)
            self.memory.put(key, kept)
        return FieldHandle(key, method.id, len(kept.color), planes.size), kept

    def _run(
        self, method: Method, array: np.ndarray | None, scale: Scale, window: Window, watch: Stopwatch
    ) -> Steps[NetworkRun]:
        with watch("read"):
            loaded, watch.cold = yield from networks.load(method, self.device, self.weights)
            source_id = fingerprint(array) if array is not None and method.kind == "field" else ""
        return NetworkRun(loaded, scale, self.tile, self.device, self.dtype, watch, self.memory, source_id, window)


def _make_pixels(
    method: Method, run: NetworkRun | None, planes: Planes, scale: Scale, watch: Stopwatch
) -> Steps[np.ndarray]:
    """Colour and alpha at another scale, for every kind that makes pixels."""
    sink = ArraySink(planes.layout, scale.output_size(planes.size), watch)
    if run is None:
        yield from runners.resize(*_stacked(method, planes), scale, watch, _both(method, planes, sink))
    else:
        runs = {"pixels": runners.pixels, "continuous": runners.continuous, "video": temporal.draw_still}
        put = {"color": sink.put_color, "alpha": sink.put_alpha}
        for name, plane in planes.network_inputs():
            yield from runs[method.kind](run, plane, put[name])
    sink.put_constant_alpha(planes.constant_alpha)
    return sink.array


def _make_part(
    method: Method, run: NetworkRun | None, planes: Planes, cut: parts.Cut, watch: Stopwatch
) -> Steps[np.ndarray]:
    """Colour and alpha of a part at another scale, for every kind."""
    sink = ArraySink(planes.layout, cut.size, watch)
    if run is None:
        yield from parts.resize(*_stacked(method, planes), cut, watch, _both(method, planes, sink))
    else:
        put = {"color": sink.put_color, "alpha": sink.put_alpha}
        for name, plane in planes.network_inputs():
            yield from parts.run_network(run, plane, name, cut, put[name])
    sink.put_constant_alpha(planes.constant_alpha)
    return sink.array


def _stacked(method: Method, planes: Planes) -> tuple[Tensor, str]:
    """The planes that a kernel resizes together, and the kernel."""
    return stack(planes.color, planes.varying_alpha, method.kernel), method.kernel


def _both(method: Method, planes: Planes, sink: ArraySink) -> RowSink:
    """Puts resized planes into a sink: colour, and alpha if it varies."""

    def put(top: int, rows: Tensor) -> None:
        color, alpha = unstack(rows, method.kernel, has_alpha=planes.varying_alpha is not None)
        sink.put_color(top, color)
        if alpha is not None:
            sink.put_alpha(top, alpha)

    return put


def _draw(kept: KeptField, view: View, watch: Stopwatch) -> Steps[np.ndarray]:
    sink = ArraySink(kept.layout, view.size, watch)
    yield from runners.draw(kept.color, view, watch, sink.put_color)
    if isinstance(kept.alpha, GaussianField):
        yield from runners.draw(kept.alpha, view, watch, sink.put_alpha)
    else:
        sink.put_constant_alpha(kept.alpha)
    return sink.array


def _encode_and_draw(run: NetworkRun, planes: Planes, view: View) -> Steps[tuple[np.ndarray, int]]:
    """The drawing and the count of a field that is not kept: that of the colours is gone before that of alpha comes."""
    sink, count = ArraySink(planes.layout, view.size, run.watch), 0
    put = {"color": sink.put_color, "alpha": sink.put_alpha}
    for name, plane in planes.network_inputs():
        field = yield from runners.encode_field(run, plane, name)
        yield from runners.draw(field, view, run.watch, put[name])
        count = len(field)
        del field
    sink.put_constant_alpha(planes.constant_alpha)
    return sink.array, count


def _describe(method: Method, scale: Scale) -> str:
    if method.kind == "pixels":
        return runners.describe_pixels(method.native_scale or 1, scale)
    if method.kind == "video":
        return f"network for clips asked at x{scale}, of a clip that stands still"
    if method.kind == "field":
        return f"field drawn at x{scale}"
    return f"{method.kernel} at x{scale}" if method.kind == "resize" else f"network asked at x{scale}"


def warnings_for(method: Method, scale: Scale) -> tuple[str, ...]:
    """What a user should know before using a method at a scale."""
    if method.scales is not None and not (method.is_trained_for(scale.y) and method.is_trained_for(scale.x)):
        low, high = method.scales
        trained = f"x{low:g}" if low == high else f"x{low:g} to x{high:g}"
        return (f"not trained for x{scale}: {method.id} was trained for {trained}",)
    if method.arch and not scale.is_uniform and registry.architecture(method.arch).scale_conditioned:
        return (f"not trained for x{scale}: {method.id} was trained with one scale for both axes",)
    return ()


def _read(image: Image) -> tuple[np.ndarray, int | None]:
    """The pixels, and the quality of a JPEG."""
    if not isinstance(image, str | Path):
        return image, None  # an array, or something that Planes.of refuses
    from gsr_app.io import images

    picture = images.read_image(image)
    return picture.pixels, picture.meta.jpeg_quality


def _scale(scale: Scale | float) -> Scale:
    return scale if isinstance(scale, Scale) else Scale(scale, scale)
