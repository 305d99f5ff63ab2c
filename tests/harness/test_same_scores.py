"""A picture has one score per scale and protocol, whichever part of the program computes it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gsr_app.core.types import Scale
from gsr_app.engine.metrics import measure
from gsr_app.engine.protocols import PROTOCOLS, make_pair, score
from gsr_app.engine.session import Session
from gsr_app.harness import cli
from gsr_app.harness.evaluate import Settings, evaluate
from gsr_app.harness.tables import Row
from gsr_app.io.images import Picture, read_image, write_image

METHOD = "bicubic"
SCALES = (2.0, 2.5, 3.7)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """[131, 143, 3] uint8: waves and noise, of a size that none of the scales divides."""
    y, x = np.mgrid[:131, :143]
    waves = np.stack([np.sin(0.2 * x + 0.1 * k * y) + np.sin(0.05 * x * k - 0.3 * y) for k in range(3)], -1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return (127 + 55 * waves + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def rows(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, float], Row]:
    """What `gsr eval` writes, by protocol and scale."""
    folder = tmp_path_factory.mktemp("eval")
    (folder / "One").mkdir()
    write_image(folder / "One" / "waves.png", Picture(picture))
    found: dict[tuple[str, float], Row] = {}
    for name in PROTOCOLS:
        for row in evaluate([folder / "One"], [METHOD], SCALES, Settings(name), folder / name):
            assert not row.error
            found[name, row.scale] = row
    return found


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_files_of_the_command_line_score_as_the_evaluation_says(
    name: str, scale: float, picture: np.ndarray, rows: dict[tuple[str, float], Row], tmp_path: Path
) -> None:
    """The LR goes through a file, `gsr upscale` and another file; nothing but the convention is applied to it."""
    by, row = PROTOCOLS[name], rows[name, scale]
    write_image(tmp_path / "lr.tif", Picture(make_pair(picture, scale, by).float_lr))
    words = ["upscale", str(tmp_path / "lr.tif"), "-o", str(tmp_path / "sr.tif"), "--method", METHOD]
    assert cli.main([*words, "--scale", f"{scale:g}"]) == 0
    drawn = read_image(tmp_path / "sr.tif").pixels
    height, width = (min(pair) for pair in zip(drawn.shape[:2], picture.shape[:2], strict=True))
    for convention, psnr, ssim in ((by.y, row.psnr_y, row.ssim_y), (by.rgb, row.psnr_rgb, row.ssim_rgb)):
        found = measure(drawn[:height, :width], picture[:height, :width], by=convention, scale=scale)
        assert (round(found.psnr_db, 4), round(found.ssim, 6)) == (psnr, ssim)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_eight_bit_arrays_score_as_the_evaluation_says_where_the_convention_rounds(
    name: str, scale: float, picture: np.ndarray, rows: dict[tuple[str, float], Row]
) -> None:
    by, row = PROTOCOLS[name], rows[name, scale]
    pair = make_pair(picture, Scale(scale, scale), by)
    drawn = Session(device="cpu").upscale(pair.lr, method=METHOD, scale=scale).image
    same = round(score(drawn, pair, by.main).psnr_db, 4) == (row.psnr_rgb if by.rgb_first else row.psnr_y)
    assert same == (by.main.quantised or drawn.dtype == np.float32)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_panes_of_the_app_and_of_a_report_show_the_score_of_the_evaluation(
    name: str, scale: float, picture: np.ndarray, rows: dict[tuple[str, float], Row], tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    from gsr_app.ui import compare
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.files import Files
    from gsr_app.ui.state import AppState
    from gsr_app.viewer.comparison import CompareRequest
    from gsr_app.viewer.contract import as_json

    path = tmp_path / "waves.png"
    deep = (picture.astype(np.uint32) * 257 + 90).clip(0, 65535).astype(np.uint16)  # rounded to the same 8 bits
    write_image(path, Picture(picture if scale == 2 else deep))
    app = AppState(Engine("cpu"), Files(tmp_path / "files"))
    request = CompareRequest(str(path), (METHOD,), f"{scale:g}", round_trip=True, protocol=name)
    *_, scene = compare.compare(app, "me", compare.prepare(app, request))
    in_app = as_json(scene.panes[0].metrics)

    words = ["compare", str(path), "--methods", METHOD, "--scale", f"{scale:g}", "--round-trip", "--protocol", name]
    assert cli.main([*words, "--report", str(tmp_path / "report.html")]) == 0
    (data,) = re.findall(r"^const report = (.*);$", (tmp_path / "report.html").read_text(), re.MULTILINE)
    in_report = json.loads(data)["pages"][0]["scene"]["panes"][0]["metrics"]
    assert in_app == in_report

    by, row = PROTOCOLS[name].main, rows[name, scale]
    shown = {score: value and round(value, 4) for score, value in in_app.items() if score.startswith("psnr")}
    on_rgb = by.channel == "rgb"
    assert shown == {"psnr_y": None if on_rgb else row.psnr_y, "psnr_rgb": row.psnr_rgb if on_rgb else None}
