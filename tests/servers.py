"""A real server for tests."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gsr_app.ui.hosts import Hosts
    from gsr_app.ui.state import AppState


@contextlib.contextmanager
def serve(app: AppState, hosts: Hosts | None = None, **options: Any) -> Iterator[str]:
    """The address of the app, which listens at a free port of this machine."""
    from gsr_app.ui import layout

    page = layout.build(app)
    # Of the ports that Gradio would try, two tests at once can choose the same.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launch_options = {"server_port": port, **layout.launch_options(app, hosts), **options}
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options)
    try:
        yield url
    finally:
        page.close()
