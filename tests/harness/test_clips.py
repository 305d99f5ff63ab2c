"""`gsr eval --video`: clips are scored by SAVSR's protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.core.types import Scale
from gsr_app.engine.metrics import CONVENTIONS, psnr
from gsr_app.engine.protocols import crop_frame_size
from gsr_app.harness import cli
from gsr_app.harness.dataset import list_clips
from gsr_app.harness.evaluate import Settings, evaluate, read_scales
from gsr_app.harness.tables import find_published
from gsr_app.io.images import Picture, read_image, write_image
from gsr_app.models import registry
from tests.golden.filling import fill


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are so small that a second thread only costs time."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def vid4(tmp_path: Path) -> Path:
    """Two clips of four frames with moving waves."""
    y, x = np.mgrid[:50, :46]
    for c, clip in enumerate(("calendar", "walk")):
        folder = tmp_path / "Vid4" / "GT" / clip
        folder.mkdir(parents=True)
        for t in range(4):
            waves = [0.5 + 0.4 * np.sin(0.4 * (c + 1) * (x - 2 * t) + 0.3 * y + k) for k in range(3)]
            frame = (np.stack(waves, axis=-1) * 255).round().astype(np.uint8)
            write_image(folder / f"{t:08d}.png", Picture(frame))
    return tmp_path / "Vid4"


def test_the_score_of_a_clip_is_the_mean_over_its_frames(vid4: Path, tmp_path: Path) -> None:
    scale = Scale(2.5, 1.5)
    rows = evaluate([vid4], ["nearest"], [scale], Settings("savsr"), tmp_path / "out", clips=True)
    for row, clip in zip(rows, list_clips(vid4), strict=True):
        scores: list[float] = []
        for path in clip.frames:
            reference = read_image(path).pixels[:50, :45]
            planes = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None].float() / 255
            lr = F.interpolate(planes, size=(20, 30), mode="bicubic", antialias=True).clamp(0, 1)
            nearest = lr[0][:, (torch.arange(50) / 2.5 + 0.2).long()][..., ((torch.arange(45) + 0.5) / 1.5).long()]
            scores.append(psnr(nearest.permute(1, 2, 0).numpy(), reference, by=CONVENTIONS["whole-y"], scale=1))
        assert row.psnr_y == pytest.approx(np.mean(scores), abs=2e-4)
        assert (row.image, row.factor) == (clip.name, "2.5x1.5")


def test_scores_of_savsr_are_printed_with_the_published_ones(
    vid4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With stand-in weights whose last layer is silent, the network is the bilinear resize of its skip."""
    net = fill(registry.build("savsr"))
    with torch.no_grad():
        net.get_submodule("tail").weight.zero_()  # type: ignore[operator, union-attr]
        net.get_submodule("tail").bias.zero_()  # type: ignore[operator, union-attr]
    torch.save({"params": net.state_dict()}, tmp_path / "savsr_best.pth")
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    words = ["eval", "--video", str(vid4), "--methods", "savsr,bilinear", "--scales", "4x1.4", "--json"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    by_method = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert by_method["savsr"]["psnr_y"] == pytest.approx(by_method["bilinear"]["psnr_y"], abs=0.05)
    assert by_method["savsr"]["published"] == 29.44
    assert by_method["savsr"]["n"] == 2
    table = (tmp_path / "out" / "table.md").read_text()
    assert "### x4/x1.4" in table
    assert "published 29.44/0.8959" in table
    assert "antialiased bicubic" in table


def test_a_stopped_run_continues(vid4: Path, tmp_path: Path) -> None:
    told: list[str] = []
    scales = [Scale(2.0, 2.0), Scale(1.5, 3.0)]
    settings, out = Settings("savsr"), tmp_path / "out"
    evaluate([vid4], ["bicubic"], scales[:1], settings, out, clips=True)
    rows = evaluate(
        [vid4], ["bicubic"], scales, settings, out, clips=True, report=lambda *event: told.append(event[2].factor)
    )
    assert told == ["1.5x3"] * 2
    assert len(rows) == 4


@pytest.mark.shared
def test_frames_are_cropped_as_the_published_tests_crop_them(shared: Path) -> None:
    protocol = json.loads((shared / "golden/others/savsr/protocol.json").read_text())["as_mod_crop"]
    assert len(protocol) == 252
    for name, expected in protocol.items():
        size, _, scale = name.partition("@")
        height, width = map(int, size.split("x"))
        factor = Scale(*map(float, scale.split("x")))
        cropped = crop_frame_size((height, width), factor)
        lr = round(cropped[0] / factor.y), round(cropped[1] / factor.x)
        assert [*cropped] == expected["gt"], name
        assert [*lr] == expected["lr"], name
        assert [*factor.output_size(lr)] == expected["net_out"], name


def test_frames_of_a_clip_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "Set" / "walk").mkdir(parents=True)
    for number in range(1, 13):
        (tmp_path / "Set" / "walk" / f"frame_{number}.png").touch()
    (clip,) = list_clips(tmp_path / "Set")
    assert [path.name for path in clip.frames] == [f"frame_{number}.png" for number in range(1, 13)]


def test_published_scales_are_all_42_of_the_tables() -> None:
    scales = read_scales(["published"], ["bicubic", "savsr"], "savsr")
    assert len(scales) == 42
    assert sum(scale.is_uniform for scale in scales) == 30
    for scale in scales:
        for dataset in ("Vid4", "UDM10"):
            assert find_published("savsr", dataset, scale.y, "savsr", scale.x), (dataset, scale)
    assert find_published("savsr", "vid4", 4, "savsr")["psnr_y"] == 27.17
    assert find_published("savsr", "UDM10", 4, "savsr")["ssim_y"] == 0.9619
    assert find_published("savsr", "Vid4", 1.5, "savsr", 4)["psnr_y"] == 30.45


@pytest.mark.parametrize("words", [["0.5"], ["x"], ["published", "2"], []])
def test_invalid_scales_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="--scales"):
        read_scales(words, ["savsr"], "savsr")


def test_other_protocols_and_empty_folders_are_refused(vid4: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="'savsr'"):
        evaluate([vid4], ["bicubic"], [Scale(2, 2)], Settings("basicsr"), tmp_path / "out", clips=True)
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="holds no clips"):
        list_clips(tmp_path / "none")
