"""Whole journeys of three visitors, from what they bring to what they take away."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import wait_for
from tests.browser.scenes import noise

pytestmark = pytest.mark.browser


def test_a_photograph_on_a_phone_becomes_a_saved_jpeg(new_page: Callable[..., Any], address: str) -> None:
    # Somebody opens the app on a phone.
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, accept_downloads=True)
    page.goto(address)
    wait_for(page, "viewer.canvas.width > 0 && viewer.isIntroduction")
    # "Try your picture" opens the camera roll.
    photograph = io.BytesIO()
    Image.fromarray(noise(48, 64, 5)).resize((128, 96)).save(photograph, "JPEG", quality=95)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Try your picture").tap()
    chooser.value.set_files({"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": photograph.getvalue()})
    # The picture fills the stage, and one button enlarges it.
    page.get_by_role("button", name="Enlarge ×4").tap()
    wait_for(page, "viewer.scene.run && !viewer.scene.running && viewer.shown.every((p) => p.picture)")
    # Below the stage the result can be saved as a JPEG.
    with page.expect_download() as download:
        page.locator("[data-pane=bicubic]").get_by_role("button", name="JPEG").tap()
    assert download.value.suggested_filename == "IMG_0001_bicubic_x4.jpg"
    with Image.open(Path(download.value.path())) as saved:
        assert saved.format == "JPEG"
        assert saved.size == (512, 384)
        small = np.asarray(saved.resize((128, 96), Image.Resampling.BOX)).astype(float)
    with Image.open(photograph) as original:
        assert np.abs(small - np.asarray(original)).mean() < 4
