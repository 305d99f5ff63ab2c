"""What the app and the command line call: pictures in, pictures and the truth about them out.

    session = Session()
    up = session.upscale("cat.png", method="bicubic", scale=Scale(3.7, 3.7))    # Upscaled
    handle = session.encode("cat.png", method="swift")                          # FieldHandle
    frame = session.render(handle, View((10, 10), (40, 60), (700, 1000)))       # Rendered

A session is cheap and thread-safe; loaded networks are shared by all sessions of a process.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gsr_app.core import settings
from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.types import FieldHandle, GaussianField, Progress, Rendered, Scale, Upscaled, View
from gsr_app.engine import cancellation, devices, networks, runners, temporal
from gsr_app.engine.cache import ByteLru, fingerprint
from gsr_app.engine.pictures import Canvas, Form, Picture, fill_hidden, stack, unstack
from gsr_app.engine.rows import Sheet
from gsr_app.engine.runners import Job, Steps
from gsr_app.engine.timing import Stopwatch
from gsr_app.models import registry
from gsr_app.models.registry import Method

Image = str | Path | np.ndarray
Window = Literal["published", "none"]

_GAUSSIAN_BYTES = 32  # mean, sigma, rho and colour in float32


@dataclass(frozen=True, eq=False)
class _Kept:
    """What a field handle stands for."""

    color: GaussianField
    alpha: GaussianField | float | None  # a field of its own, one value everywhere, or none
    form: Form


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
        return runners.finish(self._upscale(image, method, scale, window))

    def stream(
        self,
        image: Image,
        *,
        method: str,
        scale: Scale | float,
        window: Window = "published",  # of checkpoints that were run with one; "none" draws Gaussians to their end
        cancel: Callable[[], bool] | None = None,  # asked between layers; once true, the run ends in `Cancelled`
    ) -> Generator[Progress | Upscaled, None, None]:
        """As `upscale`, step by step: `Progress` before every tile, the `Upscaled` last. Closing it stops the work."""
        steps = self._upscale(image, method, scale, window)
        try:
            while True:
                with cancellation.cancelling(
                    cancel
                ):  # anew for each step: nothing is left set while the caller has its turn
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
        found, array = registry.method(method), _read(image)
        if found.kind != "field":
            raise InvalidArgument(f"{found.id} answers in pixels and has no field.", hint="Choose one of kind 'field'.")
        watch = Stopwatch(self.device)
        job, key = runners.finish(self._field_job(found, array, _scale(scale), window, watch))
        handle, _ = runners.finish(self._encode(found, job, key, Picture.of(array)))
        if not self.has(handle):
            raise GsrError(
                f"The field of {handle.count:,} Gaussians is larger than what this session keeps.",
                hint=f"Allow more than {self.memory.limit_bytes >> 20:,} MiB with GSR_MEMORY_BYTES.",
            )
        return handle

    def render(self, field: FieldHandle | GaussianField, view: View) -> Rendered:
        """Draw a view: of a handle as the kind of image it was made from, of a field as float32 [H, W, C]."""
        watch = Stopwatch(self.device)
        if isinstance(field, FieldHandle):
            image = runners.finish(_draw(self._kept(field), view, watch))
        else:
            sheet = Sheet(view.size[0])
            runners.finish(runners.draw(field, view, watch, sheet))
            image = sheet.planes[0].permute(1, 2, 0).contiguous().numpy()
        backend = runners.backend("field", self.device)
        return Rendered(image, watch.timing(backend=backend, device=devices.describe(self.device)), backend)

    def field(self, handle: FieldHandle) -> GaussianField:
        """The Gaussians behind a handle."""
        return self._kept(handle).color

    def has(self, handle: FieldHandle) -> bool:
        """Whether the field of a handle is still kept."""
        return self.memory.get(handle.id) is not None

    def forgetting(self) -> Session:
        """This session, but for what passes by and is not asked for again: it keeps nothing."""
        return self._like_this(0)

    def job(self, method: Method, scale: Scale, watch: Stopwatch) -> Steps[Job]:
        """What a runner needs for a method in this session's way, with as much memory, of its own."""
        return self._like_this(self.memory.limit_bytes)._job(method, None, scale, "published", watch)

    def _like_this(self, memory_bytes: int) -> Session:
        like = copy.copy(self)
        like.memory = ByteLru(memory_bytes)
        return like

    def close(self) -> None:
        """Forget everything that was kept for later."""
        self.memory.clear()

    # ---- how ----------------------------------------------------------------------------------------------------

    def _upscale(self, image: Image, method_id: str, scale: Scale | float, window: Window) -> Steps[Upscaled]:
        method, scale = registry.method(method_id), _scale(scale)
        watch = Stopwatch(self.device)
        with watch("read"):
            array = _read(image)
            picture = Picture.of(array)
        handle, weights_id = None, ""
        if method.kind == "field":
            job, key = yield from self._field_job(method, array, scale, window, watch)
            weights_id, view = job.loaded.weights_id, View.whole(picture.size, scale)
            if self._keeps(job, picture):
                handle, kept = yield from self._encode(method, job, key, picture)
                result, count = (yield from _draw(kept, view, watch)), handle.count
                handle = handle if self.has(handle) else None
            else:
                result, count = yield from _draw_by_plane(job, picture, view)
            done = f"field of {count:,} Gaussians drawn at x{scale}"
        else:
            job = None if method.kind == "resize" else (yield from self._job(method, array, scale, window, watch))
            weights_id = job.loaded.weights_id if job else ""
            result = yield from _paint(method, job, picture, scale, watch)
            done = _describe(method, scale)
        backend = runners.backend(method.kind, self.device)
        timing = watch.timing(backend=backend, device=devices.describe(self.device))
        return Upscaled(result, timing, method.id, scale, done, handle, weights_id, warnings_for(method, scale))

    def _field_job(
        self, method: Method, array: np.ndarray, scale: Scale, window: Window, watch: Stopwatch
    ) -> Steps[tuple[Job, str]]:
        """How to make a field, and the name it is kept under."""
        job = yield from self._job(method, array, scale, window, watch)
        belongs_to = scale if job.loaded.arch.scale_conditioned else "any scale"
        options = f"{job.source_id} {job.loaded.weights_id} {self.tile} {self.dtype} {window} {belongs_to}"
        return job, hashlib.blake2b(options.encode(), digest_size=16).hexdigest()

    def _keeps(self, job: Job, picture: Picture) -> bool:
        """Whether there is room for all the Gaussians of a picture."""
        height, width = picture.size
        planes = 1 if picture.alpha is None or _level(picture) is not None else 2
        count = height * width * job.loaded.arch.lattice**2 * planes
        return count * _GAUSSIAN_BYTES <= self.memory.limit_bytes

    def _encode(self, method: Method, job: Job, key: str, picture: Picture) -> Steps[tuple[FieldHandle, _Kept]]:
        kept: _Kept | None = self.memory.get(key)
        if kept is None:
            fields: dict[str, GaussianField] = {}
            for name, plane in _planes(picture):
                fields[name] = yield from runners.encode_field(job, plane, name)
            kept = _Kept(fields["color"], fields.get("alpha", _level(picture)), picture.form)
            self.memory.put(key, kept)
        return FieldHandle(key, method.id, len(kept.color), picture.size), kept

    def _job(
        self, method: Method, array: np.ndarray | None, scale: Scale, window: Window, watch: Stopwatch
    ) -> Steps[Job]:
        with watch("read"):
            loaded, watch.cold = yield from networks.load(method, self.device, self.weights)
            source_id = fingerprint(array) if array is not None and method.kind == "field" else ""
        return Job(loaded, scale, self.tile, self.device, self.dtype, watch, self.memory, source_id, window)

    def _kept(self, handle: FieldHandle) -> _Kept:
        kept = self.memory.get(handle.id)
        if kept is None:
            raise GsrError(f"The field {handle.id[:8]} of {handle.method} is no longer kept.", hint="Encode it again.")
        return kept


def _paint(method: Method, job: Job | None, picture: Picture, scale: Scale, watch: Stopwatch) -> Steps[np.ndarray]:
    """Colour and alpha at another scale, for every kind that answers in pixels."""
    level = _level(picture)
    varying = picture.alpha if level is None else None
    canvas = Canvas(picture.form, scale.output_size(picture.size), watch)
    if job is None:

        def put_both(top: int, planes: Tensor) -> None:
            color, alpha = unstack(planes, method.kernel, has_alpha=varying is not None)
            canvas.put_color(top, color)
            if alpha is not None:
                canvas.put_alpha(top, alpha)

        yield from runners.resize(stack(picture.color, varying, method.kernel), method.kernel, scale, watch, put_both)
    else:
        runs = {"pixels": runners.pixels, "continuous": runners.continuous, "video": temporal.repeat}
        run = runs[method.kind]
        put = {"color": canvas.put_color, "alpha": canvas.put_alpha}
        for name, plane in _planes(picture):
            yield from run(job, plane, put[name])
    _put_level(canvas, level)
    return canvas.array


def _planes(picture: Picture) -> Iterator[tuple[str, Tensor]]:
    """What a network has to see of a picture, by name: its colours, and its alpha where that varies."""
    yield "color", show(picture)
    if picture.alpha is not None and _level(picture) is None:
        yield "alpha", picture.alpha.expand(1, 3, *picture.size)


def _draw(kept: _Kept, view: View, watch: Stopwatch) -> Steps[np.ndarray]:
    canvas = Canvas(kept.form, view.size, watch)
    yield from runners.draw(kept.color, view, watch, canvas.put_color)
    if isinstance(kept.alpha, GaussianField):
        yield from runners.draw(kept.alpha, view, watch, canvas.put_alpha)
    else:
        _put_level(canvas, kept.alpha)
    return canvas.array


def _draw_by_plane(job: Job, picture: Picture, view: View) -> Steps[tuple[np.ndarray, int]]:
    """The drawing and the count of a field that nobody keeps: each plane's is gone before the next one's is made."""
    canvas, count = Canvas(picture.form, view.size, job.watch), 0
    put = {"color": canvas.put_color, "alpha": canvas.put_alpha}
    for name, plane in _planes(picture):
        field = yield from runners.encode_field(job, plane, name)
        yield from runners.draw(field, view, job.watch, put[name])
        count = len(field)
        del field
    _put_level(canvas, _level(picture))
    return canvas.array, count


def _put_level(canvas: Canvas, level: float | None) -> None:
    if level is not None:
        canvas.put_alpha(0, torch.tensor(level).expand(1, 1, *canvas.array.shape[:2]))


def _describe(method: Method, scale: Scale) -> str:
    if method.kind == "pixels":
        return runners.describe_pixels(method.native_scale or 1, scale)
    if method.kind == "video":
        return f"network for clips asked at x{scale}, of a clip that stands still"
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


def _read(image: Image) -> np.ndarray:
    if not isinstance(image, str | Path):
        return image  # an array, or something that Picture.of refuses
    from gsr_app.io import images

    return images.read_image(image).to_array()


def _scale(scale: Scale | float) -> Scale:
    return scale if isinstance(scale, Scale) else Scale(scale, scale)


def show(picture: Picture) -> Tensor:  # [1, 3, h, w]
    """What a network gets to see."""
    color = picture.color if picture.alpha is None else fill_hidden(picture.color, picture.alpha)
    return color.expand(1, 3, *picture.size)


def _level(picture: Picture) -> float | None:
    """The one value that alpha has everywhere, or None."""
    if picture.alpha is None:
        return None
    low, high = float(picture.alpha.min()), float(picture.alpha.max())
    return low if low == high else None
