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
from gsr_app.ui import present
from gsr_app.ui.checked import uploaded_files
from gsr_app.ui.inputs import ModelTable
from gsr_app.ui.state import AppState

_BEAT_S = 0.25


def build(app: AppState) -> None:
    with gr.Column(elem_classes=["gsr-page"]):
        table = ModelTable(rows(app), may_add=app.may_manage)

    def manage(event: gr.EventData) -> Iterator[list[dict[str, Any]]]:
        asked: dict[str, Any] = event._data if isinstance(event._data, dict) else {}  # pyright: ignore
        yield from perform(app, asked.get("action"), asked.get("method"), asked.get("files"))

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


def perform(app: AppState, action: object, method_id: object, uploads: object = None) -> Iterator[list[dict[str, Any]]]:
    """Fetch, verify, add or remove the weights of a method; yields the table as it changes."""
    if action == "add-model" and app.may_manage:
        yield add_model(app, uploads)
        return
    known = {method.id: method for method in app.engine.methods}
    method = known.get(method_id) if isinstance(method_id, str) else None
    if method is None or action not in {"fetch", "verify", "add", "remove"} or not app.may_manage:
        raise gr.Error("This cannot be done here." if method else str(UnknownMethod(str(method_id)[:40], known)))
    given = uploaded_files(uploads) if action == "add" else []
    events: queue.SimpleQueue[float | str] = queue.SimpleQueue()
    worker = threading.Thread(target=lambda: events.put(_do(app, str(action), method, given, events)), daemon=True)
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


def add_model(app: AppState, uploads: object) -> list[dict[str, Any]]:
    """Take an uploaded model file of another author as a method; the table with it."""
    (path, *others) = uploaded_files(uploads)
    try:
        if others:
            raise gr.Error("Add one model file at a time.")
        return rows(app, {app.engine.add_model(path): "added; reload the page to choose it in the other tabs"})
    except GsrError as error:
        raise gr.Error(_told(error, [path])) from None
    finally:
        for one in (path, *others):
            one.unlink(missing_ok=True)


def _told(error: GsrError, given: list[Path]) -> str:
    """An error for the page, with the names of the files, not the folders of the server."""
    message = f"{error} {error.hint}".strip()
    for path in given:
        message = message.replace(str(path), path.name)
    return message


def _do(app: AppState, action: str, method: Method, given: list[Path], events: queue.SimpleQueue[float | str]) -> str:
    """Do it, and return a message for the table."""

    def report(progress: Progress) -> None:
        events.put(progress.fraction)

    try:
        if action == "fetch":
            app.engine.fetch(method, report)
            return "downloaded"
        if action == "add":
            return f"kept {present.bytes_text(app.engine.keep(method, given))}"
        if action == "remove":
            return f"freed {present.bytes_text(app.engine.remove(method))}"
        return present.checks_text(app.engine.verify(method))
    except GsrError as error:
        return _told(error, given)
    except Exception as error:
        return f"This did not work: {type(error).__name__}."
    finally:
        for path in given:
            path.unlink(missing_ok=True)
