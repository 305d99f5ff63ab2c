"""Writing videos: times, sound, subtitles, parts. FFmpeg makes the clips (tests/clips.py) and decodes the results."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from gsr_app.core.errors import InvalidArgument  # noqa: E402
from gsr_app.io import video  # noqa: E402
from gsr_app.io.video.mux import DecodeTimes  # noqa: E402
from tests import clips  # noqa: E402
from tests.io.copies import copy_through  # noqa: E402

NARROW = """
import sys
from pathlib import Path
from gsr_app.io import video
from tests.io.copies import copy_through
for number in range(4):
    copy_through(Path(sys.argv[1]), Path(sys.argv[1]).with_name(f"{number}.mp4"), codec="h265")
"""


def test_a_narrow_video_is_written_by_x265(tmp_path: Path) -> None:
    """In a process of its own: x265 used to write beyond its memory, and the process ended sooner or later."""
    clip = clips.write_clip(tmp_path / "narrow.mkv", codec="ffv1", audio=None, count=6, size=(32, 40))
    done = subprocess.run([sys.executable, "-c", NARROW, str(clip)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(clips.decoded(tmp_path / "3.mp4")) == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_container_keeps_times_sound_and_colours(tmp_path: Path, suffix: str) -> None:
    opus = suffix == ".webm"
    source = clips.write_clip(tmp_path / f"in{'.mkv' if opus else '.mp4'}", audio="libopus" if opus else "aac")
    # Lossless, so that differences do not come from the codec.
    out = copy_through(source, tmp_path / f"out{suffix}", crf=0)
    before, after = clips.decoded(source), clips.decoded(out)
    assert len(after) == len(before) == 90
    rounding = 0.0006 if suffix in {".mkv", ".webm"} else 0  # Matroska counts milliseconds
    first = clips.times_of(out)[0]  # Matroska has no times before 0, where AAC begins: there all moves together
    assert 0 <= first < 0.022
    assert first == 0 or suffix == ".mkv"
    for one, two in zip(clips.times_of(source), clips.times_of(out), strict=True):
        assert abs(one - (two - first)) <= rounding
    for one, two in zip(before, after, strict=True):
        for a, b in zip(clips.planes_of(one), clips.planes_of(two), strict=True):
            assert np.abs(a - b).max() <= 1
    flash, beep = clips.flash_and_beep_s(out)
    assert abs(flash - float(first) - 45 * 1001 / 30000) < 0.001
    assert abs(beep - flash) < 0.020


def test_sound_is_copied_bit_by_bit(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4")
    out = copy_through(source, tmp_path / "out.mp4")

    def packets(path: Path) -> list[tuple[bytes, Fraction]]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            return [(bytes(p), p.pts * p.time_base) for p in container.demux(stream) if p.size]

    assert packets(out) == packets(source)


def test_subtitles_are_copied_if_the_container_supports_them(tmp_path: Path) -> None:
    source = clips.with_subtitles(clips.write_clip(tmp_path / "plain.mp4"), tmp_path / "in.mkv")
    with av.open(str(copy_through(source, tmp_path / "out.mkv"))) as container:
        told = [bytes(p) for p in container.demux(container.streams.subtitles[0]) if p.size]
    assert told == [b"hello"]
    info = video.open_video(source).info
    plan = video.plan_output(info, tmp_path / "out.mp4", info.size)
    tracks, notes = video.check_tracks(info, plan, ".mp4")
    assert len(tracks) == 1
    assert "subtitles" in notes[0]


def test_subtitles_that_show_at_the_start_of_an_extract_are_kept(tmp_path: Path) -> None:
    lines = [
        ("00,100", "00,900", "over"),
        ("00,200", "01,500", "one"),
        ("00,300", "01,700", "two"),
        ("01,000", "01,400", "three"),
        ("01,800", "01,900", "later"),
    ]
    clip = clips.write_clip(tmp_path / "plain.mp4", count=50, rate=Fraction(25))
    source = clips.with_subtitles(clip, tmp_path / "in.mkv", lines)
    out = copy_through(source, tmp_path / "out.mkv", start_s=Fraction(1))
    with av.open(str(out)) as container:
        packets = [p for p in container.demux(container.streams.subtitles[0]) if p.size]
        first = container.streams.video[0].start_time * 1000 * container.streams.video[0].time_base
    told = [(bytes(p), p.pts - first, p.duration) for p in packets]  # in milliseconds
    assert told == [(b"one", 0, 500), (b"two", 0, 700), (b"three", 0, 400), (b"later", 800, 100)]


def test_sound_that_a_container_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    info = video.open_video(clips.write_clip(tmp_path / "in.mp4", count=5)).info
    plan = video.plan_output(info, tmp_path / "out.webm", info.size)
    with pytest.raises(InvalidArgument, match=r"cannot hold the sound of in.mp4 \(aac\)") as caught:
        video.check_tracks(info, plan, ".webm")
    assert ".mkv" in caught.value.hint


@pytest.mark.parametrize(
    ("codec", "suffix", "held"),
    [
        ("flac", ".mov", False),
        ("libopus", ".mov", False),
        ("pcm_s16le", ".mp4", False),
        ("pcm_s16le", ".mov", True),
        ("flac", ".mp4", True),
        ("eac3", ".mp4", True),
    ],
)
def test_sound_that_a_container_lists_but_refuses_is_found_before_any_work(
    tmp_path: Path, codec: str, suffix: str, held: bool
) -> None:
    source = clips.write_clip(tmp_path / "in.mkv", count=5, audio=None)
    with av.open(str(source)) as pictures, av.open(str(tmp_path / "both.mkv"), "w") as out:
        copy = out.add_stream_from_template(pictures.streams.video[0])
        heard = out.add_stream(codec, rate=48000, layout="stereo")  # Matroska names no layout
        for packet in pictures.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
        for first in range(0, 12288, 1024):
            name = {"eac3": "fltp", "libopus": "flt"}.get(codec, "s16")
            chunk = av.AudioFrame(format=name, layout="stereo", samples=1024)
            for plane in chunk.planes:
                plane.update(bytes(plane.buffer_size))
            chunk.sample_rate, chunk.pts, chunk.time_base = 48000, first, Fraction(1, 48000)
            out.mux(heard.encode(chunk))
        out.mux(heard.encode(None))
    if held:
        with av.open(str(copy_through(tmp_path / "both.mkv", tmp_path / f"out{suffix}", parts=1))) as container:
            assert len(container.streams.audio) == 1
    else:
        with pytest.raises(InvalidArgument, match=r"cannot hold the sound of both.mkv"):
            copy_through(tmp_path / "both.mkv", tmp_path / f"out{suffix}", parts=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rates_are_kept(tmp_path: Path, suffix: str) -> None:
    times = np.cumsum([0] + [20, 40, 33, 100, 7, 250] * 8).tolist()
    source = clips.write_clip(tmp_path / f"in{suffix}", times=times, audio=None)
    out = copy_through(source, tmp_path / f"out{suffix}", parts=5)
    assert clips.times_of(out) == clips.times_of(source) == [Fraction(time, 1000) for time in times]


def test_an_odd_size_is_kept_or_cropped_with_a_note(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    info = video.open_video(source).info
    assert video.plan_output(info, tmp_path / "a.webm", (61, 83)).size == (61, 83)
    cut = video.plan_output(info, tmp_path / "a.mp4", (61, 83))
    assert cut.size == (60, 82)
    assert "83x61 was cut to 82x60" in cut.notes[0]
    with pytest.raises(InvalidArgument, match="even sizes only"):
        video.plan_output(info, tmp_path / "a.mp4", (61, 83), may_crop=False)


def test_decode_times_increase_and_are_never_late_across_parts() -> None:
    rng = np.random.default_rng(0)
    shown = np.cumsum(rng.integers(1, 400, 60)).tolist()
    stamps, given = DecodeTimes(4), []
    for first, last in ((0, 1), (1, 3), (3, 30), (30, 60)):
        given += stamps.of(shown[first:last])
    assert all(b > a for a, b in pairwise(given))
    # A frame may be stored up to four places early and is decoded before it is presented.
    assert all(given[max(0, place)] <= shown[place] for place in range(60))
    assert all(given[min(59, place + 4)] <= shown[place] for place in range(56))


def test_a_part_is_found_only_after_it_is_finished(tmp_path: Path) -> None:
    part = video.Part(tmp_path / "00000.mkv", ((0, 1), (1, 1)))
    part.path.write_bytes(b"begun")
    assert video.Part.find(part.path) is None
    part.commit()
    assert video.Part.find(part.path) == part


def two_sounds(path: Path) -> Path:
    """A clip whose second sound is the default one."""
    plain = clips.write_clip(path.with_name("plain.mkv"), count=5, audio="mp2")
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        for stream in (source.streams.video[0], source.streams.audio[0], source.streams.audio[0]):
            out.add_stream_from_template(stream, opaque=True)
        streams = list(out.streams)
        streams[1].disposition, streams[2].disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for packet in source.demux():
            if packet.size:
                first = packet.stream_index
                packet.stream = streams[first]
                out.mux(packet)
                if first == 1:
                    packet.stream = streams[2]
                    out.mux(packet)
    return path


def test_the_default_sound_of_matroska_stays_the_default(tmp_path: Path) -> None:
    source = two_sounds(tmp_path / "in.mkv")
    out = copy_through(source, tmp_path / "out.mkv", parts=1)
    with av.open(str(source)) as before, av.open(str(out)) as after:
        flags = [[stream.disposition.name for stream in one.streams.audio] for one in (before, after)]
    assert flags[0] == flags[1]
    assert flags[0][0] != flags[0][1]


def test_mp2_sound_in_mp4_is_mentioned(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mkv", count=5, audio="mp2")
    info = video.open_video(source).info
    plan = video.plan_output(info, tmp_path / "out.mp4", info.size)
    assert video.check_tracks(info, plan, ".mp4")[1][0].startswith("A .mp4 file calls MP2 sound MP3")
    assert video.check_tracks(info, video.plan_output(info, tmp_path / "out.mkv", info.size), ".mkv")[1] == ()
