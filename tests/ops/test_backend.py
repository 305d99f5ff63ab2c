"""Which implementation draws, in processes of their own: with a compiler, without one, and with a broken one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

REPORT = """
from gsr_app.core.errors import GsrError
from gsr_app.ops import backend
try:
    report = backend.load("cpu")
    print(f"{report.backend}|{bool(report)}|{report}")
except GsrError as error:
    print(f"error|{error}|{error.hint}")
"""

DRAW = """
import torch
from gsr_app.ops import splat
from tests.ops.gaussians import draw_by_the_book, scatter
scene = scatter(50, (20, 30))
assert torch.allclose(splat(*scene, (20, 30), eps=1e-9).double(), draw_by_the_book(scene, (20, 30)), atol=1e-5)
leaves = [x.requires_grad_() for x in scene]
splat(*leaves, (20, 30), normalize=True).sum().backward()
assert all(torch.isfinite(x.grad).all() for x in leaves)
"""


def python(code: str, cache: Path, **environment: str) -> str:
    unset = {"GSR_BACKEND", "CXX", "PYTHONPATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "GSR_CACHE": str(cache), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_compiler_the_reference_draws_and_the_report_says_why(tmp_path: Path) -> None:
    name, fell_back, text = python(REPORT + DRAW, tmp_path, PATH="").split("|")
    assert (name, fell_back) == ("reference", "True")
    assert "no C++ compiler is on the PATH" in text


def test_a_forced_backend_that_cannot_load_is_an_error(tmp_path: Path) -> None:
    kind, text, hint = python(REPORT, tmp_path, PATH="", GSR_BACKEND="cpu").split("|")
    assert kind == "error"
    assert "GSR_BACKEND=cpu does not load: no C++ compiler" in text
    assert "apt install g++" in hint


@pytest.mark.parametrize(("forced", "text"), [("cuda", "cannot draw tensors on cpu"), ("gpu", "Supported values")])
def test_a_backend_that_does_not_fit_is_an_error(forced: str, text: str, tmp_path: Path) -> None:
    assert text in python(REPORT, tmp_path, GSR_BACKEND=forced)


def test_the_reference_can_be_asked_for_and_is_no_fallback(tmp_path: Path) -> None:
    assert python(REPORT, tmp_path, GSR_BACKEND="reference").startswith("reference|False|")
    assert not list(tmp_path.iterdir())


def test_importing_builds_nothing(tmp_path: Path) -> None:
    python("import gsr_app.ops", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="writes a shell script")
def test_a_compiler_that_fails_is_asked_once(tmp_path: Path) -> None:
    compiler, calls = tmp_path / "broken++", tmp_path / "calls"
    compiler.write_text(f"#!/bin/sh\necho x >> {calls}\necho 'splat.h:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    for _ in range(2):
        report = python(REPORT, tmp_path / "cache", CXX=str(compiler))
        assert report.startswith("reference|True|")
        assert "broken++ failed: splat.h:1: error: no such thing" in report
    assert calls.read_text() == "x\n"
