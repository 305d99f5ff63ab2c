"""What a page sends, checked before it is used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.core.errors import InvalidArgument
from gsr_app.ui.state import upload_folder
from gsr_app.viewer.contract import Region

_MOST = 1e300  # integers of JSON have no limit


def request_of(data: object) -> dict[str, Any]:
    """The one object that a request of the page is."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        raise InvalidArgument("A request is one object.")
    return data


def number(data: dict[str, Any], name: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _MOST:  # or no number
        raise InvalidArgument(f"{name} must be a finite number.")
    return float(value)


def region_of(data: object) -> Region:
    if not isinstance(data, dict):
        raise InvalidArgument("A region is one object.")
    place = [round(number(data, name)) for name in ("x", "y", "width", "height")]
    return Region(*place, name=str(data.get("name", ""))[:24])


def uploaded_files(paths: object) -> list[Path]:
    """The files that a page has uploaded. Paths of other files of this machine are refused."""
    words: list[object] = list(paths) if isinstance(paths, list) else []  # pyright: ignore[reportUnknownArgumentType]
    found = [Path(word).resolve() for word in words if isinstance(word, str) and "\0" not in word]
    root = upload_folder()
    if not found or len(found) != len(words) or not all(_is_upload(path, root) for path in found):
        raise gr.Error("These are not uploaded files.")
    if gone := [path.name for path in found if not path.is_file()]:
        raise gr.Error(f"{gone[0]} is not kept here any more: add it again.")
    return found


def _is_upload(path: Path, root: Path) -> bool:
    # Gradio puts each upload into a folder named by its hash.
    return path.parent.parent == root and re.fullmatch(r"[0-9a-f]{64}", path.parent.name) is not None
