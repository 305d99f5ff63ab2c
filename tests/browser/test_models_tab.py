"""The Models tab in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.servers import serve

pytest.importorskip("gradio")

from gsr_app.core.types import Progress
from gsr_app.models.registry import Method
from gsr_app.models.weights import Availability
from gsr_app.ui.state import create_app_state
from tests.browser.fake_engine import METHODS, FakeEngine

pytestmark = pytest.mark.browser


class FetchingEngine(FakeEngine):
    """Two methods whose weights are fetched, which takes until `goes_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.goes_on = threading.Event()

    @property
    def methods(self) -> tuple[Method, ...]:
        away = next(one for one in METHODS if one.id == "away")
        return (*METHODS, replace(away, id="far", title="Far"))

    @property
    def video_methods(self) -> tuple[Method, ...]:
        return self.methods

    def availability(self, method: Method) -> Availability:
        here = method.id in self.fetched or method.id not in {"away", "far"}
        return Availability(True) if here else Availability(False, 98_000_000)

    def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
        for done in range(1200):
            report(Progress("download", done, 1200))
            if self.goes_on.wait(0.05):
                break
        self.fetched.append(method.id)


def test_weights_of_two_methods_are_fetched_at_once_and_every_tab_knows(new_page: Callable[..., Any]) -> None:
    engine = FetchingEngine()
    with serve(create_app_state(engine, may_manage=True)) as url:
        page = new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.get_by_role("tab", name="Models").click()
        lines = [
            page.locator(".gsr-models tr", has=page.get_by_role("rowheader", name=name)) for name in ("Away", "Far")
        ]
        for line in lines:
            line.get_by_role("button", name="Download").click()
            line.locator("progress").wait_for()
        # The progress of both is told several times a second, and takes no button away from under a press or the focus.
        button = page.get_by_role("button", name="Add a model file")
        button.focus()
        values = "[...document.querySelectorAll('.gsr-models progress')].map((bar) => bar.value)"
        before = page.evaluate(values)
        page.wait_for_function(f"(before) => {values}.every((value, i) => value > before[i])", arg=before)
        assert button.evaluate("(node) => document.activeElement === node")
        engine.goes_on.set()
        for line in lines:
            line.get_by_text("downloaded").wait_for()
        assert sorted(engine.fetched) == ["away", "far"]
        page.reload()
        page.locator(".gsr-card[data-method=far]").get_by_text("Ready").wait_for()
        page.get_by_role("tab", name="Models").click()
        for line in lines:
            line.get_by_role("button", name="Verify").wait_for()
        page.get_by_role("tab", name="Batch").click()
        page.locator("#batchmethod input").click()
        page.get_by_role("option", name="Far", exact=True).wait_for()


def test_files_are_added_downloaded_and_verified_in_a_methods_row(new_page: Callable[..., Any]) -> None:
    with serve(create_app_state(FakeEngine(), may_manage=True)) as url:
        page = new_page()
        page.goto(f"{url}?tab=models")
        page.get_by_role("tab", name="Models").click()
        row = page.locator(".gsr-models tr", has=page.get_by_role("rowheader", name="Away"))
        assert row.locator(".is-fetch").inner_text() == "Download 98 MB"
        assert row.get_by_role("link", name="away.pth").get_attribute("href") == "https://weights.invalid/away.pth"
        for data, said in ((b"x" * 3000, "kept 3 kB"), (b"", "mine.pth is empty.")):
            with page.expect_file_chooser() as chooser:
                row.get_by_role("button", name="Add files Away").click()
            chooser.value.set_files({"name": "mine.pth", "mimeType": "application/octet-stream", "buffer": data})
            row.get_by_text(said).wait_for()
        row.get_by_role("button", name="Download Away").click()
        row.get_by_text("downloaded").wait_for()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Add a model file of another author").click()
        chooser.value.set_files({"name": "theirs.pth", "mimeType": "application/octet-stream", "buffer": b"x" * 2000})
        row.get_by_text("added; reload the page").wait_for()
        # The same by dropping it on the table.
        page.reload()
        page.get_by_role("tab", name="Models").click()
        row.get_by_text("98 MB").wait_for()
        dropped = page.evaluate_handle(
            "() => { const data = new DataTransfer(); data.items.add(new File(['weights'], 'theirs.pth')); return data; }"
        )
        page.locator(".gsr-models").dispatch_event("drop", {"dataTransfer": dropped})
        row.get_by_text("added; reload the page").wait_for()
        # On a phone nothing is cut off at the right.
        page.set_viewport_size({"width": 390, "height": 844})
        assert (
            page.evaluate(
                "() => { const n = document.querySelector('.gsr-models'); return n.scrollWidth - n.clientWidth; }"
            )
            <= 0
        )
        assert row.get_by_role("button", name="Add files Away").is_visible()
