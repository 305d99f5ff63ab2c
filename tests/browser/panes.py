"""Three panes of noise in the viewer, and where they are on its canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.browser.conftest import wait_for
from tests.browser.scenes import noise, pane, scene_of, show_scene

SOURCE = (24, 32)  # height, width
SCALE = 4.0
A, B, C = (noise(96, 128, seed) for seed in (1, 2, 3))


def open_panes(
    kept_page: Callable[..., Any],
    address: str,
    panes: list[Any],
    services: str = "{}",
    scale: float = SCALE,
    **options: Any,
) -> Any:
    page = kept_page(address, **options)
    show_scene(page, scene_of(panes, SOURCE, scale), services)
    wait_for(page, "viewer.allPanes.every((pane) => pane.picture || !pane.spec.url)")
    return page


def three() -> list[Any]:
    return [pane("a", A, SOURCE), pane("b", B, SOURCE), pane("c", C, SOURCE)]


def cells_of(page: Any) -> list[dict[str, Any]]:
    return page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.cells.map(({pane, rect}) =>"
        " ({id: pane.spec.id, ...rect, origin: v.view.origin(rect)})); }"
    )


def run(page: Any, code: str) -> None:
    page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; {code} }}")
    wait_for(page, "!viewer.request")


def expected_cell(pixels: np.ndarray, cell: dict[str, Any], zoom: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The magnified picture clipped to a cell, and where on the canvas that is."""
    big = pixels.repeat(zoom, 0).repeat(zoom, 1)
    ox, oy = int(cell["origin"]["x"]), int(cell["origin"]["y"])
    x0, y0 = max(cell["x"], ox), max(cell["y"], oy)
    x1, y1 = min(cell["x"] + cell["w"], ox + big.shape[1]), min(cell["y"] + cell["h"], oy + big.shape[0])
    return big[y0 - oy : y1 - oy, x0 - ox : x1 - ox], (slice(y0, y1), slice(x0, x1))
