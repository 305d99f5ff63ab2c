"""The pieces that the rails of all tabs are made of: headings, notes, and the Run and Stop buttons."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import gradio as gr
from gradio.context import LocalContext

from gsr_app.models.registry import Method
from gsr_app.ui import present
from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.ui.inputs import STATIC
from gsr_app.ui.state import AppState
from gsr_app.ui.visits import Client

T = TypeVar("T")

# The options of events that are answered at once, beside the queue.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "undocumented"}

# Those of events that come faster than their answers: the one that waits is answered last, with what the page has then.
# Gradio then triggers the event of the component again, so all that belongs to it: such a one must be the only one of
# its event, and others come after it by `then`. Two of one event would trigger each other without end.
LATEST: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}

# Those of Stop: a press is not lost while the answer to the one before it is on its way.
STOPPING: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}


def streaming(outputs: list[Any]) -> dict[str, Any]:
    """The options of events whose answers are streamed."""
    return {
        "outputs": outputs, "show_progress": "hidden", "concurrency_limit": None, "trigger_mode": "once",
        "api_visibility": "undocumented",
    }  # fmt: skip


def heading(text: str) -> None:
    gr.HTML(f'<h2 class="gsr-rubric">{html.escape(text)}</h2>', padding=False, apply_default_css=False)


def method_list(app: AppState, methods: Callable[[], Sequence[Method]], name: str) -> gr.Dropdown:
    """One of these methods; Swift at first, if it is among them."""

    def choices() -> list[tuple[str, str | int | float]]:
        return [(present.method_choice(one, app.engine.availability(one)), one.id) for one in methods()]

    ids = [one.id for one in methods()]
    first = "swift" if "swift" in ids else ids[0]
    found = gr.Dropdown(choices(), value=first, label="Method", show_label=False, container=False, elem_id=name)
    app.lists.add(lambda: setattr(found, "choices", choices()))
    return found


def settings_button() -> None:
    """The button that opens and closes the rail where it is a sheet at the bottom: on a phone."""
    ScriptedHTML(
        '<button type="button" class="gsr-sheetbutton" aria-expanded="false">Settings</button>',
        js_on_load=(STATIC / "sheet.js").read_text(encoding="utf-8"),
        padding=False,
        elem_classes=["gsr-settings"],
    )


def note(text: str, *, name: str = "", wrong: bool = False) -> str:
    """A line of the rail. What a visitor wrote or a file contained is escaped."""
    strong = f"<b>{html.escape(name[:60])}</b><br>" if name else ""
    return f'<div class="gsr-facts{" is-wrong" if wrong else ""}" aria-live="polite">{strong}{html.escape(text)}</div>'


def error_note(error: Any) -> str:
    return note(f"{error} {error.hint}", wrong=True)


def begun(*, starters: int = 1) -> list[Any]:
    """Updates of the buttons that start a run, of Stop, and of the notice above them."""
    return [*(gr.update(visible=False) for _ in range(starters)), gr.update(visible=True), ""]


def over(notice: str) -> list[Any]:
    """The same at the end of a run; `come_back` shows the buttons.

    The last scene is sent once more with it: the page misses an update that directly follows the first of a run.
    """
    return [gr.skip(), gr.skip(), notice]


def _back(_: str) -> list[Any]:
    return [gr.update(visible=True), gr.update(visible=False)]


def come_back(
    app: AppState,
    kind: str,
    event: Any,
    buttons: list[gr.Button],
    name: str,
    updates: Callable[[str], list[Any]] = _back,
) -> None:
    """Show Run in place of Stop after an event that is a run: before it has ended, Gradio ignores the next press.

    buttons: Run and Stop, or those that `updates` returns updates of for a visitor.
    """

    def shown(request: gr.Request) -> list[Any]:
        whose = visitor(request)
        if app.runs.is_running(kind, whose):  # a newer one, which has stopped this one
            return [gr.skip()] * len(buttons)
        return updates(whose)

    for then, how in ((event.then, "over"), (event.failure, "failed")):
        then(shown, outputs=buttons, api_name=f"{name}_{how}", **QUIET)


def visitor(request: gr.Request | None) -> str:
    """Whose request it is; all clients without a session count as one."""
    return (request.session_hash if request else None) or "api"


def client(app: AppState, request: gr.Request) -> Client:
    """The client of a request: a session, or an address where the client did not name a session."""
    event, session = LocalContext.event_id.get() or "", request.session_hash or ""
    is_nameless = not session or session == event  # then Gradio names the session like the request
    address = request.client.host if request.client else ""
    return app.visits.client(f"address {address}" if is_nameless else session, session, event)


def while_heard(app: AppState, request: gr.Request, updates: Iterator[T]) -> Iterator[T]:
    """The updates of a run, which is stopped when nobody listens to them: Gradio ends those of a page that has left,
    but not those of a client that never came for them."""
    whose = client(app, request)
    for update in updates:
        if whose.has_left():
            updates.close()  # type: ignore[attr-defined]
            return
        yield update
