"""The house has one direction; this keeps it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "gsr_app"

# Which rooms a room may import from.
MAY_IMPORT = {
    "core": {"core"},
    "io": {"core", "io"},
    "ops": {"core", "ops"},
    "models": {"core", "ops", "models"},
    "engine": {"core", "io", "ops", "models", "engine"},
    "fitting": {"core", "io", "ops", "models", "engine", "fitting"},
    "viewer": {"core", "io", "ops", "models", "engine", "fitting", "viewer"},
    "training": {"core", "io", "ops", "models", "engine", "fitting", "training"},
    "harness": {"core", "io", "ops", "models", "engine", "fitting", "viewer", "training", "harness", "ui"},
    "ui": {"core", "io", "ops", "models", "engine", "fitting", "viewer", "ui"},
}
NETWORK = {"huggingface_hub", "urllib.request", "http", "requests", "httpx", "socket", "ftplib"}


def imports_of(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            found += [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def starts_with(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda p: str(p.relative_to(APP)))
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(APP).parts[0]
    for name in imports_of(path):
        if starts_with(name, "gsr_app") and name.count(".") and room in MAY_IMPORT:
            assert name.split(".")[1] in MAY_IMPORT[room] | {"__version__"}, f"{room} may not import {name}"
        if starts_with(name, "torch"):
            assert room not in {"ui", "core"}, f"no torch in {room}"
        if starts_with(name, "gradio"):
            assert room == "ui", f"gradio stays in ui, not in {room}"
        if any(starts_with(name, package) for package in NETWORK):
            assert path == APP / "models" / "weights.py", f"only models/weights.py touches the network: {name}"
