"""The README tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_space_gets_what_it_asks_for() -> None:
    front = README.split("---")[1]
    for key in ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license"):
        assert re.search(rf"^{key}: \S", front, re.MULTILINE), key
    assert len(re.findall(r"^short_description: (.*)$", front, re.MULTILINE)[0]) <= 60
    assert 'python_version: "3.12"' in front
