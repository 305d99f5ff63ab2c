"""Uploads that once became a wrong picture or an unclear error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from tests.browser.fake_engine import FakeEngine
from tests.real_files import KEPT_CHUNKS, KEPT_TEXT, RealFile, described_png, real_files
from tests.servers import serve

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from gradio_client import Client

    from gsr_app.ui.state import Limits, create_app_state

    limits = Limits(input_pixels=1_000_000, output_pixels=4_000_000)
    with serve(create_app_state(FakeEngine(), limits)) as url:
        yield Client(url, verbose=False)


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


def test_a_result_says_what_its_colours_mean_and_keeps_texts(client: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file

    upload = handle_file(str(described_png().write(tmp_path)))
    result, _ = client.predict(upload, "bicubic", "2", api_name="/upscale")
    data = Path(result).read_bytes()
    assert KEPT_CHUNKS in data
    assert KEPT_TEXT in data


def test_an_upload_with_the_longest_name_is_no_problem(client: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file

    path = tmp_path / ("ü" * 125 + ".png")  # 254 bytes
    path.write_bytes(described_png().data)
    result, _ = client.predict(handle_file(str(path)), "bicubic", "2", api_name="/upscale")
    assert pyvips.Image.pngload(result).width == 10
