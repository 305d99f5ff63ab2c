"""`gsr upscale`: names, batches, what it leaves behind when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine import image_job
from gsr_app.harness import batch, cli
from gsr_app.io import images
from tests.processes import Program, start_gsr, start_python


def save(path: Path, height: int = 12, width: int = 9, seed: int = 0, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    images.write_image(path, images.Picture(pixels), overwrite=True)
    return path


def upscale(*words: object) -> int:
    return cli.main(["upscale", *map(str, words), "--method", "bicubic"])


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "cat.png")
    assert upscale(source, "-o", tmp_path / "big.png", "--scale", "2.5") == 0
    assert images.read_image(tmp_path / "big.png").size == (30, 22)
    said = capsys.readouterr().out
    for word in ("read", "model", "write", "total", "peak memory"):
        assert word in said


def test_names_carry_method_and_scale(tmp_path: Path) -> None:
    save(tmp_path / "cat.png")
    for scale in (["--scale", "4"], ["--scale", "2.5x4"], ["--size", "90x"], ["--size", "fit:50x50"]):
        assert upscale(tmp_path / "cat.png", "-o", tmp_path / "out", *scale) == 0
    assert names(tmp_path / "out") == [
        "cat_bicubic_90x.png",
        "cat_bicubic_fit-50x50.png",
        "cat_bicubic_x2.5x4.png",
        "cat_bicubic_x4.png",
    ]
    assert images.read_image(tmp_path / "out" / "cat_bicubic_90x.png").size == (120, 90)


def test_a_folder_keeps_its_shape_and_lossy_inputs_become_png(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "sub" / "b.jpg")
    save(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    assert upscale(tmp_path / "in", "-o", tmp_path / "in" / "out", "--scale", "2") == 0
    assert names(tmp_path / "in" / "out") == ["a_bicubic_x2.png", "sub/b_bicubic_x2.png"]
    # Its own output inside the input is no input the next time.
    assert upscale(tmp_path / "in", "-o", tmp_path / "in" / "out", "--scale", "2") == 0
    assert len(names(tmp_path / "in" / "out")) == 2


def test_patterns_and_formats(tmp_path: Path) -> None:
    save(tmp_path / "a1.png")
    save(tmp_path / "a2.png")
    save(tmp_path / "b.png")
    assert upscale(tmp_path / "a*.png", "-o", tmp_path / "out", "--scale", "2", "--format", "tif") == 0
    assert names(tmp_path / "out") == ["a1_bicubic_x2.tif", "a2_bicubic_x2.tif"]
    assert upscale(tmp_path / "c*.png", "-o", tmp_path / "out") == 2
    assert upscale(tmp_path / "b.png", "-o", tmp_path / "out", "--format", "docx") == 2


def test_two_inputs_never_become_one_output(tmp_path: Path) -> None:
    save(tmp_path / "cat.png", seed=1)
    save(tmp_path / "cat.tif", seed=2)
    assert upscale(tmp_path / "cat.png", tmp_path / "cat.tif", "-o", tmp_path / "out", "--format", "png") == 0
    assert names(tmp_path / "out") == ["cat_png_bicubic_x4.png", "cat_tif_bicubic_x4.png"]
    save(tmp_path / "x" / "cat.png")
    with pytest.raises(InvalidArgument, match="Two inputs"):
        batch.plan([str(tmp_path / "cat.png"), str(tmp_path / "x" / "cat.png")], tmp_path / "o", "m_x2", {".png"})


def test_an_output_of_somebody_else_is_kept_unless_asked(tmp_path: Path) -> None:
    source, out = save(tmp_path / "a.png"), tmp_path / "b.png"
    out.write_bytes(b"mine")
    assert upscale(source, "-o", out, "--scale", "2") == 1
    assert out.read_bytes() == b"mine"
    assert upscale(source, "-o", out, "--scale", "2", "--overwrite") == 0
    assert images.read_image(out).size == (24, 18)


def test_a_broken_image_fails_alone_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (tmp_path / "in" / "c.png").write_bytes(b"")
    save(tmp_path / "in" / "d.png")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--scale", "2") == 1
    said = capsys.readouterr()
    assert names(tmp_path / "out") == ["a_bicubic_x2.png", "d_bicubic_x2.png"]
    assert "b.png" in said.err
    assert "c.png" in said.err
    assert "2 done, 0 skipped, 2 failed of 4" in said.out


def test_two_workers_make_the_same_files_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        save(tmp_path / "in" / f"{seed}.png", seed=seed)
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    assert upscale(tmp_path / "in", "-o", tmp_path / "one", "--scale", "2") == 1
    assert upscale(tmp_path / "in", "-o", tmp_path / "two", "--scale", "2", "--workers", "2") == 1
    assert names(tmp_path / "one") == names(tmp_path / "two")
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert capsys.readouterr().out.count("4 done, 0 skipped, 1 failed of 5") == 2


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--scale", "2", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["done"], document["skipped"], document["failed"]) == (1, 0, 1)
    done, failed = document["results"]
    assert done["size"] == [24, 18]
    assert {"read_ms", "model_ms", "write_ms", "total_ms", "peak_bytes"} <= set(done["timing"])
    assert failed["reason"]
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--scale", "2", "--json") == 1
    assert json.loads(capsys.readouterr().out)["skipped"] == 1


def test_the_file_says_how_it_was_made_unless_stripped(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png")
    assert upscale(source, "-o", tmp_path / "b.png", "--scale", "2") == 0
    text = images.read_text(tmp_path / "b.png")
    assert text["method"] == "bicubic"
    assert text["scale"] == "2"
    assert "version" in text
    assert upscale(source, "-o", tmp_path / "c.png", "--scale", "2", "--strip-metadata") == 0
    assert not images.read_text(tmp_path / "c.png")


def test_the_output_folder_cannot_be_the_input(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert upscale(tmp_path, "-o", tmp_path) == 2
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "a.png", "--overwrite") == 1


@pytest.mark.parametrize("channels", [3, 4])
def test_strips_give_what_the_whole_gives(tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "a.png", 150, 90, channels=channels)
    for method in ("bicubic", "nearest"):
        words = ["upscale", str(source), "--method", method, "--scale", "2.3", "-o"]
        assert cli.main([*words, str(tmp_path / f"whole_{method}.png")]) == 0
        with monkeypatch.context() as patch:
            patch.setattr(image_job, "STREAM_PIXELS", 0)
            patch.setattr(image_job, "_ROWS_PIXELS", 4000)
            assert cli.main([*words, str(tmp_path / f"strips_{method}.png")]) == 0
        whole = images.read_image(tmp_path / f"whole_{method}.png").pixels
        strips = images.read_image(tmp_path / f"strips_{method}.png").pixels
        assert (whole == strips).all()
        assert "in strips" in images.read_text(tmp_path / f"strips_{method}.png")["done"]


LIMITED = """
import sys
from pathlib import Path
from gsr_app.harness.cli import main
import torch, pyvips
from gsr_app.engine import image_job
from tests.processes import Program, start_gsr, start_python
image_job._ROWS_PIXELS = 1 << 20
code = main(["upscale", sys.argv[1], "-o", sys.argv[2], "--method", "bicubic", "--scale", "2"])
# Not getrusage: its peak starts with that of the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("PEAK", int(peak.split()[1]) * 1024)
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_a_large_picture_goes_through_in_little_memory(tmp_path: Path) -> None:
    """4500x4500 doubled: as float32 the output alone would be 972 MB, and there is more than one copy on the way."""
    import pyvips

    pyvips.Image.black(4500, 4500, bands=3).copy(interpretation="srgb").pngsave(
        str(tmp_path / "big.png"), compression=1
    )
    program = start_python(LIMITED, tmp_path / "big.png", tmp_path / "out.png")
    assert program.end() == 0, program.complained
    peak = int(program.said.split("PEAK")[1])
    print(f"peak memory {peak / 1e6:.0f} MB")
    assert peak < 800e6
    assert images.read_metadata(tmp_path / "out.png")[0] == (9000, 9000)


def start(source: Path, out: Path) -> Program:
    return start_gsr("upscale", source, "-o", out, "--method", "bicubic", "--scale", "2")


def check_killed_batch(tmp_path: Path, count: int) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for index in range(count):
        save(source / f"{index:04}.png", 8, 8, seed=index)
    process = start(source, out)
    process.wait_for(lambda: len(list(out.glob("*.png"))) >= count // 20)
    process.kill()
    half = list(out.glob("*.png"))
    assert count // 20 <= len(half) < count
    (out / f".gsr-{process.pid}-0123abcd.part").write_bytes(b"what a kill in the middle of a write leaves")
    before = {path: path.stat().st_mtime_ns for path in half}
    again = start(source, out)
    assert again.end() == 0, again.complained
    assert f"{count - len(half)} done, {len(half)} skipped, 0 failed of {count}" in again.said
    assert len(names(out)) == count, "no stray temporary may stay"
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    for index in range(count):
        whole = images.read_image(out / f"{index:04}_bicubic_x2.png").pixels
        assert whole.shape == (16, 16, 3)
    single = tmp_path / "single.png"
    assert upscale(source / "0003.png", "-o", single, "--scale", "2") == 0
    assert (images.read_image(single).pixels == images.read_image(out / "0003_bicubic_x2.png").pixels).all()


def test_a_killed_batch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    check_killed_batch(tmp_path, 150)


@pytest.mark.slow
def test_a_killed_batch_of_two_thousand_goes_on_where_it_stopped(tmp_path: Path) -> None:
    check_killed_batch(tmp_path, 2000)


def test_an_interrupt_leaves_no_half_file(tmp_path: Path) -> None:
    for index in range(150):
        save(tmp_path / "in" / f"{index:04}.png", 60, 60, seed=index)
    process = start(tmp_path / "in", tmp_path / "out")
    process.wait_for(lambda: len(list((tmp_path / "out").glob("*.png"))) >= 5)
    process.signal(signal.SIGINT)
    assert process.end(60) == 130
    assert "stopped:" in process.said
    assert "Traceback" not in process.complained
    assert all(name.endswith("_bicubic_x2.png") and not name.startswith(".") for name in names(tmp_path / "out"))
    for path in (tmp_path / "out").iterdir():
        assert images.read_image(path).size == (120, 120)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_workers_that_are_interrupted_end_without_a_word(tmp_path: Path) -> None:
    for number in range(60):
        save(tmp_path / "in" / f"{number}.png", 60, 60, seed=number)
    words = [sys.executable, "-m", "gsr_app", "upscale", "in", "-o", "out", "--workers", "2", "--method", "swift"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    for ends_at in ("start", "work"):
        program = subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert program.stdout is not None
        if ends_at == "work":
            program.stdout.readline()
        else:  # the folder is made before the workers are started
            while not (tmp_path / "out").is_dir():
                time.sleep(0.01)
            time.sleep(1)
        os.killpg(program.pid, signal.SIGINT)
        said, complained = program.communicate(timeout=120)
        assert (program.returncode, complained) == (130, ""), said
        assert "stopped: " in said
        assert not list((tmp_path / "out").glob(".gsr-*"))


def test_a_name_of_a_file_is_no_folder_for_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    assert upscale(first, second, "-o", tmp_path / "out.png") == 2
    assert "Give a folder with -o" in capsys.readouterr().err
    assert names(tmp_path) == ["a.png", "b.png"]


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_name_that_is_too_long_fails_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / ("b" * 249 + ".png"))  # its output's name has more than 255 bytes
    save(tmp_path / "in" / "c.png")
    typed = tmp_path / ("d" * 300 + ".png")
    assert upscale(tmp_path / "in", typed, "-o", tmp_path / "out", "--scale", "2", *words) == 1
    said = capsys.readouterr()
    assert names(tmp_path / "out") == ["a_bicubic_x2.png", "c_bicubic_x2.png"]
    if not words:
        assert "2 done, 0 skipped, 2 failed of 4" in said.out
        return
    results = json.loads(said.out)["results"]
    assert [result["status"] for result in results] == ["done", "failed", "done", "failed"]
    for result in (results[1], results[3]):
        assert "File name too long" in result["reason"]
        assert "defect" not in result["hint"]
