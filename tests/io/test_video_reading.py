"""Reading videos: files of every kind, folders of pictures, what is damaged or not a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av")

from gsr_app.core.errors import ImageError, InvalidArgument, VideoError  # noqa: E402
from gsr_app.io import images, video  # noqa: E402
from gsr_app.io.video.color import to_planes  # noqa: E402
from gsr_app.io.video.sequence import write_times  # noqa: E402
from tests import clips  # noqa: E402
from tests.io.copies import copy_through  # noqa: E402


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
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    with pytest.raises(VideoError, match=r"cat.png cannot be read as a video") as caught:
        video.open_video(tmp_path / "cat.png")
    assert "gsr upscale" in caught.value.hint


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


@pytest.mark.parametrize("group", ["12", "250"])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".ts", "libx264"), (".ts", "mpeg2video"), (".mpg", "mpeg2video"), (".mkv", "libx264"), (".h264", "libx264")],
)
def test_reading_can_start_at_any_time_of_any_format(tmp_path: Path, suffix: str, codec: str, group: str) -> None:
    # Seeking in a transport stream needs some hundred KB to miss the keyframe.
    options = {
        "g": group,
        "bf": "2",
        **({"crf": "0", "preset": "ultrafast"} if codec == "libx264" else {"qscale": "1"}),
    }
    source = clips.write_clip(
        tmp_path / f"in{suffix}", count=75, rate=Fraction(25), codec=codec, audio=None, options=options, size=(64, 96)
    )
    reader = video.open_video(source)
    whole = [(frame.pts, frame.pixels.tobytes()) for frame in reader.frames()]
    assert len(whole) == 75
    for number in (0, 11, 31, 45, 66):
        rest = [(frame.pts, frame.pixels.tobytes()) for frame in reader.frames(after=whole[number][0])]
        assert [pts for pts, _ in rest] == [pts for pts, _ in whole[number + 1 :]]
        assert rest == whole[number + 1 :]
        assert next(reader.frames(whole[number][0] * reader.info.time_base)).pts == whole[number][0]
    assert reader.trouble == ""


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


@pytest.mark.parametrize(
    ("codec", "pixel_format", "noted"),
    [
        ("ffv1", "yuva420p", True),
        ("prores_ks", "yuva444p10le", True),
        ("ffv1", "yuv420p", False),
        ("ffv1", "bgra", False),
    ],
)
def test_the_transparency_of_a_pixel_format_is_mentioned(
    tmp_path: Path, codec: str, pixel_format: str, noted: bool
) -> None:
    options = {"profile": "4444"} if codec == "prores_ks" else {}
    clip = clips.write_clip(
        tmp_path / "a.mkv", count=2, codec=codec, pixel_format=pixel_format, audio=None, options=options
    )
    assert any("transparency" in note for note in video.open_video(clip).info.notes) == noted


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
