"""`gsr upscale` checks its output first: it refuses what cannot be written, and recognises what is there already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gsr_app.harness import cli, upscale
from gsr_app.io import images
from gsr_app.models import weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    images.write_image(tmp_path / "a.png", images.Picture(pixels))
    return tmp_path / "a.png"


def run(source: Path, out: Path, *words: str, method: str = "bicubic") -> int:
    return cli.main(["upscale", str(source), "-o", str(out), "--method", method, *words])


REFUSED = [
    ("out.bmp", (), "is read, but not written"),
    ("a.png", (), "is the input itself"),
    ("a.png", ("--overwrite",), "is the input itself"),
    ("file/out.png", (), "is not a folder"),
    ("missing/out.png", (), "does not exist"),
    ("out.webp", ("--size", "16384x1"), "at most 16383 pixels per side"),
    ("out.jpg", ("--size", "1x65501"), "at most 65500 pixels per side"),
]


@pytest.mark.parametrize(("out", "words", "says"), REFUSED)
def test_an_output_that_cannot_be_is_refused_before_any_weights_are_read(
    out: str,
    words: tuple[str, ...],
    says: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def too_late(*_: object, **__: object) -> None:
        raise AssertionError("weights are looked at")

    for name in ("obtain", "find", "digest_of"):
        monkeypatch.setattr(weights, name, too_late)
    monkeypatch.setattr(upscale, "open_session", too_late)
    (source.parent / "file").touch()
    if "--size" in words:  # from a picture whose sides these are within the range of scales
        side = (1, 300) if out.endswith("webp") else (2000, 1)
        images.write_image(source, images.Picture(np.zeros(side, np.uint8)), overwrite=True)
    before = source.read_bytes()
    assert run(source, source.parent / out, *words, method="swift") == 1
    assert says in capsys.readouterr().err
    assert source.read_bytes() == before
    assert sorted(path.name for path in source.parent.iterdir()) == ["a.png", "file"]


def test_a_format_that_the_name_of_the_output_contradicts_is_refused(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, source.with_name("out.png"), "--format", "tif") == 2
    assert "--format tif is not what out.png says" in capsys.readouterr().err
    assert run(source, source.with_name("out.jpeg"), "--format", "jpg") == 0
    assert run(source, source.parent, "--format", "tif") == 0
    assert sorted(path.name for path in source.parent.iterdir()) == ["a.png", "a_bicubic_x4.tif", "out.jpeg"]


def test_a_refusal_costs_little_time_and_no_torch(source: Path) -> None:
    pytest.importorskip("resource")
    code = (
        "import resource, sys; from gsr_app.harness.cli import main\n"
        f"assert main(['upscale', {str(source)!r}, '-o', {str(source.parent / 'out.bmp')!r}]) == 1\n"
        f"assert main(['upscale', {str(source)!r}, '-o', {str(source)!r}]) == 1\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('torch' in sys.modules, used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    has_torch, seconds = done.stdout.split()
    assert has_torch == "False"
    assert float(seconds) < 1, "of this process alone, so that a busy machine does not count"


def test_the_same_settings_again_are_done_already(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.parent / "out.png"
    assert run(source, out, "--scale", "2") == 0
    before = out.stat().st_mtime_ns
    assert run(source, out, "--scale", "2") == 0
    assert run(source, out, "--size", "40x20") == 0, "another way to write the same scale"
    assert capsys.readouterr().out.count("is already done") == 2
    assert out.stat().st_mtime_ns == before


def test_an_output_at_a_guessed_strength_is_done_already(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.parent / "out.png"
    assert run(source, out, "--scale", "2", method="swift-photo") == 0
    assert images.read_text(out)["weights"].startswith("swift-photo@0")
    assert run(source, out, "--scale", "2", method="swift-photo") == 0
    assert "is already done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "method"), [(("--scale", "3"), "bicubic"), (("--scale", "2"), "lanczos3"), (("--scale", "2"), "swift")]
)
def test_other_settings_than_those_of_the_output_are_an_error(
    words: tuple[str, ...], method: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = source.parent / "out.png"
    assert run(source, out, "--scale", "2") == 0
    before = out.read_bytes()
    assert run(source, out, *words, method=method) == 1
    said = capsys.readouterr().err
    assert "out.png exists already, made by bicubic at x2." in said
    assert "--overwrite" in said
    assert out.read_bytes() == before
    if method != "swift":
        assert run(source, out, *words, "--overwrite", method=method) == 0
        assert images.read_text(out)["method"] == method


def test_other_weights_than_those_of_the_output_are_an_error(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = source.parent / "out.png"
    text = {"method": "swift", "scale": "2", "weights": "swift@00000000"}
    images.write_image(out, images.Picture(np.zeros((20, 40, 3), np.uint8)), text=text)
    assert run(source, out, "--scale", "2", method="swift") == 1
    assert "made by swift at x2 with swift@00000000" in capsys.readouterr().err
    monkeypatch.setattr(weights, "find", lambda *_: weights.Weights({}, "swift@00000000"))
    assert run(source, out, "--scale", "2", method="swift") == 0


def test_an_output_of_another_input_is_told_by_its_size(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.parent / "out.png"
    text = {"method": "bicubic", "scale": "2"}
    images.write_image(out, images.Picture(np.zeros((30, 30, 3), np.uint8)), text=text)
    assert run(source, out, "--scale", "2") == 1
    assert "exists already" in capsys.readouterr().err


def test_an_output_of_another_picture_of_the_same_size_is_an_error(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = source.parent / "b.png", source.parent / "out.png"
    images.write_image(other, images.Picture(255 - images.read_image(source).pixels))
    assert run(source, out, "--scale", "2") == 0
    before = out.read_bytes()
    assert run(other, out, "--scale", "2") == 1
    assert "out.png exists already, made of another picture" in capsys.readouterr().err
    assert out.read_bytes() == before
    source.write_bytes(other.read_bytes())
    assert run(source, out, "--scale", "2") == 1, "the source was changed since"
    assert run(source, out, "--scale", "2", "--overwrite") == 0
    assert run(source, out, "--scale", "2") == 0


def test_outputs_without_metadata_are_known_by_name_and_size_when_none_is_wanted(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = source.parent / "out.png"
    assert run(source, out, "--scale", "2", "--strip-metadata") == 0
    assert run(source, out, "--scale", "2", "--strip-metadata") == 0
    assert run(source, out, "--scale", "2") == 1
    assert "left no note in it" in capsys.readouterr().err


def test_in_a_batch_each_output_is_looked_at(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = source.parent / "in", source.parent / "out"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(source.read_bytes())
    assert run(folder, out, "--scale", "2") == 0
    (out / "a_bicubic_x2.png").unlink()
    (out / "b_bicubic_x2.png").write_bytes(b"mine")
    assert run(folder, out, "--scale", "2") == 1
    assert "1 done, 1 skipped, 1 failed of 3" in capsys.readouterr().out
    assert (out / "b_bicubic_x2.png").read_bytes() == b"mine"
