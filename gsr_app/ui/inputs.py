"""Gradio inputs of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.models.weights import SUFFIXES
from gsr_app.ui.batch import Batch
from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.viewer.contract import as_json

STATIC = Path(__file__).parent / "static"


class PictureInput(gr.Image):
    """An upload, a paste or a snapshot as a file, with its depth, profile and orientation unchanged."""

    def __init__(self, value: Any = None, **options: Any) -> None:
        fixed: dict[str, Any] = {"type": "filepath", "image_mode": None, "buttons": []}
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: Any) -> str | None:
        # Gradio has checked that the path is one of its uploads; a picture inside the request itself is not taken.
        if payload is None or payload.path is None or (payload.url or "").startswith("data:"):
            return None
        return str(payload.path)

    def get_config(self, cls: type[Any] | None = None) -> dict[str, Any]:
        return super().get_config(gr.Image)  # the page has no component of this name

    def get_block_name(self) -> str:
        return "image"


class ExampleStrip(ScriptedHTML):
    """The examples as thumbnails; `pick` is triggered with {name}."""

    custom_events = ("pick",)

    def __init__(self, thumbnails: list[dict[str, str]], **options: Any) -> None:
        fixed: dict[str, Any] = {
            "thumbnails": thumbnails,
            "html_template": '<div class="gsr-examples" role="group" aria-label="Examples"></div>',
            "js_on_load": (STATIC / "examples.js").read_text(encoding="utf-8"),
        }
        super().__init__(**{**options, **fixed})


class ModelTable(ScriptedHTML):
    """The catalogue as a table; `manage` is triggered with {action, method}."""

    custom_events = ("manage",)

    def __init__(self, value: list[dict[str, Any]] | None = None, *, may_add: bool = False, **options: Any) -> None:
        fixed: dict[str, Any] = {
            "may_add": may_add,  # whether model files of other authors are taken
            "accept": ",".join(SUFFIXES),
            "html_template": '<div class="gsr-models"></div>',
            "js_on_load": (STATIC / "models.js").read_text(encoding="utf-8"),
            "elem_id": "models",
        }
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: object) -> None:
        """The table is not an input."""

    def postprocess(self, value: Any) -> Any:
        return list(value or ())

    def api_info(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "object"}, "description": "lines of the catalogue"}


class BatchTable(ScriptedHTML):
    """Shows a `Batch`."""

    custom_events = ("recall",)

    def __init__(self, value: Batch | None = None, **options: Any) -> None:
        fixed: dict[str, Any] = {
            "html_template": '<div class="gsr-batch"></div>',
            "js_on_load": (STATIC / "batch.js").read_text(encoding="utf-8"),
            "elem_id": "batchlist",
        }
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: object) -> None:
        """The list comes from the server only: what the page sends back is ignored."""

    def postprocess(self, value: Any) -> Any:
        return as_json(value if isinstance(value, Batch) else Batch())

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "the pictures of a batch"}


class MethodPicker(ScriptedHTML):
    """Cards of methods with a box each; the value is the list of chosen ids."""

    def __init__(self, value: list[str] | None = None, *, cards: list[dict[str, Any]], **options: Any) -> None:
        fixed: dict[str, Any] = {
            "cards": cards,
            "html_template": '<div class="gsr-picker" role="group" aria-label="Methods"></div>',
            "js_on_load": (STATIC / "picker.js").read_text(encoding="utf-8"),
            "elem_id": "methods",
        }
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: object) -> Any:
        chosen: list[Any] = payload if isinstance(payload, list) else []
        return [one for one in chosen if isinstance(one, str)][:64]

    def postprocess(self, value: Any) -> Any:
        return list(value or ())

    def api_info(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "description": "ids of methods"}
