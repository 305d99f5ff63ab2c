"""A report: one HTML file with the viewer, the pictures, the scores, and the weights and licences behind them.

It opens from a disk without a network; it fetches nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from gsr_app import __version__
from gsr_app.models.registry import Method
from gsr_app.viewer import bundle
from gsr_app.viewer.contract import PaneField, PaneSpec, Region, Scene, as_json
from gsr_app.viewer.crops import Row, on_white
from gsr_app.viewer.figure import draw_figure
from gsr_app.viewer.page.build import page_css, page_data
from gsr_app.viewer.paper import write_figure

_THUMBNAIL_PX = (168, 132)
SAME = "#url"  # a download that is the picture itself


@dataclass(frozen=True, eq=False)
class Page:
    """One picture of a report: its scene, and the PNG of every pane by its id."""

    title: str
    scene: Scene
    pictures: Mapping[str, bytes]
    fields: Mapping[str, bytes] = field(default_factory=dict[str, bytes])  # pane id -> field file, where carried


def field_url(data: bytes) -> str:
    """A field file as a compressed data URL."""
    return bundle.data_url(gzip.compress(data, 6, mtime=0), "application/gzip")


def _carried(page: Page, number: int) -> tuple[Scene, dict[str, str]]:
    """The scene with its pictures as data URLs, and the fields by the ids in it."""
    fields: dict[str, str] = {}
    panes: list[PaneSpec] = []
    for pane in page.scene.panes:
        png = page.pictures.get(pane.id)
        url = bundle.data_url(png, "image/png") if png else None
        kept = None
        if pane.field is not None:
            kept = PaneField("", pane.field.count, live=False)
            if pane.id in page.fields:
                kept = replace(kept, id=f"{number}-{pane.id}")
                fields[kept.id] = field_url(page.fields[pane.id])
        # The download is the picture that is shown, so it is embedded once.
        panes.append(replace(pane, url=url, download_url=url and SAME, field=kept))
    return replace(page.scene, panes=tuple(panes), running=False), fields


def page_of(
    title: str,
    scene: Scene,
    pictures: Mapping[str, bytes],
    regions: Sequence[Region],
    fields: Mapping[str, bytes] | None = None,
) -> Page:
    """A page with the regions that lie inside its picture."""
    return Page(title, replace(scene, regions=default_regions(scene, regions)), pictures, fields or {})


def figure_rows(pages: Sequence[Page]) -> list[Row]:
    """The regions of all pages, with their pictures opened."""
    rows: list[Row] = []
    for page in pages:
        if page.scene.regions:
            opened = {pane_id: Image.open(io.BytesIO(png)) for pane_id, png in page.pictures.items()}
            rows += [Row(page.scene, region, opened) for region in page.scene.regions]
    return rows


def write_report(
    pages: Sequence[Page], methods: Sequence[Method], title: str, *, with_encoder: bool = False
) -> tuple[str, bytes | None, bytes | None]:
    """(HTML, figure as PNG, figure as PDF); there is no figure without a region."""
    rows = figure_rows(pages)
    png, pdf = draw_figure(rows), write_figure(rows) if rows else None
    text = build_report(pages, methods, title=title, figure_png=png, figure_pdf=pdf, with_encoder=with_encoder)
    return text, png, pdf


def build_report(
    pages: Sequence[Page],
    methods: Sequence[Method],
    *,
    title: str = "GSR report",
    figure_png: bytes | None = None,
    figure_pdf: bytes | None = None,
    with_encoder: bool = False,
) -> str:
    """The whole file as text. With the encoder, its reader can enlarge other pictures, too."""
    carried = [_carried(page, number) for number, page in enumerate(pages)]
    shown = [pane for scene, _ in carried for pane in scene.panes if pane.kind == "method"]
    machine = sorted({f"{p.timing.backend} on {p.timing.device}" for p in shown if p.timing})
    digest = hashlib.blake2b(digest_size=12)
    for page in pages:
        for pane_id, png in sorted(page.pictures.items()):
            digest.update(pane_id.encode() + png)
    report: dict[str, Any] = {
        "id": digest.hexdigest(),
        "title": title,
        "pages": [
            {"title": page.title, "thumbnail": _thumbnail(page) if len(pages) > 1 else "", "scene": as_json(scene)}
            for page, (scene, _) in zip(pages, carried, strict=True)
        ],
        "fields": {name: url for _, fields in carried for name, url in fields.items()},
        "methods": [_described(method, shown) for method in methods] + _foreign(shown, methods),
        "machine": "Timed with " + "; ".join(machine) if machine else "",
        "versions": f"GSR {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "figure": figure_png
        and {
            "png": bundle.data_url(figure_png, "image/png"),
            "pdf": figure_pdf and bundle.data_url(figure_pdf, "application/pdf"),
        },
    }
    start, show, css = bundle.start_script(), "showReport", bundle.css()
    if with_encoder:
        report["encoder"] = page_data()
        start, show, css = bundle.start_script(bundle.PAGE), "showReportAndPage", css + page_css()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{css}</style></head>"
        '<body class="gsr-report"><main id="report"></main><script>\n'
        f"{start}"
        f"const report = {bundle.embed(report)};\n"
        f'modules.then(({{ {show} }}) => {show}(document.querySelector("#report"), report));\n'
        "</script></body></html>\n"
    )


def encoder_bytes() -> int:
    """How much larger a report is with the encoder."""
    scripts = len(bundle.start_script(bundle.PAGE).encode()) - len(bundle.start_script().encode())
    return scripts + len(page_css().encode()) + len(bundle.embed(page_data()).encode())


def _thumbnail(page: Page) -> str:
    """A small picture of a page, for the strip of all pages."""
    order = {"reference": 0, "method": 1, "input": 2}
    panes = sorted(page.scene.panes, key=lambda pane: order[pane.kind])
    png = next((page.pictures[pane.id] for pane in panes if pane.id in page.pictures), None)
    if png is None:
        return ""
    with Image.open(io.BytesIO(png)) as picture:
        small = on_white(picture)
    small.thumbnail(_THUMBNAIL_PX)
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=80)
    return bundle.data_url(jpeg.getvalue(), "image/jpeg")


def _described(method: Method, shown: Sequence[PaneSpec]) -> dict[str, str]:
    mine = [pane for pane in shown if pane.id == method.id]
    return {
        "title": method.title,
        "done": "; ".join(sorted({pane.done or (pane.error.message if pane.error else "") for pane in mine})),
        "weights": "; ".join(sorted({pane.weights_id for pane in mine if pane.weights_id})),
        "licence": next((pane.licence for pane in mine if pane.licence), method.code_licence),
        "paper": method.paper,
    }


def _foreign(shown: Sequence[PaneSpec], methods: Sequence[Method]) -> list[dict[str, str]]:
    """The results that were made elsewhere."""
    others: dict[str, list[PaneSpec]] = {}
    known = {method.id for method in methods}
    for pane in shown:
        if pane.id not in known:
            others.setdefault(pane.name, []).append(pane)
    return [
        {"title": name, "done": "; ".join(pane.done for pane in panes), "licence": panes[0].licence}
        for name, panes in others.items()
    ]


def default_regions(scene: Scene, wanted: Sequence[Region]) -> tuple[Region, ...]:
    """The regions that lie inside the picture."""
    if scene.source is None:
        return ()
    width, height = scene.source.width, scene.source.height
    return tuple(
        one
        for one in wanted
        if one.x >= 0 and one.y >= 0 and one.width > 0 and one.height > 0
        and one.x + one.width <= width and one.y + one.height <= height
    )  # fmt: skip
