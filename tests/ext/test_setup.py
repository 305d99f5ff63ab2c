"""The build ahead of time: the same sources, taken only while they match."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch

from gsr_app.ops import build
from tests.conftest import ROOT
from tests.ops.test_backend import DRAW, REPORT, python


@pytest.mark.compiler
@pytest.mark.skipif(sys.platform == "win32", reason="writes a shell script")
def test_a_prebuilt_library_of_the_same_sources_is_used_without_a_compiler(tmp_path: Path) -> None:
    # The compiler was given the same command at first use, and takes half a minute: this one repeats its answer.
    compiler, given = tmp_path / "g++", tmp_path / "given"
    built = build.cpu_library()
    compiler.write_text(f'#!/bin/sh\necho "$@" > {given}\nwhile [ "$1" != -o ]; do shift; done\ncp {built} "$2"\n')
    compiler.chmod(0o755)
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path)]
    environment = {**os.environ, "CXX": str(compiler), "PATH": "/usr/bin:/bin"}  # no nvcc: its kernels take a minute
    done = subprocess.run(
        command, cwd=ROOT / "ext", env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    flags = build.load_flags()
    expected = flags.compile_command("g++", Path("OUT"), Path(torch.__file__).parent)[1:]
    assert given.read_text().split() == [word if word != "OUT" else ANY for word in expected]
    (library,) = tmp_path.rglob("gsr_cpu-*.so")
    site = str(library.parent.parent)
    assert python(REPORT + DRAW, tmp_path / "cache", PATH="", PYTHONPATH=site) == "cpu|False|cpu"

    kind, source, target = library.stem.split("-", 2)
    library.rename(library.with_name(f"{kind}-{source[::-1]}-{target}.so"))
    assert python(REPORT, tmp_path / "cache", PATH="", PYTHONPATH=site).startswith("reference|True|")
