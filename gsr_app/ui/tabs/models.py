"""The Models tab: the catalogue, and fetching, verifying and removing weights."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError, UnknownMethod
from gsr_app.core.types import Progress
from gsr_app.models.registry import Method
from gsr_app.models.weights import SUFFIXES
from gsr_app.ui import present
from gsr_app.ui.inputs import ModelTable
from gsr_app.ui.state import AppState

_BEAT_S = 0.25


def build(app: AppState) -> None:
    with gr.Column(elem_classes=["gsr-page"]):
        table = ModelTable(rows(app))

    def manage(event: gr.EventData) -> Iterator[list[dict[str, Any]]]:
        asked: dict[str, Any] = event._data if isinstance(event._data, dict) else {}  # pyright: ignore
        yield from perform(app, asked.get("action"), asked.get("method"))

    def take(method_id: object, paths: object) -> list[dict[str, Any]]:
        return keep(app, method_id, paths)

    if app.may_manage:  # otherwise there is no endpoint that takes files
        with gr.Column(elem_classes=["gsr-page"]), gr.Row(elem_id="own-weights"):
            choices = [(method.title, method.id) for method in app.engine.methods if method.files]
            chosen = gr.Dropdown(
                choices,
                value=None,
                label="Use your own weights for",
                info="They are read as tensors: no code in them runs.",
                elem_id="own-method",
            )
            files = gr.UploadButton(
                "Choose all of its files …",
                file_count="multiple",
                file_types=list(SUFFIXES),
                size="sm",
                scale=0,
                min_width=200,
            )
        files.upload(take, [chosen, files], table, api_name="keep", api_visibility="undocumented")

    table.manage(manage, outputs=table, show_progress="hidden", api_name="manage", api_visibility="undocumented")


def rows(
    app: AppState, messages: dict[str, str] | None = None, busy: dict[str, float | None] | None = None
) -> list[Any]:
    """The table's lines; `messages` and `busy` (a fraction, or unknown) by method id."""
    engine = app.engine
    return [
        present.model_row(
            method,
            engine.availability(method),
            may_manage=app.may_manage,
            message=(messages or {}).get(method.id, ""),
            busy={"fraction": busy[method.id]} if busy and method.id in busy else None,
        )
        for method in engine.methods
    ]


def keep(app: AppState, method_id: object, paths: object) -> list[dict[str, Any]]:
    """Take uploaded files as the weights of a method; the table with the outcome."""
    known = {method.id: method for method in app.engine.methods}
    method = known.get(method_id) if isinstance(method_id, str) else None
    if not app.may_manage:
        raise gr.Error("This cannot be done here.")
    if method is None:
        raise gr.Error("Choose the method first that the weights are for.")
    given = [Path(path) for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
    try:
        message = f"kept {present.bytes_text(app.engine.keep(method, given))}"
    except GsrError as error:
        # Show the names of the files, not the folders of the server.
        message = f"{error} {error.hint}".strip()
        for path in given:
            message = message.replace(str(path), path.name)
    finally:
        for path in given:
            path.unlink(missing_ok=True)
    return rows(app, {method.id: message})


def perform(app: AppState, action: object, method_id: object) -> Iterator[list[dict[str, Any]]]:
    """Fetch, verify or remove the weights of a method; yields the table as it changes."""
    known = {method.id: method for method in app.engine.methods}
    method = known.get(method_id) if isinstance(method_id, str) else None
    if method is None or action not in {"fetch", "verify", "remove"} or not app.may_manage:
        raise gr.Error("This cannot be done here." if method else str(UnknownMethod(str(method_id)[:40], known)))
    events: queue.SimpleQueue[float | str] = queue.SimpleQueue()
    worker = threading.Thread(target=lambda: events.put(_do(app, str(action), method, events)), daemon=True)
    worker.start()
    fraction: float | None = None
    while True:
        try:
            event = events.get(timeout=_BEAT_S)
        except queue.Empty:
            yield rows(app, busy={method.id: fraction})
            continue
        if isinstance(event, str):
            yield rows(app, {method.id: event})
            return
        fraction = event


def _do(app: AppState, action: str, method: Method, events: queue.SimpleQueue[float | str]) -> str:
    """Do it, and return a message for the table."""

    def report(progress: Progress) -> None:
        events.put(progress.fraction)

    try:
        if action == "fetch":
            app.engine.fetch(method, report)
            return "fetched"
        if action == "remove":
            return f"freed {present.bytes_text(app.engine.remove(method))}"
        return present.checks_text(app.engine.verify(method))
    except GsrError as error:
        return f"{error} {error.hint}".strip()
    except Exception as error:
        return f"This did not work: {type(error).__name__}."
