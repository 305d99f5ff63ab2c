"""Shared fixtures, and the rule about what may be skipped.

A test that needs something a user's machine may lack (a compiler, a browser, the reference folder) skips with a
reason there. `GSR_FAIL_WITHOUT=compiler,browser,shared` turns those skips into failures where they must not happen.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_CORES = os.cpu_count() or 1
_WORKERS_AT_MOST = 4  # each may take 2 GB; one more than cores, because many tests wait for a browser or a program

# Processes that each compute on all cores wait for one another, and so do the programs that tests start.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _CORES // workers)))

# Processes that share a folder of uploads would remove one another's: Gradio names files by their content.
os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="gsr-tests-")
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)

# Each httpx client reads all certificates of the web, which takes longer than most requests. Here none is needed.
os.environ["SSL_CERT_DIR"] = os.environ["GRADIO_TEMP_DIR"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def find_chromium() -> str | None:
    """The form without a window comes first: its pages take a sixth less time."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    return next((path for name in names if (path := shutil.which(name))), None)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


NEEDS = {
    "shared": (lambda: SHARED.is_dir(), "needs the reference material in ../shared"),
    "browser": (lambda: find_chromium() is not None, "needs Chromium"),
    "compiler": (lambda: bool(shutil.which("g++") or shutil.which("clang++")), "needs a C++ compiler"),
    "nvcc": (lambda: shutil.which("nvcc") is not None, "needs NVIDIA's nvcc"),
    "gpu": (_has_gpu, "needs an NVIDIA GPU"),
}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks and pictures so small that more threads make them slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in several processes; tests that are named on the command line run in this one."""
    return min(_CORES + 1, _WORKERS_AT_MOST) if config.args == config.getini("testpaths") and _CORES > 1 else 0


# The rooms whose files take longest come first, so that the processes end at about the same time.
_FIRST = ("browser", "training", "harness", "ui", "engine", "models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {room: number for number, room in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(item.path.parent.name, len(_FIRST)))


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


@pytest.fixture(autouse=True)
def global_state() -> Iterator[None]:
    """Put back what tests change for the whole process: random states, and torch's threads and choices.

    Restores torch and numpy only where they are loaded already: most tests need no torch.
    """
    python = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numbers = numpy.random.get_state() if numpy else None
    tensors = (torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()) if torch else None
    yield
    random.setstate(python)
    if numpy is not None:
        numpy.random.set_state(numbers)
    if torch is not None and tensors is not None:
        torch.set_rng_state(tensors[0])
        if torch.get_num_threads() != tensors[1]:
            torch.set_num_threads(tensors[1])
        torch.set_default_dtype(tensors[2])
