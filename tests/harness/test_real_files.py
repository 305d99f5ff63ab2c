"""`gsr upscale` with files that once became a wrong picture or an unclear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.harness import cli
from tests.real_files import RealFile, real_files


@pytest.mark.parametrize("file", real_files(), ids=lambda file: file.name)
def test_the_picture_is_right_or_the_error_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: RealFile
) -> None:
    source, target = file.write(tmp_path), tmp_path / "out.webp"  # of 8 bits
    words = ["upscale", source, "-o", target, "--method", "nearest", "--scale", "1", "--json"]
    code = cli.main([str(word) for word in words])
    result = json.loads(capsys.readouterr().out)["results"][0]
    if file.pixels is None:
        assert (code, result["status"]) == (1, "failed")
        assert file.words in result["reason"]
        assert result["hint"]
        assert "defect" not in result["hint"]
        assert not target.exists()
        return
    assert (code, result["status"]) == (0, "done"), result
    found = np.asarray(Image.open(target))
    assert np.array_equal(found, file.pixels if file.pixels.ndim == 3 else file.pixels[..., None].repeat(3, 2))
