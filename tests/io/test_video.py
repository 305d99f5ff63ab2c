"""Reading and writing videos. FFmpeg makes the clips (tests/clips.py) and decodes the results."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from gsr_app.core.errors import ImageError, InvalidArgument, VideoError  # noqa: E402
from gsr_app.io import images, video  # noqa: E402
from gsr_app.io.video.color import Coding, to_planes, to_rgb  # noqa: E402
from gsr_app.io.video.mux import DecodeTimes  # noqa: E402
from gsr_app.io.video.sequence import write_times  # noqa: E402
from gsr_app.io.video.writer import write_picture  # noqa: E402
from tests import clips  # noqa: E402


def copy_through(source: Path, target: Path, *, parts: int = 3, **options: object) -> Path:
    """Decode every frame to RGB, encode them in several parts, and join these."""
    reader = video.open_video(source)
    info = reader.info
    plan = video.plan_output(info, target, info.size, **options)  # type: ignore[arg-type]
    tracks, _ = video.check_tracks(info, plan, target.suffix)
    frames = list(reader.frames())
    cuts = np.linspace(0, len(frames), parts + 1).astype(int)
    made: list[video.Part] = []
    for number, (first, last) in enumerate(pairwise(cuts)):
        writer = video.PartWriter(target.with_name(f"{target.stem}-{number}.mkv"), plan)
        for frame in frames[first:last]:
            writer.append(frame.pixels, frame.pts, frame.duration)
        writer.close()
        made.append(video.Part(writer.path, tuple(writer.times)))
    video.assemble(made, target, plan, info, tracks=tracks)
    return target


NARROW = """
import sys
from pathlib import Path
from gsr_app.io import video
from tests.io.test_video import copy_through
for number in range(4):
    copy_through(Path(sys.argv[1]), Path(sys.argv[1]).with_name(f"{number}.mp4"), codec="h265")
"""


def test_a_narrow_video_is_written_by_x265(tmp_path: Path) -> None:
    """In a process of its own: x265 used to write beyond its memory, and the process ended sooner or later."""
    clip = clips.write_clip(tmp_path / "narrow.mkv", codec="ffv1", audio=None, count=6, size=(32, 40))
    done = subprocess.run([sys.executable, "-c", NARROW, str(clip)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(clips.decoded(tmp_path / "3.mp4")) == 6


# ---- colours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (1, 1), (0, 2)])
@pytest.mark.parametrize("full_range", [False, True])
def test_planes_survive_rgb_exactly(bits: int, shift: tuple[int, int], full_range: bool) -> None:
    coding = Coding("yuv", bits, shift, full_range, matrix=9)
    rng = np.random.default_rng(bits)
    middle, span = 1 << (bits - 1), 1 << (bits - 4)  # random chroma, of valid colours
    luma = rng.integers(middle - span, middle + span, (12, 24)).astype(coding.dtype)
    size = tuple(-(-side // (1 << s)) for side, s in zip((12, 24), shift, strict=True))
    chroma = [rng.integers(middle - span, middle + span, size).astype(coding.dtype) for _ in range(2)]
    planes = to_planes(to_rgb([luma, *chroma], coding), coding)
    for found, stored in zip(planes, [luma, *chroma], strict=True):
        assert np.array_equal(found, stored)


@pytest.mark.parametrize(("number", "name"), [(1, 1), (6, 5), (9, 9)])  # in H.273, and what swscale calls it
@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_equals_ffmpegs(number: int, name: int, full_range: bool) -> None:
    picture = clips.drawing(3)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24")
    stored = frame.reformat(
        format="yuv444p", dst_colorspace=name, src_color_range=2, dst_color_range=2 if full_range else 1
    )
    coding = Coding("yuv", 8, (0, 0), full_range, matrix=number)
    planes = [plane.astype(np.uint8) for plane in clips.planes_of(stored)]
    assert np.abs(to_rgb(planes, coding) * 255 - picture).max() < 2.6  # both roundings of 8-bit planes
    ours = to_planes(picture, coding)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(ours, clips.planes_of(stored), strict=True)) <= 1


def test_upsampled_chroma_keeps_its_position() -> None:
    coding = Coding("yuv", 8, (1, 1), matrix=1)
    x = np.arange(32)  # luma columns; chroma samples are on every second column and between rows
    ramp = np.tile((100 + x[::2]).astype(np.uint8), (8, 1))
    grey = np.full((16, 32), 128, np.uint8)
    rgb = to_rgb([grey, np.full_like(ramp, 128), ramp], coding)
    found = (rgb[8, 1:-2, 0] - rgb[8, 1:-2, 0][0]) / (rgb[8, 2, 0] - rgb[8, 1, 0])
    assert np.allclose(found, np.arange(29), atol=1e-3)


def test_the_assumed_matrix_of_a_small_video_is_written_into_the_result(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=5, audio=None)
    out = copy_through(source, tmp_path / "out.mp4")
    assert clips.decoded(source)[0].colorspace == 2
    assert clips.decoded(out)[0].colorspace == 6


# ---- files ------------------------------------------------------------------------------------------------------


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


def test_sound_that_a_container_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    info = video.open_video(clips.write_clip(tmp_path / "in.mp4", count=5)).info
    plan = video.plan_output(info, tmp_path / "out.webm", info.size)
    with pytest.raises(InvalidArgument, match=r"cannot hold the sound of in.mp4 \(aac\)") as caught:
        video.check_tracks(info, plan, ".webm")
    assert ".mkv" in caught.value.hint


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rates_are_kept(tmp_path: Path, suffix: str) -> None:
    times = np.cumsum([0] + [20, 40, 33, 100, 7, 250] * 8).tolist()
    source = clips.write_clip(tmp_path / f"in{suffix}", times=times, audio=None)
    out = copy_through(source, tmp_path / f"out{suffix}", parts=5)
    assert clips.times_of(out) == clips.times_of(source) == [Fraction(time, 1000) for time in times]


@pytest.mark.skipif(not hasattr(av.video.stream.VideoStream, "set_display_rotation"), reason="PyAV is too old")
@pytest.mark.parametrize(("angle", "turn"), [(90, 1), (-90, -1), (180, 2)])
def test_a_rotated_video_becomes_upright(tmp_path: Path, angle: int, turn: int) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=5, audio=None, rotation=angle)
    frame = next(iter(video.open_video(source).frames()))
    stored = np.rot90(clips.drawing(0), turn)  # both FFmpeg and numpy count angles counterclockwise
    assert frame.pixels.shape == stored.shape
    assert np.abs(frame.pixels * 255 - stored).mean() < 3
    out = copy_through(source, tmp_path / "out.mp4")
    assert clips.decoded(out)[0].rotation == 0
    assert (clips.decoded(out)[0].height, clips.decoded(out)[0].width) == stored.shape[:2]


@pytest.mark.parametrize(
    ("suffix", "codec", "name"),
    [(".mkv", "h264", "h264"), (".mp4", None, "hevc"), (".mkv", "ffv1", "ffv1"), (".webm", None, "av1")],
)
def test_ten_bits_stay_ten_bits(tmp_path: Path, suffix: str, codec: str | None, name: str) -> None:
    colour = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    source = clips.write_clip(tmp_path / "in.mkv", count=8, pixel_format="yuv420p10le", audio=None, colour=colour)
    out = copy_through(source, tmp_path / f"out{suffix}", codec=codec, crf=0 if codec == "h264" else None)
    frame = clips.decoded(out)[3]
    assert frame.format.name == "yuv420p10le"
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        found = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert name in container.streams.video[0].codec_context.codec.canonical_name
    assert [int(one) for one in found] == [9, 9, 16, 1]
    if codec:  # lossless
        for a, b in zip(clips.planes_of(frame), clips.planes_of(clips.decoded(source)[3]), strict=True):
            assert np.abs(a - b).max() <= 1


def test_pictures_of_an_hdr_video_say_what_their_colours_are(tmp_path: Path) -> None:
    colour = {"colorspace": 9, "color_primaries": 9, "color_trc": 16}
    source = clips.write_clip(tmp_path / "in.mkv", count=2, pixel_format="yuv420p10le", audio=None, colour=colour)
    reader = video.open_video(source)
    plan = video.plan_output(reader.info, tmp_path / "pictures", reader.info.size)
    (tmp_path / "pictures").mkdir()
    for number, frame in enumerate(reader.frames()):
        write_picture(tmp_path / "pictures" / f"{number}.png", frame.pixels, plan)
    assert b"cICP\x09\x10\0\1" in (tmp_path / "pictures" / "1.png").read_bytes()
    info = video.open_video(tmp_path / "pictures").info
    back = video.plan_output(info, tmp_path / "out.mkv", info.size, codec="h265").coding
    assert (back.primaries, back.transfer, back.matrix) == (9, 16, 9)


def test_a_note_says_that_a_codec_lacks_ten_bits(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mkv", count=3, pixel_format="yuv420p10le", audio=None)
    plan = video.plan_output(video.open_video(source).info, tmp_path / "out.webm", (48, 64), codec="vp9")
    assert plan.coding.bits == 8
    assert "8 bits" in plan.notes[0]


def test_an_odd_size_is_kept_or_cropped_with_a_note(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    info = video.open_video(source).info
    assert video.plan_output(info, tmp_path / "a.webm", (61, 83)).size == (61, 83)
    cut = video.plan_output(info, tmp_path / "a.mp4", (61, 83))
    assert cut.size == (60, 82)
    assert "83x61 was cut to 82x60" in cut.notes[0]
    with pytest.raises(InvalidArgument, match="even sizes only"):
        video.plan_output(info, tmp_path / "a.mp4", (61, 83), may_crop=False)


def test_a_truncated_file_is_read_as_far_as_possible(tmp_path: Path) -> None:
    whole = clips.write_clip(
        tmp_path / "whole.mp4", audio=None, options={"crf": "1", "movflags": "faststart"}, size=(96, 128)
    )
    whole_bytes = faststart(whole)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole_bytes[: len(whole_bytes) * 6 // 10])
    reader = video.open_video(cut)
    frames = list(reader.frames())
    assert 30 < len(frames) < 80
    assert "cut.mp4 is cut or damaged: it can be read until 0:0" in reader.trouble
    stopped = float(frames[-1].pts * reader.info.time_base) + 1001 / 30000
    assert f"until 0:{stopped:05.2f}," in reader.trouble
    good = clips.decoded(whole)
    for frame, expected in zip(frames, good, strict=False):  # none of them is incomplete
        y = clips.planes_of(expected)[0]
        ours = to_planes(frame.pixels, reader.info.coding)[0].astype(int)
        assert np.abs(ours - y).max() <= 1


def faststart(path: Path) -> bytes:
    """The file with its index at the start, as for streaming."""
    moved = path.with_name("front.mp4")
    with av.open(str(path)) as source, av.open(str(moved), "w", container_options={"movflags": "+faststart"}) as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    return moved.read_bytes()


def test_missing_files_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(VideoError, match=r"text.mp4 cannot be read as a video"):
        video.open_video(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match=r"There is no file none.mp4"):
        video.open_video(tmp_path / "none.mp4")


def test_a_video_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gsr_app.io.video import reader

    clip = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    height, width = video.open_video(clip).info.size
    monkeypatch.setattr(reader, "_read_info", lambda *_: pytest.fail("a frame was decoded"))
    monkeypatch.setenv("GSR_MAX_PIXELS", str(height * width - 1))
    with pytest.raises(ImageError, match=f"claims {width} x {height} pixels"):
        video.open_video(clip)


def test_pictures_larger_than_the_file_states_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    height, width = video.open_video(clip).info.size
    monkeypatch.setenv("GSR_MAX_PIXELS", str(height * width - 1))
    monkeypatch.setattr("gsr_app.io.video.reader.check_pixels", lambda *_: None)  # as if it stated a small size
    with pytest.raises(VideoError, match="no frame that can be decoded"):
        video.open_video(clip)


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "in.mkv", count=3, audio=None)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_XXXX4/ISO/XXX"))
    with pytest.raises(VideoError, match=r"in\.mkv is in a codec that cannot be decoded"):
        video.open_video(path)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_side_data_of_an_unknown_type_does_not_hide_the_rotation(tmp_path: Path, angle: int) -> None:
    from gsr_app.io.video import reader

    path = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None, rotation=float(angle))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))

    class StereoFrame:
        rotation = frame.rotation

        @property
        def side_data(self) -> None:
            raise ValueError("29 is not a valid Type")

    assert reader._turn_of(StereoFrame()) == reader._turn_of(frame)


def test_a_renamed_playlist_opens_no_other_file(tmp_path: Path) -> None:
    secret = clips.write_clip(tmp_path / "secret.ts", count=5, audio=None)
    lists = {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {secret.name}\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="cannot be read as a video"):
            video.open_video(tmp_path / name)


@pytest.mark.parametrize("text", ["1e999999999", "1/3", "-1", "1:2:3:4", "nan", "1_0", ":"])
def test_only_plain_decimals_are_times(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a time"):
        video.read_clock(text, "--start")
    assert video.read_clock("1:02.5", "--start") == Fraction(125, 2)
    assert video.read_clock(" 1:00:00 ", "--start") == 3600


@pytest.mark.parametrize("claim", [b"0:0:1e999999999999", b"0:0:1/000000000000"])
def test_a_stated_length_that_is_not_a_number_is_ignored(tmp_path: Path, claim: bytes) -> None:
    source = clips.write_clip(tmp_path / "in.mkv", count=6, audio=None)
    data = source.read_bytes()
    (tmp_path / "odd.mkv").write_bytes(data.replace(b"00:00:00.200000000", claim))
    assert claim in (tmp_path / "odd.mkv").read_bytes()
    reader = video.open_video(tmp_path / "odd.mkv")
    assert len(list(reader.frames())) == 6
    assert reader.trouble == ""


def test_reading_can_start_at_any_time(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "in.mp4", audio=None, options={"g": "12"})
    reader = video.open_video(source)
    whole = list(reader.frames())
    for number in (0, 11, 12, 40, 88):
        rest = list(reader.frames(after=whole[number].pts))
        assert [frame.pts for frame in rest] == [frame.pts for frame in whole[number + 1 :]]
        assert np.array_equal(rest[0].pixels, whole[number + 1].pixels)
    middle = list(reader.frames(Fraction(1), Fraction(2)))
    assert [frame.pts for frame in middle] == [f.pts for f in whole if 1 <= f.pts * reader.info.time_base < 2]


# ---- pictures, GIF ----------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_is_a_video_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10):
        pixels = np.full((6, 8, 3), number, np.uint8)
        images.write_image(tmp_path / f"f{number}.png", images.Picture(pixels))
    reader = video.open_video(tmp_path, Fraction(24))
    frames = list(reader.frames())
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [frame.pts * reader.info.time_base for frame in frames] == [Fraction(n, 24) for n in range(4)]
    by_pattern = video.open_video(tmp_path / "f%d.png", Fraction(24))
    assert len(list(by_pattern.frames())) == 4


def test_a_video_may_be_named_like_a_sequence(tmp_path: Path) -> None:
    source = clips.write_clip(tmp_path / "100%d [x].mp4", count=3, audio=None)
    assert video.open_video(source).info.kind == "file"


def test_times_of_pictures_are_stored_next_to_them(tmp_path: Path) -> None:
    for number in range(3):
        images.write_image(tmp_path / f"{number}.png", images.Picture(np.zeros((6, 8, 3), np.uint8)))
    write_times(tmp_path, [Fraction(0), Fraction(1, 10), Fraction(7, 10)])
    reader = video.open_video(tmp_path)
    assert [frame.pts * reader.info.time_base for frame in reader.frames()] == [0, Fraction(1, 10), Fraction(7, 10)]


# ---- parts ------------------------------------------------------------------------------------------------------


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


# ---- what is easily lost ------------------------------------------------------------------------------------------


def inside(data: bytes, path: list[bytes], more: bytes, at: int = 0) -> bytes:
    """The file with bytes added at the end of a box that others contain."""
    place = data.index(path[0], at)
    if len(path) > 1:
        data = inside(data, path[1:], more, place + 4)
    size = int.from_bytes(data[place - 4 : place], "big")
    if len(path) == 1:
        data = data[: place - 4 + size] + more + data[place - 4 + size :]
    return data[: place - 4] + (size + len(more)).to_bytes(4, "big") + data[place:]


def encrypted(clip: Path) -> bytes:
    """The clip, labelled as common encryption has it; its index stands behind its pictures."""

    def box(name: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + name + content

    scheme = box(b"schm", bytes(4) + b"cenc" + b"\0\1\0\0")
    key = box(b"schi", box(b"tenc", bytes(6) + b"\1\x08" + bytes(16)))
    parents = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"]
    data = inside(clip.read_bytes(), parents, box(b"sinf", box(b"frma", b"avc1") + scheme + key))
    at = data.index(b"avc1", data.index(b"stsd"))
    return data[:at] + b"encv" + data[at + 4 :]


def test_an_encrypted_video_is_named(tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "in.mp4", count=3, audio=None)
    (tmp_path / "a.mp4").write_bytes(encrypted(clip))
    with pytest.raises(VideoError, match=r"a\.mp4 is encrypted") as caught:
        video.open_video(tmp_path / "a.mp4")
    assert "damaged" not in caught.value.hint


def test_the_transparency_of_webm_is_mentioned(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(clips.drawing(0), "rgb24")))
        container.mux(stream.encode(None))
    assert any("transparency" in note for note in video.open_video(tmp_path / "a.webm").info.notes)


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


@pytest.mark.parametrize(("codec", "centred"), [("h263", True), ("mpeg4", False), ("mpeg1video", True)])
def test_chroma_is_where_the_codec_has_it_and_moves_to_where_players_expect_it(
    tmp_path: Path, codec: str, centred: bool
) -> None:
    source = clips.write_clip(
        tmp_path / "in.avi",
        count=2,
        audio=None,
        codec=codec,
        size=(96, 128),
        rate=Fraction(25),
        options={"qscale": "1"},
    )
    reader = video.open_video(source)
    assert reader.info.coding.centred == centred
    plan = video.plan_output(reader.info, tmp_path / "out.mp4", reader.info.size)
    assert not plan.coding.centred


def test_the_light_levels_of_hdr10_are_noted_and_its_colours_kept(tmp_path: Path) -> None:
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    clip = clips.write_clip(
        tmp_path / "hdr.mkv", codec="libx265", pixel_format="yuv420p10le", audio=None, count=3, size=(48, 64),
        options={"preset": "ultrafast", "x265-params": f"log-level=none:hdr10=1:{light}"},
        colour={"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1},
    )  # fmt: skip
    assert any("HDR10" in note for note in video.open_video(clip).info.notes)
    made = clips.decoded(copy_through(clip, tmp_path / "out.mp4", parts=1, codec="h265"))[0]
    assert made.format.name == "yuv420p10le"
    assert (made.color_primaries, made.color_trc, made.colorspace, made.color_range) == (9, 16, 9, 1)


def test_interlaced_video_is_noted(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x264-params": "interlaced=1:tff=1"}
    clip = clips.write_clip(tmp_path / "fields.mp4", audio=None, count=4, size=(64, 64), options=options)
    assert any("interlaced" in note for note in video.open_video(clip).info.notes)
    plain = clips.write_clip(tmp_path / "plain.mp4", audio=None, count=4, size=(64, 64))
    assert video.open_video(plain).info.notes == ()


@pytest.mark.parametrize(("size", "later"), [((48, 64), (96, 128)), ((96, 128), (48, 64))])
def test_a_video_is_read_up_to_where_its_size_changes(
    tmp_path: Path, size: tuple[int, int], later: tuple[int, int]
) -> None:
    parts = (
        clips.write_clip(tmp_path / "a.ts", audio=None, count=6, size=size),
        clips.write_clip(tmp_path / "b.ts", audio=None, times=range(1000, 1240, 40), size=later),
    )
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = video.open_video(path)
    found = {frame.pixels.shape[:2] for frame in reader.frames()}
    assert found == {size}
    assert f"changes its size to {later[1]}x{later[0]} at 0:0" in reader.trouble
