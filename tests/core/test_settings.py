"""Environment variables: what each takes, what it refuses, and that nothing else reads them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsr_app.core import settings
from gsr_app.core.errors import InvalidArgument
from gsr_app.core.folders import cache_folder

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "app.py", *sorted((ROOT / "ext").glob("*.py")), *sorted((ROOT / "gsr_app").rglob("*.py"))]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "text", "read", "expected"),
    [
        ("GSR_MEMORY_BYTES", "2G", settings.memory_bytes, 2 << 30),
        ("GSR_MEMORY_BYTES", "512M", settings.memory_bytes, 512 << 20),
        ("GSR_MEMORY_BYTES", "1.5 GiB", settings.memory_bytes, 3 << 29),
        ("GSR_MEMORY_BYTES", "64kb", settings.memory_bytes, 64 << 10),
        ("GSR_MEMORY_BYTES", "123", settings.memory_bytes, 123),
        ("GSR_MEMORY_BYTES", "", settings.memory_bytes, 1 << 30),
        ("GSR_MAX_PIXELS", "64M", settings.max_pixels, 64_000_000),
        ("GSR_MAX_PIXELS", "6e2", settings.max_pixels, 600),
        ("GSR_MAX_PIXELS", " 599 ", settings.max_pixels, 599),
        ("GSR_OFFLINE", "1", settings.is_offline, True),
        ("GSR_OFFLINE", "Yes", settings.is_offline, True),
        ("GSR_OFFLINE", "0", settings.is_offline, False),
        ("HF_HUB_OFFLINE", "ON", settings.is_offline, True),
        ("HF_HUB_OFFLINE", "false", settings.is_offline, False),
        ("GSR_BACKEND", "CUDA", settings.backend, "cuda"),
        ("GSR_BACKEND", "", settings.backend, "auto"),
        ("GSR_WEIGHTS_DIR", "here/there", settings.weights_folder, Path("here/there")),
        ("GSR_CACHE", "~/x", cache_folder, Path.home() / "x"),
        ("HF_ENDPOINT", "http://127.0.0.1:9", settings.hub_address, "http://127.0.0.1:9"),
        ("GRADIO_SERVER_PORT", "8080", settings.server_port, 8080),
        ("GSR_ALLOWED_HOSTS", "GSR.example.org, 10.0.0.1", settings.allowed_hosts, ("gsr.example.org", "10.0.0.1")),
        ("GSR_ALLOWED_HOSTS", "*", settings.allowed_hosts, ("*",)),
        ("SPACES_ZERO_GPU", "true", settings.is_zero_gpu, True),
    ],
)
def test_a_value_is_read(
    name: str, text: str, read: Callable[[], Any], expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    settings.check()
    assert read() == expected


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("GSR_MEMORY_BYTES", "x -5 0 0.2 nan inf 1e999 2Q G"),
        ("GSR_MAX_PIXELS", "x -5 0 nan inf 1e999 2..5 1_000"),
        ("GSR_OFFLINE", "2 maybe"),
        ("HF_HUB_OFFLINE", "maybe"),
        ("GSR_BACKEND", "gpu"),
        ("GSR_CACHE", "~nobody-of-that-name/x"),
        ("GSR_WEIGHTS_DIR", f"~nobody-of-that-name/x {__file__}"),
        ("HF_ENDPOINT", "huggingface.co ftp://x http://"),
        ("GRADIO_SERVER_PORT", "x -1 0 65536 80.5"),
        ("GSR_ALLOWED_HOSTS", "https://gsr.example.org gsr.example.org:80 a:80 , *.example.org"),
    ],
)
def test_nonsense_is_refused_with_the_variable_the_value_and_what_is_supported(
    name: str, texts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in texts.split():
        monkeypatch.setenv(name, text)
        with pytest.raises(InvalidArgument) as caught:
            settings.check()
        assert str(caught.value) == f"{name} is {text!r}. Supported values: {settings.VARIABLES[name].supported}."
        assert "unset it" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "name", "text"),
    [
        (["-m", "gsr_app", "models"], "GSR_CACHE", "~nobody-of-that-name/x"),
        (["-m", "gsr_app", "upscale", "a.png", "-o", "b.png"], "GSR_MEMORY_BYTES", "x"),
        (["app.py"], "GRADIO_SERVER_PORT", "x"),
        (["app.py"], "GSR_MAX_PIXELS", "nan"),
    ],
)
def test_programs_end_with_one_line_and_no_traceback(command: list[str], name: str, text: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, name: text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert done.stderr.startswith(f"gsr: {name} is {text!r}. Supported values: ")
    assert "Traceback" not in done.stderr


def test_help_is_there_whatever_the_environment_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gsr_app", "models", "--help"],
        cwd=ROOT, env={**os.environ, "GSR_CACHE": "~nobody-of-that-name"}, check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0


def names_read_by(path: Path) -> set[object]:
    """The environment variables that a file reads by name: environ.get, environ[...], getenv."""
    found: set[object] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("environ.get", "getenv")):
            found |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value).endswith("environ")
        ):
            found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_are_read_in_one_module(path: Path) -> None:
    if path.name == "settings.py":
        return
    ours = {name for name in names_read_by(path) if re.match("GSR_|HF_|GRADIO_|SPACES_", str(name))}
    assert ours <= ({"GSR_MARCH"} if path == ROOT / "ext" / "setup.py" else set())


def test_the_reader_of_names_sees_all_forms(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nos.environ.get('A', '')\nos.getenv('B')\nos.environ['C']\n")
    assert names_read_by(tmp_path / "a.py") == {"A", "B", "C"}


def test_every_function_reads_a_variable_of_the_table_and_every_variable_is_read() -> None:
    source = (ROOT / "gsr_app" / "core" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r'_value\("(\w+)"', source)) == set(settings.VARIABLES) - {"GSR_MARCH"}
