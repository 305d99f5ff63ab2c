"""Which implementation draws, in processes of their own: with a compiler, without one, and with a broken one."""

from __future__ import annotations

import concurrent.futures
import os
import sys
from pathlib import Path

import pytest

from tests.processes import run_python

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
    return run_python(code, {**inherited, "GSR_CACHE": str(cache), **environment}).strip()


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


@pytest.fixture(scope="module")
def library() -> Path:
    """The library of this machine, from the tests' own cache."""
    from gsr_app.ops.build import cpu_library

    return cpu_library()


@pytest.fixture
def copier(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that copies the finished library to the file after -o, and writes a line into `calls` every time."""
    compiler = tmp_path / "copy++"
    find_output = 'until [ "$1" = -o ]; do shift; done'
    compiler.write_text(f'#!/bin/sh\necho x >> "{tmp_path}/calls"\n{find_output}\nsleep 0.1\ncp "{library}" "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    return compiler


def calls(copier: Path) -> int:
    return len((copier.parent / "calls").read_text().split())


def damage(library: Path, how: str) -> None:
    data = library.read_bytes()
    contents = {
        "half": data[: len(data) // 2],
        "one page": data[:4096],
        "empty": b"",
        "foreign": b"#!/bin/sh\n",
        "changed": data[:-1] + bytes([data[-1] ^ 1]),
    }
    hash_file = library.with_suffix(".sha256")
    if how == "without its hash":
        hash_file.unlink()
    elif how == "with half a hash":
        hash_file.write_bytes(hash_file.read_bytes()[:20])
    else:
        library.write_bytes(contents[how])


@pytest.mark.compiler
@pytest.mark.skipif(sys.platform == "win32", reason="writes a shell script")
@pytest.mark.parametrize(
    "how", ["half", "one page", "empty", "foreign", "changed", "without its hash", "with half a hash"]
)
def test_a_damaged_library_is_built_again(how: str, copier: Path) -> None:
    from gsr_app.ops.build import cpu_library

    built = cpu_library()
    whole = built.read_bytes()
    damage(built, how)
    assert cpu_library() == built
    assert (built.read_bytes(), calls(copier)) == (whole, 2)
    cpu_library()
    assert calls(copier) == 2


@pytest.mark.compiler
@pytest.mark.skipif(sys.platform == "win32", reason="writes a shell script")
def test_processes_that_find_half_a_library_together_build_it_once_and_draw(copier: Path) -> None:
    from gsr_app.ops.build import cpu_library

    damage(cpu_library(), "half")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: python(REPORT, copier.parent / "cache", CXX=str(copier)), range(3)))
    assert made == ["cpu|False|cpu"] * 3
    assert calls(copier) == 2


def test_pixels_on_the_cpu_are_resized_where_a_gpu_is_to_draw(tmp_path: Path) -> None:
    code = "import torch; from gsr_app.ops.resize import resize; print(*resize(torch.ones(1, 3, 4, 4), scale=2).shape)"
    assert python(code, tmp_path / "cache", GSR_BACKEND="cuda") == "1 3 8 8"
