"""`gsr video` from and into folders of pictures, with a resize as the method."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from gsr_app.core.errors import VideoError
from gsr_app.engine.session import Session
from gsr_app.engine.video_job import upscale_video
from tests import clips
from tests.harness.video_runs import finish, job_for, size_of, stop_after, video, write_frames

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("form", ["", "%05d.png", "*.png"])
def test_parts_of_pictures_that_have_changed_are_not_continued(tmp_path: Path, form: str) -> None:
    source = write_frames(tmp_path / "in", 40)
    job = job_for(source / form, tmp_path / "out.mkv", codec="ffv1")
    stop_after(job, 5)
    for path, other in zip(
        sorted(source.iterdir()), sorted(write_frames(tmp_path / "new", 200).iterdir()), strict=True
    ):
        path.write_bytes(other.read_bytes())
    with pytest.raises(VideoError, match=r"another run \(source differ\)"):
        finish(job)
    saved, _ = finish(job_for(source / form, tmp_path / "out.mkv", codec="ffv1", restart=True))
    assert (saved.resumed, saved.pictures) == (0, 6)


def test_pictures_that_are_there_are_refused_before_any_work_and_those_of_the_input_always(tmp_path: Path) -> None:
    source = write_frames(tmp_path / "in", 40)
    assert video(source, "-o", tmp_path / "out", "--scale", "1") == 0
    with pytest.raises(VideoError, match=r"out already has a 000001\.png"):
        next(upscale_video(Session(device="cpu"), job_for(source, tmp_path / "out")))
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for target in (tmp_path / "out", tmp_path / "out" / "%06d.png", tmp_path / "out" / "more%d.png"):
        with pytest.raises(VideoError, match="in out are the input itself"):
            finish(job_for(tmp_path / "out", target, overwrite=True))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_video_becomes_a_folder_of_pictures_and_a_video_again(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=6, audio=None)
    assert video(source, "-o", tmp_path / "frames", "--scale", "1.5") == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir())[:2] == ["000001.png", "000002.png"]
    assert video(tmp_path / "frames", "-o", tmp_path / "back.mp4", "--scale", "1") == 0
    expected = [float(time) for time in clips.times_of(source)]
    assert np.allclose([float(time) for time in clips.times_of(tmp_path / "back.mp4")], expected, atol=2e-6)
    assert size_of(tmp_path / "back.mp4") == (72, 96)


@pytest.mark.parametrize("form", ["", "a%d.png"])
def test_a_shorter_video_in_the_place_of_a_longer_one_leaves_none_of_its_pictures(tmp_path: Path, form: str) -> None:
    target = tmp_path / "out" / form
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000090.png").write_bytes(b"of somebody else")
    assert video(write_frames(tmp_path / "long", 40, 9), "-o", target, "--scale", "1") == 0
    assert video(write_frames(tmp_path / "short", 80, 4), "-o", target, "--scale", "1", "--overwrite") == 0
    made = [f"a{number}.png" if form else f"{number:06}.png" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*made, "000090.png", "timestamps.txt"])
    # A picture of the longer video is not removed while it is the input.
    assert video(write_frames(tmp_path / "long", 40, 9), "-o", target, "--scale", "1", "--overwrite") == 0
    last = tmp_path / "out" / ("a9.png" if form else "000009.png")
    with pytest.raises(VideoError, match="in out are the input itself"):
        finish(job_for(last.parent / last.name.replace("9", "[9]"), target, overwrite=True, rate=Fraction(25)))
    assert last.is_file()
