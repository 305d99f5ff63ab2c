"""Requests of the viewer: views of fields, field files, and reports.

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
from gsr_app.ui.files import path_of, url_of
from gsr_app.ui.state import AppState
from gsr_app.ui.visits import Client
from gsr_app.viewer.comparison import pack_handle
from gsr_app.viewer.contract import Region
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.report import field_url, page_of, write_report

log = logging.getLogger("gsr")

MOST_VIEW_PIXELS = 4_000_000
MOST_REGIONS = 24
MOST_GAUSSIANS = 3_000_000  # 60 MB
# Values of Gaussians at pixels: about ten seconds of one processor core. An upscaled picture takes some 30 per pixel.
MOST_VALUES = 20_000_000_000
_SHORT_VALUES = MOST_VALUES // 20  # a view of more waits for its turn with the long jobs


def number(data: dict[str, Any], name: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise InvalidArgument(f"{name} must be a finite number.")
    return float(value)


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
    return view


def render_view(app: AppState, data: object) -> dict[str, Any]:
    """Draw a rectangle of a field at screen resolution: {field, x, y, width, height, out_width, out_height}."""
    request = _request(data)
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
    handle = app.handles.get(_request(data).get("field"))
    if handle.count > MOST_GAUSSIANS:
        raise InvalidArgument(f"{handle.count:,} Gaussians are too many to send; at most {MOST_GAUSSIANS:,} are.")
    # Compressed here, because not every server or proxy in between compresses.
    packed = gzip.compress(pack_handle(app.engine, handle, app.engine.methods), 1)
    return {"url": url_of(app.files.put(packed, ".gsr.gz", "field")), "count": handle.count, "bytes": len(packed)}


def _field_file(app: AppState, key: str) -> bytes:
    return pack_handle(app.engine, app.handles.get(key), app.engine.methods)


def report(app: AppState, data: object) -> dict[str, Any]:
    """One HTML file of a finished run: {run, regions: [{x, y, width, height, name}], carry: [pane id]}.

    With `plan` it is not written: the answer is its size without fields, and the size of each pane's field.
    """
    request = _request(data)
    scene = app.scenes.get(request.get("run"))
    wanted = request.get("regions")
    regions = [_region(one) for one in wanted[:MOST_REGIONS]] if isinstance(wanted, list) else []
    paths = {pane.id: path_of(pane.url) for pane in scene.panes if pane.url}
    try:
        pictures = {pane_id: path.read_bytes() for pane_id, path in paths.items()}
    except OSError:
        raise InvalidArgument("The pictures of this run have been removed already.", hint="Run it again.") from None
    name = scene.source.name if scene.source else "picture"
    known = {method.id: method for method in app.engine.methods}
    methods = [known[pane.id] for pane in scene.panes if pane.id in known]
    with_field = {pane.id: pane.field for pane in scene.panes if pane.field and pane.field.count <= MOST_GAUSSIANS}
    if request.get("plan"):
        text, _, _ = write_report([page_of(name, scene, pictures, regions)], methods, f"GSR · {name}")
        sizes = {pane_id: len(field_url(_field_file(app, field.id))) for pane_id, field in with_field.items()}
        return {"bytes": len(text.encode()), "fields": sizes}
    carry = request.get("carry")
    wished = [one for one in carry if one in with_field] if isinstance(carry, list) else []
    fields = {pane_id: _field_file(app, with_field[pane_id].id) for pane_id in wished}
    text, _, _ = write_report([page_of(name, scene, pictures, regions, fields)], methods, f"GSR · {name}")
    return {"url": url_of(app.files.put(text.encode(), ".html", "gsr-report"))}


def _region(data: object) -> Region:
    if not isinstance(data, dict):
        raise InvalidArgument("A region is one object.")
    place = [round(number(data, name)) for name in ("x", "y", "width", "height")]
    return Region(*place, name=str(data.get("name", ""))[:24])


def _request(data: object) -> dict[str, Any]:
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        raise InvalidArgument("A request is one object.")
    return data


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

    def render(data: Any) -> Any:
        return answer(render_view, data)

    def fetch(data: Any) -> Any:
        return answer(queued(field_bytes), data)

    def write(data: Any) -> Any:
        return answer(queued(report), data)

    render.__name__, fetch.__name__, write.__name__ = "render_view", "field_bytes", "report"
    return [render, fetch, write]
