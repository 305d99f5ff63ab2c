"""Requests of the viewer: views of fields, and field files.

The page sends them directly; what they take goes through the queues of the app, and ends when the client hangs up.
Nothing in a request has been checked. Errors are returned as data, because the page shows them in place of the view.
"""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument
from gsr_app.core.types import FieldHandle, Rendered, View
from gsr_app.ui import reports
from gsr_app.ui.checked import number, request_of
from gsr_app.ui.files import url_of
from gsr_app.ui.reports import MOST_GAUSSIANS
from gsr_app.ui.state import AppState
from gsr_app.ui.visits import Client
from gsr_app.viewer.comparison import pack_handle
from gsr_app.viewer.page.build import encoder_file
from gsr_app.viewer.png import encode_png

log = logging.getLogger("gsr")

MOST_VIEW_PIXELS = 4_000_000
_LEAST_SPAN = 1e-6  # source pixels
# Values of Gaussians at pixels: about ten seconds of one processor core. An upscaled picture takes some 30 per pixel.
MOST_VALUES = 20_000_000_000
_SHORT_VALUES = MOST_VALUES // 20  # a view of more waits for its turn with the long jobs


def view_of(data: dict[str, Any], source_size: tuple[int, int]) -> View:
    """The view that a request describes, if it can be drawn."""
    height, width = round(number(data, "out_height")), round(number(data, "out_width"))
    if not (height >= 1 and width >= 1 and height * width <= MOST_VIEW_PIXELS):
        raise InvalidArgument(f"A view has between 1 and {MOST_VIEW_PIXELS:,} pixels, found {width}×{height}.")
    view = View(
        (number(data, "x"), number(data, "y")), (number(data, "height"), number(data, "width")), (height, width)
    )
    reach = 4 * max(source_size)
    if max(abs(view.origin[0]), abs(view.origin[1]), *view.span) > reach:
        raise InvalidArgument("The view lies far outside the picture.")
    if min(view.span) < _LEAST_SPAN:
        raise InvalidArgument("The view is too small a part of the picture.")
    return view


def render_view(app: AppState, data: object) -> dict[str, Any]:
    """Draw a rectangle of a field at screen resolution: {field, x, y, width, height, out_width, out_height}."""
    request = request_of(data)
    handle = app.handles.get(request.get("field"))
    view = view_of(request, handle.source_size)
    started = time.perf_counter()
    rendered = draw(app, app.visits.client(), handle, view)
    drawn = time.perf_counter()
    path = app.files.put(encode_png(np.asarray(rendered.image)), ".png", "view")
    return {
        "url": url_of(path),
        "ms": round(1000 * (time.perf_counter() - started), 1),
        "draw_ms": round(1000 * (drawn - started), 1),
        "backend": rendered.backend,
    }


def draw(app: AppState, client: Client, handle: FieldHandle, view: View) -> Rendered:
    """Draw a view in the queue, if it does not take too long. It ends when the client leaves."""
    values = app.engine.count_values(handle, view)
    if values > MOST_VALUES:
        height, width = view.size
        raise InvalidArgument(
            f"The Gaussians are too large for a view of {width}×{height} pixels: drawing it would add up "
            f"{values / 1e9:,.0f} thousand million values, at most {MOST_VALUES / 1e9:,.0f} are.",
            hint="Draw fewer pixels, or use gsr render on the command line.",
        )
    return app.runs.wait(
        client, lambda cancelled: app.engine.render(handle, view, cancelled), is_short=values <= _SHORT_VALUES
    )


def field_bytes(app: AppState, data: object) -> dict[str, Any]:
    """The Gaussians of a field as a compressed file: {field}."""
    handle = app.handles.get(request_of(data).get("field"))
    if handle.count > MOST_GAUSSIANS:
        raise InvalidArgument(f"{handle.count:,} Gaussians are too many to send; at most {MOST_GAUSSIANS:,} are.")
    # Compressed here, because not every server or proxy in between compresses.
    packed = gzip.compress(pack_handle(app.engine, handle, app.engine.methods), 1)
    return {"url": url_of(app.files.put(packed, ".gsr.gz", "field")), "count": handle.count, "bytes": len(packed)}


def encoder(app: AppState, data: object) -> dict[str, Any]:
    """The scripts and weights with which a browser runs Swift."""
    return {"url": url_of(app.files.put(encoder_file(), ".json.gz", "encoder"))}


def server_functions(app: AppState) -> list[Callable[..., Any]]:
    """The viewer's server functions, by the names that its page calls."""

    def answer(work: Callable[[AppState, object], dict[str, Any]], data: object) -> dict[str, Any]:
        try:
            return work(app, data)
        except Cancelled as error:
            return {"error": str(error)}
        except GsrError as error:
            return {"error": f"{error} {error.hint}".strip()}
        except Exception as error:
            log.exception("A view could not be drawn")
            return {"error": f"The view could not be drawn: {type(error).__name__}."}

    def queued(work: Callable[[AppState, object], dict[str, Any]]) -> Callable[[AppState, object], dict[str, Any]]:
        return lambda app, data: app.runs.wait(app.visits.client(), lambda _: work(app, data), is_short=True)

    def named(name: str, work: Callable[[AppState, object], dict[str, Any]]) -> Callable[..., Any]:
        def function(data: Any) -> Any:
            return answer(work, data)

        function.__name__ = name
        return function

    saved = {"report": reports.report, "figure": reports.figure, "table": reports.table}
    return [
        named("render_view", render_view),
        named("field_bytes", queued(field_bytes)),
        named("encoder", queued(encoder)),
        *(named(name, queued(work)) for name, work in saved.items()),
    ]
