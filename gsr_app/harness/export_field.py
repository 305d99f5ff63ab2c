"""`gsr export --html`: a field file as one HTML page that draws it in the browser, at any zoom, without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gsr_app.core.atomic import write_whole
from gsr_app.core.pixels import as_rgb, from_planes
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.harness.outputs import check_output
from gsr_app.io.fields import load_field, pack_field, read_facts
from gsr_app.models.registry import find
from gsr_app.viewer.contract import Frame, PaneField, PaneSpec, Scene, Source
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.report import field_url, page_of, write_report

_PREVIEW_PX = 1024  # longer side of the picture that is shown before one zooms in, or without WebGL2


def write_field_page(path: Path, out: Path, *, with_encoder: bool) -> None:
    """Write the page of a field file."""
    check_output(out, ".html")
    field, facts = load_field(path), read_facts(path)
    text, carried = field_page(field, path.stem, method=facts.method, licence=facts.licence, with_encoder=with_encoder)
    write_whole(out, text)
    print(f"{len(field):,} Gaussians, {carried / 1e6:.2f} MB of the page")
    print(f"{out}  {out.stat().st_size / 1e6:.2f} MB, opens offline")


def field_page(
    field: GaussianField, title: str, *, method: str = "", licence: str = "", with_encoder: bool = False
) -> tuple[str, int]:
    """The page, and the bytes of the field in it."""
    from gsr_app import ops

    height, width = field.source_size
    scale = min(4.0, max(1.0, _PREVIEW_PX / max(height, width)))
    view = View.whole(field.source_size, Scale(scale, scale))
    pixels = as_rgb(from_planes(ops.render(field, view).cpu().numpy(), np.uint8))
    known = find(method)
    pane = PaneSpec(
        "field",
        known.title if known else method or title,
        known.color if known else "#2f6f5e",
        state="done",
        url="carried",
        span=view.span,
        field=PaneField("field", len(field), live=False),
        done="drawn from the field file",
        licence=licence,
    )
    source, frame = Source(title, title, width, height), Frame(view.size[1], view.size[0])
    scene = Scene((pane,), source, frame, {"x": scale, "y": scale})
    data = pack_field(field, method=method, licence=licence)
    page = page_of(title, scene, {"field": encode_png(pixels, level=6)}, [], {"field": data})
    html, _, _ = write_report([page], [known] if known else [], title, with_encoder=with_encoder)
    return html, len(field_url(data))
