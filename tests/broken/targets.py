"""What a worker does with each damaged file. A target raises `GsrError` for what it refuses."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.errors import GsrError

Work = Callable[[Path], None]


def read_picture(folder: Path) -> Work:
    """Whole and in strips, and written again."""
    from gsr_app.io.images import RowReader, read_image, write_image

    def work(path: Path) -> None:
        picture = read_image(path)
        write_image(folder / "out.png", picture, overwrite=True, text={"method": "test"})
        reader = RowReader(path)
        for top in range(0, reader.size[0], 32):
            with suppress(GsrError):
                reader.rows(top, min(top + 32, reader.size[0]))

    return work


def upscale_video(folder: Path) -> Work:
    """Upscaled, with its sound, into a file."""
    from gsr_app.core.types import Scale
    from gsr_app.engine.session import Session
    from gsr_app.engine.video_job import VideoJob, upscale_video

    session = Session("cpu")

    def work(path: Path) -> None:
        target = folder / "out.mkv"
        job = VideoJob(
            path, target, "bilinear", lambda _: Scale(1.5, 1.5), end_s=Fraction(2), codec="ffv1", overwrite=True,
            restart=True, drop_unfit_sound=True,
        )  # fmt: skip
        for number, step in enumerate(upscale_video(session, job)):
            assert np.isfinite(step.result).all()
            if number > 100:
                break

    return work


def draw_field(folder: Path) -> Work:
    """Loaded, and drawn small if it does not take too long."""
    from gsr_app import api
    from gsr_app.core.types import View
    from gsr_app.engine.rows import count_values
    from gsr_app.io.fields import load_field

    def work(path: Path) -> None:
        field = load_field(path)
        height, width = field.source_size
        view = View((0.0, 0.0), (float(height), float(width)), (24, 32))
        if count_values(field, view) < 1e8:
            shown = api.load(path, device="cpu").render(view)
            assert shown.array.shape[:2] == (24, 32)
            assert shown.array.dtype == np.uint8

    return work


def load_weights(folder: Path) -> Work:
    """Loaded into a network like the one that they were made from."""
    import torch

    from gsr_app.models.checkpoint import load_files
    from tests.broken.networks import small_network

    def work(path: Path) -> None:
        network = load_files(small_network(), {"": path})
        with torch.inference_mode():
            network(torch.zeros(1, 3, 8, 8))

    return work


# ---- requests ---------------------------------------------------------------------------------------------------


_OPEN: list[object] = []
_EVENTS = b"text/event-stream"


class BadAnswer(AssertionError):
    """An answer that a client must not get."""


class Log(logging.Handler):
    """Keeps the log lines that come with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []
        self._text = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks.append(self._text.format(record))


def send_request(folder: Path) -> Work:
    """Sent to an app with a real engine; what it queues is waited for."""
    import h11
    from PIL import Image

    from gsr_app.ui.engine import Engine
    from gsr_app.ui.state import Limits, create_app_state
    from tests.servers import serve

    log = Log()
    logging.getLogger().addHandler(log)
    server = serve(create_app_state(Engine("cpu"), Limits(100_000, 400_000)))
    _OPEN.append(server)  # otherwise it would be closed when this function returns
    host, port = server.__enter__().removeprefix("http://").rstrip("/").split(":")
    for name in ("gsr", "uvicorn.error"):  # they write a line for each request that cannot be read
        logging.getLogger(name).setLevel(logging.ERROR)
    picture = folder / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(picture)

    def exchange(request: bytes, *, to_end: bool = False) -> tuple[int, bytes]:
        """The status and the body of the answer; status 0 where the request is not complete, so that none is due.

        A stream of events is open for as long as its session is: it is read only if it goes `to_end`.
        """
        reader = h11.Connection(h11.SERVER)
        is_due = True
        with suppress(h11.RemoteProtocolError):
            reader.receive_data(request)
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    is_due = False
                    break
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        status, body = 0, b""
        with socket.create_connection((host, int(port)), timeout=60 if is_due else 0.05) as line:
            with suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(request)
            while True:
                try:
                    data = line.recv(1 << 16)
                except ConnectionResetError:
                    data = b""
                except TimeoutError:
                    if is_due:
                        raise BadAnswer("no answer within a minute") from None
                    return status, body
                try:
                    connection.receive_data(data)
                    while (event := connection.next_event()) is not h11.NEED_DATA:
                        if isinstance(event, h11.Response):
                            status = event.status_code
                            if not to_end and dict(event.headers).get(b"content-type", b"").startswith(_EVENTS):
                                return status, body
                        elif isinstance(event, h11.Data):
                            body += bytes(event.data)
                        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                            return status, body
                except h11.RemoteProtocolError:  # an answer to HEAD, or a connection that was closed
                    return status, body

    def get(path: str) -> tuple[int, bytes]:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        return exchange(request.encode(), to_end=True)

    uploaded = _upload(exchange, picture)

    def work(path: Path) -> None:
        log.tracebacks.clear()
        request = path.read_bytes().replace(b"@PICTURE@", uploaded)
        status, body = exchange(request)
        if status in {200, 201} and (event := _event_of(body)):
            name = request.split(b" ", 2)[1].split(b"?")[0].rpartition(b"/")[2].decode("latin-1")
            _, body = get(f"/gradio_api/call/{name}/{event}")
        if status >= 500:
            raise BadAnswer(f"{status}: {body[:500]!r}")
        if b"Traceback" in body or b"site-packages" in body:
            raise BadAnswer(f"a traceback: {body[:500]!r}")
        if log.tracebacks:
            raise BadAnswer(log.tracebacks[0])
        if status >= 400 or status == 0 or b"event: error" in body:
            raise GsrError(f"Answered with {status}.", hint="As it should be.")

    return work


def _upload(exchange: Callable[[bytes], tuple[int, bytes]], picture: Path) -> bytes:
    import json

    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n--b--\r\n'
    body = form % picture.read_bytes()
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    _, answer = exchange(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return json.loads(answer)[0].encode()


def _event_of(body: bytes) -> str:
    import json

    try:
        answer: Any = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("event_id") or "") if isinstance(answer, dict) else ""
