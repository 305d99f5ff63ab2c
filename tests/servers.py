"""A real server for tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from gsr_app.ui.hosts import Hosts
    from gsr_app.ui.state import AppState


# A process has a hundred to itself; the system gives none of them to a socket that asks for any.
_PORTS = itertools.cycle(range(20000 + os.getpid() % 120 * 100, 20100 + os.getpid() % 120 * 100))


def free_port() -> int:
    """A port of this machine that nothing listens at, and that no other test is given."""
    for port in itertools.islice(_PORTS, 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


@contextlib.contextmanager
def serve(app: AppState, hosts: Hosts | None = None, **options: Any) -> Iterator[str]:
    """The address of the app, which listens at a free port of this machine."""
    from gsr_app.ui import layout

    page = layout.build(app)
    # Of the ports that Gradio would try, two tests at once can choose the same.
    launch_options = {"server_port": free_port(), **layout.launch_options(app, hosts), **options}
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options)
    try:
        yield url
    finally:
        page.close()


def get(address: str, **options: Any) -> httpx.Response:
    """`httpx.get` with time for a machine that is busy."""
    import httpx

    return httpx.get(address, **{"timeout": 60, **options})


def post(address: str, **options: Any) -> httpx.Response:
    """`httpx.post` with time for a machine that is busy."""
    import httpx

    return httpx.post(address, **{"timeout": 60, **options})
