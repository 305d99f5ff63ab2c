"""A list of picture files, each of which may be given a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app.ui.checked import uploaded_files
from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.ui.inputs import STATIC

_LONGEST_NAME = 40


@dataclass(frozen=True)
class ListedFile:
    path: Path
    name: str = ""
    is_own_name: bool = False  # whether somebody typed it


class FileList(ScriptedHTML):
    """Uploaded pictures; `edit` is triggered when the list or a name changes.

    text: of the button that adds files. named: whether each has a name that can be changed.
    """

    custom_events = ("edit",)

    def __init__(self, *, text: str, title: str, named: bool, most: int, **options: Any) -> None:
        self.most = most
        fixed: dict[str, Any] = {
            "text": text,
            "title": title,
            "named": named,
            "most": most,
            "html_template": '<div class="gsr-filelist"></div>',
            "js_on_load": (STATIC / "filelist.js").read_text(encoding="utf-8"),
        }
        super().__init__([], **{**options, **fixed})

    def preprocess(self, payload: object) -> Any:
        """The files, if a page has uploaded them."""
        words: list[Any] = payload if isinstance(payload, list) else []
        lines: list[dict[str, Any]] = [one for one in words if isinstance(one, dict)][: self.most]
        if not lines:
            return []
        paths = uploaded_files([one.get("path") for one in lines])
        return [
            ListedFile(path, str(one.get("name") or "").strip()[:_LONGEST_NAME], one.get("own") is True)
            for path, one in zip(paths, lines, strict=True)
        ]

    def postprocess(self, value: Any) -> Any:
        found: list[ListedFile] = list(value or ())
        return [{"path": str(one.path), "name": one.name, "own": one.is_own_name} for one in found]

    def api_info(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "object"}, "description": "uploaded files: {path, name}"}
