"""From a finished comparison to its report: in the app by one click, on the command line for many pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image

from gsr_app.models.registry import Method
from gsr_app.viewer.contract import Region, Scene
from gsr_app.viewer.figure import Row, figure_files
from gsr_app.viewer.report import Page, build_report, default_regions


def page_of(
    title: str,
    scene: Scene,
    pictures: Mapping[str, bytes],
    regions: Sequence[Region],
    fields: Mapping[str, bytes] | None = None,
) -> Page:
    """One picture of a report with the regions that lie in it, and the field files that it carries."""
    return Page(title, replace(scene, regions=default_regions(scene, regions)), pictures, fields or {})


def write_report(
    pages: Sequence[Page], methods: Sequence[Method], title: str
) -> tuple[str, bytes | None, bytes | None]:
    """(HTML, figure as PNG, figure as PDF); no figure where no region was marked."""
    rows: list[Row] = []
    for page in pages:
        if page.scene.regions:
            opened = {pane_id: Image.open(io.BytesIO(png)) for pane_id, png in page.pictures.items()}
            rows += [Row(page.scene, region, opened) for region in page.scene.regions]
    png, pdf = figure_files(rows) or (None, None)
    return build_report(pages, methods, title=title, figure_png=png, figure_pdf=pdf), png, pdf
