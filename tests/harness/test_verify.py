"""`gsr verify`: the published weights pass it, and what differs from them does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gsr_app.core.types import Scale
from gsr_app.engine import verification
from gsr_app.engine.verification import Check, stored_outputs, verify
from gsr_app.harness import cli
from gsr_app.harness.evaluate import Settings, evaluate
from gsr_app.harness.verify import _verify, compare_scores
from gsr_app.io.images import Picture, write_image
from gsr_app.models import registry
from gsr_app.models.checkpoint import load_files
from tests import set5

RELEASED = {
    **{f"smfanet-x{n}": f"SMFANet_DF2K_100w_x{n}SR.pth" for n in (2, 3, 4)},
    "span-x4": "team00_SPAN.pth",
    "rt4ksr-x2": "rt4ksr_x2.pth",
    "rt4ksr-x3": "rt4ksr_x3.pth",
    "liif-edsr": "edsr-baseline-liif.pth",
}


def test_every_stored_output_belongs_to_a_method_of_the_catalogue() -> None:
    assert set(stored_outputs()) == set(RELEASED) <= set(registry.packaged_catalogue())


@pytest.mark.shared
@pytest.mark.parametrize("method_id", RELEASED)
def test_the_released_files_give_the_stored_output(shared: Path, method_id: str) -> None:
    files, output = verify(registry.method(method_id), shared / "weights" / RELEASED[method_id])
    assert (files.outcome, files.text) == ("passed", "as published")
    assert output.outcome == "passed", output.text


@pytest.mark.shared
def test_an_output_that_differs_by_half_a_level_fails(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = stored_outputs()["span-x4"]
    shifted = replace(stored, values=(*stored.values[:-1], stored.values[-1] + 0.5 / 255))
    monkeypatch.setattr(verification, "stored_outputs", lambda: {"span-x4": shifted})
    _, output = verify(registry.method("span-x4"), shared / "weights/team00_SPAN.pth")
    assert output == Check("output", "failed", "differs from the stored output by up to 0.5 levels of 255")


@pytest.mark.shared
def test_scores_are_compared_with_those_that_are_published_for_a_set_of_that_name(shared: Path, tmp_path: Path) -> None:
    for end in ("HR", "LR"):
        (tmp_path / f"set5_small/x4/{end}").mkdir(parents=True)
        shutil.copy(shared / f"data/val/Set5_pairs/x4/{end}/img_005.png", tmp_path / f"set5_small/x4/{end}")
    given = shared / "weights" / RELEASED["span-x4"]
    expected = set5.psnr_y(shared, 4, load_files(registry.build("span-x4"), {"": given}), "img_005")
    for published, outcome in ((expected, "passed"), (expected + 0.05, "failed")):
        method = replace(
            registry.method("span-x4"),
            convention="basicsr",
            published=({"dataset": "Set5", "scale": 4, "psnr_y": published},),
        )
        (score,) = compare_scores(method, tmp_path / "set5_small", str(given))
        assert score.outcome == outcome
        assert score.text == f"set5_small x4 PSNR-Y {expected:.2f} dB, published {published:.2f} (basicsr)"
    (other,) = compare_scores(registry.method("span-x4"), tmp_path, str(given))
    assert other == Check("score", "unknown", f"no scores are published for {tmp_path.name}")


def test_scores_of_clips_are_compared_at_the_scale_of_each_axis(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("0.png", "1.png"):
        (tmp_path / "Vid4" / "walk").mkdir(parents=True, exist_ok=True)
        image = Picture(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        write_image(tmp_path / "Vid4" / "walk" / name, image)
    scales = [Scale(1.5, 2), Scale(2, 2)]
    rows = evaluate([tmp_path / "Vid4"], ["bicubic"], scales, Settings("savsr"), tmp_path / "out", clips=True)
    expected = {(row.scale, row.scale_x or row.scale): row.psnr_y for row in rows}
    published = tuple(
        {"dataset": "Vid4", "scale": one.y, "scale_x": one.x, "psnr_y": float(expected[one.y, one.x] or 0)}
        for one in scales
    )
    method = replace(registry.method("bicubic"), convention="savsr", published=published)
    checks = compare_scores(method, tmp_path / "Vid4")
    assert [check.outcome for check in checks] == ["passed", "passed"]
    assert checks[0].text.startswith("Vid4 x1.5x2 PSNR-Y")
    # A folder without clips is no fault of the weights.
    (tmp_path / "UDM10").mkdir()
    (no_score,) = _verify(
        replace(method, published=({**published[0], "dataset": "UDM10"},)), None, [tmp_path / "UDM10"]
    )[1:]
    assert (no_score.name, no_score.outcome) == ("score", "failed")
    assert "holds no clips" in no_score.text


def test_the_command_tells_each_check_and_fails_if_one_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GSR_OFFLINE", "1")
    monkeypatch.delenv("GSR_WEIGHTS_DIR", raising=False)
    assert cli.main(["verify", "bicubic", "swift", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["method"], line["name"], line["outcome"]) for line in lines] == [
        ("bicubic", "files", "passed"),
        ("swift", "files", "passed"),
        ("swift", "output", "unknown"),
    ]
    assert cli.main(["verify", "span-x4"]) == 1  # its weights are not here, and nothing may be fetched
    assert "FAILED" in capsys.readouterr().out
    assert cli.main(["verify", "bicubic", "lanczos3", "--weights", str(tmp_path)]) == 2
    assert cli.main(["verify", "bicubic", "--data", str(tmp_path / "none")]) == 2
    (tmp_path / "own.pth").write_bytes(b"no weights")
    assert cli.main(["verify", "swift", "--weights", str(tmp_path / "own.pth")]) == 1
    assert "own.pth" in capsys.readouterr().out


@pytest.mark.shared
def test_other_weights_for_a_method_are_not_the_published_ones(shared: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(shared / "weights/team00_SPAN.pth", "cpu", weights_only=True)
    state["conv_1.eval_conv.bias"] += 0.01
    torch.save(state, tmp_path / "own.pth")
    files, output = verify(registry.method("span-x4"), tmp_path / "own.pth")
    assert (files.outcome, output.outcome) == ("unknown", "unknown")
    assert "your own weights" in files.text
