"""Requests for what is saved of finished runs: a report, a figure for a paper, a table.

A request names its runs: {pages: [{run, regions: [{x, y, width, height, name}]}]}, or one of them without a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gsr_app.core.errors import InvalidArgument
from gsr_app.models import registry
from gsr_app.models.registry import Method
from gsr_app.ui.checked import region_of, request_of
from gsr_app.ui.files import path_of, url_of
from gsr_app.ui.state import AppState
from gsr_app.viewer.comparison import pack_handle
from gsr_app.viewer.contract import PaneField, Scene
from gsr_app.viewer.paper import WIDTHS_IN, write_figure
from gsr_app.viewer.report import Page, encoder_bytes, field_url, figure_rows, page_of, write_report
from gsr_app.viewer.table import FORMATS, write_table

MOST_PAGES = 40
MOST_REGIONS = 24
MOST_GAUSSIANS = 3_000_000  # 60 MB


@dataclass(frozen=True, eq=False)
class _Asked:
    pages: list[Page]  # without fields
    title: str
    methods: list[Method]
    fields: list[dict[str, PaneField]]  # of each page, by pane id: those that a report can carry


def _asked(app: AppState, request: dict[str, Any]) -> _Asked:
    wanted = request.get("pages") or [request]
    if not isinstance(wanted, list) or len(wanted) > MOST_PAGES:
        raise InvalidArgument(f"A report has at most {MOST_PAGES} pictures.")
    found = [app.scenes.get(request_of(one).get("run")) for one in wanted]
    scenes = [replace(scene, panes=tuple(pane for pane in scene.panes if not pane.here)) for scene in found]
    pages = [_page(scene, one.get("regions")) for scene, one in zip(scenes, wanted, strict=True)]
    name = pages[0].title if len(pages) == 1 else f"{len(pages)} pictures"
    ids = {pane.id for scene in scenes for pane in scene.panes}
    chosen = [found for one in sorted(ids) if (found := registry.find(one)) and found.strength is not None]
    methods = [method for method in app.engine.methods if method.id in ids] + chosen
    fields = [
        {pane.id: pane.field for pane in scene.panes if pane.field and pane.field.count <= MOST_GAUSSIANS}
        for scene in scenes
    ]
    return _Asked(pages, f"GSR · {name}", methods, fields)


def _page(scene: Scene, regions: object) -> Page:
    paths = {pane.id: path_of(pane.url) for pane in scene.panes if pane.url}
    try:
        pictures = {pane_id: path.read_bytes() for pane_id, path in paths.items()}
    except OSError:
        raise InvalidArgument("The pictures of this run have been removed already.", hint="Run it again.") from None
    found = [region_of(one) for one in regions[:MOST_REGIONS]] if isinstance(regions, list) else []
    return page_of(scene.source.name if scene.source else "picture", scene, pictures, found)


def report(app: AppState, data: object) -> dict[str, Any]:
    """One HTML file of finished runs; `carry` lists the ids of panes whose fields it includes. With `encoder` other
    pictures can be enlarged in it, too.

    With `plan` it is not written: the answer is its size alone, and the sizes of each pane's field and of the encoder.
    """
    request = request_of(data)
    asked = _asked(app, request)
    if request.get("plan"):
        text, _, _ = write_report(asked.pages, asked.methods, asked.title)
        sizes: dict[str, int] = {}
        for fields in asked.fields:
            for pane_id, one in fields.items():
                sizes[pane_id] = sizes.get(pane_id, 0) + len(field_url(_field_file(app, one.id)))
        return {"bytes": len(text.encode()), "fields": sizes, "encoder": encoder_bytes()}
    carry = request.get("carry")
    wished: Sequence[object] = carry if isinstance(carry, list) else []
    pages: list[Page] = []
    for page, fields in zip(asked.pages, asked.fields, strict=True):
        carried = {pane_id: _field_file(app, one.id) for pane_id, one in fields.items() if pane_id in wished}
        pages.append(replace(page, fields=carried))
    text, _, _ = write_report(pages, asked.methods, asked.title, with_encoder=bool(request.get("encoder")))
    return {"url": url_of(app.files.put(text.encode(), ".html", "gsr-report"))}


def _field_file(app: AppState, key: str) -> bytes:
    return pack_handle(app.engine, app.handles.get(key), app.engine.methods)


def figure(app: AppState, data: object) -> dict[str, Any]:
    """The PDF of the regions; `width` is one of `WIDTHS_IN`."""
    request = request_of(data)
    width = request.get("width")
    if not isinstance(width, str) or width not in WIDTHS_IN:
        raise InvalidArgument(f"The width of a figure is one of {', '.join(WIDTHS_IN)}.")
    rows = figure_rows(_asked(app, request).pages)
    if not rows:
        raise InvalidArgument("A figure shows regions, and there is none.", hint="Draw one over the picture (R).")
    return {"url": url_of(app.files.put(write_figure(rows, width), ".pdf", "figure"))}


def table(app: AppState, data: object) -> dict[str, Any]:
    """The scores as text; `form` is one of `FORMATS`."""
    request = request_of(data)
    form = request.get("form")
    if form not in FORMATS:
        raise InvalidArgument(f"The format of a table is one of {', '.join(FORMATS)}.")
    pages = _asked(app, request).pages
    return {"text": write_table([(page.title, page.scene) for page in pages], str(form))}
