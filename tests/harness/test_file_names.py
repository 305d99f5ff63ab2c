"""Files whose names are not UTF-8, on a terminal and in files that are."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from gsr_app.harness import cli
from tests.files import png_of

pytestmark = pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="names are text there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for name in (b"caf\xe9.png", b"good.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(png_of(pixels))
    return tmp_path / "in"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    """(exit code, output) on a strict UTF-8 terminal."""
    out = io.BytesIO()
    terminal = io.TextIOWrapper(out, "utf-8", "strict", write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setattr(sys, "stderr", terminal)
        code = cli.main([str(word) for word in words])
    return code, out.getvalue().decode()


def odd(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name.startswith("caf"))


def test_upscale(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder.parent / "out"
    code, said = run(monkeypatch, "upscale", folder, "-o", out, "--method", "bicubic", "--scale", "2")
    assert code == 0
    assert r"caf\udce9.png" in said
    assert "2 done" in said
    assert sorted(os.listdir(os.fsencode(out))) == [b"caf\xe9_bicubic_x2.png", b"good_bicubic_x2.png"]
    code, said = run(monkeypatch, "upscale", folder, "-o", out, "--method", "bicubic", "--scale", "2", "--json")
    assert [result["status"] for result in json.loads(said)["results"]] == ["skipped", "skipped"]


def test_compare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = folder.parent / "report.html"
    words = ["compare", odd(folder), "--methods", "bicubic,nearest", "--scale", "2", "--report", report]
    code, said = run(monkeypatch, *words)
    assert (code, r"caf\udce9" in said) == (0, True)
    assert r"caf\udce9" in report.read_text(encoding="utf-8")


def test_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    code, said = run(monkeypatch, "fit", odd(folder), "--steps", "3", "--gaussians", "50", "--keep-all")
    assert (code, r"caf\udce9.gsr" in said) == (0, True)
    assert b"caf\xe9.gsr" in os.listdir(b".")


def test_eval_keeps_what_it_has_scored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder.parent / "eval"
    code, said = run(monkeypatch, "eval", folder, "--methods", "bicubic", "--scales", "2", "--out", out)
    assert (code, r"caf\udce9" in said) == (0, True)
    assert r"caf\udce9,bicubic" in (out / "images.csv").read_text(encoding="utf-8")
