"""`gsr upscale` with files that once became a wrong picture or an unclear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.harness import cli
from tests.real_files import KEPT_CHUNKS, KEPT_TEXT, RealFile, described_png, real_files, write_broken_weights


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


def test_a_result_says_what_its_colours_mean_and_keeps_texts(tmp_path: Path) -> None:
    source = described_png().write(tmp_path)
    words = ["upscale", source, "-o", tmp_path / "out.png", "--method", "bicubic", "--scale", "2"]
    assert cli.main([str(word) for word in words]) == 0
    data = (tmp_path / "out.png").read_bytes()
    assert KEPT_CHUNKS in data
    assert KEPT_TEXT in data


@pytest.mark.parametrize("change", ["integers", "not finite", "itself", "numbers as keys"])
def test_weights_that_cannot_be_used_draw_nothing_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    source = described_png().write(tmp_path)
    words = write_broken_weights(tmp_path / "w.pth", "rt4ksr-x2", change)
    options = ["--method", "rt4ksr-x2", "--weights", tmp_path / "w.pth", "--scale", "2"]
    assert cli.main([str(word) for word in ["upscale", source, "-o", tmp_path / "out.png", *options]]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "w.pth" in said
    assert not (tmp_path / "out.png").exists()
