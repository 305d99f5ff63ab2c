"""How a page gets the viewer: the static modules as text, in the order in which they import each other.

There is no build step and no static route: the sources travel inside the page, so that the app, behind any proxy and
with or without server-side rendering, and a report on a disk run the same code the same way.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PLAYER = Path(__file__).parent / "player" / "static"
_IMPORT = re.compile(r'from "\./([\w-]+\.js)"')
# Not modules of the viewer: these start it.
_STARTERS = {"loader.js"}


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


@functools.cache
def modules(beside: Path | None = None) -> tuple[tuple[str, str], ...]:
    """(name, source) of every module of the viewer, each after those that it imports.

    With a folder `beside` it: that folder's modules, and those of the viewer that they need.
    """
    sources = {path.name: path for path in sorted(STATIC.glob("*.js")) if path.name not in _STARTERS}
    wanted = sorted(beside.glob("*.js")) if beside else list(sources.values())
    if beside and (twice := {path.name for path in wanted} & sources.keys()):
        raise ImportError(f"{', '.join(sorted(twice))} is the name of a module of the viewer, too.")
    sources.update({path.name: path for path in wanted})
    ordered: dict[str, str] = {}
    under_way: set[str] = set()

    def place(name: str) -> None:
        if name in ordered:
            return
        if name in under_way:
            raise ImportError(f"The viewer's modules import each other in a circle at {name}.")
        under_way.add(name)
        text = sources[name].read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            place(needed)
        ordered[name] = text

    for path in wanted:
        place(path.name)
    return tuple(ordered.items())


def embed(value: object) -> str:
    """JSON that is safe inside a <script>: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def start_script(beside: Path | None = None) -> str:
    """JavaScript that defines `modules`, a promise of everything the viewer (or what lies beside it) exports."""
    return f"{read('loader.js')}\nconst modules = loadModules({embed(modules(beside))});\n"


def css() -> str:
    return read("viewer.css")
