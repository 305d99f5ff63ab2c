"""Completion: what the shells are told is what the commands take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gsr_app.harness import cli, completion
from gsr_app.models.registry import catalogue


def complete_in_bash(script: str, *words: str) -> list[str]:
    line = " ".join(f"'{word}'" for word in ("gsr", *words))
    code = f'{script}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n_gsr\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values() -> None:
    script = completion.script("bash", cli.COMMANDS)
    assert complete_in_bash(script, "up") == ["upscale"]
    assert set(complete_in_bash(script, "")) == set(cli.COMMANDS)
    assert complete_in_bash(script, "upscale", "--met") == ["--method"]
    assert complete_in_bash(script, "upscale", "--method", "rt4") == ["rt4ksr-x2", "rt4ksr-x3"]
    assert complete_in_bash(script, "bench", "mod") == ["model"]
    assert complete_in_bash(script, "completion", "") == ["bash", "zsh", "fish"]
    assert complete_in_bash(script, "upscale", "-o", "") == []  # a file, which the shell completes itself


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_of_every_command_is_there(shell: str, tmp_path: Path) -> None:
    script = completion.script(shell, cli.COMMANDS)
    dashes = {"fish": "-l "}.get(shell, "--")
    for name in ("scale", "method", "port", "max-pixels", "onnx", "readme"):
        assert f"{dashes}{name}" in script
    assert all(name in script for name in (*cli.COMMANDS, *catalogue()))
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
