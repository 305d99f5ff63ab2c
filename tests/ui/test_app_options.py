"""The options of the app: what cannot be meant ends the program before anything starts, with a line that says why."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gsr_app.harness import cli
from gsr_app.ui import serve

ROOT = Path(__file__).resolve().parents[2]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        *(("--auth", value, "NAME:PASSWORD") for value in ("", "nocolon", ":password", "name:", " :x", ":")),
        *(("--max-pixels", value, "a number of pixels") for value in ("nan", "inf", "1e999", "-4", "0", "x", "")),
        *(("--port", value, "from 1 to 65535") for value in ("99999", "0", "-1", "x", "")),
        ("--host", "", "a host name or address"),
        *(("--device", value, "auto, cpu, cuda, cuda:1, mps") for value in ("", "nonsense", "cuda:", "cpu:0")),
        ("--weights-dir", "/no/such/folder", "a folder that is there"),
        *(("--allowed-hosts", value, "without http://") for value in ("", "https://gsr.example.org", "a:80")),
    ],
)
def test_nonsense_is_refused_before_anything_starts(
    option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["app", f"{option}={value}"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"argument {option}: " in last
    assert says in last


def test_a_password_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["app", "--auth", "my-secret-password"]) == 2
    assert "my-secret-password" not in capsys.readouterr().err


def test_two_apps_keep_the_files_of_their_visitors_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders: set[str] = set()
    for empty in (False, True, True):  # an empty variable counts as unset
        monkeypatch.setenv("GRADIO_TEMP_DIR", "")
        if not empty:
            monkeypatch.delenv("GRADIO_TEMP_DIR")
        serve.keep_files_apart()
        folders.add(os.environ["GRADIO_TEMP_DIR"])
    assert len(folders) == 3
    assert all(Path(folder).is_dir() for folder in folders)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    serve.keep_files_apart()
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)


def test_what_is_supported_is_read() -> None:
    options = parse("--auth", " me :pass:word", "--max-pixels", "1e6", "--port", "80", "--allowed-hosts", "A.org,b")
    assert options.auth == ("me", "pass:word")
    assert (options.max_pixels, options.port, options.allowed_hosts) == (1_000_000, 80, ("a.org", "b"))
    assert parse("--max-pixels", "64M").max_pixels == parse().max_pixels == 64_000_000
    assert parse().auth is None


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--port", "{free}", "--device", "nonsense"], 2, "supported: auto, cpu, cuda, cuda:1, mps"),
        (["--port", "{used}"], 1, "cannot listen at 127.0.0.1, port {used}"),
    ],
)
def test_what_shows_at_the_start_ends_with_one_line_and_no_traceback(options: list[str], code: int, says: str) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as left:
        free = left.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "app.py", *(one.format(used=used, free=free) for one in options)],
            cwd=ROOT, env={**os.environ, "GSR_BACKEND": "reference"}, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert says.format(used=used) in done.stderr
