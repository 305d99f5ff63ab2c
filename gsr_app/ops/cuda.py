"""`gsr::splat` on an NVIDIA GPU: what happens between the kernels of `ext/csrc/cuda/splat.cu`.

The kernels scan and sort nothing: torch does, on the same stream. Whoever launches them is handed in, so that the same
code runs the same kernels on a processor in the tests.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gsr_app.core.errors import BackendError, InvalidArgument
from gsr_app.core.folders import cache_folder
from gsr_app.ops import nvrtc
from gsr_app.ops.build import load_flags, prebuilt_folder
from gsr_app.ops.schema import LIBRARY

# These three are constants of splat.cu, too.
TILE_PX = 16
THREADS = 128
_MOMENTS = 6
_LANES = 32

# Pairs of (tile, Gaussian) in memory at a time, at about 40 bytes each while they are sorted. Where there are more,
# the Gaussians are drawn in chunks, one on top of the other.
MOST_PAIRS = 1 << 23

# Large Gaussians are split into bands until about this many warps are at work, enough for every GPU of today.
_WARPS_WANTED = 1 << 14

# Eight colours and, for normalised drawing, the weight.
MOST_CHANNELS = 9


_registered: set[str] = set()


def register() -> None:
    """Let `gsr::splat` run here for tensors on a GPU. A BackendError says why it cannot; the reference serves then."""
    if torch.version.cuda is None:
        raise BackendError("this torch was built without CUDA")
    if not torch.cuda.is_available():
        raise BackendError("torch sees no NVIDIA GPU")
    load(3, torch.cuda.current_device())
    if not _registered:
        LIBRARY.impl("splat", _splat, "CUDA")
        LIBRARY.impl("splat_backward", _splat_backward, "CUDA")
        _registered.update(("splat", "splat_backward"))


def load(channels: int, device: int) -> nvrtc.Module:
    """The kernels for a number of channels on a GPU, compiled at most once on this machine."""
    source, flags, built = _what_to_compile()
    options = (*flags, f"-DCHANNELS={channels}")
    cache = cache_folder() / "kernels"
    return nvrtc.load(source, device=device, threads=THREADS, options=options, cache=cache, built=built)


@functools.cache
def _what_to_compile() -> tuple[nvrtc.Source, tuple[str, ...], Path | None]:
    """The sources, their flags, and the file that `ext/setup.py` has built from just these, if it has."""
    flags = load_flags()
    headers = tuple((name, flags.CSRC / path) for name, path in flags.CUDA_HEADERS.items())
    folder = prebuilt_folder()
    built = folder / flags.cuda_library_name() if folder else None
    source = nvrtc.Source(flags.CSRC / flags.CUDA_SOURCE, headers)
    return source, flags.CUDA_FLAGS, built if built and built.is_file() else None


def _splat(mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: float) -> Tensor:
    return draw(mean, sigma, rho, color, frame=Frame(*frame), kernels=_kernels_for(color))


def _splat_backward(
    grad: Tensor, mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return pull_back(grad, mean, sigma, rho, color, frame=Frame(*frame), kernels=_kernels_for(color))


def _kernels_for(color: Tensor) -> nvrtc.Module:
    channels = color.shape[1]
    if color.dtype != torch.float32 or not 1 <= channels <= MOST_CHANNELS:
        raise InvalidArgument(
            f"gsr::splat on a GPU takes float32 and 1 to {MOST_CHANNELS} channels, found {color.dtype}, {channels}."
        )
    return load(channels, color.device.index)


class Kernels(Protocol):
    """Launches a kernel of splat.cu by name."""

    def launch(self, name: str, blocks: int, params: ctypes.Structure) -> None: ...


class Frame(ctypes.Structure):
    """The pixels to draw, and where contributions end."""

    _fields_ = (
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("top", ctypes.c_int),
        ("left", ctypes.c_int),
        ("window_x", ctypes.c_float),
        ("window_y", ctypes.c_float),
        ("eps", ctypes.c_float),
    )

    @property
    def tiles(self) -> int:
        return math.ceil(self.width / TILE_PX) * math.ceil(self.height / TILE_PX)


class PrepareParams(ctypes.Structure):
    _fields_ = (
        ("mean", ctypes.c_void_p),
        ("sigma", ctypes.c_void_p),
        ("rho", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("tiles", ctypes.c_void_p),
        ("large", ctypes.c_void_p),
        ("count", ctypes.c_longlong),
        ("frame", Frame),
    )


class EmitParams(ctypes.Structure):
    _fields_ = (
        ("shape", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("tile", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("first", ctypes.c_longlong),
        ("last", ctypes.c_longlong),
        ("base", ctypes.c_longlong),
        ("frame", Frame),
    )


class DrawParams(ctypes.Structure):
    _fields_ = (
        ("shape", ctypes.c_void_p),
        ("color", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("adds", ctypes.c_int),
        ("frame", Frame),
    )


class MomentsParams(ctypes.Structure):
    _fields_ = (
        ("shape", ctypes.c_void_p),
        ("color", ctypes.c_void_p),
        ("grad_image", ctypes.c_void_p),
        ("list", ctypes.c_void_p),
        ("large", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("count", ctypes.c_longlong),
        ("bands", ctypes.c_int),
        ("frame", Frame),
    )


class GradientsParams(ctypes.Structure):
    _fields_ = (
        ("shape", ctypes.c_void_p),
        ("sigma", ctypes.c_void_p),
        ("rho", ctypes.c_void_p),
        ("list", ctypes.c_void_p),
        ("large", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("grad_mean", ctypes.c_void_p),
        ("grad_sigma", ctypes.c_void_p),
        ("grad_rho", ctypes.c_void_p),
        ("grad_color", ctypes.c_void_p),
        ("count", ctypes.c_longlong),
        ("bands", ctypes.c_int),
    )


class NaiveParams(ctypes.Structure):
    _fields_ = (
        ("shape", ctypes.c_void_p),
        ("color", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("count", ctypes.c_longlong),
        ("frame", Frame),
    )


_SHAPE_FLOATS = 8


def draw(
    mean: Tensor,  # [N, 2] (x, y), pixel i has its centre at i
    sigma: Tensor,  # [N, 2] (x, y)
    rho: Tensor,  # [N]
    color: Tensor,  # [N, C]
    *,
    frame: Frame,
    kernels: Kernels,
) -> Tensor:  # [C, H, W]
    """Draw the Gaussians: float32, all on one device."""
    count, channels = color.shape
    image = color.new_zeros(channels, frame.height, frame.width)
    if not count or not image.numel():
        return image
    mean, sigma, rho, color = (x.contiguous() for x in (mean, sigma, rho, color))
    tiles = torch.empty(count, dtype=torch.int32, device=color.device)
    shape = _prepare(mean, sigma, rho, frame=frame, kernels=kernels, tiles=tiles)
    ends = tiles.cumsum(0, dtype=torch.int64)  # [N]
    for chunk in _chunks(ends):
        owner, order, starts = _bin(shape, ends, chunk, frame, kernels)
        params = DrawParams(*_at(shape, color, owner, order, starts, image), chunk.first > 0, frame)
        kernels.launch(f"gsr_draw_{channels}", frame.tiles, params)
    return image


def pull_back(
    grad: Tensor,  # [C, H, W]
    mean: Tensor,  # [N, 2]
    sigma: Tensor,  # [N, 2]
    rho: Tensor,  # [N]
    color: Tensor,  # [N, C]
    *,
    frame: Frame,
    kernels: Kernels,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # as mean, sigma, rho, color
    """The gradients of `draw`."""
    count, channels = color.shape
    grads = tuple(torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (mean, sigma, rho, color))
    if not count or not grad.numel():
        return grads  # type: ignore[return-value]
    grad, mean, sigma, rho, color = (x.contiguous() for x in (grad, mean, sigma, rho, color))
    large = torch.empty(count, dtype=torch.uint8, device=color.device)
    shape = _prepare(mean, sigma, rho, frame=frame, kernels=kernels, large=large)

    def gather(items: Tensor | None, count: int, bands: int) -> None:
        sums = color.new_empty(count, bands, _MOMENTS + channels)
        params = MomentsParams(*_at(shape, color, grad, items, large, sums), count, bands, frame)
        kernels.launch(f"gsr_moments_{channels}", _blocks(count * bands * _LANES), params)
        params = GradientsParams(*_at(shape, sigma, rho, items, large, sums, *grads), count, bands)
        kernels.launch(f"gsr_gradients_{channels}", _blocks(count), params)

    gather(None, count, 1)
    items = torch.nonzero(large).flatten()
    if len(items):
        gather(items, len(items), max(1, min(_WARPS_WANTED // len(items), frame.height // 4)))
    return grads  # type: ignore[return-value]


def draw_naively(
    mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *, frame: Frame, kernels: Kernels
) -> Tensor:  # [C, H, W]
    """`draw` as one thread per Gaussian with global atomics: what the benchmark compares with, for nothing else."""
    count, channels = color.shape
    image = color.new_zeros(channels, frame.height, frame.width)
    mean, sigma, rho, color = (x.contiguous() for x in (mean, sigma, rho, color))
    shape = _prepare(mean, sigma, rho, frame=frame, kernels=kernels)
    kernels.launch(f"gsr_naive_{channels}", _blocks(count), NaiveParams(*_at(shape, color, image), count, frame))
    return image


def _prepare(
    mean: Tensor,
    sigma: Tensor,
    rho: Tensor,
    *,
    frame: Frame,
    kernels: Kernels,
    tiles: Tensor | None = None,
    large: Tensor | None = None,
) -> Tensor:  # [N, 8]
    shape = mean.new_empty(len(mean), _SHAPE_FLOATS)
    params = PrepareParams(*_at(mean, sigma, rho, shape, tiles, large), len(mean), frame)
    kernels.launch("gsr_prepare", _blocks(len(mean)), params)
    return shape


class _Chunk(NamedTuple):
    """A run of Gaussians and of their pairs, as the kernels emit them."""

    first: int
    last: int
    first_pair: int
    last_pair: int


def _chunks(ends: Tensor) -> Iterator[_Chunk]:
    """At least one run; each of few enough pairs, or of one Gaussian."""
    count, pairs = len(ends), int(ends[-1])
    first, first_pair = 0, 0
    while pairs - first_pair > MOST_PAIRS:
        last = max(first + 1, int(torch.searchsorted(ends, first_pair + MOST_PAIRS, right=True)))
        last_pair = int(ends[last - 1])
        yield _Chunk(first, last, first_pair, last_pair)
        first, first_pair = last, last_pair
    if first < count:
        yield _Chunk(first, count, first_pair, pairs)


def _bin(shape: Tensor, ends: Tensor, chunk: _Chunk, frame: Frame, kernels: Kernels) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs' Gaussians, the pairs' order by tile, and where each tile begins in it."""
    tile, owner = (
        torch.empty(chunk.last_pair - chunk.first_pair, dtype=torch.int32, device=shape.device) for _ in range(2)
    )
    params = EmitParams(*_at(shape, ends, tile, owner), chunk.first, chunk.last, chunk.first_pair, frame)
    kernels.launch("gsr_emit", _blocks(chunk.last - chunk.first), params)
    tile, order = torch.sort(tile, stable=True)
    edges = torch.arange(frame.tiles + 1, dtype=torch.int32, device=shape.device)
    return owner, order, torch.searchsorted(tile, edges, out_int32=True)


def _at(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple(None if tensor is None else tensor.data_ptr() for tensor in tensors)


def _blocks(threads: int) -> int:
    return math.ceil(threads / THREADS)
