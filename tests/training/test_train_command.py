"""`train RECIPE` from the outside: progress, a state that survives Ctrl-C, and errors that help."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import pyvips
import torch
from safetensors.torch import load_file

from gsr_app.core.errors import ImageError, InvalidArgument, WeightsError
from gsr_app.harness import train
from gsr_app.training.data import Share, choose_held_out, find_pictures, load_picture, load_shares
from gsr_app.training.pack import write_pack
from gsr_app.training.recipe import SHIPPED
from tests.processes import start_gsr
from tests.training.small import SMALL, draw_pictures

ROOT = Path(__file__).resolve().parents[2]


def write_pictures(folder: Path) -> None:
    for i, picture in enumerate(draw_pictures(4, (80, 90))):
        pyvips.Image.new_from_array(picture.permute(1, 2, 0).numpy()).write_to_file(str(folder / f"{i}.png"))


def write_recipe(path: Path, *more: tuple[str, str]) -> None:
    """The shipped recipe at a size that a test can afford, with more of its words replaced."""
    text = (SHIPPED / "swift.toml").read_text()
    for before, after in (("patch_px = 48", "patch_px = 12"), ("batch = 8", "batch = 2"), *more):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    write_pictures(place)
    return place


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    write_recipe(path, ('arch = "swift"', f'arch = "{SMALL}"'))
    return path


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args(words)


def test_a_short_run_reports_and_leaves_its_weights(
    folder: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = (str(recipe), "--data", str(folder), "--out", str(out), "--device", "cpu")
    assert train.run(parse(*words, "--steps", "3")) == 0
    said = capsys.readouterr().out
    assert "step 3/3" in said
    assert "x2 " in said
    assert "final.safetensors" in said
    assert {path.name for path in out.iterdir()} >= {
        "last.pt", "log.csv", "curve.html", "best.safetensors", "final.safetensors"
    }  # fmt: skip
    with pytest.raises(InvalidArgument, match="already holds a run") as error:
        train.run(parse(*words))
    assert "--resume" in error.value.hint
    assert train.run(parse(*words, "--steps", "4", "--resume")) == 0
    assert "step 4/4" in capsys.readouterr().out


def test_a_run_needs_no_plotly(folder: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    out = tmp_path / "run"
    assert (
        train.run(parse(str(recipe), "--data", str(folder), "--out", str(out), "--device", "cpu", "--steps", "2")) == 0
    )
    assert (out / "log.csv").is_file()
    assert not (out / "curve.html").exists()


def test_a_run_can_begin_with_the_averaged_weights_of_another(folder: Path, recipe: Path, tmp_path: Path) -> None:
    words = (str(recipe), "--data", str(folder), "--device", "cpu", "--steps", "2")
    assert train.run(parse(*words, "--out", str(tmp_path / "first"))) == 0
    given = tmp_path / "first" / "last.pt"
    still = tmp_path / "still.toml"
    still.write_text(recipe.read_text().replace("rate = 3e-3", "rate = 0.0"))  # then it ends with what it began with
    later = (str(still), *words[1:], "--out", str(tmp_path / "second"), "--from", str(given))
    assert train.run(parse(*later)) == 0
    first, second = (load_file(tmp_path / name / "final.safetensors") for name in ("first", "second"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-7)
    with pytest.raises(InvalidArgument, match="--from begins a run"):
        train.run(parse(*later, "--resume"))
    other = (str(still), *words[1:], "--out", str(tmp_path / "third"))
    with pytest.raises(WeightsError, match="does not fit"):
        train.run(parse(*other, "--from", str(ROOT / "assets" / "quickstart.safetensors")))


def test_ctrl_c_leaves_a_state_to_resume(folder: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "small.toml", tmp_path / "run"
    write_recipe(recipe)
    run = start_gsr("train", recipe, "--data", folder, "--out", out, "--device", "cpu", "--threads", "1")
    run.wait_for(lambda: "\n" in run.said)
    assert run.said.startswith("step 1/")
    run.signal(signal.SIGINT)
    assert run.end(120) == 130
    assert "Go on with --resume" in run.complained
    assert (out / "last.pt").exists()


def test_every_process_of_a_team_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert train._choose_device("cpu") == "cpu"
    with pytest.raises(InvalidArgument, match="device must be"):
        train._choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [train._choose_device(wish) for wish in ("auto", "cuda", "cuda:3")] == ["cuda:0", "cuda:0", "cuda:3"]
    monkeypatch.setenv("LOCAL_RANK", "2")  # as torchrun sets it
    assert [train._choose_device(wish) for wish in ("auto", "cuda")] == ["cuda:2", "cuda:2"]


def test_a_few_pictures_are_held_out_to_judge_by() -> None:
    pictures = draw_pictures(25, (16, 16))
    rest, held = train.hold_out(pictures)
    assert (len(rest), len(held)) == (23, 2)
    assert not any(one is other for one in rest for other in held)
    few = pictures[:4]
    assert train.hold_out(few) == (few, few[:1])


def test_pictures_of_several_places_are_held_out_to_judge_by(folder: Path, recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "set=2"  # no share: a path that exists
    other.mkdir()
    write_pictures(other)
    out = tmp_path / "run"
    places = (str(folder), str(other), f"{folder}=0.5")
    words = (str(recipe), "--data", *places, "--out", str(out), "--device", "cpu", "--steps", "2")
    assert train.run(parse(*words)) == 0
    assert (out / "best.safetensors").is_file()
    pictures = [Share(1.0, draw_pictures(20, (16, 16))), Share(2.0, [{"lr": torch.zeros(3, 4, 4)}])]
    rest, held = train.hold_out_of_shares(pictures)
    assert [(one.share, len(one.examples)) for one in rest] == [(1.0, 18), (2.0, 1)]
    assert len(held) == 2
    with pytest.raises(InvalidArgument, match="taught tiles alone"):
        train.hold_out_of_shares(pictures[1:])


def test_what_a_recipe_holds_out_of_one_folder_is_not_trained_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def watch(shares: Sequence[Share]) -> tuple[list[Share], list[torch.Tensor]]:
        seen.extend(one for share in shares for one in share.examples if isinstance(one, torch.Tensor))
        return hold_out_of_shares(shares)

    hold_out_of_shares = train.hold_out_of_shares
    monkeypatch.setattr(train, "hold_out_of_shares", watch)
    recipe = tmp_path / "held.toml"
    write_recipe(recipe, ('arch = "swift"', f'arch = "{SMALL}"'), ("held_out = 40", "held_out = 2"))
    words = (str(recipe), "--data", str(folder), "--device", "cpu", "--steps", "1")
    assert train.run(parse(*words, "--out", str(tmp_path / "run"))) == 0
    files = find_pictures(folder)
    assert len(files) == 4
    kept = sorted(set(files) - set(choose_held_out(files, 2)))
    assert all(torch.equal(one, load_picture(file)) for one, file in zip(seen, kept, strict=True))


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        ("--steps", "0", "--steps must be at least 1"),
        ("--seed", "-1", "--seed must be at least 0"),
        ("--minutes", "0", "--minutes must be more than 0"),
        ("--tile-px", "8", "--tile-px must be at least 12"),
    ],
)
def test_numbers_that_no_run_can_have_are_refused_before_anything_is_read(
    recipe: Path, word: str, value: str, message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        train.run(parse(str(recipe), "--data", "nowhere", "--teacher", "smfanet-plus-x2=nowhere", word, value))


@pytest.mark.parametrize("share", ["0", "-1", "nan", "inf"])
def test_a_share_is_more_than_nothing(folder: Path, share: str) -> None:
    with pytest.raises(InvalidArgument, match="must be more than 0"):
        load_shares([f"{folder}={share}"])


def test_an_empty_pack_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "none.pack", [])
    with pytest.raises(ImageError, match="no pictures and no tiles"):
        load_shares([str(tmp_path / "none.pack")])
