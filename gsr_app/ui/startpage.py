"""The page as it is sent: the first screen before everything else, and Gradio's scripts in one file.

Gradio's page begins with the description of all components. A browser shows nothing before it has read that and the
stylesheet, which takes seconds on a slow network. Here the first screen comes first, as a still.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli  # Gradio needs it, too
import gradio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gsr_app.ui.pack import Pack, make_pack

_FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend"
_CONFIG = re.compile(r"<script>\s*window\.gradio_config = ")
_BODY = re.compile(r"</head>\s*<body[^>]*>")
_MODULE = '<script type="module"'
_ALSO = {"checkboxgroup", "plot"}  # of closed tabs, too, Gradio loads these at the start


class StartPage:
    """ASGI middleware that rearranges the page and serves the pack; `refresh` is called before Gradio sends a page."""

    def __init__(self, app: ASGIApp, splash: str, refresh: Callable[[], None] = lambda: None) -> None:
        self._app, self._splash, self._refresh = app, splash, refresh
        self._packs: dict[frozenset[str], Pack | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        name = scope["path"].rpartition("/")[2]
        for pack in self._packs.values():
            if pack and name == pack.name:
                await _send_script(send, pack.text)
                return
        if name:
            await self._app(scope, receive, send)
        else:
            await asyncio.to_thread(self._refresh)
            accepted = b",".join(value for key, value in scope["headers"] if key == b"accept-encoding").decode(
                "latin-1"
            )
            await self._app(scope, receive, _Rewriter(send, self._rearrange, accepted).send)

    def _rearrange(self, page: str) -> str:
        """The page with the first screen at its top, and the pack before Gradio's module; as it is where its form is
        another, such as that of the page that asks for a password."""
        config, body = _CONFIG.search(page), _BODY.search(page)
        if config is None or body is None or config.start() > body.start():
            return page
        described = json.JSONDecoder().raw_decode(page, config.end())[0]
        if described.get("auth_required"):
            return page
        pack = self._pack(frozenset(types_at_start(described)))
        scripts = page[config.start() : body.start()]
        if pack is not None:
            scripts = scripts.replace(_MODULE, f'<script src="./{pack.name}"></script>{_MODULE}', 1)
        return page[: config.start()] + body[0] + self._splash + scripts + page[body.end() :]

    def _pack(self, types: frozenset[str]) -> Pack | None:
        if types not in self._packs:
            self._packs[types] = make_pack(types, _FRONTEND)
        return self._packs[types]


def types_at_start(config: dict[str, Any]) -> set[str]:
    """The types of the components that Gradio loads before another tab is opened."""
    types = {component["id"]: component["type"] for component in config.get("components", [])}

    def below(node: dict[str, Any]) -> Iterator[str]:
        kind = types.get(node.get("id"), "")
        yield kind
        children = node.get("children") or []
        for child in children[:1] if kind == "tabs" else children:
            yield from below(child)

    found = set(below(config.get("layout") or {}))
    return (found | (_ALSO & set(types.values()))) - {""}


# The page holds the scripts of the viewer several times: only Brotli looks back far enough to see it.
_CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=5),
    "gzip": lambda body: gzip.compress(body, 6),
}


class _Rewriter:
    """Holds an answer back until it is whole, and sends it rewritten if it is a page. Gradio does not compress it."""

    def __init__(self, send: Send, rewrite: Callable[[str], str], accepted: str) -> None:
        self._send, self._rewrite, self._accepted = send, rewrite, accepted
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            if message["status"] == 200 and any(kind.startswith(b"text/html") for kind in kinds):
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._rewrite(self._body.decode()).encode()
        headers = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        for coding, compress in _CODINGS.items():
            if re.search(rf"\b{coding}\b", self._accepted):
                body = compress(body)
                headers += [(b"content-encoding", coding.encode()), (b"vary", b"accept-encoding")]
                break
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


async def _send_script(send: Send, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"public, max-age=31536000, immutable"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
