"""One Chromium for the whole run; pages are cheap, browsers are not."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.contract import SCRIPT
from tests.conftest import find_chromium
from tests.servers import serve

if TYPE_CHECKING:
    from tests.browser.fake_engine import FakeEngine

FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-dev-shm-usage"]
FLAGS += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Pages that fail the test when a script fails or reads what the contract does not have.

    Less motion is wanted there: the first screen, which moves until it is touched, would take a core from the tests.
    """
    contexts: list[Any] = []
    problems: list[str] = []

    def make(**options: Any) -> Any:
        context = browser.new_context(
            **{"viewport": {"width": 1000, "height": 700}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(90_000)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(SCRIPT)
        page.on("pageerror", lambda error: problems.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not problems, problems


def state_of(page: Any) -> dict[str, Any]:
    return json.loads(page.locator(".gsr-viewer").first.get_attribute("data-state") or "{}")


def wait_for(page: Any, condition: str, argument: object = None) -> None:
    """Until a JavaScript condition over `viewer` holds, and one more frame has been drawn."""
    page.wait_for_function(
        f"(argument) => {{ const viewer = document.querySelector('.gsr-viewer')?.viewer; return viewer && ({condition}); }}",
        arg=argument,
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def write_page(path: Path, body: str) -> str:
    path.write_text(body, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    """The deterministic engine that `address` serves; a module may have one of another speed."""
    from tests.browser.fake_engine import FakeEngine

    return FakeEngine()


@pytest.fixture(scope="module")
def address(engine: FakeEngine) -> Iterator[str]:
    """The app over the deterministic engine."""
    pytest.importorskip("gradio")
    from gsr_app.ui.state import create_app_state

    with serve(create_app_state(engine)) as url:
        yield url


@pytest.fixture(scope="module")
def real_address() -> Iterator[str]:
    """The app over the real engine."""
    pytest.importorskip("gradio")
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.state import create_app_state

    with serve(create_app_state(Engine("cpu"))) as url:
        yield url


@pytest.fixture
def app(new_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Opens the app that `address` serves."""

    def visit(query: str = "", **options: Any) -> Any:
        page = new_page(**{"viewport": {"width": 1440, "height": 900}, **options})
        page.goto(address + query)
        wait_for(page, "viewer.canvas.width > 0")
        return page

    return visit


@pytest.fixture
def alone(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Opens a field on a page with the painter alone."""
    from tests.browser.fields import visit_alone

    return functools.partial(visit_alone, new_page, tmp_path)


@pytest.fixture
def show(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Opens fields in the viewer."""
    from tests.browser.fields import open_scene

    return functools.partial(open_scene, new_page, tmp_path)
