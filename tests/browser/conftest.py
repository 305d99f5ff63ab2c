"""One Chromium for the whole run; pages are cheap, browsers are not."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import Pages
from tests.browser.scenes import save, viewer_page
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
    """Opens pages that fail the test when a script fails or reads what the contract does not have."""
    pages = Pages(browser)
    yield pages.open
    pages.close()
    pages.check()


@pytest.fixture(scope="module")
def pages(browser: Any) -> Iterator[Pages]:
    """The pages that the tests of a module share."""
    made = Pages(browser)
    yield made
    made.close()


@pytest.fixture
def kept_page(pages: Pages, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """The page of this module at an address, as the test before left it: for tests that state what they begin with."""
    failed = request.session.testsfailed
    yield pages.keep
    if request.session.testsfailed > failed:
        pages.forget()
    pages.check()


@pytest.fixture(scope="session")
def viewer_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page for `show_scene`."""
    return save(tmp_path_factory.mktemp("viewer") / "viewer.html", viewer_page())


def state_of(page: Any) -> dict[str, Any]:
    return json.loads(page.locator(".gsr-viewer").first.get_attribute("data-state") or "{}")


def wait_for(page: Any, condition: str, argument: object = None) -> None:
    """Until a JavaScript condition over `viewer` holds, and one more frame has been drawn."""
    page.wait_for_function(
        f"(argument) => {{ const viewer = document.querySelector('.gsr-viewer')?.viewer; return viewer && ({condition}); }}",
        arg=argument,
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> FakeEngine:
    """The deterministic engine that `address` serves; `SLOW_S` of a module is how long its method "slow" takes."""
    from tests.browser.fake_engine import SLOW_S, FakeEngine

    return FakeEngine(getattr(request.module, "SLOW_S", SLOW_S))


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
def app_page(kept_page: Callable[..., Any], address: str) -> Any:
    """The page of the app that the tests of this module share. Each uploads another picture."""
    page = kept_page(address, {"width": 1440, "height": 900})
    wait_for(page, "viewer.canvas.width > 0")
    return page


@pytest.fixture(scope="session")
def painter_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the painter of fields alone."""
    from tests.browser.fields import painter_page

    return save(tmp_path_factory.mktemp("painter") / "painter.html", painter_page())


@pytest.fixture
def alone(kept_page: Callable[..., Any], painter_address: str) -> Callable[..., Any]:
    """Opens a field on a page with the painter alone."""
    from tests.browser.fields import open_alone

    return functools.partial(open_alone, kept_page, painter_address)


@pytest.fixture
def show(kept_page: Callable[..., Any], viewer_address: str) -> Callable[..., Any]:
    """Opens fields in the viewer."""
    from tests.browser.fields import open_scene

    return functools.partial(open_scene, kept_page, viewer_address)


@pytest.fixture
def show_panes(kept_page: Callable[..., Any], viewer_address: str) -> Callable[..., Any]:
    """Opens panes in the viewer."""
    from tests.browser.panes import open_panes

    return functools.partial(open_panes, kept_page, viewer_address)
