"""The command line: quick to answer, honest in its exit codes."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from gsr_app import __version__, api
from gsr_app.engine.session import Session
from gsr_app.harness import cli, completion
from gsr_app.io.images import Picture, write_image
from gsr_app.models.registry import catalogue

ROOT = Path(__file__).resolve().parents[2]


def best_seconds(*arguments: str) -> float:
    """Of the processor, in the quickest of several runs: whatever else the machine is doing."""

    def taken() -> float:
        so_far = os.times()
        return so_far.children_user + so_far.children_system

    times: list[float] = []
    for _ in range(5):
        start = taken()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
        times.append(taken() - start)
    return min(times)


def test_importing_the_package_takes_under_300_ms() -> None:
    assert best_seconds("-c", "import gsr_app") < 0.3


def test_help_takes_under_600_ms() -> None:
    assert best_seconds("-m", "gsr_app", "--help") < 0.6


@pytest.mark.parametrize(
    "words", [["--help"], ["models"], ["upscale", "--help"], ["bench", "--help"], ["completion", "bash"]]
)
def test_what_computes_nothing_imports_no_torch(words: list[str]) -> None:
    code = f"import sys; from gsr_app.harness.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True).returncode == 0


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    overview = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"  {name}" in overview
        assert cli.main([name, "--help"]) == 0
        assert f"usage: gsr {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(cli.COMMANDS[name][0]).add_arguments(parser)
    silent = [action.option_strings or action.dest for action in completion.actions_of(parser) if not action.help]
    assert silent == []


def test_the_versions_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSR_BACKEND", "reference")
    assert cli.main(["--version"]) == 0
    first, torch, drawing, weights = capsys.readouterr().out.splitlines()
    assert first == f"gsr {__version__}"
    assert torch.startswith(f"torch {metadata.version('torch')} on ")
    assert drawing == "drawing: reference"
    assert re.fullmatch(r"weights: swift@[0-9a-f]{8} \(the default method swift\)", weights)


def test_a_wrong_call_is_exit_code_2_with_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert cli.main(["upscal"]) == 2
    assert "Did you mean 'upscale'" in capsys.readouterr().err
    assert cli.main(["upscale"]) == 2
    assert cli.main(["upscale", "a.png", "-o", "out", "--scale", "banana"]) == 2
    assert "banana" in capsys.readouterr().err
    assert cli.main(["upscale", "a.png", "-o", "out", "--method", "bicubik"]) == 2
    assert "Did you mean 'bicubic'" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line_and_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "--readme", str(tmp_path / "gone.md")]) == 1
    said = capsys.readouterr().err
    assert "gone.md: No such file or directory" in said
    assert "Traceback" not in said


WRONG = [
    (["upscale", "a.png", "-o", "out", "--workers", "0"], "workers must be at least 1"),
    (["eval", ".", "--methods", "bicubic", "--out", "out", "--workers", "0"], "workers must be at least 1"),
    (["eval", ".", "--methods", ",", "--out", "out"], "--methods names none"),
    (["fit", "a.png", "--steps", "1", "--seed", str(1 << 64)], "seed must be a number of 64 bits"),
    (["pack", ".", "a.png"], "must end in .pack"),
    (["pack", ".", "a.pack", "--threads", "-3"], "--threads must be at least 1"),
    (["pack", ".", "a.pack", "--held-out", "-1"], "--held-out must be at least 0"),
    (["pack", ".", "a.pack", "--most-mb", "-1"], "--most-mb must be greater than 0"),
    (["bench", "end-to-end", "--repeats", "0"], "--repeats must be at least 1"),
    (["bench", "end-to-end", "--methods", "bicubik"], "Did you mean 'bicubic'?"),
]


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_a_wrong_value_is_one_line_and_changes_nothing(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("a.png", Picture(np.zeros((8, 8), np.uint8)))
    before = Path("a.png").read_bytes()
    assert cli.main(words) == 2
    assert says in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before


def test_too_little_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lack(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 27.9 GiB")

    monkeypatch.setattr(api, "load", lack)
    assert cli.main(["render", "a.gsr", "-o", str(tmp_path / "a.png")]) == 1
    assert capsys.readouterr().err.startswith("gsr: Out of memory: Unable to allocate 27.9 GiB.\n")
    write_image(tmp_path / "b.png", Picture(np.zeros((8, 8), np.uint8)))
    monkeypatch.setattr(Session, "stream", lack)
    assert cli.main(["upscale", str(tmp_path / "b.png"), "-o", str(tmp_path / "c.png"), "--method", "bicubic"]) == 1
    said = capsys.readouterr().err
    assert "b.png: Out of memory: Unable to allocate 27.9 GiB." in said
    assert "defect" not in said


def test_models_lists_the_catalogue_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == list(catalogue())
    for row in rows:
        assert {"id", "family", "kind", "scales", "licence", "weights_licence", "weights_present"} <= set(row)
        assert isinstance(row["weights_present"], bool)
    assert next(row for row in rows if row["id"] == "bicubic")["weights_present"]


def test_models_prints_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table, by_hand = lines[: 1 + len(catalogue())], lines[1 + len(catalogue()) :]
    assert [line.split()[0] for line in table[1:]] == list(catalogue())
    pages = {method.id: method.page for method in catalogue().values() if method.page}
    missing = [line.split()[0] for line in table if line.endswith("by hand")]
    assert set(missing) <= set(pages)
    assert len(missing) <= 3
    assert {line.split()[0]: line.split()[-1] for line in by_hand if line} == {name: pages[name] for name in missing}


def test_doctor_says_what_runs_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"machine", "drawing", "versions", "folders", "weights"} <= set(found)
    assert found["machine"]["threads"] >= 1
    assert found["machine"]["precision"] == "float32"
    assert found["drawing"]["backend"]
    assert cli.main(["doctor"]) == 0
    assert "drawing" in capsys.readouterr().out


def test_output_that_nobody_reads_to_the_end_is_no_error() -> None:
    ended = subprocess.run(
        f"'{sys.executable}' -m gsr_app models --json | head -c 10; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 0


def test_work_that_a_closed_pipe_cut_off_is_no_success(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, Picture(np.zeros((8, 8), np.uint8)))
    ended = subprocess.run(
        f"'{sys.executable}' -m gsr_app upscale '{tmp_path}' -o '{tmp_path}/o' --method nearest 2>&1"
        " | true; exit ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 141


@pytest.mark.parametrize(("words", "says"), [
    (["bench", "--compare", "a.png", "a.png"], "a.png is not a CSV of a benchmark"),
    (["models", "--readme", "a.png"], "a.png is not a text"),
    (["compare", "--tally", "deep.json"], "deep.json does not hold votes"),
    (["export", "--onnx", "o.onnx", "--size", "1x1"], "at least 2"),
])  # fmt: skip
def test_a_file_or_size_of_another_kind_is_one_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("a.png", Picture(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)))
    Path("deep.json").write_text("[" * 100_000)
    assert cli.main(words) in {1, 2}
    said = "".join(capsys.readouterr())
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("option", "name"), [("--space", "README.md"), ("--space", "index.html"), ("--model", "README.md")]
)
def test_an_export_leaves_files_of_others_alone(
    option: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("of another project")
    assert cli.main(["export", option, str(tmp_path)]) == 2
    assert f"{name} is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "of another project"
    assert cli.main(["export", option, str(tmp_path / "own")]) == 0
    assert cli.main(["export", option, str(tmp_path / "own")]) == 0


@pytest.mark.parametrize("words", [
    ["render", "a.gsr"],
    ["export", "a.gsr", "--html", "e.html"],
    ["compare", "--tally", "a.gsr"],
    ["bench", "--compare", "a.gsr", "a.gsr"],
])  # fmt: skip
def test_a_pipe_is_no_file_to_wait_for(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.gsr")
    assert cli.main(words) in {1, 2}
    assert "a.gsr is a device, pipe or socket" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.gsr"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_one_that_nobody_reads(closed: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(np.zeros((8, 8), np.uint8)))
    words = f"upscale '{tmp_path}/a.png' -o '{tmp_path}/b.png' --method nearest"
    command = f"'{sys.executable}' -m gsr_app {words} {closed}"
    assert subprocess.run(command, shell=True, cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "b.png").exists()
