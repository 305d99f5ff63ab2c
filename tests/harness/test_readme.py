"""The README tells the truth."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from skimage import data, io

from gsr_app.harness import cli, models

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_of_methods_and_variables_are_those_of_the_program() -> None:
    """When this fails: python -m gsr_app models --readme README.md"""
    assert models.with_tables(README) == README


def test_the_two_commands_are_there_and_ci_runs_the_second() -> None:
    start = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python app.py"
    test = "python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt && .venv/bin/python -m pytest"
    assert start in README.splitlines()
    assert test in README.splitlines()
    assert test in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_command_it_shows_exists() -> None:
    shown = set(re.findall(r"^gsr ([a-z]+)", README, re.MULTILINE))
    assert shown
    assert shown <= set(cli.COMMANDS)


def test_every_file_it_links_to_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_a_space_has_what_it_links_to() -> None:
    script = (ROOT / ".ci" / "space").read_text(encoding="utf-8")
    copied = re.findall(r'^cp -r (.*) "\$1"$', script, re.MULTILINE)[0].split()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert target.split("/")[0] in copied, target


def test_the_space_gets_what_it_asks_for() -> None:
    front = README.split("---")[1]
    for key in ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license"):
        assert re.search(rf"^{key}: \S", front, re.MULTILINE), key
    assert len(re.findall(r"^short_description: (.*)$", front, re.MULTILINE)[0]) <= 60
    assert 'python_version: "3.12"' in front


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"gradio", "plotly", "av"}:
            raise ImportError(f"{name} is not needed here")

sys.meta_path.insert(0, Blocker())
"""


def test_the_python_it_shows_runs_without_the_packages_of_the_app(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    io.imsave(tmp_path / "cat.png", data.chelsea()[100:136, 150:198])
    (tmp_path / "shown.py").write_text("\n".join([BLOCKED, *blocks]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "shown.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "PSNR inf dB" in answer.stdout
    assert io.imread(tmp_path / "cat_x4.png").shape == (144, 192, 3)
    assert {path.name for path in tmp_path.iterdir()} == {
        "cat.gsr", "cat.png", "cat_mine.png", "cat_x2.5.png", "cat_x4.png", "fit.gsr", "shown.py",
    }  # fmt: skip
