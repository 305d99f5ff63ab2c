"""A batch of pictures in the app: names, states, limits, stopping, and the ZIP file."""

from __future__ import annotations

import dataclasses
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import InvalidArgument, InvalidScale
from gsr_app.harness import batch as command
from gsr_app.io import images
from gsr_app.ui import batch
from gsr_app.ui.batch import Batch
from gsr_app.ui.files import Files, path_of
from gsr_app.ui.state import AppState, Limits
from tests.browser.fake_engine import FakeEngine

LIMITS = Limits(input_pixels=10_000, output_pixels=40_000)


@pytest.fixture
def app(tmp_path: Path) -> AppState:
    return AppState(FakeEngine(slow_s=0.05), Files(tmp_path / "files"), limits=LIMITS)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two names that become one output, a file of 16 bits with metadata, one that is cut off, and no picture."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("cat.png", (10, 14)), ("cat.jpg", (8, 8)), ("cut.jpg", (40, 40))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-400])
    deep = rng.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    images.write_image(folder / "deep.tif", images.Picture(deep, images.Metadata(dpi=(300.0, 300.0))))
    (folder / "notes.txt").write_text("no picture")
    return [str(folder / name) for name in ("cat.png", "cat.jpg", "deep.tif", "cut.jpg", "notes.txt")]


def last_of(app: AppState, job: batch.BatchJob) -> Batch:
    return [one for one in batch.watch(app, "me", job) if one is not None][-1]


def test_the_files_are_those_of_gsr_upscale_and_come_as_one_zip(app: AppState, pictures: list[str]) -> None:
    before = batch.look(app, pictures, "2")
    assert [row.state for row in before.rows] == ["waiting"] * 4 + ["failed"]
    assert (before.rows[0].out_width, before.rows[0].out_height) == (28, 20)
    assert "is not an image" in (before.rows[4].error.message if before.rows[4].error else "")
    done = last_of(app, batch.prepare(app, pictures, "bicubic", "2", ""))
    assert [row.state for row in done.rows] == ["done", "done", "done", "failed", "failed"]
    assert "cut.jpg" in (done.rows[3].error.message if done.rows[3].error else "")
    assert not done.running

    expected = command.plan(pictures[:3], Path("out"), "bicubic_x2", images.readable_suffixes())
    with zipfile.ZipFile(path_of(done.zip_url or "")) as archive:
        assert archive.namelist() == [task.target.name for task in expected]
        assert archive.testzip() is None
    deep = images.read_image(path_of(done.rows[2].url or ""))
    source = images.read_image(pictures[2])
    np.testing.assert_array_equal(deep.pixels, source.pixels.repeat(2, 0).repeat(2, 1))
    assert deep.meta.dpi == source.meta.dpi, "metadata is kept"
    assert deep.meta.text["method"] == "bicubic"


def test_a_format_is_that_of_all_results(app: AppState, pictures: list[str]) -> None:
    done = last_of(app, batch.prepare(app, pictures[1:3], "swift", "80x", ".jpg"))
    assert [row.download_name for row in done.rows] == ["cat_swift_x80x.jpg", "deep_swift_x80x.jpg"]
    assert [row.out_width for row in done.rows] == [80, 80]
    with Image.open(path_of(done.rows[0].url or "")) as made:
        assert made.format == "JPEG"


def test_stop_ends_the_picture_and_the_rest_and_keeps_what_is_done(app: AppState, pictures: list[str]) -> None:
    job = batch.prepare(app, [pictures[0], pictures[2], pictures[1]], "slow", "2", "")
    states: list[tuple[str, ...]] = []
    done = None
    for made in batch.watch(app, "me", job):
        if made is None:
            continue
        done = made
        states.append(tuple(row.state for row in made.rows))
        if states[-1][:2] == ("done", "running"):
            app.runs.stop("batch", "me")
    assert ("done", "running", "waiting") in states
    assert states[-1] == ("done", "cancelled", "cancelled")
    assert done is not None
    assert done.zip_url is None, "one file needs no archive"
    assert not app.runs.is_running("batch", "me")
    assert len(app.runs.queue) == 0


def test_pictures_that_wait_for_long_are_not_taken_for_ones_that_nobody_needs(
    app: AppState, pictures: list[str]
) -> None:
    job = batch.prepare(app, [pictures[0], pictures[1]], "slow", "2", "")
    uploaded = [path.stat() for path in job.sources]
    time.sleep(0.05)
    last_of(app, job)
    for path, before in zip(job.sources, uploaded, strict=True):
        assert path.stat().st_ctime_ns > before.st_ctime_ns, "by this time Gradio removes uploads"
        assert path.stat().st_mtime_ns == before.st_mtime_ns, "by this one readers see that a file was changed"


def test_others_have_their_turn_between_the_pictures_of_a_batch(app: AppState, pictures: list[str]) -> None:
    updates = batch.watch(app, "me", batch.prepare(app, [pictures[0], pictures[1]], "slow", "2", ""))
    order: list[str] = []
    for made in updates:
        if made and made.rows[0].state == "running" and not order:
            order.append("first")
            app.runs.queue.submit("somebody else", lambda _: order.append("other"))
        if made and made.rows[1].state == "done":
            order.append("second")
            break
    updates.close()  # type: ignore[attr-defined]
    assert order == ["first", "other", "second"]


def test_leaving_ends_the_work(app: AppState, pictures: list[str]) -> None:
    engine = app.engine
    assert isinstance(engine, FakeEngine)
    engine.slow_s = 60.0
    updates = batch.watch(app, "me", batch.prepare(app, [pictures[0], pictures[1]], "slow", "2", ""))
    for made in updates:
        if made and made.rows[0].state == "running":
            break
    updates.close()  # type: ignore[attr-defined]
    assert engine.stopped.wait(20)


def test_limits_are_told_and_held(app: AppState, pictures: list[str]) -> None:
    hosted, own = batch.limits(app), batch.limits(dataclasses.replace(app, may_manage=True))
    assert (hosted.pictures, hosted.output_pixels) == (24, 160_000)
    assert own.pictures > hosted.pictures
    assert own.output_pixels > hosted.output_pixels
    with pytest.raises(InvalidArgument, match=r"There are 25 pictures\. At most 24"):
        batch.prepare(app, pictures[:1] * 25, "bicubic", "2", "")
    with pytest.raises(InvalidArgument, match="megapixels together"):
        batch.prepare(app, pictures[:1] * 24, "bicubic", "8", "")
    # What is too large by itself is one picture's error.
    rows = batch.look(app, pictures[:2], "20").rows
    assert [row.state for row in rows] == ["failed", "waiting"]
    assert "The result would have" in (rows[0].error.message if rows[0].error else "")


def test_two_pictures_of_one_name_are_two_results(app: AppState, pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    second = tmp_path / "again" / "cat.png"
    second.write_bytes(Path(pictures[0]).read_bytes())
    job = batch.prepare(app, [pictures[0], str(second)], "bicubic", "2", "")
    assert job.names == ("cat_bicubic_x2.png", "cat (2)_bicubic_x2.png")


def test_wrong_requests_are_refused(app: AppState, pictures: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="no pictures yet"):
        batch.prepare(app, None, "bicubic", "2", "")
    with pytest.raises(InvalidScale):
        batch.prepare(app, pictures, "bicubic", "wide", "")
    with pytest.raises(InvalidArgument, match="is not written here"):
        batch.prepare(app, pictures, "bicubic", "2", ".exe")
    assert [row.state for row in batch.look(app, pictures[:1], "wide").rows] == ["waiting"]
