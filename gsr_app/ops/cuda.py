"""`gsr::splat` on an NVIDIA GPU: the host side of the kernels of `ext/csrc/cuda`.

Scans and sorts are torch's, on the same stream. The launcher is an argument, so that the tests run the same code with
the kernels emulated on a CPU. A drawing waits for the GPU once, for the number of its pairs; the backward pass never
does. While a CUDA graph is recorded nothing may wait: the pairs then get as much room as `Reserve` holds.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gsr_app.core.errors import BackendError, InvalidArgument
from gsr_app.core.folders import cache_folder
from gsr_app.ops import nvrtc
from gsr_app.ops.build import load_flags, prebuilt_folder
from gsr_app.ops.schema import LIBRARY, WrongValues

# Constants of frame.h, too.
TILE_PX = 16
THREADS = 128
_MOMENTS = 6
_LANES = 32
_LEAST_BAND_PX = 4
_MOST_NARROW_TILES = (1 << 15) - 1  # tiles that 16 bits can number, and one that means none

# Pairs of (tile, Gaussian) in memory at a time, at about 40 bytes each while they are sorted. Where there are more,
# the Gaussians are drawn in several batches that add to one image.
MOST_PAIRS = 1 << 23

# Large Gaussians are split into bands until about this many warps run, enough to fill every current GPU.
_WARPS_WANTED = 1 << 14

# The bits of `kWrong…` in bin.h.
_FAULTS = ("mean_px", "sigma_px", "rho", "color")

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
    shape = Frame(*frame)
    room = reserve.room(len(color), shape) if len(color) and is_recording(color.device) else None
    return draw(mean, sigma, rho, color, frame=shape, kernels=_kernels_for(color), room=room)


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


class PrepareParams(ctypes.Structure):
    _fields_ = (
        *_pointers("mean", "sigma", "rho", "color", "prepared", "tiles", "faults", "large", "list", "listed"),
        *_counts("count"),
        ("channels", ctypes.c_int),
        ("frame", Frame),
    )


class EmitPairsParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "ends", "tile", "owner"),
        *_counts("first", "last", "base", "room"),
        ("is_narrow", ctypes.c_int),
        ("frame", Frame),
    )


class DrawParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "color", "owner", "order", "starts", "image"),
        ("adds", ctypes.c_int),
        ("frame", Frame),
    )


class Selection(ctypes.Structure):
    _fields_ = (
        *_pointers("large", "list", "listed"),
        *((name, ctypes.c_int) for name in ("count", "warps", "height")),
    )


class SumMomentsParams(ctypes.Structure):
    _fields_ = (*_pointers("prepared", "color", "grad_image", "sums"), ("selection", Selection), ("frame", Frame))


class ApplyChainRuleParams(ctypes.Structure):
    _fields_ = (
        *_pointers("prepared", "sigma", "rho", "sums"),
        *_pointers("grad_mean", "grad_sigma", "grad_rho", "grad_color"),
        ("selection", Selection),
    )


class DrawNaivelyParams(ctypes.Structure):
    _fields_ = (*_pointers("prepared", "color", "image"), *_counts("count"), ("frame", Frame))


_PREPARED_FLOATS = 8  # a Prepared of frame.h
_GROWTH = 1.5  # of the room for pairs, when it was too small


class Reserve:
    """How much room pairs get while a CUDA graph is recorded.

    Drawings outside of graphs note how many pairs they had, by size. A graph reserves some more than that. `lacking`
    is the largest number of pairs that had no room since it was last set to zero; a graph writes it.
    """

    def __init__(self) -> None:
        self.margin = 1.25
        self._pairs: dict[tuple[int, int, int], int] = {}
        self._lacking: dict[torch.device, Tensor] = {}

    def note(self, count: int, frame: Frame, pairs: int) -> None:
        key = (count, frame.height, frame.width)
        self._pairs[key] = max(pairs, self._pairs.get(key, 0))

    def room(self, count: int, frame: Frame) -> int:
        seen = self._pairs.get((count, frame.height, frame.width))
        if seen is None:
            raise BackendError("a drawing must run once before a CUDA graph records it")
        return min(MOST_PAIRS, math.ceil(self.margin * seen) + 1024)

    def lacking(self, device: torch.device) -> Tensor:  # [] int64
        if device not in self._lacking:
            self._lacking[device] = torch.zeros((), dtype=torch.int64, device=device)
        return self._lacking[device]

    def grow_if_lacking(self, device: torch.device) -> bool:
        """Whether pairs had no room since the last call: graphs must then be recorded again. Waits for the device."""
        lacking = self.lacking(device)
        if not int(lacking):
            return False
        lacking.zero_()
        self.margin *= _GROWTH
        return True


reserve = Reserve()


def is_recording(device: torch.device) -> bool:
    """Whether a CUDA graph records what this thread sends to the device."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def draw(
    mean: Tensor,  # [N, 2] (x, y), pixel i has its centre at i
    sigma: Tensor,  # [N, 2] (x, y)
    rho: Tensor,  # [N]
    color: Tensor,  # [N, C]
    *,
    frame: Frame,
    kernels: Kernels,
    room: int | None = None,  # pairs to make room for, without waiting for their number
) -> Tensor:  # [C, H, W]
    """Draw the Gaussians: float32, all on one device."""
    count, channels = color.shape
    image = color.new_empty(channels, frame.height, frame.width)
    if not count or not image.numel():
        return image.zero_()
    mean, sigma, rho, color = (x.contiguous() for x in (mean, sigma, rho, color))
    tiles = torch.empty(count, dtype=torch.int32, device=color.device)
    totals = torch.empty(count + 1, dtype=torch.int64, device=color.device)
    ends, faults = totals[:count], totals[count:].zero_()  # one beside the other, to be read at once
    prepared = _prepare(mean, sigma, rho, frame=frame, kernels=kernels, tiles=tiles, color=color, faults=faults)
    torch.cumsum(tiles, 0, out=ends)
    if room is not None:
        lacking = reserve.lacking(color.device)
        torch.maximum(lacking, ends[-1] - room, out=lacking)
        batches: Iterable[_Batch] = [_Batch(0, count, 0, room)]
    else:
        pairs, found = totals[-2:].tolist()
        if found:
            raise WrongValues([name for bit, name in enumerate(_FAULTS) if found >> bit & 1])
        reserve.note(count, frame, pairs)
        batches = _batches(ends, pairs)
    for batch in batches:
        owner, order, starts = _bin(prepared, ends, batch, frame, kernels, is_full=room is None)
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
    if not count or not grad.numel():
        return tuple(torch.zeros_like(x) for x in (mean, sigma, rho, color))  # type: ignore[return-value]
    grad, mean, sigma, rho, color = (x.contiguous() for x in (grad, mean, sigma, rho, color))
    grads = tuple(torch.empty_like(x) for x in (mean, sigma, rho, color))
    large = torch.empty(count, dtype=torch.uint8, device=color.device)
    items = torch.empty(count, dtype=torch.int32, device=color.device)
    listed = torch.zeros(1, dtype=torch.int32, device=color.device)
    prepared = _prepare(mean, sigma, rho, frame=frame, kernels=kernels, large=(large, items, listed))
    # How many are large is known on the GPU alone: as many warps as all of them could use share them.
    warps = min(_WARPS_WANTED, count * max(1, frame.height // _LEAST_BAND_PX))
    sums = color.new_empty(max(count, warps), _MOMENTS + channels)
    for is_second in (False, True):
        where = _at(large, items if is_second else None, listed)
        selection = Selection(*where, count, warps, frame.height)
        params = SumMomentsParams(*_at(prepared, color, grad, sums), selection, frame)
        name = f"gsr_sum_moments{'_in_bands' if is_second else ''}_{channels}"
        kernels.launch(name, _blocks(_LANES * (warps if is_second else count)), params)
        params = ApplyChainRuleParams(*_at(prepared, sigma, rho, sums, *grads), selection)
        kernels.launch(f"gsr_apply_chain_rule_{channels}", _blocks(warps if is_second else count), params)
    return grads  # type: ignore[return-value]


def draw_naively(
    mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *, frame: Frame, kernels: Kernels
) -> Tensor:  # [C, H, W]
    """The baseline of `gsr bench splat`: one thread per Gaussian, with global atomics."""
    count, channels = color.shape
    image = color.new_zeros(channels, frame.height, frame.width)
    mean, sigma, rho, color = (x.contiguous() for x in (mean, sigma, rho, color))
    prepared = _prepare(mean, sigma, rho, frame=frame, kernels=kernels)
    params = DrawNaivelyParams(*_at(prepared, color, image), count, frame)
    kernels.launch(f"gsr_draw_naively_{channels}", _blocks(count), params)
    return image


def _prepare(
    mean: Tensor,
    sigma: Tensor,
    rho: Tensor,
    *,
    frame: Frame,
    kernels: Kernels,
    tiles: Tensor | None = None,
    color: Tensor | None = None,  # checked, as the others, where there is room for the faults
    faults: Tensor | None = None,
    large: tuple[Tensor, Tensor, Tensor] | None = None,  # a flag for each, their list, its length
) -> Tensor:  # [N, 8]
    prepared = mean.new_empty(len(mean), _PREPARED_FLOATS)
    tensors = (mean, sigma, rho, color, prepared, tiles, faults, *(large or (None, None, None)))
    params = PrepareParams(*_at(*tensors), len(mean), 0 if color is None else color.shape[1], frame)
    kernels.launch("gsr_prepare", _blocks(len(mean)), params)
    return prepared


class _Batch(NamedTuple):
    """Consecutive Gaussians and their pairs, in the order of emission."""

    first: int
    last: int
    first_pair: int
    last_pair: int


def _batches(ends: Tensor, pairs: int) -> Iterator[_Batch]:
    """At least one; each of at most MOST_PAIRS pairs, or of one Gaussian."""
    count = len(ends)
    first, first_pair = 0, 0
    while pairs - first_pair > MOST_PAIRS:
        last = max(first + 1, int(torch.searchsorted(ends, first_pair + MOST_PAIRS, right=True)))
        last_pair = int(ends[last - 1])
        yield _Batch(first, last, first_pair, last_pair)
        first, first_pair = last, last_pair
    if first < count:
        yield _Batch(first, count, first_pair, pairs)


def _bin(
    prepared: Tensor, ends: Tensor, batch: _Batch, frame: Frame, kernels: Kernels, *, is_full: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs' Gaussians, the pairs' order by tile, and where each tile begins in it.

    is_full: the pairs fill their room; else what is left of it belongs to a tile behind the last one.
    """
    room, device = batch.last_pair - batch.first_pair, prepared.device
    is_narrow = frame.tiles < _MOST_NARROW_TILES
    key = torch.int16 if is_narrow else torch.int32
    tile = torch.empty(room, dtype=key, device=device)
    owner = torch.empty(room, dtype=torch.int32, device=device)
    if not is_full:
        tile.fill_(frame.tiles)
    where = _at(prepared, ends, tile, owner)
    params = EmitPairsParams(*where, batch.first, batch.last, batch.first_pair, room, is_narrow, frame)
    kernels.launch("gsr_emit_pairs", _blocks(batch.last - batch.first), params)
    tile, order = torch.sort(tile, stable=True)
    edges = torch.arange(frame.tiles + 1, dtype=key, device=device)
    return owner, order, torch.searchsorted(tile, edges, out_int32=True)


def _at(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple(None if tensor is None else tensor.data_ptr() for tensor in tensors)


def _blocks(threads: int) -> int:
    return math.ceil(threads / THREADS)
