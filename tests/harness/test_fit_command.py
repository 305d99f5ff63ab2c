"""`gsr fit` and `gsr render`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.options import FitOptions
from gsr_app.fitting.state import load_state, save_state
from gsr_app.harness import curves
from gsr_app.harness.cli import main
from gsr_app.io.fields import Quantised, load_field, read_facts, save_field
from gsr_app.ops import render
from tests.processes import start_gsr


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:48, :64] / 64
    rgb = np.stack([x, y, ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05) * 0.8], 2)
    Image.fromarray((rgb * 255).astype(np.uint8)).save(tmp_path / "disc.png")
    return tmp_path / "disc.png"


def as_tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path), np.float32) / 255).permute(2, 0, 1).contiguous()


def test_the_last_line_is_the_result_and_the_folder_holds_everything(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", str(picture), "--gaussians", "300", "--steps", "80", "--keep-all", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(result) == {"psnr", "gaussians", "seconds", "steps", "start"}
    assert result["gaussians"] == 300
    assert result["steps"] == 80
    assert result["psnr"] > 25
    names = {path.name for path in (picture.parent / "disc").iterdir()}
    assert {"init.png", "render.png", "gt.png", "log.npy", "gt_pf.npy", "position_map.npy", "train.txt"} <= names
    assert main(["fit", "--plot", "disc", "--out", "curves.html"]) == 0
    page = Path("curves.html").read_text(encoding="utf-8")
    assert "PSNR" in page
    assert '<html lang="en">' in page
    assert "<title>disc: PSNR" in page
    assert main(["render", "disc.gsr", "--scale", "4", "-o", "x4.png"]) == 0
    assert Image.open("x4.png").size == (256, 192)


def test_resuming_keeps_the_precision_of_the_file(picture: Path) -> None:
    assert main(["fit", str(picture), "--gaussians", "100", "--steps", "5", "--bits", "12"]) == 0
    assert main(["fit", str(picture), "--steps", "8", "--resume"]) == 0
    assert read_facts(Path("disc.gsr")).precision == Quantised.evenly(12)
    assert main(["fit", str(picture), "--steps", "9", "--resume", "--bits", "float16"]) == 0
    assert read_facts(Path("disc.gsr")).precision == "float16"


def test_a_field_that_is_there_is_kept_and_only_one_of_a_fit_can_be_gone_on_with(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(picture), "--gaussians", "100", "--steps", "5"]) == 0
    before = Path("disc.gsr").read_bytes()
    assert main(["fit", str(picture), "--steps", "8"]) == 2
    assert "go on with --resume" in capsys.readouterr().err
    Path("disc.gsr").rename("theirs.gsr")
    assert main(["fit", str(picture), "--steps", "8", "--out", "theirs.gsr"]) == 2
    said = capsys.readouterr().err
    assert "--overwrite" in said
    assert "--resume" not in said
    assert Path("theirs.gsr").read_bytes() == before


def test_resuming_keeps_the_start_and_the_loss_unless_told(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[str, str, str]:
        assert main(["fit", str(picture), "--steps", "3", "--json", *words]) == 0
        start = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["start"]
        return start, read_facts(Path("disc.gsr")).method, load_state(as_tensor(picture), Path("disc.fit")).options.loss

    assert run("--gaussians", "50", "--start", "quadtree", "--loss", "l1") == ("quadtree", "fit-quadtree", "l1")
    assert run("--resume") == ("quadtree", "fit-quadtree", "l1")
    assert run("--resume", "--loss", "ssim") == ("quadtree", "fit-quadtree", "ssim")


def test_what_is_no_log_of_a_fit_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "line.npy", np.arange(4.0))
    np.save(tmp_path / "narrow.npy", np.ones((3, 2)))
    np.save(tmp_path / "words.npy", np.array([["a", "b", "c"]]))
    np.savez(tmp_path / "several.npz", a=np.ones((3, 4)))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("loss")
    files = sorted(tmp_path.iterdir())
    for path in files:
        assert main(["fit", "--plot", str(path), "--out", str(tmp_path / "a.html")]) == 2
        assert f"{path} is not the log of a fit." in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == files


def test_curves_hold_every_figure_of_every_run() -> None:
    pytest.importorskip("plotly")
    runs = {"a": np.array([[1, 0.5, np.nan, 2], [2, 0.25, 31, 4]], np.float32), "b": np.ones((3, 3), np.float32)}
    lines = curves.draw(runs, "PSNR-Y, dB").data
    drawn = [(line.name, list(line.x), list(line.y)) for line in lines]
    assert drawn[1] == ("a", [1, 2], [0.5, 0.25])
    assert drawn[3] == ("a", [2, 4], [0.5, 0.25])
    assert drawn[0][2][1] == 31
    assert lines[0].connectgaps
    assert [name for name, *_ in drawn] == ["a"] * 4 + ["b"] * 4


@pytest.mark.parametrize("out", ["disc.png", "there.gsr", "file/f.gsr"])
def test_a_fit_with_nowhere_to_go_is_refused_before_it_starts(picture: Path, out: str) -> None:
    Path("there.gsr").write_text("hours of work")
    Path("file").write_text("not a folder")
    before = {path.name: path.read_bytes() for path in picture.parent.iterdir()}
    assert main(["fit", str(picture), "--steps", "3", "--out", out]) in {1, 2}
    assert {path.name: path.read_bytes() for path in picture.parent.iterdir()} == before


def test_a_fit_begins_anew_only_when_told(picture: Path) -> None:
    command = ["fit", str(picture), "--steps", "2", "--gaussians"]
    assert main([*command, "100"]) == 0
    assert main([*command, "50"]) == 2
    assert len(load_field(Path("disc.gsr"))) == 100
    assert main([*command, "50", "--overwrite"]) == 0
    assert len(load_field(Path("disc.gsr"))) == 50


def test_a_field_is_drawn_at_any_size_and_any_view(picture: Path) -> None:
    assert main(["fit", str(picture), "--steps", "40", "--out", "f.gsr"]) == 0
    assert main(["render", "f.gsr", "--size", "320x", "-o", "large.png"]) == 0
    assert Image.open("large.png").size == (320, 240)
    assert main(["render", "f.gsr", "--view", "10,10,2,2", "--scale", "64", "-o", "deep.png"]) == 0
    assert Image.open("deep.png").size == (128, 128)
    assert main(["render", "f.gsr", "--view", "9.5,10,4.4,3", "--size", "96x64", "-o", "exact.png"]) == 0
    assert Image.open("exact.png").size == (96, 64)
    assert main(["render", "f.gsr", "--view", "9.5,10,4.4,3", "--size", "96x", "-o", "wide.png"]) == 0
    assert Image.open("wide.png").size == (96, 65)  # 96 / 4.4 * 3
    for view in ("0,0,0,4", "0,0,-4,4", "0,0,1e999,4"):
        assert main(["render", "f.gsr", "--view", view, "--size", "96x64", "-o", "no.png"]) == 2
    assert main(["render", "f.gsr", "-o", "f.svg"]) == 0
    assert Path("f.svg").read_text().count("<ellipse") == len(load_field(Path("f.gsr")))
    assert main(["render", "f.gsr", "--view", "nonsense", "-o", "no.png"]) == 2


def test_the_ellipses_of_a_grey_field_are_grey(picture: Path) -> None:
    one = np.ones((1, 2), np.float32)
    field = GaussianField(4 * one, one, np.zeros(1, np.float32), np.full((1, 1), 0.5, np.float32), (8, 8))
    save_field(field, Path("grey.gsr"))
    assert main(["render", "grey.gsr", "-o", "grey.svg"]) == 0
    assert 'fill="rgb(128, 128, 128)"' in Path("grey.svg").read_text()


def test_a_saved_field_draws_the_same_bits_and_sixteen_bits_cost_little(picture: Path) -> None:
    image = as_tensor(picture)
    fitter = Fitter(image, FitOptions(gaussians=400, steps=200))
    list(fitter.run(report_seconds=60))
    from gsr_app.fitting.losses import psnr

    view = View.whole(fitter.size, Scale(1, 1))
    save_field(fitter.field, Path("a.gsr"))
    assert torch.equal(render(load_field(Path("a.gsr")), view), render(fitter.field, view))
    save_field(fitter.field, Path("b.gsr"), precision=Quantised.evenly(16))
    assert psnr(render(load_field(Path("b.gsr")), view), image) > psnr(render(fitter.field, view), image) - 0.1


def test_a_killed_fit_goes_on_from_its_last_state(picture: Path) -> None:
    state = Path("k.fit")
    program = start_gsr("fit", picture, "--seconds", "120", "--out", "k.gsr")
    program.wait_for(state.exists)
    program.kill()
    found = load_state(as_tensor(picture), state)
    assert found.step > 0
    before = found.best_psnr
    found.extend(steps=20)
    assert list(found.run(report_seconds=60))[-1].best_psnr >= before


def test_an_interrupted_fit_keeps_the_best(picture: Path) -> None:
    program = start_gsr("fit", picture, "--seconds", "120", "--out", "i.gsr", "--json")
    program.wait_for(Path("i.fit").exists)
    program.signal(signal.SIGINT)
    assert program.end(60) == 130
    assert json.loads(program.said.strip().splitlines()[-1])["psnr"] > 20
    assert len(load_field(Path("i.gsr"))) > 0


def test_a_state_is_not_taken_up_with_another_image(picture: Path) -> None:
    image = as_tensor(picture)
    fitter = Fitter(image, FitOptions(gaussians=50, steps=5))
    list(fitter.run())
    save_state(fitter, Path("s.fit"))
    from gsr_app.core.errors import FieldFileError, InvalidArgument

    with pytest.raises(InvalidArgument, match="another image"):
        load_state(1 - image, Path("s.fit"))
    with pytest.raises(FieldFileError, match="no state"):
        load_state(image, Path("none.fit"))


def test_the_published_preset_runs_and_refuses_what_it_fixes(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(picture), "--preset", "published", "--gaussians", "200", "--steps", "20", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (result["gaussians"], result["steps"]) == (200, 20)
    assert main(["fit", str(picture), "--preset", "published", "--loss", "l1"]) == 2
    assert main(["fit", str(picture), "--start", "initnet", "--weights", "none.pth"]) != 0


def test_a_state_that_the_disk_did_not_take_is_one_line_and_leaves_nothing(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", fill)
    assert main(["fit", str(picture), "--steps", "2", "--out", "f.gsr"]) == 1
    assert "Is the disk full?" in capsys.readouterr().err
    assert [path.name for path in picture.parent.iterdir()] == ["disc.png"]
