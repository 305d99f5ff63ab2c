"""The JavaScript modules of the viewer as text that a page embeds, in the order of their imports.

There is no build step and no static route: the sources are part of the page. So the app (behind any proxy, with or
without server-side rendering) and a report on a disk run the same code.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PLAYER = Path(__file__).parent / "player" / "static"
PAGE = Path(__file__).parent / "page" / "static"
_IMPORT = re.compile(r'from "\./([\w-]+\.js)"')
# Scripts that start the viewer; they are no modules.
_STARTERS = {"loader.js"}


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


@functools.cache
def modules(beside: Path | None = None, only: str = "") -> tuple[tuple[str, str], ...]:
    """(name, source) of every module of the viewer, each after those that it imports.

    With `beside`: the modules of that folder, or `only` the one of that name, and all that they import.
    """
    sources = {path.name: path for path in sorted(STATIC.glob("*.js")) if path.name not in _STARTERS}
    wanted = sorted(beside.glob("*.js")) if beside else list(sources.values())
    if beside and (twice := {path.name for path in wanted} & sources.keys()):
        raise ImportError(f"{', '.join(sorted(twice))} is also the name of a module of the viewer.")
    sources.update({path.name: path for path in wanted})
    ordered: dict[str, str] = {}
    in_progress: set[str] = set()

    def place(name: str) -> None:
        if name in ordered:
            return
        if name in in_progress:
            raise ImportError(f"The viewer's modules import each other in a circle at {name}.")
        in_progress.add(name)
        text = sources[name].read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            place(needed)
        ordered[name] = text

    for path in wanted:
        if path.name == only or not only:
            place(path.name)
    return tuple(ordered.items())


def embed(value: object) -> str:
    """JSON that is safe inside a <script>: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def data_url(data: bytes, kind: str) -> str:
    """A file of a media type as an address that contains it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def start_script(beside: Path | None = None) -> str:
    """JavaScript that defines `modules`, a promise of everything that the viewer (or the folder `beside`) exports."""
    return f"{read('loader.js')}\nconst modules = loadModules({embed(modules(beside))});\n"


def css() -> str:
    return read("viewer.css")
