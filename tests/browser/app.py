"""What the tests of the app do with its page: upload a picture, choose methods, run them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from PIL import Image

from tests.browser.conftest import wait_for

_CHOOSE = """(methods) => {
  const box = (method) => document.querySelector(`.gsr-card[data-method="${method}"] input`);
  const chosen = [...document.querySelectorAll(".gsr-card:has(input:checked)")].map((card) => card.dataset.method);
  for (const method of chosen) if (!methods.includes(method)) box(method).click();
  for (const method of methods) if (!box(method).checked) box(method).click();
}"""


def upload(page: Any, pixels: np.ndarray, name: str = "picture.png") -> None:
    """Upload a picture, which is another than the one that is there, and wait until the stage shows it."""
    from gradio_client.utils import strip_invalid_filename_characters

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.source?.key")
    page.locator("#picture input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    wait_for(page, "viewer.scene.source && viewer.scene.source.key !== argument && !viewer.scene.run", before)
    kept = strip_invalid_filename_characters(name)  # by Gradio
    page.locator("#facts b", has_text=kept).wait_for(state="attached")  # on a phone it is in the sheet


def choose(page: Any, *methods: str) -> None:
    """Choose these methods and no others. A real click on each card would take a third of a second."""
    page.locator(".gsr-card").first.wait_for(state="attached")
    page.evaluate(_CHOOSE, methods)


@contextlib.contextmanager
def answered(page: Any) -> Generator[None]:
    """What is done inside has asked the server for something, and all of it is answered when this ends."""
    asked: list[Any] = []
    open_: set[Any] = set()

    def begin(request: Any) -> None:
        if request.url.endswith("/run/predict"):
            asked.append(request)
            open_.add(request)

    page.on("request", begin)
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: open_.discard(request))
    yield
    before = -1
    for _ in range(180):
        if asked and not open_ and len(asked) == before:
            break
        before = len(asked)
        page.wait_for_timeout(500)
    else:
        raise AssertionError("the page asks without end")
    page.remove_listener("request", begin)


def run_to_end(page: Any) -> None:
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.run ?? ''")
    page.locator("#run").click()
    wait_for(
        page,
        "viewer.scene.run && viewer.scene.run !== argument && !viewer.scene.running"
        " && viewer.allPanes.every((p) => p.picture || p.failed)",
        before,
    )
    page.locator("#run").wait_for(state="attached")  # in place of Stop, a moment later


def remove_picture(page: Any) -> None:
    """Back to the page without a picture, if there is one."""
    picture = page.locator("#picture")
    button = picture.get_by_role("button", name="Remove Image").or_(picture.get_by_label("Clear")).first
    if button.count():
        button.click()
        page.locator("#facts .gsr-facts").wait_for(state="detached")


def open_advanced(page: Any) -> None:
    if not page.locator("#roundtrip input").is_visible():
        page.get_by_role("button", name="Advanced").click()


class Held:
    """Answers of the server to events of the app beside the queue that the page gets when they are released: those of
    this name, all if there is none, whose text holds `text`."""

    _NAMES = "() => Object.fromEntries(gradio_config.dependencies.map((one) => [one.id, one.api_name]))"

    def __init__(self, page: Any, name: str = "", text: str = "") -> None:
        self._page, self._name, self._text = page, name, text
        self._names: dict[str, str] = page.evaluate(self._NAMES)
        self._releases: list[Callable[[], None]] = []
        self._is_over = False
        page.route("**/run/predict*", self._take)

    def _take(self, route: Any) -> None:
        if self._is_over or (self._name and self._names[str(route.request.post_data_json["fn_index"])] != self._name):
            return route.fallback()
        answer = route.fetch()
        release = lambda: route.fulfill(response=answer)  # noqa: E731
        if self._is_over or self._text not in answer.text():  # it may have ended while this was fetched
            release()
        else:
            self._releases.append(release)
        return None

    def wait(self) -> None:
        """Until the server has answered."""
        while not self._releases:
            self._page.wait_for_timeout(20)  # the page goes on meanwhile

    def release(self) -> None:
        """Hold nothing any longer, and wait until the page shows what was held."""
        self._is_over = True
        for release in self._releases:
            with self._page.expect_response("**/run/predict*") as answered:
                release()
            answered.value.finished()
        self._page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
