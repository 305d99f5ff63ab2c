"""Compile CUDA source at first use, cache the machine code on disk, launch it on torch's stream.

The compiler is NVRTC, a library that torch's CUDA wheels include; NVIDIA's `cuda-bindings` calls it and the driver.
Needs no toolkit and no C++ compiler. Nothing here is imported, compiled or initialised before the first kernel runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import BackendError, GsrError
from gsr_app.core.extras import install_hint


@dataclass(frozen=True)
class Source:
    """A kernel file, and the headers that it includes by the names in its #include lines."""

    path: Path
    headers: tuple[tuple[str, Path], ...] = ()

    def digest(self) -> str:
        """Changes with every byte that is compiled."""
        digest = hashlib.sha256()
        for path in (self.path, *(path for _, path in self.headers)):
            code = path.read_bytes()
            digest.update(len(code).to_bytes(8, "little") + code)
        return digest.hexdigest()[:32]


class Module:
    """Kernels loaded on one GPU by this process."""

    def __init__(self, code: bytes, device: int, threads: int) -> None:
        self._driver = _bindings("driver")
        self._device, self._threads = device, threads
        self._functions: dict[str, Any] = {}
        with torch.cuda.device(device):
            self._bind_context()
            self._module = _checked(self._driver.cuModuleLoadData(code), "load the kernels")

    def launch(self, name: str, blocks: int, params: ctypes.Structure) -> None:
        """Run a kernel that takes one struct on torch's current stream of this GPU."""
        with torch.cuda.device(self._device):
            self._bind_context()
            if name not in self._functions:
                found = self._driver.cuModuleGetFunction(self._module, name.encode())
                self._functions[name] = _checked(found, f"find the kernel {name}")
            # The driver copies the struct before it returns.
            arguments = (ctypes.c_void_p * 1)(ctypes.addressof(params))
            stream = torch.cuda.current_stream(self._device).cuda_stream
            grid, block = (blocks, 1, 1), (self._threads, 1, 1)
            address = ctypes.addressof(arguments)
            _checked(
                self._driver.cuLaunchKernel(self._functions[name], *grid, *block, 0, stream, address, 0),
                f"launch {name}",
            )

    def _bind_context(self) -> None:
        # In a new thread, such as autograd's, torch leaves it to the next runtime call to bind the device's context;
        # driver calls do not bind it.
        if int(_checked(self._driver.cuCtxGetCurrent(), "ask for the context")) == 0:
            context = _checked(self._driver.cuDevicePrimaryCtxRetain(self._device), "take the GPU's context")
            _checked(self._driver.cuCtxSetCurrent(context), "bind the GPU's context")


# A module belongs to the process that loaded it: a forked worker loads its own.
_Key = tuple[int, int, Path, tuple[str, ...]]
_modules: dict[_Key, Module] = {}
_failures: dict[_Key, BackendError] = {}
_lock = threading.Lock()


def load(
    source: Source, *, device: int, threads: int, options: tuple[str, ...], cache: Path, built: Path | None = None
) -> Module:
    """The kernels of a source on one GPU, with `threads` threads per block.

    built: machine code of the same source from nvcc; used if the driver accepts it.
    A failure is remembered for the life of the process.
    """
    key = (os.getpid(), device, source.path, options)
    with _lock:
        if key in _failures:
            raise _failures[key]
        if key not in _modules:
            try:
                _modules[key] = _load(source, device=device, threads=threads, options=options, cache=cache, built=built)
            except BackendError as error:
                _failures[key] = error
                raise
        return _modules[key]


def _load(
    source: Source, *, device: int, threads: int, options: tuple[str, ...], cache: Path, built: Path | None
) -> Module:
    if built is not None:
        try:
            return Module(built.read_bytes(), device, threads)
        except (OSError, BackendError):
            pass  # built for other GPUs: compile for this one
    major, minor = torch.cuda.get_device_capability(device)
    kept, code = compile_cached(source, capability=10 * major + minor, options=options, cache=cache)
    try:
        return Module(code, device, threads)
    except BackendError:
        # The file is damaged, or its compiler is too new for the driver: the latter fails again.
        kept.unlink(missing_ok=True)
        _, code = compile_cached(source, capability=10 * major + minor, options=options, cache=cache)
        return Module(code, device, threads)


def compile_cached(source: Source, *, capability: int, options: Sequence[str], cache: Path) -> tuple[Path, bytes]:
    """Machine code for GPUs of a compute capability (90 for 9.0), and the cache file that holds it."""
    nvrtc = _bindings("nvrtc")
    version = _checked(nvrtc.nvrtcVersion(), "ask NVRTC's version", all_values=True)
    target = _target(capability, _checked(nvrtc.nvrtcGetSupportedArchs(), "ask NVRTC for the GPUs it knows"))
    everything = repr((source.digest(), target, tuple(options), tuple(version)))
    kept = cache / f"{source.path.stem}-{target}-{hashlib.sha256(everything.encode()).hexdigest()[:24]}.bin"
    with contextlib.suppress(OSError):
        return kept, kept.read_bytes()
    code = _compile(nvrtc, source, target, options)
    with contextlib.suppress(GsrError):  # without a cache that can be written, every process compiles
        write_whole(kept, code)
    return kept, code


def _target(capability: int, known: Sequence[int]) -> str:
    """Machine code for a GPU that NVRTC knows; for a newer one PTX, which the driver compiles."""
    if capability in known:
        return f"sm_{capability}"
    older = [arch for arch in known if arch < capability]
    if not older:
        raise BackendError(f"NVRTC knows GPUs from sm_{min(known)} on, this one is sm_{capability}")
    return f"compute_{max(older)}"


def _compile(nvrtc: Any, source: Source, target: str, options: Sequence[str]) -> bytes:
    texts = [path.read_bytes() for _, path in source.headers]
    names = [name.encode() for name, _ in source.headers]
    text, name = source.path.read_bytes(), source.path.name.encode()
    program = _checked(nvrtc.nvrtcCreateProgram(text, name, len(texts), texts, names), "start NVRTC")
    try:
        flags = [flag.encode() for flag in (f"--gpu-architecture={target}", *options)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(flags), flags)
        if int(status) != 0:
            log = _read(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
            said = log.decode(errors="replace").strip("\0\n ")
            raise BackendError(f"NVRTC cannot compile {source.path.name} for {target}: {said}")
        if target.startswith("sm_"):
            return _read(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
        return _read(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _read(program: Any, size_of: Any, read: Any) -> bytes:
    filled = b" " * _checked(size_of(program), "read from NVRTC")  # the bindings write into these bytes
    _checked(read(program, filled), "read from NVRTC")
    return filled


def _bindings(module: str) -> Any:
    try:
        found = importlib.import_module(f"cuda.bindings.{module}")
    except ImportError as error:
        raise BackendError(
            "NVIDIA's Python bindings (cuda-bindings) are not installed", hint=install_hint("cuda")
        ) from error
    if module == "nvrtc":
        try:
            found.nvrtcVersion()
        except RuntimeError as error:  # the bindings look for the library at the first call
            raise BackendError(
                "NVIDIA's compiler library (libnvrtc) is not installed", hint=install_hint("cuda")
            ) from error
    return found


def _checked(result: tuple[Any, ...], action: str, *, all_values: bool = False) -> Any:
    """The value of a call of NVIDIA's bindings, which return a status and values."""
    status, *values = result
    if int(status) != 0:
        raise BackendError(f"cannot {action}: {getattr(status, 'name', status)}")
    return values if all_values else values[0] if values else None
