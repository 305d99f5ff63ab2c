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
_IMPORT = re.compile(r'from "\./([\w-]+\.js)"')
# Not modules of the viewer: these start it.
_STARTERS = {"loader.js"}


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


@functools.lru_cache(maxsize=1)
def modules() -> tuple[tuple[str, str], ...]:
    """(name, source) of every module, each after those that it imports."""
    sources = {path.name: read(path.name) for path in sorted(STATIC.glob("*.js")) if path.name not in _STARTERS}
    ordered: dict[str, str] = {}
    under_way: set[str] = set()

    def place(name: str) -> None:
        if name in ordered:
            return
        if name in under_way:
            raise ImportError(f"The viewer's modules import each other in a circle at {name}.")
        under_way.add(name)
        for needed in _IMPORT.findall(sources[name]):
            place(needed)
        ordered[name] = sources[name]

    for name in sources:
        place(name)
    return tuple(ordered.items())


def embed(value: object) -> str:
    """JSON that is safe inside a <script>: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def start_script() -> str:
    """JavaScript that defines `modules`, a promise of everything the viewer exports."""
    return f"{read('loader.js')}\nconst modules = loadModules({embed(modules())});\n"


def css() -> str:
    return read("viewer.css")
