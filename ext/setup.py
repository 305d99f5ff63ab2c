"""Builds the CPU kernels ahead of time, for images and wheels, and where nvcc is on the PATH those for GPUs:

    pip install --no-build-isolation ./ext

Without this the app builds them itself at first use. `--no-build-isolation` uses the torch that is installed; an
isolated build would fetch it again. GSR_MARCH=x86-64-v3 builds for that level instead of for this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import flags  # noqa: E402


class BuildKernels(build_py):
    """Puts the library, and the sources that it is checked against, into the package."""

    def run(self) -> None:
        package = Path(self.build_lib) / "gsr_ext"
        shutil.copytree(HERE / "csrc", package / "csrc", dirs_exist_ok=True)
        shutil.copy(HERE / "flags.py", package)
        level = os.environ.get("GSR_MARCH", "")
        if level and level not in flags.LEVELS:
            raise SystemExit(f"GSR_MARCH={level!r} is not known. Supported values: {', '.join(flags.LEVELS)}.")
        library = package / flags.library_name(level or flags.processor_key())
        compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++", "c++"))), None)
        if compiler is None:
            raise SystemExit("No C++ compiler is on the PATH (g++ or clang++).")
        subprocess.run(flags.compile_command(compiler, library, Path(torch.__file__).parent, level), check=True)
        if nvcc := shutil.which("nvcc"):
            self.build_cuda(nvcc, package)

    def build_cuda(self, nvcc: str, package: Path) -> None:
        """For the GPUs that this nvcc supports. A failure is only a warning: NVRTC compiles at first use."""
        listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=False).stdout.split()
        targets = tuple(target for target in flags.CUDA_TARGETS if f"sm_{target}" in listed)
        library = package / flags.cuda_library_name()
        if not targets or subprocess.run(flags.cuda_command(nvcc, library, targets), check=False).returncode:
            library.unlink(missing_ok=True)
            self.warn("nvcc could not build the GPU kernels; they will be compiled at first use.")


class BinaryDistribution(Distribution):
    def has_ext_modules(self) -> bool:  # the wheel's name must carry the platform
        return True


setup(
    name="gsr-ext",
    version="1.0",
    description="The CPU kernels of GSR, built ahead of time.",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildKernels},
    distclass=BinaryDistribution,
)
