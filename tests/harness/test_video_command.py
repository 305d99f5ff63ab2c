"""`gsr video` from the command line, with a resize as the method. FFmpeg makes the clips and decodes the results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

av = pytest.importorskip("av")

from gsr_app.core.errors import Cancelled, VideoError  # noqa: E402
from gsr_app.core.types import Scale  # noqa: E402
from gsr_app.engine import video_job  # noqa: E402
from gsr_app.engine.session import Session  # noqa: E402
from gsr_app.engine.video_job import VideoJob, VideoStep, upscale_video  # noqa: E402
from gsr_app.models import build  # noqa: E402
from tests import clips  # noqa: E402
from tests.harness.video_runs import finish, job_for, size_of, stop_after, video, write_frames  # noqa: E402
from tests.processes import start_python  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_three_seconds_of_ntsc_keep_length_times_and_sync(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = clips.write_clip(tmp_path / "in.mp4")
    assert video(source, "-o", tmp_path / "out.mp4", "--scale", "2x3.5") == 0
    assert "64x48 -> 224x96" in capsys.readouterr().out
    assert size_of(tmp_path / "out.mp4") == (96, 224)
    assert clips.times_of(tmp_path / "out.mp4") == clips.times_of(source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert abs(container.duration / 1e6 - 90 * 1001 / 30000) < 1001 / 30000
    flash, beep = clips.flash_and_beep_s(tmp_path / "out.mp4")
    assert abs(flash - beep) < 0.020
    assert not (tmp_path / "out.mp4.parts").exists()


def test_the_output_size_can_be_given_in_pixels(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=4, audio=None)
    assert video(source, "-o", tmp_path / "made" / "a.mp4", "--size", "100x") == 0
    assert size_of(tmp_path / "made" / "a.mp4") == (74, 100)  # 75 rows: H.264 needs an even number
    assert video(source, "-o", tmp_path / "b.webm", "--size", "101x75") == 0
    assert size_of(tmp_path / "b.webm") == (75, 101)
    assert video(source, "-o", tmp_path / "c.mp4", "--size", "101x75") == 2


def test_colours_change_by_at_most_one_level_at_scale_1(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=20, audio=None)
    # Lossless, so that the conversion to RGB and the method are tested, not the quality setting.
    assert video(source, "-o", tmp_path / "out.mp4", "--scale", "1", "--crf", "0") == 0
    for before, after in zip(clips.decoded(source), clips.decoded(tmp_path / "out.mp4"), strict=True):
        for a, b in zip(clips.planes_of(before), clips.planes_of(after), strict=True):
            assert np.abs(a - b).max() <= 1


def test_a_trimmed_video_starts_at_zero_and_in_sync(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4")
    assert video(source, "-o", tmp_path / "out.mp4", "--scale", "1.5", "--start", "1", "--end", "0:02.5") == 0
    expected = [t for t in clips.times_of(source) if 1 <= t < Fraction(5, 2)]
    assert clips.times_of(tmp_path / "out.mp4") == [t - expected[0] for t in expected]
    flash, beep = clips.flash_and_beep_s(tmp_path / "out.mp4")
    assert abs(flash - beep) < 0.020


def test_variable_rates_rotations_and_ten_bits_are_kept(tmp_path: Path) -> None:
    times = np.cumsum([0] + [20, 40, 33, 100, 7, 250] * 3).tolist()
    vfr = clips.write_clip(tmp_path / "vfr.mp4", times=times, audio=None)
    assert video(vfr, "-o", tmp_path / "vfr2.mp4") == 0
    assert clips.times_of(tmp_path / "vfr2.mp4") == [Fraction(time, 1000) for time in times]
    if hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        turned = clips.write_clip(tmp_path / "turned.mp4", count=4, audio=None, rotation=90)
        assert video(turned, "-o", tmp_path / "turned2.mp4") == 0
        assert size_of(tmp_path / "turned2.mp4") == (128, 96)
    deep = clips.write_clip(tmp_path / "deep.mkv", count=4, pixel_format="yuv420p10le", audio=None)
    assert video(deep, "-o", tmp_path / "deep2.mkv", "--codec", "h264") == 0
    assert clips.decoded(tmp_path / "deep2.mkv")[0].format.name == "yuv420p10le"


def test_a_truncated_file_is_upscaled_as_far_as_possible_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = clips.write_clip(tmp_path / "whole.mkv", options={"crf": "1"}, size=(96, 128))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert video(tmp_path / "cut.mkv", "-o", tmp_path / "out.mp4", "--scale", "1") == 1
    said = capsys.readouterr().err
    assert "cut.mkv is cut or damaged" in said
    assert "What could be read is in the output." in said
    found = clips.times_of(tmp_path / "out.mp4")
    assert 20 < len(found) < 80
    assert found == clips.times_of(whole)[: len(found)] or abs(found[1] - found[0] - Fraction(1001, 30000)) < 0.001


def test_a_killed_run_continues_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = clips.write_clip(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from gsr_app.engine import video_job as v\nfrom gsr_app.harness import video as h\n"
        "kept = v.upscale_video\n"
        "def slow(*a, **k):\n"
        "    steps = kept(*a, **k, part_pictures=(8, 8))\n"
        "    for step in steps:\n"
        "        print(step.number, flush=True)\n"
        "        yield step\n"
        "        time.sleep(600 if step.number == 30 else 0)\n"
        "v.upscale_video = slow\n"
        "from gsr_app.harness.cli import main\n"
        f"main(['video', {str(source)!r}, '-o', {str(target)!r}, '--method', 'bilinear'])\n"
    )
    program = start_python(script)
    program.wait_for(lambda: "30" in program.said.split())
    program.kill()
    assert not target.exists()
    assert (tmp_path / "out.mp4.parts").is_dir()
    assert video(source, "-o", target, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["resumed"] == 24
    assert report["pictures"] == 90
    assert clips.times_of(target) == clips.times_of(source)
    assert not (tmp_path / "out.mp4.parts").exists()
    fresh = tmp_path / "fresh.mp4"
    assert video(source, "-o", fresh) == 0
    for one, two in zip(clips.decoded(target), clips.decoded(fresh), strict=True):  # no picture twice, none missing
        assert np.abs(clips.planes_of(one)[0] - clips.planes_of(two)[0]).mean() < 1.5
    flash, beep = clips.flash_and_beep_s(target)
    assert abs(flash - beep) < 0.020


def test_a_temporal_network_gets_its_neighbours_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def windows(_: Session, frames: Any, **options: Any) -> Iterator[np.ndarray]:
        """The mean of seven frames; the first and last frame are repeated beyond the ends of the clip."""
        seen = list(frames)
        for place in range(len(seen)):
            around = [seen[min(max(place + step, 0), len(seen) - 1)] for step in range(-3, 4)]
            yield np.mean(around, 0, dtype=np.float32)

    def no_weights(*_: object) -> Iterator[Any]:
        yield from ()
        return ""

    monkeypatch.setattr(video_job, "upscale_frames", windows)
    monkeypatch.setattr(video_job, "_name_weights", no_weights)
    source = clips.write_clip(tmp_path / "in.mp4", count=24, audio=None)

    def job(name: str) -> VideoJob:
        return VideoJob(source, tmp_path / name, "savsr", lambda _: Scale(1.0, 1.0), crf=0)

    begun = upscale_video(Session(device="cpu"), job("again.mp4"), part_pictures=(5, 5))
    for _ in range(13):
        next(begun)
    begun.close()
    saved, steps = finish(job("again.mp4"))
    assert (saved.resumed, len(steps), saved.pictures) == (10, 14, 24)
    finish(job("whole.mp4"))
    for one, two in zip(clips.decoded(tmp_path / "again.mp4"), clips.decoded(tmp_path / "whole.mp4"), strict=True):
        assert np.array_equal(clips.planes_of(one)[0], clips.planes_of(two)[0])


def test_a_stopped_run_writes_a_playable_part_if_requested(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4")
    job = job_for(source, tmp_path / "out.mp4", keep_part=True)
    seen = 0

    def enough() -> bool:
        return seen >= 50

    def watch() -> None:
        nonlocal seen
        for _ in upscale_video(Session(device="cpu"), job, cancel=enough, part_pictures=(8, 20)):
            seen += 1

    with pytest.raises(Cancelled) as caught:
        watch()
    assert "out.part.mp4 holds what is done: 50 pictures" in caught.value.hint
    assert clips.times_of(tmp_path / "out.part.mp4") == clips.times_of(source)[:50]
    flash, beep = clips.flash_and_beep_s(tmp_path / "out.part.mp4")
    assert abs(flash - beep) < 0.020
    saved, _ = finish(job)
    assert (saved.resumed, saved.pictures) == (50, 90)


def test_parts_of_other_settings_are_not_continued(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=12, audio=None)
    target = tmp_path / "out.mp4"
    steps = upscale_video(Session(device="cpu"), job_for(source, target), part_pictures=(2, 2))
    for _ in range(7):
        next(steps)
    steps.close()
    with pytest.raises(VideoError, match=r"another run \(codec, scale differ\)"):
        finish(job_for(source, target, scale=3.0))
    saved, _ = finish(job_for(source, target, scale=3.0, restart=True))
    assert (saved.resumed, saved.size) == (0, (144, 192))


def test_parts_by_other_weights_of_the_same_name_are_not_continued(tmp_path: Path) -> None:
    job = VideoJob(write_frames(tmp_path / "in", 90), tmp_path / "out.mkv", "rt4ksr-x2", lambda _: Scale(2, 2))
    session = Session(device="cpu", weights=tmp_path / "best.safetensors")
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file(build("rt4ksr-x2").state_dict(), tmp_path / "best.safetensors")
        if seed == 1:
            stop_after(job, 5, session)
            continue
        with pytest.raises(VideoError, match=r"another run \(weights differ\)"):
            list(upscale_video(session, job))


def test_a_playable_part_never_takes_the_place_of_the_input(tmp_path: Path) -> None:
    source, made = clips.write_clip(tmp_path / "out.part.mp4", count=12, audio=None), list[VideoStep]()
    before, job = source.read_bytes(), job_for(source, tmp_path / "out.mp4", keep_part=True)
    with pytest.raises(Cancelled) as caught:
        made.extend(upscale_video(Session(device="cpu"), job, cancel=lambda: len(made) > 4))
    assert "is the input itself" in caught.value.hint
    assert source.read_bytes() == before


def test_a_part_without_pictures_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=6, audio=None)
    with pytest.raises(VideoError, match="no picture in that part"):
        finish(job_for(source, tmp_path / "out.mp4", start_s=Fraction(60)))
    assert list(tmp_path.iterdir()) == [source]


def test_a_round_trip_scores_frames_as_the_evaluation_of_clips_does(tmp_path: Path) -> None:
    from gsr_app.harness.evaluate import Settings, evaluate

    source, frames = clips.write_clip(tmp_path / "in.mp4", count=5, audio=None), tmp_path / "Set" / "GT" / "clip"
    (tmp_path / "Set" / "GT").mkdir(parents=True)
    assert video(source, "-o", frames, "--scale", "1") == 0
    _, steps = finish(job_for(frames, tmp_path / "out.mp4", scale=2.5, round_trip=True))
    row = evaluate([tmp_path / "Set"], ["bilinear"], [2.5], Settings("savsr"), tmp_path / "eval", clips=True)[0]
    assert round(sum(step.psnr_db or 0 for step in steps) / 5, 4) == row.psnr_y
    assert [step.flicker is None for step in steps] == [True, False, False, False, False]
    assert steps[0].reference is not None
    assert steps[0].reference.shape == steps[0].result.shape == (45, 60, 3)


def test_two_runs_cannot_write_one_output(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    source = clips.write_clip(tmp_path / "in.mp4", count=12, audio=None)
    first = upscale_video(Session(device="cpu"), job_for(source, tmp_path / "out.mp4"))
    next(first)
    with pytest.raises(VideoError, match="Another run is working"):
        finish(job_for(source, tmp_path / "out.mp4"))
    first.close()


def test_progress_reports_fraction_speed_and_remaining_time(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=30, audio=None)
    _, steps = finish(job_for(source, tmp_path / "out.mp4"))
    assert [step.number for step in steps] == list(range(1, 31))
    fractions = [step.fraction or 0 for step in steps]
    assert np.allclose(fractions, np.arange(1, 31) / 30, atol=1e-3)
    assert steps[-1].left_s == pytest.approx(0, abs=0.05)
    assert steps[10].per_second > 0


def test_a_gif_keeps_its_times(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", times=[0, 50, 150, 400, 450], audio=None)
    assert video(source, "-o", tmp_path / "a.gif", "--scale", "1") == 0
    assert video(tmp_path / "a.gif", "-o", tmp_path / "b.gif") == 0
    assert clips.times_of(tmp_path / "b.gif") == [Fraction(t, 100) for t in (0, 5, 15, 40, 45)]
    last = clips.decoded(tmp_path / "b.gif")[-1].to_ndarray(format="rgb24").astype(float)
    expected = np.repeat(np.repeat(clips.drawing(4), 2, 0), 2, 1)
    assert np.abs(last - expected).mean() < 6


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    session = Session(device="cpu")
    short = clips.write_clip(tmp_path / "short.mp4", count=20, audio=None, size=(96, 128))
    long = clips.write_clip(tmp_path / "long.mp4", count=400, audio=None, size=(96, 128))

    def most(source: Path) -> float:
        peak = 0.0
        target = source.with_suffix(".mkv")
        for _ in upscale_video(session, job_for(source, target, scale=1.5, overwrite=True), part_pictures=(10, 40)):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            peak = max(peak, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        return peak

    most(short)  # libraries, allocators and encoders are warm from here on
    few, many = most(short), most(long)
    print(f"20 pictures: {few:.0f} MB, 400 pictures: {many:.0f} MB")
    assert many < few * 1.10


def test_wrong_arguments_are_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    for words, said in (
        (("-o", tmp_path / "a.xyz"), "is not a video that can be written"),
        (("-o", tmp_path / "a%.png"), "does not number its pictures"),
        (("-o", tmp_path / "a%d%d.png"), "does not number its pictures"),
        (("-o", tmp_path / "a.webm", "--codec", "h264"), "does not hold H.264"),
        (("-o", tmp_path / "a.mp4", "--codec", "h2644"), "Did you mean 'h264'"),
        (("-o", tmp_path / "a.mp4", "--start", "x"), "is not a time"),
        (("-o", tmp_path / "a.mp4", "--start", "2", "--end", "1"), "must come after"),
        (("-o", tmp_path / "a.mp4", "--fps", "30"), "a video has its own times"),
        (("-o", tmp_path / "a.mp4", "--crf", "99"), "between 0"),
    ):
        assert video(source, *words) == 2, words
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]
    assert video(tmp_path / "none.mp4", "-o", tmp_path / "a.mp4") == 1


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_samples_outside_of_rgb_come_back_unchanged(tmp_path: Path, bits: int, codec: str) -> None:
    source = clips.write_beyond_white(tmp_path / "in.mkv", bits=bits)
    crf = ["--crf", "0"] if codec == "h264" else []
    assert video(source, "-o", tmp_path / "out.mkv", "--scale", "1", "--codec", codec, *crf) == 0
    before, after = clips.decoded(source), clips.decoded(tmp_path / "out.mkv")
    assert len(after) == len(before)
    white = 235 << bits - 8
    assert (np.stack([clips.planes_of(frame)[0] for frame in before]) > white).mean() > 0.03
    for one, two in zip(before, after, strict=True):
        for a, b in zip(clips.planes_of(one), clips.planes_of(two), strict=True):
            assert np.array_equal(a, b)


def test_a_network_for_images_sees_them_clipped_and_a_note_says_so(tmp_path: Path) -> None:
    source = clips.write_beyond_white(tmp_path / "in.mkv", count=2)
    saved, _ = finish(job_for(source, tmp_path / "a.mkv"))
    assert not any("clipped" in note for note in saved.notes)
    job = VideoJob(source, tmp_path / "b.mkv", "swift", lambda _: Scale(2, 2))
    saved, _ = finish(job)
    assert sum("clipped to 0..1" in note for note in saved.notes) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_an_output_that_is_there_is_done_or_an_error_by_what_made_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    source, target = clips.write_clip(tmp_path / "in.mkv", count=4, audio=None), tmp_path / f"out.{suffix}"
    assert video(source, "-o", target, "--scale", "1.5") == 0
    before = target.read_bytes()
    assert video(source, "-o", target, "--scale", "1.5") == 0
    assert "already done" in capsys.readouterr().out
    assert video(source, "-o", target, "--scale", "1.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"] == "already done"
    for words in (("--scale", "2"), ("--scale", "1.5", "--start", "0.1")):
        assert video(source, "-o", target, *words) == 1
        assert "exists already, made by bilinear, x1.5." in capsys.readouterr().err
    assert target.read_bytes() == before
    target.write_bytes(source.read_bytes() if suffix == "mkv" else b"cut off")
    assert video(source, "-o", target, "--scale", "1.5") == 1
    assert "made by something that left no note in it" in capsys.readouterr().err
