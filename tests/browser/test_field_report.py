"""Fields in reports: as large as announced, and zooming without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.types import Scale, View
from gsr_app.harness.cli import main
from gsr_app.io.fields import save_field
from gsr_app.ui.compare import compare, prepare
from gsr_app.ui.files import Files, path_of
from gsr_app.ui.reports import report
from gsr_app.ui.state import AppState
from gsr_app.viewer.comparison import CompareRequest
from tests.browser.conftest import wait_for
from tests.browser.fake_engine import FakeEngine
from tests.browser.fields import cell, expected_in, field_of, reference, run, settled
from tests.browser.scenes import canvas_pixels

pytestmark = pytest.mark.browser


def test_an_exported_field_zooms_offline_to_sixty_four(new_page: Callable[..., Any], tmp_path: Path) -> None:
    field = field_of(normalize=True)
    save_field(field, tmp_path / "one.gsr", licence="CC BY 4.0")
    assert main(["export", str(tmp_path / "one.gsr"), "--html"]) == 0
    page = new_page(offline=True)
    page.goto((tmp_path / "one.html").as_uri())
    wait_for(page, "viewer.active?.picture")
    place = cell(page)
    assert canvas_pixels(page)[place["origin"]["y"] + 40, place["origin"]["x"] + 40].sum() > 0
    run(page, "viewer.grid = false; viewer.minimapOn = false; viewer.look(111.3, 79.1, 64);")
    settled(page)
    rows, columns, expected = expected_in(field, cell(page))  # drawn at x4, so each source pixel is 256 wide here
    error = np.abs(canvas_pixels(page)[rows, columns] - expected)
    assert error.max() <= 2
    assert error.mean() <= 0.3
    assert page.locator(".gsr-badge").inner_text() == "Live field · 256×"


def test_a_report_is_as_large_as_announced_and_zooms_offline(new_page: Callable[..., Any], tmp_path: Path) -> None:
    engine = FakeEngine()
    app = AppState(engine, Files(tmp_path / "files"))
    picture = tmp_path / "small.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(picture)
    job = prepare(app, CompareRequest(str(picture), ("swift", "bicubic"), "4"))
    *_, scene = compare(app, "somebody", job)
    plan = report(app, {"run": scene.run, "regions": [], "plan": True})
    assert list(plan["fields"]) == ["swift"]
    announced = plan["bytes"] + plan["fields"]["swift"]
    asked = {"run": scene.run, "regions": [], "carry": ["swift", "bicubic", 7]}
    path = path_of(report(app, asked)["url"])
    print(f"announced {announced:,} bytes, made {path.stat().st_size:,}")
    assert path.stat().st_size == pytest.approx(announced, rel=0.1)
    alone = path.stat().st_size
    path = path_of(report(app, {**asked, "encoder": True})["url"])
    assert path.stat().st_size - alone == pytest.approx(plan["encoder"], rel=0.001)
    page = new_page(offline=True)
    page.goto(path.as_uri())
    wait_for(page, "viewer.shown.every((pane) => pane.picture)")
    assert page.get_by_role("button", name="Your own picture").is_visible()
    run(page, "viewer.setMode('loupe'); viewer.grid = viewer.minimapOn = false; viewer.look(120, 80, 64);")
    wait_for(page, "viewer.allPanes.find((pane) => pane.spec.id === 'swift').drawings.view?.step === 1")
    field = engine.field(engine.encode(np.zeros((40, 60, 3)), method="swift", scale=Scale(4, 4)))
    place = cell(page)
    k = 256
    x, y = place["w"] // 2, place["h"] // 2
    source = ((x - place["origin"]["x"]) / k, (y - place["origin"]["y"]) / k)
    expected = reference(field, View(source, (100 / k, 100 / k), (100, 100)))
    assert np.abs(canvas_pixels(page)[y : y + 100, x : x + 100] - expected).max() <= 2


@pytest.mark.parametrize(("channels", "is_left"), [(3, True), (4, False)])
def test_what_a_browser_is_to_make_is_neither_made_nor_reported_by_the_server(
    tmp_path: Path, channels: int, is_left: bool
) -> None:
    app = AppState(FakeEngine(), Files(tmp_path / "files"))
    picture = tmp_path / "small.png"
    Image.fromarray(np.full((4, 6, channels), 9, np.uint8)).save(picture)
    job = prepare(app, CompareRequest(str(picture), ("swift", "bicubic"), "2"))
    *_, scene = compare(app, "somebody", job, in_browser=True)
    swift = scene.panes[0]
    assert (swift.here, swift.url is None, scene.running) == (is_left, is_left, False)
    assert any("to keep more than 8 bits or transparency" in one for one in swift.warnings) is not is_left
    text = path_of(report(app, {"run": scene.run})["url"]).read_text(encoding="utf-8")
    assert ('"id":"swift"' in text) is not is_left
    assert '"id":"bicubic"' in text
