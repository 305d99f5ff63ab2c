"""Downloads of Gaussians: their progress, and that they stop when they are not needed any more.

A server of the test's own sends as much as the test has released: nothing here hangs on the clock.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from gsr_app.io.fields import pack_field
from tests.browser.conftest import wait_for
from tests.browser.fields import cell, expected_in, field_of, run, settled
from tests.browser.scenes import canvas_pixels

pytestmark = pytest.mark.browser

FIELD = field_of(6000)
BODY = gzip.compress(pack_field(FIELD), 1)
PATIENCE_S = 120


class SlowServer:
    """Sends BODY; after each `half` it waits for the test."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.stopped = threading.Event()  # the browser hung up
        self.status = 200
        self.asked = 0
        served = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.asked += 1
                self.send_response(served.status)
                self.send_header("Content-Length", str(len(BODY)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                half = len(BODY) // 2
                try:
                    self.wfile.write(BODY[:half])
                    self.wfile.flush()
                    self.connection.settimeout(0.05)
                    while not served.released.wait(0.01):
                        if self._hung_up():
                            served.stopped.set()
                            return
                    self.connection.settimeout(PATIENCE_S)
                    self.wfile.write(BODY[half:])
                except OSError:
                    served.stopped.set()

            def _hung_up(self) -> bool:
                try:
                    return self.connection.recv(1) == b""
                except TimeoutError:
                    return False

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/field.gsr.gz"


@pytest.fixture
def server() -> Iterator[SlowServer]:
    made = SlowServer()
    yield made
    made.released.set()
    made.http.shutdown()
    made.http.server_close()


def fetching(show: Callable[..., Any], server: SlowServer) -> Any:
    """A page that has half of the Gaussians."""
    page = show({"a": FIELD}, urls={"a": {"url": server.url, "bytes": len(BODY)}})
    run(page, "viewer.look(110, 80, 8);")
    wait_for(page, "/ (49|50) %$/.test(viewer.active.fieldNote)")
    return page


def test_the_pane_shows_how_much_of_the_field_was_received(show: Callable[..., Any], server: SlowServer) -> None:
    page = fetching(show, server)
    page.get_by_text("fetching the Gaussians 50 %").or_(
        page.get_by_text("fetching the Gaussians 49 %")
    ).first.wait_for()
    assert canvas_pixels(page).std() > 10  # the picture, until then
    server.released.set()
    settled(page)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.active.fieldNote") == ""
    rows, columns, expected = expected_in(FIELD, cell(page))
    assert np.abs(canvas_pixels(page)[rows, columns] - expected).max() <= 2
    assert server.asked == 1


def test_removing_a_field_stops_its_download(show: Callable[..., Any], server: SlowServer) -> None:
    page = fetching(show, server)
    run(page, "const s = JSON.parse(JSON.stringify(viewer.scene)); s.panes[0].field = null; viewer.setScene(s);")
    assert server.stopped.wait(PATIENCE_S)
    found = page.evaluate(
        "() => { const { active } = document.querySelector('.gsr-viewer').viewer; return [active.field, active.fieldNote, active.problem]; }"
    )
    assert found == [None, "", ""]
    # Requested again, it arrives completely.
    server.released.set()
    run(
        page,
        "const s = JSON.parse(JSON.stringify(viewer.scene)); s.panes[0].field = { id: 'a', count: 6000, live: false }; viewer.setScene(s);",
    )
    settled(page)
    assert server.asked == 2


def test_another_picture_stops_the_download(show: Callable[..., Any], server: SlowServer) -> None:
    page = fetching(show, server)
    run(
        page,
        "const s = JSON.parse(JSON.stringify(viewer.scene)); s.source.key = 'another'; s.panes[0].field = null; viewer.setScene(s);",
    )
    assert server.stopped.wait(PATIENCE_S)


def test_a_field_that_cannot_be_fetched_leaves_the_picture(show: Callable[..., Any], server: SlowServer) -> None:
    server.status = 404
    page = show({"a": FIELD}, urls={"a": {"url": server.url, "bytes": len(BODY)}})
    run(page, "viewer.look(110, 80, 8); viewer.setOverlay('centres');")
    wait_for(page, "viewer.active.fieldNote.includes('404') || viewer.active.failedField")
    assert canvas_pixels(page).std() > 10
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.active.isLive") is False
