"""Gradio's own scripts and styles in one file, so that a page asks for one instead of a hundred.

Gradio loads a component by importing its chunk, which imports others, each a request. The pack holds the chunks of the
components that are on the page, and a script that offers them to the browser under their own addresses by an import
map. What is not in it is fetched as before; and where the browser has no import maps, or Gradio's files are of another
form than is expected here, all is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gsr_app.ui.inputs import STATIC

_NAMES = re.compile(r"m\.f=\[([^\]]*)\]")
_LOADER = re.compile(
    r"(\w+):\(\)=>\w+\(\(\)=>import\(`\./([^`]+)`\)(?:\.then\(\w+=>\w+\.\w+\))?,(?:__vite__mapDeps\(\[([\d,]*)\]\)|\[\]),"
)
_STATIC_IMPORT = re.compile(r"""\b(?:from|import)["'`]\./([\w.-]+\.js)["'`]""")
_ANY_IMPORT = re.compile(r"""\b(from|import\(?)(["'`])\./([\w.-]+\.js)["'`]""")
_ENTRY = re.compile(r'<script type="module"[^>]* src="\./assets/([^"]+)"')
_CLOCK = re.compile(
    r"function (\w+)\(\)\{\w+\(\(\)=>\{(\w+\(\w+,\(performance\.now\(\)-\w+\(\w+\)\)/1e3\),\w+&&\1\(\))\}\)\}"
)
_CSS_ADDRESS = re.compile(r"""url\((["']?)\./""")
PREFIX = "gradio/"  # in place of "./" where a packed chunk imports another


@dataclass(frozen=True)
class Pack:
    """The file, and the name that it is asked for by: another for other contents, so that browsers may keep it."""

    name: str
    text: str


def make_pack(types: Iterable[str], frontend: Path) -> Pack | None:
    """The pack of a page with components of these types; None where Gradio's files are not as expected."""
    assets = frontend / "assets"
    try:
        page = (frontend / "index.html").read_text(encoding="utf-8")
        entry = _ENTRY.search(page)
        if entry is None:
            return None
        wanted = {name for name in _names_for(set(types), entry[1], assets) if name not in page}
        files = {name: (assets / name).read_text(encoding="utf-8") for name in sorted(wanted)}
    except (OSError, LookupError, ValueError):
        return None
    scripts = {name: _script(name, text) for name, text in files.items() if name.endswith(".js")}
    styles = {name: text for name, text in files.items() if name.endswith(".css") and not _CSS_ADDRESS.search(text)}
    data = json.dumps({"prefix": PREFIX, "scripts": scripts, "styles": styles}, ensure_ascii=False)
    text = (STATIC / "pack.js").read_text(encoding="utf-8").replace("__PACK__", data.replace("</", "<\\/"))
    return Pack(f"gsr-pack-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.js", text)


def _names_for(types: set[str], entry: str, assets: Path) -> set[str]:
    """The chunks and styles that a page with these components loads at its start."""
    found: set[str] = set()
    scripts = _Scripts(assets)
    # The entry imports the page's frame, and the frame the part that knows how to load each component.
    for name in re.findall(r"import\(`\./((?:Index|core)-[\w.-]+\.js)`\)", scripts.text(entry)):
        found |= scripts.closure(name)
        for part in re.findall(r"import\(`\./(Blocks-[\w.-]+\.js)`\)", scripts.text(name)):
            found |= scripts.closure(part)
    found |= set(re.findall(r'"\./([^"]+\.css)"', _NAMES.findall(scripts.text(entry))[0]))
    (core,) = [name for name in found if name.startswith("core-") and name.endswith(".js")]
    text = scripts.text(core)
    listed = re.findall(r'"\./([^"]+)"', _NAMES.findall(text)[0])
    for kind in types:
        at = re.search(rf"\b{re.escape(kind)}:\{{", text)
        loader = next((one for one in _LOADER.finditer(text, at.end()) if one[1] == "component"), None) if at else None
        if loader is None:
            continue
        found |= scripts.closure(loader[2])
        needed = [listed[int(number)] for number in (loader[3] or "").split(",") if number]
        found |= {name for name in needed if name.endswith(".css")}
    return found


class _Scripts:
    """The chunks of a folder, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}

    def text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = (self._folder / name).read_text(encoding="utf-8")
        return self._texts[name]

    def closure(self, name: str) -> set[str]:
        """A chunk and all that it imports when it is loaded."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += _STATIC_IMPORT.findall(self.text(one))
        return found


def _script(name: str, text: str) -> str:
    """A chunk that finds the others, and its own address, wherever it is loaded from.

    The clock of a component's status counts tenths of a second, and Gradio draws every frame for it; that of the page's
    own status is never stopped. So it ticks ten times a second here.
    """
    text = _CLOCK.sub(r"function \1(){setTimeout(()=>{\2},100)}", text)
    text = _ANY_IMPORT.sub(rf"\1\2{PREFIX}\3\2", text)
    return text.replace("import.meta.url", f"(globalThis.gradioAssets+{json.dumps(name)})")
