"""The device, the precision, and the free memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Literal

import torch

from gsr_app.core.errors import InvalidArgument

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")


def choose_device(wanted: str) -> torch.device:
    """The device of a name; "auto" is the GPU when there is one that works."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = None
    with suppress(RuntimeError):
        device = torch.device(wanted)
    if device is None or device.type not in {"cpu", "cuda", "mps"}:
        raise InvalidArgument(f"device must be auto, cpu, cuda, cuda:N or mps, found {wanted!r}.")
    if device.type == "cuda" and not torch.cuda.is_available():
        built = "sees none" if torch.version.cuda else "was built without CUDA"
        raise InvalidArgument(f"device {wanted!r} was asked for, but torch {torch.__version__} {built}.",
                              hint="Use --device auto, or install a CUDA build of torch.")  # fmt: skip
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidArgument(f"device {wanted!r} was asked for, there are {torch.cuda.device_count()} GPUs.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidArgument("device 'mps' was asked for, but torch sees no Apple GPU.", hint="Use --device auto.")
    return device


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype networks compute in. On a CPU always float32: bfloat16 is slower there, if it runs."""
    if wanted not in PRECISIONS:
        raise InvalidArgument(f"precision must be one of {', '.join(PRECISIONS)}, found {wanted!r}.")
    gains = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
    if wanted == "bfloat16" and not gains:
        raise InvalidArgument(f"precision bfloat16 needs a recent GPU, the device is {describe(device)}.",
                              hint="Use --precision float32.")  # fmt: skip
    return torch.bfloat16 if gains and wanted != "float32" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def describe(device: torch.device) -> str:
    """For messages: the processor and its number of threads."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda:{device.index or 0})"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else "Apple GPU (mps)"


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return platform.processor() or platform.machine() or "CPU"


def free_bytes(device: torch.device) -> int:
    """How much memory new work may take: the lowest of all limits."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_limits(), default=4 << 30)


def _limits() -> Iterator[int]:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        yield int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" means no limit
            yield max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            used_pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield max(0, soft - used_pages * resource.getpagesize())
    with suppress(AttributeError, OSError, ValueError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


def release(device: torch.device) -> None:
    """Return freed memory to the device before a retry with smaller tiles."""
    import gc

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
