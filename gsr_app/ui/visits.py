"""Which clients are still there, so that nothing is computed for one that has left.

A client of a queued request listens to a stream of events, named by its session or by the request itself. A client of a
direct request keeps its connection open until the answer. Both are seen by an ASGI middleware.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gsr_app.ui.store import BoundedStore

# How long a client may be without a connection: one that reconnects, and one that has not asked for its events yet.
_RECONNECT_S, _CONNECT_S = 1.0, 30.0
_EVENTS = re.compile(r"/gradio_api/(?:queue/data|call/(?:v2/)?[^/]+/(\w+))/?$")
_DIRECT = re.compile(r"/gradio_api/(?:component_server|run/[^/]+|api/[^/]+)/?$")


@dataclass(frozen=True, eq=False)
class _Request:
    """The request that this thread or task works for."""

    address: str  # of the client, or of the last proxy before the app
    is_direct: bool
    is_over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False)
class Client:
    """Who waits for a job."""

    visitor: str  # whose turn it is in a queue
    has_left: Callable[[], bool] = lambda: False


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


class Visits:
    """The clients that listen to events, by session or request."""

    def __init__(self) -> None:
        self._listeners: Counter[str] = Counter()
        self._left: BoundedStore[float] = BoundedStore(1000)  # when the last of them left
        self._lock = threading.Lock()

    def add(self, key: str, change: int) -> None:
        with self._lock:
            self._listeners[key] += change
            if not self._listeners[key]:
                del self._listeners[key]
                self._left.put(time.monotonic(), key)

    def is_listening(self, key: str) -> bool:
        return key in self._listeners

    def client(self, visitor: str = "", session: str = "", event: str = "") -> Client:
        """The client that this thread works for; it hears of its session or of this one event."""
        request = _request.get()
        if request is not None and request.is_direct:
            return Client(visitor or request.address, request.is_over.is_set)
        started = time.monotonic()

        def has_left() -> bool:
            if self.is_listening(session) or self.is_listening(event):
                return False
            left = self._left.find(event) or 0.0
            if not left and (of_session := self._left.find(session) or 0.0) > started:  # else: of an earlier event
                left = of_session
            return time.monotonic() > (left + _RECONNECT_S if left else started + _CONNECT_S)

        return Client(visitor, has_left)


class VisitTracking:
    """ASGI middleware that notes who is connected."""

    def __init__(self, app: ASGIApp, visits: Visits) -> None:
        self._app, self._visits = app, visits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        client: tuple[str, int] | None = scope.get("client")
        request = _Request(client[0] if client else "", method == "POST" and bool(_DIRECT.search(path)))
        token = _request.set(request)
        events = _EVENTS.search(path) if method == "GET" else None
        try:
            if request.is_direct:
                await self._answer(request, scope, receive, send)
            elif events:
                await self._stream(events[1] or _session_of(scope), scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            _request.reset(token)

    async def _stream(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._visits.add(key, 1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._visits.add(key, -1)

    async def _answer(self, request: _Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a direct request, and note when its client hangs up before."""

        async def wait_for_the_end() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            request.is_over.set()

        waiting: list[asyncio.Task[None]] = []

        async def read() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                request.is_over.set()
            elif not message.get("more_body") and not waiting:
                waiting.append(asyncio.create_task(wait_for_the_end()))
            return message

        try:
            await self._app(scope, read, send)
        finally:
            for task in waiting:
                task.cancel()


def _session_of(scope: Scope) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
