"""Requests that cannot be read: answered with a status, and one line in the log.

Gradio prints a traceback for each, so that a visitor could fill the log. An error in code of this program still comes
with its traceback.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gsr_app.core.errors import printable
from gsr_app.ui.hosts import refuse

log = logging.getLogger("gsr")

_OURS = Path(__file__).resolve().parents[1]
_MIDDLEWARE = {
    "body_limits.py",
    "hosts.py",
    "request_errors.py",
    "startpage.py",
    "visits.py",
}  # every request passes through them


class RequestErrors:
    """ASGI middleware that answers where a request made Gradio fail."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def answer(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            report(error, f"{scope['method']} {scope['path']}")
            if is_answered:
                await send({"type": "http.response.body", "body": b""})
            else:
                await refuse(send, 500 if _is_ours(error) else 400, "The request could not be answered.")


class OneLine:
    """What Gradio's modules get in place of `traceback`: their `print_exc` writes one line."""

    @staticmethod
    def print_exc() -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            report(error, "a call")


def shorten_tracebacks() -> None:
    """Let the modules of Gradio that answer requests log one line where they print a traceback."""
    from gradio import queueing, routes

    for module in (queueing, routes):
        module.traceback = OneLine  # type: ignore[attr-defined]


def report(error: Exception, what: str) -> None:
    """Log that a request failed: with the traceback if the error is in this program's code."""
    text = f"{type(error).__name__}: {printable(str(error))[:200]}"
    if _is_ours(error):
        log.error("Failed at %s: %s", printable(what)[:200], text, exc_info=error)
    else:
        log.warning("Could not read %s: %s", printable(what)[:200], text)


def _is_ours(error: Exception) -> bool:
    """Whether an error passed through code of this program that does something for a visitor."""
    files = (Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
    return any(file.is_relative_to(_OURS) and file.name not in _MIDDLEWARE for file in files)
