"""`gsr::splat` on an NVIDIA GPU: the host side of the kernels of `ext/csrc/cuda/splat.cu`.

Scans and sorts are torch's, on the same stream. The launcher is an argument, so that the tests run the same code with
the kernels emulated on a CPU.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gsr_app.core.errors import BackendError, InvalidArgument
from gsr_app.core.folders import cache_folder
from gsr_app.ops import nvrtc
from gsr_app.ops.build import load_flags, prebuilt_folder
from gsr_app.ops.schema import LIBRARY

# Constants of splat.cu, too.
TILE_PX = 16
THREADS = 128
_MOMENTS = 6
_LANES = 32

# Pairs of (tile, Gaussian) in memory at a time, at about 40 bytes each while they are sorted. Where there are more,
# the Gaussians are drawn in several batches that add to one image.
MOST_PAIRS = 1 << 23

# Large Gaussians are split into bands until about this many warps run, enough to fill every current GPU.
_WARPS_WANTED = 1 << 14

# Eight colours and, for normalised drawing, the weight.
MOST_CHANNELS = 9


_registered: set[str] = set()


def register() -> None:
    """Register the implementation for tensors on a GPU; a BackendError says why that is impossible."""
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
    return backward(grad, mean, sigma, rho, color, frame=Frame(*frame), kernels=_kernels_for(color))


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
        *((name, ctypes.c_int) for name in ("height", "width", "top", "left")),
        *((name, ctypes.c_float) for name in ("window_x", "window_y", "eps")),
    )

    @property
    def tiles(self) -> int:
        return math.ceil(self.width / TILE_PX) * math.ceil(self.height / TILE_PX)


_Fields = tuple[tuple[str, Any], ...]


def _pointers(*names: str) -> _Fields:
    return tuple((name, ctypes.c_void_p) for name in names)


def _counts(*names: str) -> _Fields:
    return tuple((name, ctypes.c_longlong) for name in names)


class PreprocessParams(ctypes.Structure):
    _fields_ = (*_pointers("mean", "sigma", "rho", "prepared", "tiles", "large"), *_counts("count"), ("frame", Frame))


class EmitPairsParams(ctypes.Structure):
    _fields_ = (*_pointers("prepared", "ends", "tile", "owner"), *_counts("first", "last", "base"), ("frame", Frame))


class DrawParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "color", "owner", "order", "starts", "image"),
        ("adds", ctypes.c_int),
        ("frame", Frame),
    )


class BackwardMomentsParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "color", "grad_image", "list", "large", "sums"),
        *_counts("count"),
        ("bands", ctypes.c_int),
        ("frame", Frame),
    )


class BackwardGradientsParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "sigma", "rho", "list", "large", "sums"),
        *_pointers("grad_mean", "grad_sigma", "grad_rho", "grad_color"),
        *_counts("count"),
        ("bands", ctypes.c_int),
    )


class NaiveDrawParams(ctypes.Structure):
    _fields_ = (*_pointers("prepared", "color", "image"), *_counts("count"), ("frame", Frame))


_PREPARED_FLOATS = 8  # a Prepared of splat.cu


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
    prepared = _preprocess(mean, sigma, rho, frame=frame, kernels=kernels, tiles=tiles)
    ends = tiles.cumsum(0, dtype=torch.int64)  # [N]
    for batch in _batches(ends):
        owner, order, starts = _bin(prepared, ends, batch, frame, kernels)
        params = DrawParams(*_at(prepared, color, owner, order, starts, image), batch.first > 0, frame)
        kernels.launch(f"gsr_draw_{channels}", frame.tiles, params)
    return image


def backward(
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
    prepared = _preprocess(mean, sigma, rho, frame=frame, kernels=kernels, large=large)

    def gather(items: Tensor | None, count: int, bands: int) -> None:
        sums = color.new_empty(count, bands, _MOMENTS + channels)
        params = BackwardMomentsParams(*_at(prepared, color, grad, items, large, sums), count, bands, frame)
        kernels.launch(f"gsr_backward_moments_{channels}", _blocks(count * bands * _LANES), params)
        params = BackwardGradientsParams(*_at(prepared, sigma, rho, items, large, sums, *grads), count, bands)
        kernels.launch(f"gsr_backward_gradients_{channels}", _blocks(count), params)

    gather(None, count, 1)
    items = torch.nonzero(large).flatten()
    if len(items):
        gather(items, len(items), max(1, min(_WARPS_WANTED // len(items), frame.height // 4)))
    return grads  # type: ignore[return-value]


def naive_draw(
    mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *, frame: Frame, kernels: Kernels
) -> Tensor:  # [C, H, W]
    """The baseline of `gsr bench splat`: one thread per Gaussian, with global atomics."""
    count, channels = color.shape
    image = color.new_zeros(channels, frame.height, frame.width)
    mean, sigma, rho, color = (x.contiguous() for x in (mean, sigma, rho, color))
    prepared = _preprocess(mean, sigma, rho, frame=frame, kernels=kernels)
    params = NaiveDrawParams(*_at(prepared, color, image), count, frame)
    kernels.launch(f"gsr_naive_draw_{channels}", _blocks(count), params)
    return image


def _preprocess(
    mean: Tensor,
    sigma: Tensor,
    rho: Tensor,
    *,
    frame: Frame,
    kernels: Kernels,
    tiles: Tensor | None = None,
    large: Tensor | None = None,
) -> Tensor:  # [N, 8]
    prepared = mean.new_empty(len(mean), _PREPARED_FLOATS)
    params = PreprocessParams(*_at(mean, sigma, rho, prepared, tiles, large), len(mean), frame)
    kernels.launch("gsr_preprocess", _blocks(len(mean)), params)
    return prepared


class _Batch(NamedTuple):
    """Consecutive Gaussians and their pairs, in the order of emission."""

    first: int
    last: int
    first_pair: int
    last_pair: int


def _batches(ends: Tensor) -> Iterator[_Batch]:
    """At least one; each of at most MOST_PAIRS pairs, or of one Gaussian."""
    count, pairs = len(ends), int(ends[-1])
    first, first_pair = 0, 0
    while pairs - first_pair > MOST_PAIRS:
        last = max(first + 1, int(torch.searchsorted(ends, first_pair + MOST_PAIRS, right=True)))
        last_pair = int(ends[last - 1])
        yield _Batch(first, last, first_pair, last_pair)
        first, first_pair = last, last_pair
    if first < count:
        yield _Batch(first, count, first_pair, pairs)


def _bin(
    prepared: Tensor, ends: Tensor, batch: _Batch, frame: Frame, kernels: Kernels
) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs' Gaussians, the pairs' order by tile, and where each tile begins in it."""
    tile, owner = (
        torch.empty(batch.last_pair - batch.first_pair, dtype=torch.int32, device=prepared.device) for _ in range(2)
    )
    params = EmitPairsParams(*_at(prepared, ends, tile, owner), batch.first, batch.last, batch.first_pair, frame)
    kernels.launch("gsr_emit_pairs", _blocks(batch.last - batch.first), params)
    tile, order = torch.sort(tile, stable=True)
    edges = torch.arange(frame.tiles + 1, dtype=torch.int32, device=prepared.device)
    return owner, order, torch.searchsorted(tile, edges, out_int32=True)


def _at(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple(None if tensor is None else tensor.data_ptr() for tensor in tensors)


def _blocks(threads: int) -> int:
    return math.ceil(threads / THREADS)
