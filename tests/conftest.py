"""Shared fixtures, and the rule about what may be skipped.

A test that needs something a user's machine may lack (a compiler, a browser, the reference folder) skips with a
reason there. `GSR_FAIL_WITHOUT=compiler,browser,shared` turns those skips into failures where they must not happen.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


NEEDS = {
    "shared": (lambda: SHARED.is_dir(), "needs the reference material in ../shared"),
    "browser": (lambda: _chromium() is not None, "needs Chromium"),
    "compiler": (lambda: bool(shutil.which("g++") or shutil.which("clang++")), "needs a C++ compiler"),
    "nvcc": (lambda: shutil.which("nvcc") is not None, "needs NVIDIA's nvcc"),
    "gpu": (_has_gpu, "needs an NVIDIA GPU"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_runtest_setup(item: pytest.Item) -> None:
    must_have = {name for name in os.environ.get("GSR_FAIL_WITHOUT", "").split(",") if name}
    for name, (is_here, reason) in NEEDS.items():
        if item.get_closest_marker(name) and not is_here():
            (pytest.fail if name in must_have else pytest.skip)(reason)
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        pytest.skip("takes minutes; run with --slow")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference folder; use with `@pytest.mark.shared`."""
    return SHARED
