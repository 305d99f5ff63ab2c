"""Colours of videos: planes to RGB and back, tags, bit depths. FFmpeg makes the clips and decodes the results."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from gsr_app.core.errors import VideoError  # noqa: E402
from gsr_app.io import video  # noqa: E402
from gsr_app.io.video.color import Coding, to_planes, to_rgb  # noqa: E402
from gsr_app.io.video.writer import write_picture  # noqa: E402
from tests import clips  # noqa: E402
from tests.io.copies import copy_through  # noqa: E402


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


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (12, "chroma-derived"), (14, "ICtCp")])
def test_a_matrix_that_is_not_converted_is_refused_by_name(tmp_path: Path, matrix: int, name: str) -> None:
    source = clips.write_clip(tmp_path / "in.mkv", count=2, audio=None, colour={"colorspace": matrix})
    with pytest.raises(VideoError, match=f"in.mkv has the colour matrix {name}, which is not converted") as caught:
        video.open_video(source)
    assert "BT.709" in caught.value.hint


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
