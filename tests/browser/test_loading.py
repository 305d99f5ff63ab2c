"""What a visitor waits for: how much the page asks for, when it shows something, and whether that stays in its place;
and what a long visit leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.app import choose, run_to_end, upload
from tests.browser.conftest import wait_for
from tests.browser.scenes import noise

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


_FAST_3G = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}


@pytest.mark.slow
def test_on_fast_3g_the_first_screen_is_there_within_two_seconds(new_page: Callable[..., Any], address: str) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", _FAST_3G)
    load(page, address)
    print(f"first paint {page.evaluate(_PAINT):.0f} ms")
    assert page.evaluate(_PAINT) < 2000


def test_a_result_says_how_much_of_it_has_arrived(new_page: Callable[..., Any], address: str) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    wait_for(page, "viewer.canvas.width > 0")
    upload(page, noise(100, 150, 3))
    choose(page, "swift")
    page.evaluate(
        "() => { window.told = []; const find = () => { for (const tag of document.querySelectorAll('.gsr-tag .gsr-figures'))"
        " if (/downloading/.test(tag.textContent)) told.push(tag.textContent); }; setInterval(find, 20); }"
    )
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", {**_FAST_3G, "downloadThroughput": 150_000})
    run_to_end(page)
    told = [int(text.removeprefix("downloading ").removesuffix(" %")) for text in page.evaluate("() => told")]
    assert len(set(told)) > 2
    assert told == sorted(told)
    assert told[-1] <= 100


@pytest.mark.parametrize("runs", [8, pytest.param(30, marks=pytest.mark.slow)])
def test_run_after_run_leaves_no_memory_and_no_nodes_behind(
    new_page: Callable[..., Any], address: str, runs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    wait_for(page, "viewer.canvas.width > 0")
    upload(page, noise(40, 60, 3))
    choose(page, "bicubic", "swift")
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")

    def measure() -> tuple[float, int]:
        """Megabytes and nodes that are in use."""
        for _ in range(2):
            browser.send("HeapProfiler.collectGarbage")
        found = {one["name"]: one["value"] for one in browser.send("Performance.getMetrics")["metrics"]}
        return found["JSHeapUsedSize"] / 1e6, int(found["Nodes"])

    for _ in range(3):  # what is made once is there
        run_to_end(page)
    measured = [measure()]
    for _ in range(runs):
        run_to_end(page)
    measured.append(measure())
    (heap, nodes), (later_heap, later_nodes) = measured
    with capsys.disabled():
        print(f"\n  {runs} runs: {heap:.2f} to {later_heap:.2f} MB, {nodes} to {later_nodes} nodes")
    assert later_heap - heap < 1.0
    assert later_nodes - nodes < 100
