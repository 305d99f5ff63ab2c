"""Uploads that once became a wrong picture or an unclear error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from tests.browser.fake_engine import FakeEngine
from tests.real_files import RealFile, real_files

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from gradio_client import Client

    from gsr_app.ui import layout
    from gsr_app.ui.state import Limits, create_app_state

    limits = Limits(input_pixels=1_000_000, output_pixels=4_000_000)
    page = layout.build(create_app_state(FakeEngine(), limits))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options(limits))
    yield Client(url, verbose=False)
    page.close()


@pytest.mark.parametrize("file", real_files(), ids=lambda file: file.name)
def test_an_upload_is_read_rightly_or_refused_with_the_reason(client: Any, tmp_path: Path, file: RealFile) -> None:
    from gradio_client import handle_file

    upload = handle_file(str(file.write(tmp_path)))
    if file.pixels is None:
        with pytest.raises(Exception, match=file.words) as caught:  # Gradio's own kind
            client.predict(upload, "bicubic", "1", api_name="/upscale")
        assert "defect" not in str(caught.value)
        return
    result, _ = client.predict(upload, "bicubic", "1", api_name="/upscale")  # the test's engine repeats pixels
    found = pyvips.Image.pngload(result).numpy()
    assert np.array_equal(np.rint(found / 257) if found.dtype == np.uint16 else found, file.pixels)
