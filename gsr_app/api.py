"""The functions and classes of `import gsr_app as gsr`, which app, command line and scripts share.

    gsr.upscale("cat.png", 4).save("cat_x4.png")
    gsr.encode("cat.png").render(gsr.View((10, 10), (40, 60), (700, 1000))).save("detail.png")

An image is a path, an array [H, W] or [H, W, 1 to 4] of uint8, uint16 or float32 in 0..1, a PIL picture, or the result
of an earlier call. Sizes are (height, width). Nothing is imported before it is needed: neither torch nor PIL.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gsr_app.core import pixels
from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.pixels import Layout
from gsr_app.core.types import GaussianField, Progress, Scale, Timing, Upscaled, View
from gsr_app.models import registry
from gsr_app.models.registry import Kind, Method, catalogue, find
from gsr_app.models.weights import default_method

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from gsr_app.engine import session as engine
    from gsr_app.engine.metrics import Score
    from gsr_app.engine.protocols import Pair
    from gsr_app.fitting.options import Start
    from gsr_app.io.picture import Metadata

    FilePath = str | os.PathLike[str]
    Image: TypeAlias = "FilePath | NDArray[Any] | PilImage | Result"
    Factor = Scale | float | str  # 4, Scale(2, 3), "2.5x4" (vertical first)
    Size = str | tuple[int, int]  # "1920x1080", "1920x", "x1080", "fit:3840x2160"; (height, width)
    Precision = Literal["float32", "float16"] | int

_SHOWN_PX = 1024  # longest side of what a notebook shows
# PIL modes whose arrays are no pixel values, and the mode to convert them to; "": RGB, or RGBA if transparent.
_CONVERTED_MODES = {
    "1": "L", "P": "", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB",
    "LAB": "RGB", "HSV": "RGB",
}  # fmt: skip
_OTHER_SPACES = {"CMYK", "YCbCr", "LAB", "HSV"}


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A picture that was made, and how. Example: `np.asarray(gsr.upscale("cat.png", 4))`"""

    array: NDArray[Any]  # [H, W] or [H, W, C]; dtype and channels are those of the input
    method: str
    scale: Scale
    done: str  # the steps that were taken, e.g. "x2 network, then resized to x2.7"
    timing: Timing
    weights_id: str
    warnings: tuple[str, ...]
    metadata: Metadata  # of the source file

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.array.shape[0], self.array.shape[1]

    def save(self, path: FilePath, *, overwrite: bool = False, strip_metadata: bool = False) -> Path:
        """Write an image file, with the source's metadata and how it was made. Example: `result.save("out.png")`"""
        from gsr_app.engine.image_job import describe
        from gsr_app.io.images import Picture, write_image

        made_by = find(self.method)
        text = (
            {}
            if made_by is None or strip_metadata
            else describe(made_by, self.scale, self.done, self.weights_id, self.metadata)
        )
        picture = Picture(self.array, self.metadata)
        return write_image(path, picture, overwrite=overwrite, strip_metadata=strip_metadata, text=text).path

    def pil(self) -> PilImage:
        """The picture as 8 bits for PIL. Example: `result.pil().show()`"""
        from PIL import Image

        shown = pixels.convert(self.array, np.uint8)
        return Image.fromarray(shown[..., 0] if shown.shape[2:] == (1,) else shown)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array.astype(dtype or self.array.dtype, copy=bool(copy))

    def __repr__(self) -> str:
        return f"<{self.size[1]}x{self.size[0]} {self.array.dtype} by {self.method or 'unknown'}: {self.done}>"

    def _repr_png_(self) -> bytes:
        return _shown_png(self)


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """An image as Gaussians, which can be drawn at any scale. Example: `gsr.encode("cat.png").render(2.5)`"""

    kept: engine.KeptField
    method: str
    done: str  # how it was made
    metadata: Metadata  # of the source file
    session: engine.Session  # that draws it

    @property
    def gaussians(self) -> GaussianField:
        """Means, sigmas, correlations and colours. Example: `field.gaussians.mean`"""
        return self.kept.color

    @property
    def source_size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.gaussians.source_size

    def render(self, view: View | Factor = 1.0, *, dtype: DTypeLike | None = None) -> Result:
        """Draw the whole image at a scale, or any rectangle of it. Example: `field.render("2.5x4")`

        dtype: uint8, uint16 or float32; by default that of the image.
        """
        if not isinstance(view, View):
            view = View.whole(self.source_size, _as_scale(view, None, self.source_size))
        layout = self.kept.layout if dtype is None else replace(self.kept.layout, dtype=np.dtype(dtype))
        if layout.dtype.name not in pixels.NAMES:
            raise InvalidArgument(f"dtype must be one of {', '.join(pixels.NAMES)}, found {layout.dtype}.")
        drawn = self.session.render(replace(self.kept, layout=layout), view)
        done = f"field of {len(self):,} Gaussians drawn at x{view.scale}"
        return Result(drawn.image, self.method, view.scale, done, drawn.timing, "", (), self.metadata)

    def save(self, path: FilePath, *, bits: Precision = "float32", overwrite: bool = False) -> Path:
        """Write a .gsr file: as it is, as "float16", or with 8 to 16 bits per number. Example: `field.save("a.gsr")`

        It holds colours alone: of an image with transparent pixels a warning says so.
        """
        from gsr_app.io.fields import Quantised, save_field
        from gsr_app.io.formats import format_of_name

        path = Path(path)
        if format_of_name(path) is not None:
            raise InvalidArgument(
                f"{path.name} is the name of a picture, not of a field.", hint="Draw it: field.render(4).save(…)."
            )
        if path.exists() and not overwrite:
            raise InvalidArgument(f"{path} exists already.", hint="Replace it with overwrite=True.")
        if self.kept.alpha not in (None, 1.0):
            warnings.warn(f"{path.name} does not hold the transparency of the image.", stacklevel=2)
        precision = Quantised.evenly(bits) if isinstance(bits, int) else bits
        known = find(self.method)
        licence = known.weights_licence if known else ""
        save_field(self.gaussians, path, precision=precision, method=self.method, licence=licence)
        return path

    def __len__(self) -> int:
        return len(self.gaussians)

    def __repr__(self) -> str:
        height, width = self.source_size
        return f"<field of {len(self):,} Gaussians for {width}x{height} by {self.method or 'unknown'}: {self.done}>"

    def _repr_png_(self) -> bytes:
        return _shown_png(self.render(min(1.0, _SHOWN_PX / max(self.source_size))))


# ---- sessions ---------------------------------------------------------------------------------------------------


class Session:
    """Holds a device, a precision, weights and caches. Example: `gsr.Session("cuda", tile=256).upscale("cat.png", 4)`

    A session is cheap and thread-safe. Loaded networks are shared by all sessions of a process.
    """

    def __init__(
        self,
        device: str = "auto",  # auto, cpu, cuda, cuda:1, mps
        precision: str = "auto",  # auto, float32, bfloat16
        weights: FilePath | None = None,  # a file, or a folder with one per part, instead of the published ones
        tile: int | None = None,  # side of a tile in source pixels; None: what fits into memory
    ) -> None:
        from gsr_app.engine.session import Session as EngineSession

        self.engine = EngineSession(device, precision, None if weights is None else Path(weights), tile)

    def upscale(
        self,
        image: Image,
        scale: Factor | None = None,
        *,
        size: Size | None = None,
        method: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,  # called before every tile; may raise to stop
    ) -> Result:
        """The image at another scale, or at a size in pixels. Example: `session.upscale("cat.png", size="1920x")`"""
        from gsr_app.engine.strength import choose_strength

        array, metadata = _read(image)
        factor = _as_scale(scale, size, array.shape[:2])
        asked = registry.method(method or default_method())
        chosen, strength = choose_strength(asked, array, metadata.jpeg_quality)
        for event in self.engine.stream(array, method=chosen.id, scale=factor):
            if isinstance(event, Upscaled):
                done = f"{event.done}, {strength}" if strength else event.done
                return Result(
                    event.image, asked.id, event.scale, done, event.timing, event.weights_id, event.warnings,
                    metadata,
                )  # fmt: skip
            if on_progress is not None:
                on_progress(event)
        raise AssertionError("A run ends with its result.")

    def encode(self, image: Image, *, method: str | None = None, scale: Factor = 4.0) -> Field:
        """The image as Gaussians; some networks make them for one scale. Example: `session.encode("cat.png")`"""
        from gsr_app.engine.strength import choose_strength

        array, metadata = _read(image)
        method, factor = method or default_method(), _as_scale(scale, None, array.shape[:2])
        chosen, _ = choose_strength(registry.method(method), array, metadata.jpeg_quality)
        kept = self.engine.kept(self.engine.encode(array, method=chosen.id, scale=factor))
        return Field(kept, method, f"encoded for x{factor}", metadata, self.engine)

    def close(self) -> None:
        """Drop everything that is cached. Example: `session.close()`"""
        self.engine.close()


@functools.cache
def _session(device: str) -> Session:
    """The session that all functions share."""
    return Session(device)


# ---- functions --------------------------------------------------------------------------------------------------


def upscale(
    image: Image,
    scale: Factor | None = None,  # 4, if no size is given
    *,
    size: Size | None = None,
    method: str | None = None,  # None: the best that ships with the package
    device: str = "auto",
) -> Result:
    """The image at another scale, or at a size in pixels. Example: `gsr.upscale("cat.png", 4).save("out.png")`"""
    return _session(device).upscale(image, scale, size=size, method=method)


def encode(
    image: Image,
    *,
    method: str | None = None,
    scale: Factor = 4.0,  # for networks whose Gaussians belong to one scale
    device: str = "auto",
) -> Field:
    """The image as Gaussians, by a network. Example: `gsr.encode("cat.png").save("cat.gsr")`"""
    return _session(device).encode(image, method=method, scale=scale)


def fit(
    image: Image,
    *,
    start: Start = "network",  # network, quadtree, random, initnet
    gaussians: int | None = None,  # None: as many as the image's content asks for
    seconds: float | None = None,  # 20, unless steps is given
    steps: int | None = None,
    target_psnr: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Field:
    """The image as Gaussians, by optimization. Example: `gsr.fit("cat.png", seconds=10).save("cat.gsr", bits=12)`"""
    from gsr_app.engine.devices import choose_device
    from gsr_app.fitting.fitter import Fitter
    from gsr_app.fitting.options import FitOptions

    array, metadata = _read(image)
    options = FitOptions(start, gaussians, seconds, steps, target_psnr, seed=seed)
    fitter = Fitter(pixels.to_planes(pixels.as_rgb(array)), options, device=choose_device(device))
    for _ in fitter.run():
        pass
    done = f"fitted to {fitter.best_psnr:.2f} dB in {fitter.step:,} steps, {fitter.seconds:.1f} s"
    return as_field(fitter.field, f"fit-{start}", done, metadata, array.dtype)


def load(path: FilePath, *, device: str = "auto") -> Field:
    """The field in a .gsr file, which is drawn as 8 bits. Example: `gsr.load("cat.gsr").render(8)`"""
    from gsr_app.io.fields import load_field, read_facts

    path = Path(path)
    return as_field(load_field(path), read_facts(path).method, path.name, device=device)


def measure(
    image: Image, reference: Image | Pair, *, protocol: str = "basicsr", scale: Scale | float | None = None
) -> Score:
    """PSNR and SSIM of an image against a reference. Example: `gsr.measure("x4.png", "hr.png", scale=4)`

    protocol: a test protocol, or one of its conventions, which say channel, border and rounding.
    scale: that the image was made at, on which the border depends. A result and a pair know theirs.
    """
    from gsr_app.engine import metrics, protocols

    array, (_, by) = _read(image)[0], protocols.find(protocol)
    if isinstance(reference, protocols.Pair):
        return protocols.score(array, reference, by)
    if scale is None and isinstance(image, Result):
        scale = image.scale
    if scale is None and by.border_per_scale:
        raise InvalidArgument(f"The border of {protocol} depends on the scale.", hint="Say it: scale=4.")
    factor = _as_scale(scale or 1.0, None, (1, 1))
    return metrics.measure(array, _read(reference)[0], by=by, scale=max(factor.y, factor.x))


def make_pair(reference: Image, scale: Scale | float, *, protocol: str = "basicsr") -> Pair:
    """The small image that a protocol tests with, and what to compare the result with.

    Example: `pair = gsr.make_pair("hr.png", 4); gsr.measure(gsr.upscale(pair.lr, 4), pair)`
    """
    from gsr_app.engine import protocols

    return protocols.make_pair(protocols.as_tested(_read(reference)[0]), scale, protocols.find(protocol)[0])


def methods(kind: Kind | None = None) -> tuple[Method, ...]:
    """The methods that can be run, all or of one kind. Example: `[method.id for method in gsr.methods("field")]`"""
    if kind is not None and kind not in get_args(Kind):
        raise UnknownName(kind, get_args(Kind), what="Kind", where="the list of kinds")
    return tuple(method for method in catalogue().values() if kind in {None, method.kind})


# ---- conversions ------------------------------------------------------------------------------------------------


def _read(image: Image) -> tuple[NDArray[Any], Metadata]:
    """The stored pixels of an image, and the metadata of its file."""
    from gsr_app.io.picture import Metadata

    if isinstance(image, Result):
        return image.array, image.metadata
    if isinstance(image, str | os.PathLike):
        from gsr_app.io.images import read_image

        picture = read_image(image)
        return picture.pixels, picture.meta
    # getbands is what tells a PIL picture without importing PIL.
    array, metadata = _from_pil(image) if hasattr(image, "getbands") else (cast("NDArray[Any]", image), Metadata())
    Layout.of(array)  # raises if the array is not a picture
    return array, metadata


def _from_pil(picture: Any) -> tuple[NDArray[Any], Metadata]:
    from gsr_app.io.picture import Metadata

    mode = _CONVERTED_MODES.get(picture.mode)
    # Converted from another colour space, the values are no longer those of its profile.
    metadata = Metadata() if picture.mode in _OTHER_SPACES else Metadata(icc=picture.info.get("icc_profile"))
    if mode is not None:
        picture = picture.convert(mode or ("RGBA" if picture.has_transparency_data else "RGB"))
    return np.asarray(picture), metadata


def _as_scale(scale: Factor | None, size: Size | None, source_size: tuple[int, ...]) -> Scale:
    height, width = source_size
    if size is not None:
        if scale is not None:
            raise InvalidArgument("Give a scale or a size, not both.")
        if isinstance(size, str):
            return Scale.parse_size(size, (height, width))
        return Scale(size[0] / height, size[1] / width)
    if isinstance(scale, str):
        return Scale.parse(scale, (height, width))
    return scale if isinstance(scale, Scale) else Scale(*(4.0 if scale is None else scale,) * 2)


def _shown_png(result: Result) -> bytes:
    """What a notebook shows."""
    picture, file = result.pil(), io.BytesIO()
    picture.thumbnail((_SHOWN_PX, _SHOWN_PX))
    picture.save(file, "png")
    return file.getvalue()


def as_field(
    gaussians: GaussianField,
    method: str = "",
    done: str = "",
    metadata: Metadata | None = None,
    dtype: DTypeLike = np.uint8,
    device: str = "auto",
) -> Field:
    """A `Field` of Gaussians that have no alpha. `dtype` is what it renders to by default."""
    from gsr_app.engine.session import KeptField
    from gsr_app.io.picture import Metadata

    layout = Layout(np.dtype(dtype), 3 if gaussians.color.shape[1] == 3 else 1)
    kept = KeptField(gaussians, None, layout)
    return Field(kept, method, done, metadata or Metadata(), _session(device).engine)
