"""An image that another program changes while it is read: right rows or an error, never parts of two pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import ImageError
from gsr_app.io import decode
from gsr_app.io.images import RowReader, read_image

KINDS: dict[str, dict[str, Any]] = {
    "png": {}, "jpg": {"quality": 95}, "progressive.jpg": {"quality": 95, "progressive": True}, "webp": {"method": 0},
    "tif": {}, "lzw.tif": {"compression": "tiff_lzw"}, "gif": {}, "avif": {"speed": 10}, "bmp": {}, "ppm": {},
}  # fmt: skip
STEP = 50

READ_WHILE_CUT = """
import os, sys
from pathlib import Path
from tests.io.test_changed_files import read_and_change
for path in sorted(Path(sys.argv[1]).iterdir()):
    for size in (0, path.stat().st_size // 3):
        for after in (0, 1, 3):
            data = path.read_bytes()
            print(path.name, size, after, flush=True)
            read_and_change(path, after, lambda: os.truncate(path, size))
            path.write_bytes(data)
"""


def write(path: Path, kind: str, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **KINDS[kind])
    os.utime(path, (1e9, 1e9))
    return path


def read_and_change(path: Path, after: int, change: Any) -> np.ndarray | None:
    """The rows of a file that is changed after some of the steps; None if they were refused."""
    try:
        reader, rows = RowReader(path), list[np.ndarray]()
        for number, top in enumerate(range(0, 300, STEP)):
            if number == after:
                change()
            rows.append(reader.rows(top, top + STEP).copy())
        return np.concatenate(rows)
    except ImageError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_file_that_changes_are_its_own_or_refused(tmp_path: Path, kind: str) -> None:
    path, other = write(tmp_path / f"a.{kind}", kind, 1), write(tmp_path / f"b.{kind}", kind, 2)
    data, others, right = path.read_bytes(), other.read_bytes(), read_image(path).pixels

    def overwrite() -> None:
        path.write_bytes(others)

    def replace() -> None:
        os.replace(other, path)

    def grow() -> None:
        path.write_bytes(data + b"more")

    for change in (overwrite, grow, replace):
        for after in (0, 1, 3):
            other.write_bytes(others)
            path.write_bytes(data)
            os.utime(path, (1e9, 1e9))
            found = read_and_change(path, after, change)
            assert found is None or np.array_equal(found, right), (change.__name__, after)
    path.write_bytes(data)
    reader = RowReader(path)
    reader.rows(0, STEP)
    grow()
    with pytest.raises(ImageError, match="was changed while it was read") as caught:
        reader.rows(STEP, 2 * STEP)
    assert "Wait until it is complete" in caught.value.hint


def test_a_whole_picture_that_is_replaced_meanwhile_is_read_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = write(tmp_path / "a.png", "png", 1), write(tmp_path / "b.png", "png", 2)
    data, others, expected = path.read_bytes(), other.read_bytes(), read_image(other).pixels
    told = decode.file_state

    def replacing_at(*times: int) -> None:
        calls: list[Path] = []

        def state_of(asked: Path) -> tuple[int, ...]:
            calls.append(asked)
            if len(calls) in times:
                other.write_bytes(others)
                os.replace(other, path)
            return told(asked)

        monkeypatch.setattr(decode, "file_state", state_of)

    replacing_at(2)
    assert np.array_equal(read_image(path).pixels, expected)
    path.write_bytes(data)
    replacing_at(2, 4)
    with pytest.raises(ImageError, match="was changed while it was read"):
        read_image(path)


def test_a_file_that_is_cut_off_while_it_is_read_does_not_end_the_process(tmp_path: Path) -> None:
    """In a process of its own: a file that is mapped into memory would end it with SIGBUS."""
    for kind in KINDS:
        write(tmp_path / f"a.{kind}", kind, 1)
    done = subprocess.run(
        [sys.executable, "-c", READ_WHILE_CUT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stdout.splitlines()[-1:], done.stderr[-2000:])
