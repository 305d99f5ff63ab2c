"""The Models tab in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.servers import serve

pytest.importorskip("gradio")

from gsr_app.ui.state import create_app_state
from tests.browser.fake_engine import FakeEngine

pytestmark = pytest.mark.browser


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
