"""What the tests of the app do with its page: upload a picture, choose methods, run them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from tests.browser.conftest import wait_for


def upload(page: Any, pixels: np.ndarray, name: str = "picture.png") -> None:
    from gradio_client.utils import strip_invalid_filename_characters

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    page.locator("#picture input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    kept = strip_invalid_filename_characters(name)  # by Gradio
    page.locator("#facts b", has_text=kept).wait_for(state="attached")  # on a phone it is in the sheet


def choose(page: Any, *methods: str) -> None:
    cards = page.locator(".gsr-card")
    cards.first.wait_for()
    for method in page.locator(".gsr-card:has(input:checked)").evaluate_all(
        "(all) => all.map((one) => one.dataset.method)"
    ):
        if method not in methods:
            page.locator(f".gsr-card[data-method={method}]").click()
    for method in methods:
        if not page.locator(f".gsr-card[data-method={method}] input").is_checked():
            page.locator(f".gsr-card[data-method={method}]").click()


def run_to_end(page: Any) -> None:
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.run ?? ''")
    page.locator("#run").click()
    wait_for(
        page,
        "viewer.scene.run && viewer.scene.run !== argument && !viewer.scene.running"
        " && viewer.allPanes.every((p) => p.picture || p.failed)",
        before,
    )
