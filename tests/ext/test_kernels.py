"""Rules for the native sources that no compiler checks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXT = Path(__file__).resolve().parents[2] / "ext"


@pytest.fixture(scope="module")
def flags() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flags", EXT / "flags.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cpu_source_is_in_the_build_and_in_its_key(flags: ModuleType) -> None:
    listed = {*flags.CPU_SOURCES, *flags.CPU_HEADERS}
    assert listed == {"splat.h", *(f"cpu/{path.name}" for path in (EXT / "csrc" / "cpu").iterdir())}


def test_fast_math_stays_out(flags: ModuleType) -> None:
    assert not any("fast-math" in flag for flag in flags.CPU_FLAGS)


def test_only_the_registration_includes_torch() -> None:
    with_torch = {path.name for path in (EXT / "csrc" / "cpu").iterdir() if "#include <torch" in path.read_text()}
    assert with_torch == {"register.cpp"}
