"""What a visitor waits for: how much the page asks for, when it shows something, and whether that stays in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import wait_for

pytestmark = pytest.mark.browser

_WATCH = """
window.shifts = [];
new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) shifts.push(one.value); })
  .observe({ type: "layout-shift", buffered: true });
"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def load(page: Any, address: str) -> list[str]:
    """Open the page and wait for its stage; the addresses that were asked for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(_WATCH)
    page.goto(address)
    wait_for(page, "viewer.canvas.width > 0 && viewer.shown.every((pane) => pane.picture)")
    page.wait_for_function("() => !document.querySelector('#gsr-splash')")
    return [url for url in asked if not url.startswith(("data:", "blob:"))]


def test_the_page_needs_few_requests_and_does_not_move(
    new_page: Callable[..., Any], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    asked = load(page, address)
    paint_ms, shift = page.evaluate(_PAINT), page.evaluate("() => shifts.reduce((sum, one) => sum + one, 0)")
    ready_ms = page.evaluate("() => performance.now()")
    moved = page.evaluate(
        "() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".reduce((sum, one) => sum + (one.transferSize ?? 0), 0)"
    )
    with capsys.disabled():
        print(
            f"\n  loading: {len(asked)} requests, {moved / 1e6:.2f} MB, first paint {paint_ms:.0f} ms, "
            f"stage ready {ready_ms:.0f} ms, layout shift {shift:.4f}"
        )
    assert len(asked) <= 20, asked
    assert shift < 0.02
    assert paint_ms < ready_ms
    chunks = [url for url in asked if "/assets/" in url and url.endswith(".js")]
    assert len(chunks) <= 1, chunks  # the entry, which the page names itself


def test_the_page_loads_without_the_pack(new_page: Callable[..., Any], address: str) -> None:
    page = new_page()
    page.route("**/gsr-pack-*", lambda route: route.abort())
    asked = load(page, address)
    assert sum("/assets/" in url for url in asked) > 30
