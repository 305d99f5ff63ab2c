"""Reports: one file, opened from a disk, with the network off; blind judging and its tally."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.types import Timing
from gsr_app.models.registry import catalogue
from gsr_app.viewer.contract import Frame, PaneMetrics, PaneSpec, Region, Scene, Source
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.report import page_of, write_report
from tests.browser.accessibility import serious_violations
from tests.browser.conftest import wait_for
from tests.browser.scenes import canvas_pixels, noise

pytestmark = pytest.mark.browser

METHODS = ("bicubic", "lanczos3", "nearest")


def report_text(titles: tuple[str, ...] = ("one.png", "two.png")) -> tuple[str, bytes | None, dict[str, np.ndarray]]:
    pages, shown = [], {}
    for number, title in enumerate(titles):
        pixels = {method: noise(80, 120, 10 * number + k) for k, method in enumerate(METHODS)}
        pixels["reference"] = noise(80, 120, 99)
        shown.update({f"{title}/{method}": array for method, array in pixels.items()})
        panes = [
            PaneSpec(
                method, catalogue()[method].title, catalogue()[method].color, state="done", span=(20.0, 30.0), url="carried",
                timing=Timing({"resize": 3.0}, backend="cpu", device="test"),
                metrics=PaneMetrics("basicsr: Y", 30.0 + number, 0.9),
            )
            for method in METHODS
        ]  # fmt: skip
        panes.append(PaneSpec("reference", "Reference", "#eee", kind="reference", state="done", span=(20.0, 30.0)))
        scene = Scene(tuple(panes), Source(title, title, 30, 20), Frame(120, 80), {"x": 4.0, "y": 4.0})
        pictures = {name: encode_png(array) for name, array in pixels.items()}
        pages.append(page_of(title, scene, pictures, [Region(5, 4, 10, 8, "eye"), Region(25, 4, 10, 8, "outside")]))
    text, png, _ = write_report(pages, [catalogue()[method] for method in METHODS], "A <b>report</b>")
    return text, png, shown


@pytest.fixture
def open_report(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def visit(*titles: str, **options: Any) -> Any:
        text, _, _ = report_text(titles or ("one.png", "two.png"))
        start = '"#report"), report)'
        assert start in text
        text = text.replace(start, '"#report"), checkedReport(report))')
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        page = new_page(offline=True, accept_downloads=True, **options)
        page.goto(path.as_uri())
        wait_for(page, "viewer.shown.length === 4 && viewer.shown.every((pane) => pane.picture)")
        return page

    return visit


@pytest.mark.parametrize(("scheme", "paper"), [("dark", "rgb(23, 25, 27)"), ("light", "rgb(255, 255, 255)")])
def test_a_report_follows_the_colours_of_the_system(open_report: Callable[..., Any], scheme: str, paper: str) -> None:
    page = open_report(color_scheme=scheme)
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == paper


def test_a_report_shows_its_pictures_exactly_without_a_network(open_report: Callable[..., Any]) -> None:
    page = open_report()
    _, _, shown = report_text()
    page.evaluate("() => { const v = document.querySelector('.gsr-viewer').viewer; v.regions = []; v.oneToOne(); }")
    wait_for(page, "!viewer.request")
    cells = page.evaluate(
        "() => { const v = document.querySelector('.gsr-viewer').viewer; return v.cells.map(({pane, rect}) => ({id: pane.spec.id, ...v.view.origin(rect)})); }"
    )
    canvas = canvas_pixels(page)
    for cell in cells:
        expected = shown[f"one.png/{cell['id']}"]
        np.testing.assert_array_equal(canvas[cell["y"] : cell["y"] + 80, cell["x"] : cell["x"] + 120], expected)
    page.get_by_role("button", name="two.png").click()
    wait_for(page, "viewer.scene.source.name === 'two.png' && viewer.shown.every((pane) => pane.picture)")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.regions.length") == 1
    assert page.locator("header h1").inner_text() == "A <b>report</b>"
    assert "Apache-2.0" in page.locator(".gsr-about table").inner_text()


def test_a_report_has_no_serious_violation_of_accessibility(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.locator(".gsr-stage").focus()
    page.keyboard.press("h")
    wait_for(page, "document.querySelector('.gsr-tone canvas').ariaLabel")
    assert not serious_violations(page)
    page.get_by_role("button", name="Actions").click()
    assert not serious_violations(page)


def test_the_figure_holds_the_crops(tmp_path: Path) -> None:
    _, png, shown = report_text(("one.png",))
    path = tmp_path / "figure.png"
    path.write_bytes(png or b"")
    figure = np.asarray(Image.open(path))
    crop = shown["one.png/bicubic"][16:48, 20:60]
    expected = np.asarray(Image.fromarray(crop).resize((360, 288), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(figure[:288, :360], expected)
    assert figure.shape[1] == 4 * 360 + 3 * 12


def test_the_figure_can_be_saved(open_report: Callable[..., Any]) -> None:
    page = open_report("one.png")
    with page.expect_download() as download:
        page.get_by_role("link", name="PNG").click()
    assert download.value.suggested_filename == "figure.png"
    assert Path(download.value.path()).read_bytes() == report_text(("one.png",))[1]


def test_blind_mode_hides_who_made_what_and_votes_are_exported(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.get_by_role("button", name="Judge blind").click()
    wait_for(page, "viewer.blind && viewer.shown.length === 4 && viewer.shown.every((pane) => pane.picture)")
    seen = page.locator(".gsr-stage, .gsr-bar, .gsr-blind").all_inner_texts()
    for method in METHODS:
        assert all(catalogue()[method].title not in text for text in seen)
    assert "dB" not in " ".join(seen)
    assert not page.locator(".gsr-dock").is_visible()
    page.get_by_role("button", name="B is best").click()
    wait_for(page, "viewer.scene.source.key === 'blind-1'")  # a vote leads to the next picture
    page.get_by_role("button", name="cannot tell").click()
    page.get_by_text("2 of 2 judged").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="export votes").click()
    data = json.loads(Path(download.value.path()).read_text())
    assert len(data["rater"]) == 24
    votes = data["votes"]
    assert {vote["image"] for vote in votes} == {"one.png", "two.png"}
    first = next(vote for vote in votes if vote["image"] == "one.png")
    assert sorted(first["shown"]) == sorted(METHODS)
    assert first["best"] == first["shown"][1]


def test_the_bytes_of_pictures_are_no_part_of_what_is_compared_at_every_drawing(
    open_report: Callable[..., Any],
) -> None:
    page = open_report("one.png")
    assert page.evaluate("() => JSON.stringify(document.querySelector('.gsr-viewer').viewer.scene).length") < 10_000
    with page.expect_download() as download:
        page.locator("tr[data-pane=bicubic]").get_by_role("link", name="Save").click()
    found = np.asarray(Image.open(download.value.path()))
    np.testing.assert_array_equal(found, report_text(("one.png",))[2]["one.png/bicubic"])


def test_votes_are_kept_where_the_browser_has_no_room_for_them(open_report: Callable[..., Any]) -> None:
    page = open_report()
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    page.get_by_role("button", name="Judge blind").click()
    page.get_by_role("button", name="B is best").click()
    wait_for(page, "viewer.scene.source.key === 'blind-1'")
    page.get_by_role("button", name="cannot tell").click()
    page.get_by_text("2 of 2 judged").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="export votes").click()
    assert len(json.loads(Path(download.value.path()).read_text())["votes"]) == 2


def test_pictures_of_one_name_are_judged_apart(open_report: Callable[..., Any]) -> None:
    page = open_report("cat.png", "cat.png")
    page.get_by_role("button", name="Judge blind").click()
    page.get_by_role("button", name="A is best").click()
    wait_for(page, "viewer.scene.source.key === 'blind-1'")
    page.get_by_role("button", name="B is best").click()
    page.get_by_text("2 of 2 judged").wait_for()
