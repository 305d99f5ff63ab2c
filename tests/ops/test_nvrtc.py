"""Compiling, keeping and launching, without a GPU: NVIDIA's bindings are stood in for, and the real ones used where
they are installed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gsr_app.core.errors import BackendError
from gsr_app.core.extras import install_hint
from gsr_app.ops import cuda, nvrtc


class FakeCompiler:
    """NVRTC as the bindings show it: every call answers with a status and values, and fills bytes in place."""

    def __init__(self) -> None:
        self.compiled: list[list[str]] = []
        self.version, self.known, self.complaint = (13, 0), [75, 90, 120], ""

    def nvrtcVersion(self) -> Any:  # noqa: N802
        return 0, *self.version

    def nvrtcGetSupportedArchs(self) -> Any:  # noqa: N802
        return 0, self.known

    def nvrtcCreateProgram(self, text: bytes, name: bytes, count: int, headers: Any, names: Any) -> Any:  # noqa: N802
        assert count == len(headers) == len(names)
        return 0, SimpleNamespace(text=text, name=name)

    def nvrtcCompileProgram(self, program: Any, count: int, options: list[bytes]) -> Any:  # noqa: N802
        assert count == len(options)
        self.compiled.append([option.decode() for option in options])
        program.answer = b"code " + b" ".join(options)
        return (6 if self.complaint else 0,)

    def nvrtcDestroyProgram(self, program: Any) -> Any:  # noqa: N802
        return (0,)

    def __getattr__(self, name: str) -> Any:
        about = {
            "CUBIN": lambda p: p.answer,
            "PTX": lambda p: p.answer,
            "ProgramLog": lambda p: self.complaint.encode(),
        }
        kind = name.removeprefix("nvrtcGet").removesuffix("Size")
        if name.endswith("Size"):
            return lambda program: (0, len(about[kind](program)))

        def fill(program: Any, into: bytes) -> Any:
            answer = about[kind](program)
            ctypes.memmove(into, answer, len(answer))
            return (0,)

        return fill


class Status(int):
    name = "CUDA_ERROR_INVALID_IMAGE"


class FakeDriver:
    """The driver as the bindings show it. Remembers launches; refuses code that has been damaged."""

    def __init__(self) -> None:
        self.launches: list[tuple[Any, ...]] = []
        self.context = 0
        self.loaded: list[bytes] = []

    def cuCtxGetCurrent(self) -> Any:  # noqa: N802
        return 0, self.context

    def cuDevicePrimaryCtxRetain(self, device: int) -> Any:  # noqa: N802
        return 0, 70 + device

    def cuCtxSetCurrent(self, context: int) -> Any:  # noqa: N802
        self.context = context
        return (0,)

    def cuModuleLoadData(self, code: bytes) -> Any:  # noqa: N802
        if not code.startswith(b"code "):
            return Status(200), None
        self.loaded.append(code)
        return 0, len(self.loaded)

    def cuModuleGetFunction(self, module: int, name: bytes) -> Any:  # noqa: N802
        return 0, (module, name.decode())

    def cuLaunchKernel(self, function: Any, *rest: Any) -> Any:  # noqa: N802
        *shape, arguments, _ = rest
        struct = ctypes.cast(arguments, ctypes.POINTER(ctypes.c_void_p))[0]
        first = ctypes.cast(struct, ctypes.POINTER(ctypes.c_int))[0]
        self.launches.append((function, *shape, first))
        return (0,)


class Params(ctypes.Structure):
    _fields_ = (("value", ctypes.c_int),)


@pytest.fixture
def compiler() -> FakeCompiler:
    return FakeCompiler()


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(nvrtc, "_modules", {})
    monkeypatch.setattr(nvrtc, "_failures", {})


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, compiler: FakeCompiler, driver: FakeDriver) -> None:
    monkeypatch.setattr(nvrtc, "_bindings", {"nvrtc": compiler, "driver": driver}.__getitem__)
    forget(monkeypatch)
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=4711))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))


@pytest.fixture
def source(tmp_path: Path) -> nvrtc.Source:
    (tmp_path / "kernel.cu").write_text("kernel")
    (tmp_path / "header.h").write_text("header")
    return nvrtc.Source(tmp_path / "kernel.cu", (("../header.h", tmp_path / "header.h"),))


def load(source: nvrtc.Source, cache: Path, **options: Any) -> nvrtc.Module:
    return nvrtc.load(source, **{"device": 0, "threads": 128, "options": ("-DCHANNELS=3",), "cache": cache, **options})


needs_fakes = pytest.mark.usefixtures("no_gpu")


@needs_fakes
def test_a_kernel_is_compiled_once_per_machine(
    source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(source, tmp_path / "cache")
    assert load(source, tmp_path / "cache") is first
    forget(monkeypatch)
    load(source, tmp_path / "cache")
    assert compiler.compiled == [["--gpu-architecture=sm_90", "-DCHANNELS=3"]]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".bin"], "and nothing half-written beside it"


@needs_fakes
def test_whatever_changes_the_code_compiles_anew(source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler) -> None:
    def file(capability: int = 90, options: tuple[str, ...] = ("-DCHANNELS=3",)) -> Path:
        return nvrtc.compile_cached(source, capability=capability, options=options, cache=tmp_path / "cache")[0]

    files = [file(), file(capability=75), file(options=("-DCHANNELS=4",))]
    compiler.version = (13, 1)
    files.append(file())
    source.path.write_text("another kernel")
    files.append(file())
    source.headers[0][1].write_text("another header")
    files.append(file())
    assert len(set(files)) == len(compiler.compiled) == 6
    assert file() == files[-1]
    assert len(compiler.compiled) == 6


@needs_fakes
def test_a_gpu_newer_than_the_compiler_gets_code_that_the_driver_finishes(
    source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler
) -> None:
    nvrtc.compile_cached(source, capability=103, options=(), cache=tmp_path)
    assert compiler.compiled[-1] == ["--gpu-architecture=compute_90"]
    with pytest.raises(BackendError, match="knows GPUs from sm_75 on, this one is sm_61"):
        nvrtc.compile_cached(source, capability=61, options=(), cache=tmp_path)


@needs_fakes
def test_a_failure_quotes_the_compiler_and_is_not_repeated(
    source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler
) -> None:
    compiler.complaint = "kernel.cu(7): error: nonsense"
    with pytest.raises(
        BackendError, match=r"cannot compile kernel.cu for sm_90: kernel.cu\(7\): error: nonsense"
    ) as first:
        load(source, tmp_path / "cache")
    with pytest.raises(BackendError) as second:
        load(source, tmp_path / "cache")
    assert second.value is first.value
    assert len(compiler.compiled) == 1
    compiler.complaint = ""
    load(source, tmp_path / "cache", options=("-DCHANNELS=4",))


@needs_fakes
def test_a_damaged_file_is_compiled_anew(
    source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(source, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(b"half of")
    forget(monkeypatch)
    load(source, tmp_path / "cache")
    assert len(compiler.compiled) == 2
    assert kept.read_bytes() == whole


@needs_fakes
def test_a_broken_write_leaves_no_file(source: nvrtc.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*paths: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    load(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@needs_fakes
def test_a_cache_that_cannot_be_written_is_done_without(
    source: nvrtc.Source, tmp_path: Path, driver: FakeDriver
) -> None:
    (tmp_path / "file").touch()
    load(source, tmp_path / "file" / "cache")
    assert len(driver.loaded) == 1


@needs_fakes
def test_a_launch_passes_the_struct_on_torchs_stream(source: nvrtc.Source, tmp_path: Path, driver: FakeDriver) -> None:
    module = load(source, tmp_path)
    assert driver.context == 70, "bound, since the thread had none"
    for value in (5, 6):
        module.launch("gsr_draw_3", 17, Params(value))
    shape = (17, 1, 1, 128, 1, 1, 0, 4711)
    assert driver.launches == [((1, "gsr_draw_3"), *shape, 5), ((1, "gsr_draw_3"), *shape, 6)]


@needs_fakes
def test_a_forked_worker_loads_its_own_module(
    source: nvrtc.Source, tmp_path: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = load(source, tmp_path)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert load(source, tmp_path) is not parents
    assert len(driver.loaded) == 2


@needs_fakes
def test_each_gpu_has_its_own_module(source: nvrtc.Source, tmp_path: Path, driver: FakeDriver) -> None:
    assert load(source, tmp_path, device=0) is not load(source, tmp_path, device=1)


@needs_fakes
def test_code_built_ahead_of_time_is_used_if_the_driver_accepts_it(
    source: nvrtc.Source, tmp_path: Path, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "built.fatbin"
    built.write_bytes(b"code built")
    load(source, tmp_path / "cache", built=built)
    assert compiler.compiled == []
    built.write_bytes(b"for another GPU")
    forget(monkeypatch)
    load(source, tmp_path / "cache", built=built)
    assert len(compiler.compiled) == 1


def test_missing_bindings_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(BackendError, match="cuda-bindings") as error:
        nvrtc._bindings("nvrtc")
    assert error.value.hint == install_hint("cuda")


def test_a_missing_compiler_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_for_it() -> None:
        raise RuntimeError('Failure finding "libnvrtc.so"')

    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", SimpleNamespace(nvrtcVersion=look_for_it))
    with pytest.raises(BackendError, match="libnvrtc"):
        nvrtc._bindings("nvrtc")


def test_without_a_gpu_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(BackendError, match="built without CUDA"):
        cuda.register()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no NVIDIA GPU"):
        cuda.register()


def test_importing_touches_neither_gpu_nor_compiler_and_registering_serves_gpu_tensors() -> None:
    code = (
        "import sys, torch\n"  # torch itself may have use for the bindings
        "before = set(sys.modules)\n"
        "import gsr_app.ops.cuda\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert not [name for name in set(sys.modules) - before if name.split('.')[0] == 'cuda']\n"
        "from gsr_app.ops import cuda\n"
        "serves = lambda op: torch._C._dispatch_has_kernel_for_dispatch_key(op, 'CUDA')\n"
        "ops = ('gsr::splat', 'gsr::splat_backward')\n"
        "assert not any(map(serves, ops))\n"
        "torch.version.cuda, torch.cuda.is_available = '13.0', lambda: True\n"
        "torch.cuda.current_device, cuda.load = lambda: 0, lambda channels, device: None\n"
        "cuda.register()\n"
        "cuda.register()\n"
        "assert all(map(serves, ops))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("capability", [75, 80, 90, 100, 120])
def test_nvrtc_compiles_the_kernels_without_a_toolkit_or_a_gpu(capability: int, tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings (the extra cuda)")
    try:
        nvrtc._bindings("nvrtc")
    except BackendError as error:
        pytest.skip(str(error))
    source, flags, _ = cuda._what_to_compile()
    options = (*flags, "-DCHANNELS=3")
    kept, code = nvrtc.compile_cached(source, capability=capability, options=options, cache=tmp_path)
    assert f"sm_{capability}" in kept.name
    assert code[:4] == b"\x7fELF"
    for kernel in ("prepare", "emit_pairs", "draw_3", "sum_moments_3", "apply_chain_rule_3", "draw_naively_3"):
        assert f"gsr_{kernel}\0".encode() in code
