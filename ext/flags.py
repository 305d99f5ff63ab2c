"""The sources and flags of the native code, for `setup.py` and for the build at first use.

Standard library only; `gsr_app/ops/build.py` loads this file by its path.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

CSRC = Path(__file__).resolve().parent / "csrc"
CPU_SOURCES = (
    "cpu/draw.cpp",
    "cpu/backward.cpp",
    "cpu/levels.cpp",
    "cpu/preprocess.cpp",
    "cpu/register.cpp",
    "cpu/resample.cpp",
)
CPU_HEADERS = ("splat.h", "cpu/column_eval.h", "cpu/kernels.h", "cpu/lanes.h", "cpu/scratch.h")

# Not -ffast-math: the kernels depend on their order of additions, and linking with it would set flush-to-zero for the
# whole process. The last two flags let square roots and comparisons be vectorised without changing results.
CPU_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")

# The oldest torch whose stable ABI has every function that is used: 2.10.
TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020a000000000000"

# The processor features that a library built for a level, rather than for one machine, requires.
LEVELS = {"x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}}

CUDA_SOURCE = "cuda/splat.cu"
CUDA_HEADERS = {  # as the sources include it: where it lies
    "../splat.h": "splat.h",
    **{name: f"cuda/{name}" for name in ("backward.h", "bin.h", "draw.h", "draw_naively.h", "frame.h")},
}

# For both nvcc and NVRTC. Denormals are flushed, so that exp2f is one instruction; division and square root are good
# to two units in the last place, without a call to a slow path.
CUDA_FLAGS = ("-std=c++17", "-ftz=true", "-prec-div=false", "-prec-sqrt=false")

# Compute capabilities that are built ahead of time. Each serves the later ones of its generation, too: 8.0 serves 8.6
# and 8.9, 12.0 serves 12.1. Other GPUs compile at first use.
CUDA_TARGETS = (75, 80, 90, 100, 120)


def source_key() -> str:
    """Changes with every source, header and flag."""
    digest = hashlib.sha256(repr((CPU_SOURCES, CPU_FLAGS, TORCH_TARGET)).encode())
    for name in (*CPU_SOURCES, *CPU_HEADERS):
        digest.update((CSRC / name).read_bytes())
    return digest.hexdigest()[:12]


def processor_features() -> frozenset[str]:
    """The features of this processor, as far as the system lists them."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("flags", "features")):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset((platform.machine(), platform.processor()))


def processor_key() -> str:
    features = " ".join((platform.machine(), *sorted(processor_features())))
    return hashlib.sha256(features.encode()).hexdigest()[:8]


def library_name(target: str) -> str:
    """The file name of a library; target is a processor's key or a level."""
    return f"gsr_cpu-{source_key()}-{target}.so"


def compile_command(compiler: str, output: Path, torch_root: Path, level: str = "") -> list[str]:
    """One compiler call, for this machine or for a level such as x86-64-v3."""
    native = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
    shared = ["-dynamiclib", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    return [
        compiler,
        *CPU_FLAGS,
        f"-march={level}" if level else native,
        TORCH_TARGET,
        *("-isystem", str(torch_root / "include")),
        *(str(CSRC / name) for name in CPU_SOURCES),
        *shared,
        *("-o", str(output)),
        *("-L", str(torch_root / "lib"), "-ltorch_cpu"),
    ]


def cuda_library_name() -> str:
    """The file name of the GPU kernels' machine code; changes with every source, header and flag."""
    digest = hashlib.sha256(repr((CUDA_FLAGS, CUDA_TARGETS)).encode())
    for name in (CUDA_SOURCE, *CUDA_HEADERS.values()):
        digest.update((CSRC / name).read_bytes())
    return f"gsr_cuda-{digest.hexdigest()[:12]}.fatbin"


def cuda_command(nvcc: str, output: Path, targets: tuple[int, ...] = CUDA_TARGETS, channels: int = 0) -> list[str]:
    """One nvcc call for all targets; for one number of channels, or with 0 for all of them."""
    return [
        nvcc,
        "-fatbin",
        *CUDA_FLAGS,
        *((f"-DCHANNELS={channels}",) if channels else ()),
        *(f"-gencode=arch=compute_{target},code=sm_{target}" for target in targets),
        "--threads=0",
        *("-o", str(output)),
        str(CSRC / CUDA_SOURCE),
    ]
