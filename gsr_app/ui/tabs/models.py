"""The Models tab: the catalogue, and fetching, verifying and removing weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError, UnknownMethod
from gsr_app.core.types import Progress
from gsr_app.models.registry import Method
from gsr_app.ui import present
from gsr_app.ui.checked import uploaded_files
from gsr_app.ui.inputs import ModelTable
from gsr_app.ui.state import AppState, Task

_BEAT_S = 0.25


def build(app: AppState) -> None:
    with gr.Column(elem_classes=["gsr-page"]):
        table = ModelTable(rows(app), may_add=app.may_manage)
    app.lists.add(lambda: setattr(table, "value", rows(app)))

    def manage(event: gr.EventData) -> Iterator[list[dict[str, Any]]]:
        asked: dict[str, Any] = event._data if isinstance(event._data, dict) else {}  # pyright: ignore
        yield from perform(app, asked.get("action"), asked.get("method"), asked.get("files"))

    # The weights of several methods may be fetched at once: a press is not lost while another one's are.
    table.manage(
        manage, outputs=table, show_progress="hidden", trigger_mode="multiple", api_name="manage",
        api_visibility="undocumented",
    )  # fmt: skip


def rows(app: AppState, tasks: Mapping[str, Task] | None = None) -> list[Any]:
    """The table's lines, with what is done with the weights of methods, or came of it."""
    engine, tasks = app.engine, tasks or {}
    return [
        present.model_row(
            method,
            engine.availability(method),
            may_manage=app.may_manage,
            message=task.said if task else "",
            busy={"fraction": task.fraction} if task and not task.is_over.is_set() else None,
        )
        for method in engine.methods
        for task in (tasks.get(method.id),)
    ]


def perform(app: AppState, action: object, method_id: object, uploads: object = None) -> Iterator[list[dict[str, Any]]]:
    """Fetch, verify, add or remove the weights of a method; yields the table as it changes."""
    if action == "add-model" and app.may_manage:
        add_model(app, uploads)
        yield from _tables(app)
        return
    known = {method.id: method for method in app.engine.methods}
    method = known.get(method_id) if isinstance(method_id, str) else None
    if method is None or action not in {"fetch", "verify", "add", "remove"} or not app.may_manage:
        raise gr.Error("This cannot be done here." if method else str(UnknownMethod(str(method_id)[:40], known)))
    given = uploaded_files(uploads) if action == "add" else []
    if method.id not in _running(app):
        task = Task()
        _begin(app, method.id, task)
        threading.Thread(target=_do, args=(app, str(action), method, given, task), daemon=True).start()
    yield from _tables(app)


def _begin(app: AppState, method_id: str, task: Task) -> None:
    """Note a task, in place of those that have ended."""
    for ended in app.tasks.keys() - _running(app).keys():
        app.tasks.pop(ended, None)
    app.tasks[method_id] = task


def _tables(app: AppState) -> Iterator[list[dict[str, Any]]]:
    """The table as it changes. Each shows every task, and those of two presses may arrive in any order: the last one of
    each press is made when no task runs any more, so that none puts an ended task back."""
    while running := _running(app):
        next(iter(running.values())).is_over.wait(_BEAT_S)
        yield rows(app, app.tasks)
    yield rows(app, app.tasks)


def _running(app: AppState) -> dict[str, Task]:
    return {key: task for key, task in app.tasks.copy().items() if not task.is_over.is_set()}


def add_model(app: AppState, uploads: object) -> None:
    """Take an uploaded model file of another author as a method."""
    (path, *others) = uploaded_files(uploads)
    try:
        if others:
            raise gr.Error("Add one model file at a time.")
        added = Task("added; reload the page to choose it in the other tabs")
        added.is_over.set()
        _begin(app, app.engine.add_model(path), added)
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


def _do(app: AppState, action: str, method: Method, given: list[Path], task: Task) -> None:
    """Do it, and note how far it is and what came of it."""

    def report(progress: Progress) -> None:
        task.fraction = progress.fraction

    try:
        if action == "fetch":
            app.engine.fetch(method, report)
            task.said = "downloaded"
        elif action == "add":
            task.said = f"kept {present.bytes_text(app.engine.keep(method, given))}"
        elif action == "remove":
            task.said = f"freed {present.bytes_text(app.engine.remove(method))}"
        else:
            task.said = present.checks_text(app.engine.verify(method))
    except GsrError as error:
        task.said = _told(error, given)
    except Exception as error:
        task.said = f"This did not work: {type(error).__name__}."
    finally:
        for path in given:
            path.unlink(missing_ok=True)
        task.is_over.set()
