"""Imports run in one direction: between the rooms as CONTRIBUTING lists them, and between modules without circles."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "gsr_app"

# Which rooms a room may import from, itself aside.
_LOWER = {"core", "io", "ops", "models", "engine", "fitting"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "io": {"core"},
    "ops": {"core"},
    "models": {"core", "ops"},
    "engine": {"core", "io", "ops", "models"},
    "fitting": {"core", "io", "ops", "models", "engine"},
    "viewer": _LOWER,
    "training": _LOWER,
    "api": _LOWER,
    "harness": {*_LOWER, "viewer", "training", "api"},
    "ui": {*_LOWER, "viewer", "api"},
}
NETWORK = {"huggingface_hub", "urllib.request", "http", "requests", "httpx", "socket", "ftplib"}


def imports_of(tree: ast.AST, *, typing: bool) -> Iterator[str]:
    """Every name that a file imports, also inside functions; with `typing` those for type checking alone, too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_of(ast.Module(node.orelse, []), typing=False)
        else:
            yield from imports_of(node, typing=typing)


def read(path: Path, *, typing: bool) -> list[str]:
    return list(imports_of(ast.parse(path.read_text(encoding="utf-8")), typing=typing))


def starts_with(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(APP.rglob("*.py"))}
# What starts programs and re-exports names belongs to no room.
ENTRANCES = {"gsr_app", "gsr_app.__main__"}


@pytest.mark.parametrize("module", [name for name in FILES if name not in ENTRANCES])
def test_imports_run_one_way(module: str) -> None:
    room = module.split(".")[1]
    for name in read(FILES[module], typing=True):
        if starts_with(name, "gsr_app") and name != "gsr_app.__version__":
            assert name.split(".")[1] in MAY_IMPORT[room] | {room}, f"{room} may not import {name}"
        if starts_with(name, "torch"):
            assert room not in {"core", "ui", "viewer"}, f"no torch in {room}"
        if starts_with(name, "gradio"):
            assert room == "ui", f"gradio stays in ui, not in {room}"
        if any(starts_with(name, package) for package in NETWORK):
            allowed = module == "gsr_app.models.download" or (module, name) == ("gsr_app.ui.serve", "socket")
            assert allowed, f"only models/download.py touches the network, and ui/serve.py its own port: {name}"


def test_the_rooms_are_those_of_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    assert [room for row in rows for room in re.findall(r"\w+", row)] == list(MAY_IMPORT)
    found = {name.split(".")[1] for name in FILES if name not in ENTRANCES}
    assert found <= set(MAY_IMPORT)


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one again at the end; empty when there is none."""
    done: set[str] = set()

    def walk(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            if found := walk(other, [*trail, module]):
                return found
        done.add(module)
        return []

    for module in graph:
        if found := walk(module, []):
            return found
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: they would only hide the circle."""

    def modules(names: list[str]) -> set[str]:
        # `from package import name` means the module of that name, or else the package itself. The root package is
        # loaded before all others and only re-exports names.
        found = {name if name in FILES else name.rpartition(".")[0] for name in names}
        return {name for name in found if name in FILES} - ENTRANCES

    graph = {name: modules(read(path, typing=False)) for name, path in FILES.items()}
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 4 * len(graph)))
    assert find_circle(graph) == []
    assert any(graph.values())


def test_the_search_for_circles_finds_them() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    tree = ast.parse("if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from c import d\n")
    assert list(imports_of(tree, typing=False)) == ["b", "c.d"]
    assert list(imports_of(tree, typing=True)) == ["a", "b", "c.d"]
