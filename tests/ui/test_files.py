"""Result files: names that cannot be guessed, and removal after a while."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gsr_app.ui.files import Files, url_of
from gsr_app.viewer.png import encode_png, to_screen
from gsr_app.viewer.sink import safe_stem


def test_names_differ_and_carry_the_stem(tmp_path: Path) -> None:
    files = Files(tmp_path / "results")
    paths = {files.put(b"x", ".png", "cat") for _ in range(50)}
    assert len({path.parent.name for path in paths}) == 50
    assert {path.name for path in paths} == {"cat.png"}
    assert all(len(path.parent.name) >= 24 for path in paths)


def test_old_files_are_removed(tmp_path: Path) -> None:
    files = Files(tmp_path, keep_s=100)
    old, new = files.put(b"x", ".png"), files.put(b"y", ".png")
    os.utime(old, (1000, 1000))
    os.utime(new, (1090, 1090))
    files.sweep(now=1150)
    assert not old.exists()
    assert not old.parent.exists()
    assert new.exists()


def test_the_folder_of_a_run_that_was_stopped_is_removed(tmp_path: Path) -> None:
    files = Files(tmp_path, keep_s=100)
    old, new = files.new(".png").parent, files.new(".png").parent
    os.utime(old, (1000, 1000))
    os.utime(new, (1090, 1090))
    files.sweep(now=1150)
    assert not old.exists()
    assert new.exists()


def test_results_of_an_app_that_is_its_owners_alone_are_there_the_next_morning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    from gsr_app.ui import layout
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.state import create_app_state

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    evening = time.time()
    for alone, is_kept in ((True, True), (False, False)):
        app = create_app_state(Engine("cpu"), may_manage=alone)
        result = app.files.put(b"x", ".png")
        app.files.sweep(now=evening + 12 * 3600)
        assert result.exists() == is_kept
        if alone:
            _, uploads_s = layout.build(app).delete_cache or (0, 0)
            assert uploads_s > 12 * 3600, "what was sent can be used as long as the results"


def test_files_are_removed_after_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, keep_s=100)
    path = files.put(b"x", ".png")
    os.utime(path, (9000, 9000))
    files.sweep(now=1000)
    assert path.exists()
    files.sweep(now=1090)
    assert path.exists()
    files.sweep(now=1150)
    assert not path.exists()
    times, began = iter([9000.0, 1000.0]), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: next(times))
    for later in (1000, 2000):  # seconds: a sweep is due each time, also by a clock that went back
        monkeypatch.setattr(time, "monotonic", lambda later=later: began + later)
        files.sweep()
    assert next(times, None) is None


def test_the_oldest_files_are_removed_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    files = Files(tmp_path, most_bytes=250)
    paths = [files.put(b"x" * 100, ".png") for _ in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    files.sweep(now=1010)
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_file_removed_during_a_sweep_does_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, keep_s=100)
    gone, old = files.put(b"x", ".png"), files.put(b"y", ".png")
    os.utime(old, (1000, 1000))
    real = Path.stat

    def stat(self: Path, **options: bool) -> os.stat_result:
        about = real(self, **options)
        if self == gone:  # another thread is faster
            gone.unlink()
        return about

    monkeypatch.setattr(Path, "stat", stat)
    files.sweep(now=1150)
    assert not old.exists()


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_stem_is_safe_whatever_the_name(name: str) -> None:
    try:
        stem = safe_stem(name)
    except ValueError:  # a null byte is no path at all
        return
    assert stem
    assert not set(stem) & set("/\\<>\"'&;\r\n\0 ")
    assert not stem.startswith(".")


def test_urls_are_relative(tmp_path: Path) -> None:
    assert url_of(tmp_path / "a b.png").startswith("gradio_api/file=")
    assert " " not in url_of(tmp_path / "a b.png")


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 4), (1, 1, 3)])
def test_png_is_lossless(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(pixels))
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_sixteen_bits_and_floats_are_rounded_to_the_nearest_of_256() -> None:
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_screen(values[None])[0], np.rint(values / 257.0).astype(np.uint8))
    np.testing.assert_array_equal(to_screen(np.array([[-1.0, 0.5, 2.0, np.nan]], np.float32)), [[0, 128, 255, 0]])


def test_folders_that_another_app_removes_meanwhile_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two apps of one user share the folder, and both remove what is old."""
    files = Files(tmp_path, keep_s=100)
    paths = [files.put(b"x", ".png") for _ in range(20)]
    scan, gone = os.scandir, list[Path]()

    def remove_before_listing(folder: str | Path = ".") -> Any:
        if Path(folder) in {path.parent for path in paths[::2]}:
            (Path(folder) / "file.png").unlink(missing_ok=True)
            Path(folder).rmdir()
            gone.append(Path(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", remove_before_listing)
    files.sweep(now=time.time() + 1000)
    assert len(gone) == 10
    assert not any(path.exists() for path in paths)
