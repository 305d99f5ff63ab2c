"""The build ahead of time: the same sources, taken only while they match."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.test_backend import DRAW, REPORT, ROOT, python


@pytest.mark.compiler
def test_a_prebuilt_library_of_the_same_sources_is_used_without_a_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT / "ext", env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (library,) = tmp_path.rglob("gsr_cpu-*.so")
    site = str(library.parent.parent)
    assert python(REPORT + DRAW, tmp_path / "cache", PATH="", PYTHONPATH=site) == "cpu|False|cpu"

    kind, source, target = library.stem.split("-", 2)
    library.rename(library.with_name(f"{kind}-{source[::-1]}-{target}.so"))
    assert python(REPORT, tmp_path / "cache", PATH="", PYTHONPATH=site).startswith("reference|True|")
