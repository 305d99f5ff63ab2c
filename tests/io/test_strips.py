"""Strips put together are the picture, and a large picture passes through little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.core.pixels import Layout
from gsr_app.io.images import Picture, RowReader, RowWriter, read_image, read_text, write_image

Pixels = Callable[..., np.ndarray]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_overlapping_strips_equal_the_whole(
    tmp_path: Path, random_pixels: Pixels, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(random_pixels(531, 402, 3)).save(path, exif=exif, lossless=True)
    whole = read_image(path)
    reader = RowReader(path)
    height = reader.size[0]
    assert reader.size == whole.size
    for first in range(0, height, 100):
        last = min(first + 137, height)
        assert np.array_equal(reader.rows(first, last), whole.pixels[first:last])


def test_rows_may_be_skipped_but_not_revisited(tmp_path: Path, random_pixels: Pixels) -> None:
    pixels = random_pixels(900, 20, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    reader = RowReader(tmp_path / "a.png")
    assert reader.layout.has_alpha
    for first, last in ((0, 10), (0, 4), (2, 9), (700, 720), (719, 900)):
        assert np.array_equal(reader.rows(first, last), pixels[first:last])
    with pytest.raises(InvalidArgument, match="does not go back"):
        reader.rows(0, 5)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "avif", "jpg"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_file_written_in_strips_is_the_file_written_at_once(
    tmp_path: Path, random_pixels: Pixels, suffix: str, has_alpha: bool
) -> None:
    picture = Picture(random_pixels(70, 45, 4 if has_alpha else 3))
    write_image(tmp_path / f"whole.{suffix}", picture, text={"method": "bicubic"})
    with RowWriter(
        tmp_path / f"strips.{suffix}", picture.size, picture.layout, picture.meta, text={"method": "bicubic"}
    ) as writer:
        for top in range(0, 70, 16):
            writer.append(picture.pixels[top : top + 16])
    assert (tmp_path / f"strips.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert read_text(tmp_path / f"strips.{suffix}") == {"method": "bicubic"}
    assert writer.written is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"strips.{suffix}", f"whole.{suffix}"]


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("grey", [False, True])
def test_every_depth_can_be_written_in_strips(tmp_path: Path, random_pixels: Pixels, depth: int, grey: bool) -> None:
    dtype = {8: np.uint8, 16: np.uint16, 32: np.float32}[depth]
    pixels = random_pixels(*((40, 30) if grey else (40, 30, 3)), dtype=dtype)
    picture = Picture(pixels)
    with RowWriter(tmp_path / "a.tif", (40, 30), picture.layout, picture.meta) as writer:
        writer.append(pixels[:13])
        writer.append(pixels[13:])
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    rows = np.zeros((10, 20, 3), np.uint8)
    layout = Layout.of(rows)
    with pytest.raises(KeyboardInterrupt), RowWriter(tmp_path / "a.png", (30, 20), layout) as writer:  # noqa: PT012
        writer.append(rows)
        raise KeyboardInterrupt
    with (
        pytest.raises(InvalidArgument, match="got 10 of its 30 rows"),
        RowWriter(tmp_path / "a.png", (30, 20), layout) as writer,
    ):
        writer.append(rows)
    with (
        pytest.raises(InvalidArgument, match="up to 30 rows of 20 pixels, 3 x uint8 each"),
        RowWriter(tmp_path / "a.png", (30, 20), layout) as writer,
    ):
        writer.append(rows[:, :10])
    assert not list(tmp_path.iterdir())


def test_a_strip_cut_off_in_the_file_is_an_error_not_grey_rows(tmp_path: Path, random_pixels: Pixels) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(random_pixels(2000, 100, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reader = RowReader(path)
    reader.rows(0, 100)
    with pytest.raises(ImageError, match=r"a\.png cannot be decoded at row"):
        reader.rows(100, 2000)


PASS_THROUGH = """
import sys
from pathlib import Path
import numpy as np
from gsr_app.core.pixels import Layout
from gsr_app.io.images import RowReader, RowWriter
source, target, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
block = np.repeat(rng.integers(0, 256, (64, side // 8, 3), dtype=np.uint8), 8, axis=1)
with RowWriter(source, (side, side), Layout.of(block)) as writer:
    for top in range(0, side, 64):
        writer.append(block[: min(64, side - top)])
reader = RowReader(source)
with RowWriter(target, (2 * side, 2 * side), reader.layout) as writer:
    for top in range(0, side, 64):
        rgb = reader.rows(max(0, top - 2), min(side, top + 66))[min(top, 2) :][:64]
        writer.append(np.repeat(np.repeat(rgb, 2, axis=0), 2, axis=1))
# Not ru_maxrss, which a process takes over from the one that started it.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""


def pass_through(tmp_path: Path, side: int, suffix: str) -> int:
    if not Path("/proc/self/status").exists():
        pytest.skip("reads the peak from /proc")
    command = [sys.executable, "-c", PASS_THROUGH, str(tmp_path / f"a.{suffix}"), str(tmp_path / f"b.{suffix}")]
    done = subprocess.run([*command, str(side)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=3000)
    return int(done.stdout)


def test_a_picture_passes_through_memory_far_smaller_than_itself(tmp_path: Path) -> None:
    peak_bytes = pass_through(tmp_path, 3000, "png")
    pixels_bytes = 6000 * 6000 * 3 * 4
    print(f"peak {peak_bytes / 2**20:.0f} MiB for {pixels_bytes / 2**20:.0f} MiB of float pixels")
    assert peak_bytes < 200 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_forty_thousand_pixel_picture_needs_less_than_one_gigabyte(tmp_path: Path, suffix: str) -> None:
    peak_bytes = pass_through(tmp_path, 20000, suffix)
    print(f"peak {peak_bytes / 2**20:.0f} MiB")
    assert peak_bytes < 2**30
