"""How large a request may be. Gradio limits each uploaded file, but neither a request of several nor one of JSON."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gsr_app.ui.hosts import refuse

MOST_JSON_BYTES = 1 << 20  # inputs of a run are names, numbers and paths of uploads
_FORM_BYTES = 1 << 16  # of an upload, for what is around the file
_UPLOAD = re.compile(r"/gradio_api/upload/?$")


class _TooLarge(Exception):
    """The body of a request went on beyond its limit."""


class BodyLimits:
    """ASGI middleware that refuses larger bodies, by the size that they state or when they get there."""

    def __init__(self, app: ASGIApp, most_upload_bytes: int) -> None:
        self._app, self._most_upload = app, most_upload_bytes + _FORM_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._most_upload if _UPLOAD.search(scope["path"]) else MOST_JSON_BYTES
        stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        left, is_answered = most, False

        async def read() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _TooLarge
            return message

        async def answer(message: Message) -> None:
            nonlocal is_answered
            if left < 0 and not is_answered:  # FastAPI answers that the body cannot be read
                raise _TooLarge
            is_answered = True
            await send(message)

        try:
            if not stated.isdigit() or int(stated) > most:
                raise _TooLarge
            await self._app(scope, read, answer)
        except _TooLarge:
            if not is_answered:
                await refuse(send, 413, f"The request is too large: at most {most:,} bytes are taken here.")
