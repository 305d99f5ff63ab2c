"""What a visitor waits for: how much the page asks for, when it shows something, and whether that stays in its place;
and what a long visit leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.app import choose, run_to_end, upload
from tests.browser.conftest import wait_for
from tests.browser.pages import Pages
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


@dataclass(frozen=True)
class Loaded:
    """A page, and what was measured until it was there."""

    page: Any
    asked: list[str]
    paint_ms: float
    ready_ms: float
    shift: float
    moved_bytes: int


@pytest.fixture(scope="module")
def loaded(pages: Pages, address: str) -> Loaded:
    page = pages.open(viewport={"width": 1440, "height": 900})
    asked = load(page, address)
    shift = page.evaluate("() => shifts.reduce((sum, one) => sum + one, 0)")
    ready_ms = page.evaluate("() => performance.now()")
    moved_bytes = page.evaluate(
        "() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".reduce((sum, one) => sum + (one.transferSize ?? 0), 0)"
    )
    return Loaded(page, asked, page.evaluate(_PAINT), ready_ms, shift, moved_bytes)


@pytest.fixture(autouse=True)
def no_script_fails(pages: Pages) -> Iterator[None]:
    yield
    pages.check()


def test_the_page_needs_few_requests_and_does_not_move(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\n  loading: {len(loaded.asked)} requests, {loaded.moved_bytes / 1e6:.2f} MB, "
            f"first paint {loaded.paint_ms:.0f} ms, stage ready {loaded.ready_ms:.0f} ms, layout shift {loaded.shift:.4f}"
        )
    assert len(loaded.asked) <= 20, loaded.asked
    assert loaded.shift < 0.02
    assert loaded.paint_ms < loaded.ready_ms
    chunks = [url for url in loaded.asked if "/assets/" in url and url.endswith(".js")]
    assert len(chunks) <= 1, chunks  # the entry, which the page names itself


def test_the_page_loads_without_the_pack(new_page: Callable[..., Any], address: str) -> None:
    page = new_page()
    page.route("**/gsr-pack-*", lambda route: route.abort())
    asked = load(page, address)
    assert sum("/assets/" in url for url in asked) > 30


_FAST_3G = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
_NETWORK = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}  # as it is


@pytest.mark.slow
def test_on_fast_3g_the_first_screen_is_there_within_two_seconds(new_page: Callable[..., Any], address: str) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", _FAST_3G)
    load(page, address)
    print(f"first paint {page.evaluate(_PAINT):.0f} ms")
    assert page.evaluate(_PAINT) < 2000


def test_a_result_says_how_much_of_it_has_arrived(loaded: Loaded) -> None:
    page = loaded.page
    upload(page, noise(100, 150, 3))
    choose(page, "swift")
    page.evaluate(
        "() => { window.told = []; const find = () => { for (const tag of document.querySelectorAll('.gsr-tag .gsr-figures'))"
        " if (/downloading/.test(tag.textContent)) told.push(tag.textContent); }; window.finding = setInterval(find, 20); }"
    )
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", {**_FAST_3G, "downloadThroughput": 150_000})
    run_to_end(page)
    network.send("Network.emulateNetworkConditions", _NETWORK)
    page.evaluate("() => clearInterval(finding)")
    told = [int(text.removeprefix("downloading ").removesuffix(" %")) for text in page.evaluate("() => told")]
    assert len(set(told)) > 2
    assert told == sorted(told)
    assert told[-1] <= 100


@pytest.mark.parametrize("runs", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_run_after_run_leaves_no_memory_and_no_nodes_behind(
    loaded: Loaded, runs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page = loaded.page
    upload(page, noise(40, 60, runs))
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
    # A single value varies by a megabyte, the least of three much less.
    heap, nodes = map(min, zip(*measured[:3], strict=True))
    later_heap, later_nodes = map(min, zip(*measured[-3:], strict=True))
    with capsys.disabled():
        print(f"\n  {runs} runs: {heap:.2f} to {later_heap:.2f} MB, {nodes} to {later_nodes} nodes")
    assert later_heap - heap < 1.0
    assert later_nodes - nodes < 100
