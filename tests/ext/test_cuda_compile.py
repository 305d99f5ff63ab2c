"""nvcc takes the kernels for every GPU that is built ahead of time. No GPU is needed for this."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from gsr_app.ops.build import load_flags

pytestmark = pytest.mark.nvcc


@pytest.fixture
def flags() -> ModuleType:
    return load_flags()


def compile_for(flags: ModuleType, output: Path, targets: tuple[int, ...], channels: int) -> dict[str, str]:
    """What ptxas says about each kernel."""
    command = flags.cuda_command(shutil.which("nvcc"), output, targets, channels)
    done = subprocess.run([*command, "-Xptxas", "-v"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    parts = re.split(r"Compiling entry function '(\w+)' for 'sm_(\d+)'", done.stderr)
    said = {
        f"{name}, sm_{target}": about for name, target, about in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }
    assert output.stat().st_size > 0
    return said


def assert_registers_suffice(said: dict[str, str], most_bytes: int = 0) -> None:
    for kernel, about in said.items():
        spilt = [int(count) for count in re.findall(r"(\d+) bytes spill", about)]
        assert len(spilt) == 2, about
        assert max(spilt) <= most_bytes, kernel


def test_kernels_compile_for_the_oldest_and_the_newest_gpu(flags: ModuleType, tmp_path: Path) -> None:
    oldest, newest = flags.CUDA_TARGETS[0], flags.CUDA_TARGETS[-1]
    said = compile_for(flags, tmp_path / "kernels.fatbin", (oldest, newest), channels=3)
    assert len(said) == 2 * 7
    assert_registers_suffice(said)


@pytest.mark.slow
def test_every_kernel_compiles_for_every_gpu(flags: ModuleType, tmp_path: Path) -> None:
    said = compile_for(flags, tmp_path / flags.cuda_library_name(), flags.CUDA_TARGETS, channels=0)
    assert {int(kernel.split("sm_")[1]) for kernel in said} == {75, 80, 90, 100, 120}
    assert len(said) == 5 * (2 + 5 * 9)
    assert_registers_suffice(said, most_bytes=8)  # a pointer or two beside the loop; sums would be far more


def test_the_name_of_a_built_file_follows_the_sources(
    flags: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = flags.cuda_library_name()
    shutil.copytree(flags.CSRC, tmp_path / "csrc")
    monkeypatch.setattr(flags, "CSRC", tmp_path / "csrc")
    assert flags.cuda_library_name() == name
    with (tmp_path / "csrc" / "splat.h").open("a") as header:
        header.write("\n")
    assert flags.cuda_library_name() != name
