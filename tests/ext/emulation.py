"""The CUDA kernels on a processor: the device source compiled by g++ against cuda_shim.h, launched as a GPU would."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORDERS = {"forward": 0, "backward": 1, "scattered": 2}


def build(source: Path, folder: Path) -> ctypes.CDLL:
    library = folder / f"{source.stem}.so"
    compiler = shutil.which("g++") or shutil.which("clang++") or "c++"
    # All warnings count, but for #pragma unroll, which only nvcc knows.
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    subprocess.run([compiler, *flags, "-I", str(HERE), "-o", str(library), str(source)], check=True)
    return ctypes.CDLL(str(library))


class EmulatedKernels:
    """What gsr_app.ops.cuda launches, here. `order`: in which order a block's threads take turns."""

    def __init__(self, library: ctypes.CDLL, order: str = "forward") -> None:
        self.library, self.order = library, ORDERS[order]
        self.launched: list[tuple[str, int]] = []

    def launch(self, name: str, blocks: int, params: ctypes.Structure) -> None:
        self.launched.append((name, blocks))
        kernel = getattr(self.library, f"launch_{name}")
        kernel.restype, kernel.argtypes = ctypes.c_char_p, [ctypes.c_longlong, ctypes.c_int, ctypes.c_void_p]
        error = kernel(blocks, self.order, ctypes.addressof(params))
        assert error is None, f"{name}: {error.decode()}"
