"""Read a video file as upright pictures with their times. Counts and lengths that a file states are not relied on."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core import settings
from gsr_app.core.errors import ImageError, InvalidArgument, VideoError, printable
from gsr_app.io.foreign import HEAD_BYTES
from gsr_app.io.formats import FORMATS, check_pixels, sniff_format
from gsr_app.io.heif import is_encrypted
from gsr_app.io.video.color import OTHER_MATRICES, Coding, to_rgb
from gsr_app.io.video.pyav import coding_of, explaining, has_alpha, load_av, open_input, packed_of, planes_of

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv",
            ".3gp", ".ogv", ".gif")  # fmt: skip
_MOST_RATE = 300  # above it a stated rate is that of the clock, not of the frames
_MISSING_S = Fraction(1, 10)  # a stream that ends this much earlier than it states is incomplete
# Fewer forms than `Fraction` accepts: it would expand every digit of 1e999999999.
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}")
# The signs of (a, b, c, d) of the display matrix -> (quarter turns clockwise, whether mirrored horizontally first)
_TURNS = {(1, 0, 0, 1): (0, False), (0, 1, -1, 0): (1, False), (-1, 0, 0, -1): (2, False), (0, -1, 1, 0): (3, False),
          (-1, 0, 0, 1): (0, True), (1, 0, 0, -1): (2, True), (0, 1, 1, 0): (3, True), (0, -1, -1, 0): (1, True),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One upright picture. Its time is a count of the video's `time_base`."""

    pixels: np.ndarray  # [H, W] or [H, W, 3] float32 of video; uint8 or uint16, perhaps with alpha, of stored RGB
    pts: int
    duration: int  # 0: not known


@dataclass(frozen=True)
class Track:
    """A stream of sound or subtitles."""

    index: int
    kind: str
    codec: str


@dataclass(frozen=True)
class VideoInfo:
    """What a video states about itself."""

    path: Path
    size: tuple[int, int]  # (height, width), upright
    time_base: Fraction  # seconds per unit of time
    coding: Coding
    rate: Fraction | None = None  # mean frames per second, if known
    start: int = 0  # the first time, in units
    end_s: Fraction | None = None  # its stated end: for progress, and to detect missing frames
    alpha: bool = False
    turn: tuple[int, bool] = (0, False)  # quarter turns clockwise, after mirroring horizontally
    pixel_aspect: Fraction | None = None  # width over height of a stored pixel, upright
    tracks: tuple[Track, ...] = ()
    kind: str = "file"  # or "frames": a folder of pictures
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()

    @property
    def start_s(self) -> Fraction:
        return self.start * self.time_base

    @property
    def duration_s(self) -> Fraction | None:
        return None if self.end_s is None else max(Fraction(0), self.end_s - self.start_s)


class VideoReader:
    """Opens a file; `frames` may be called several times. Problems are described in `trouble` and `notes`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.trouble = ""  # where and why reading stopped too early
        self.notes: list[str] = []
        if is_encrypted(self.path):
            raise VideoError(
                f"{printable(self.path.name)} is encrypted, and no key for it is here.",
                hint="Its seller's player is needed; an unprotected copy can be read.",
            )
        with _opened(self.path) as (container, stream):
            self.info = _read_info(self.path, container, stream)
        check_pixels(printable(self.path.name), *self.info.size, "whole")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read."""
        return (self.path,)

    def frames(
        self, start_s: Fraction | None = None, end_s: Fraction | None = None, after: int | None = None
    ) -> Generator[VideoFrame, None, None]:
        """The frames from `start_s` to before `end_s`, or those after the time `after`, in order."""
        base = self.info.time_base
        first = None if start_s is None else _at_least(start_s / base)
        if after is not None:
            first = after + 1 if first is None else max(first, after + 1)
        last: int | None = None
        damaged = dropped = 0
        lost_at = None  # the time before unreadable data
        place = self._place_before(first)
        with _opened(self.path) as (container, stream):
            for frame in self._decode(stream, _packets(container, stream, place)):
                if frame is None:
                    lost_at = last
                    continue
                pts, duration = _time_of(frame, last, self.info)
                if last is not None and pts <= last:
                    dropped += 1
                    continue
                if end_s is not None and pts * base >= end_s:
                    break
                last = pts
                if first is not None and pts < first:
                    continue
                damaged += bool(frame.is_corrupt)
                pixels = self._picture(frame)
                height, width = pixels.shape[:2]
                if (height, width) != self.info.size:
                    at = clock((pts - self.info.start) * base)
                    name = printable(self.path.name)
                    self.trouble = f"{name} changes its size to {width}x{height} at {at}: only what is before is read."
                    break
                yield VideoFrame(pixels, pts, duration)
            else:
                self._check_end(last, lost_at, stream, whole=end_s is None)
        if damaged:
            self.notes.append(f"{damaged} damaged frames were repaired by the decoder as far as possible.")
        if dropped:
            self.notes.append(f"{dropped} frames with times that do not increase were left out.")

    def _place_before(self, first: int | None) -> int | None:
        """A time to seek to, from where `first` can be decoded; None is the start.

        Seeking in a transport stream stops at any packet, and an index may be wrong, so a frame is decoded from there.
        Each place is tried in a newly opened file: `frames` then arrives at the same packet.
        """
        if first is None:
            return None
        place, back = first, max(1, round(1 / self.info.time_base))
        while place > self.info.start:
            with _opened(self.path) as (container, stream):
                if container.format.name == "mpeg":  # a program stream: FFmpeg gives other times after seeking
                    return None
                decoded = self._decode(stream, _packets(container, stream, place, latest=first))
                frame = next((one for one in decoded if one is not None and not one.is_corrupt), None)
            if frame is not None and frame.pts is not None and frame.pts <= first:
                return place
            place, back = place - back, 2 * back
        return None

    def _decode(self, stream: Any, packets: Iterator[Any]) -> Generator[Any, None, None]:
        """The decoded frames, and None where data could not be read."""
        errors = load_av().error.FFmpegError
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except errors:
                yield None
                packet = None
            if packet is not None and packet.is_corrupt and packet.size:
                yield None  # an incomplete frame: decoding it gives no usable picture
                continue
            try:
                yield from stream.codec_context.decode(packet)
            except errors:
                yield None
            if packet is None:
                return

    def _check_end(self, last: int | None, lost_at: int | None, stream: Any, *, whole: bool) -> None:
        info = self.info
        name = printable(self.path.name)
        if last is None:
            self.trouble = f"{name} contains no frame that can be decoded."
            return
        frame_s = 1 / info.rate if info.rate else Fraction(1, 25)
        reached_s = last * info.time_base + frame_s
        says_s = _stream_end(stream, info)
        if whole and says_s is not None and says_s - reached_s > max(_MISSING_S, 2 * frame_s):
            missing = f"but states a length of {clock(says_s - info.start_s)}"
            self.trouble = (
                f"{name} is cut or damaged: it can be read until {clock(reached_s - info.start_s)}, {missing}."
            )
        elif lost_at is not None and lost_at == last:
            self.trouble = f"{name} is cut or damaged: nothing after {clock(reached_s - info.start_s)} can be read."
        elif lost_at is not None:
            self.notes.append(
                f"Data after {clock(lost_at * info.time_base - info.start_s)} could not be read and was left out."
            )

    def _picture(self, frame: Any) -> np.ndarray:
        coding = self.info.coding
        if coding.model == "rgb":
            pixels = packed_of(frame, coding, alpha=self.info.alpha)
        else:
            pixels = to_rgb(planes_of(frame, coding), coding)
        return upright(pixels, self.info.turn)


def _packets(container: Any, stream: Any, place: int | None, latest: int | None = None) -> Generator[Any, None, None]:
    """All packets, or those from a keyframe after seeking to `place`: none, if there is none up to `latest`."""
    if place is not None:
        container.seek(place, stream=stream)
    for packet in container.demux(stream):
        if place is None or (packet.is_keyframe and not packet.is_corrupt):
            place = latest = None
            yield packet
        elif latest is not None and packet.dts is not None and packet.dts > latest:
            return


def upright(pixels: np.ndarray, turn: tuple[int, bool]) -> np.ndarray:
    quarters, mirrored = turn
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, -quarters)) if quarters or mirrored else pixels


def clock(seconds: Fraction | float) -> str:
    """A time of a video: "0:01.73"."""
    hundredths = round(max(0, seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest / 100:05.2f}"


def read_clock(text: str | None, name: str) -> Fraction | None:
    """Seconds from "12.5", "1:02.5" or "1:00:00"; None from no text."""
    if text is None or not text.strip():
        return None
    words = text.strip().split(":")
    if len(words) > 3 or not all(_DECIMAL.fullmatch(word) for word in words):
        hint = "Write seconds (12.5) or minutes:seconds (1:02.5)."
        raise InvalidArgument(f"{name} {text[:40]!r} is not a time.", hint=hint)
    seconds = Fraction(0)
    for word in words:
        seconds = seconds * 60 + Fraction(word)
    return seconds


# ---- opening ----------------------------------------------------------------------------------------------------


class _opened:  # noqa: N801  # used as: with _opened(path) as (container, stream)
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> tuple[Any, Any]:
        name = printable(self._path.name)
        if not self._path.is_file():
            raise VideoError(f"There is no file {name}.", hint="Check the path.")
        hint = "Check that a player opens it; an interrupted recording may need its index repaired first."
        with suppress(OSError), self._path.open("rb") as file:
            if sniff_format(file.read(HEAD_BYTES)) not in (None, FORMATS["gif"]):
                hint = "It is a picture, which `gsr upscale` enlarges. For a video of pictures name their folder."
        with explaining(f"{name} cannot be read as a video", hint):
            self._container = open_input(str(self._path))
        pictures = [s for s in self._container.streams.video if "attached_pic" not in str(s.disposition)]
        if not pictures:
            self._container.close()
            raise VideoError(f"{name} contains no video.", hint="It may contain sound only.")
        stream = pictures[0]
        if stream.codec_context is None:
            self._container.close()
            raise VideoError(f"{name} is in a codec that cannot be decoded here.", hint="Convert it to H.264 first.")
        stream.thread_type = "AUTO"
        context = stream.codec_context
        try:
            check_pixels(name, context.height, context.width, "whole")
        except ImageError:
            self._container.close()
            raise
        # The pictures may be larger than the file states: the decoder refuses them before it allocates memory.
        context.options = {**(context.options or {}), "max_pixels": str(settings.max_pixels())}
        return self._container, stream

    def __exit__(self, *_: object) -> None:
        self._container.close()


def _read_info(path: Path, container: Any, stream: Any) -> VideoInfo:
    name, errors = printable(path.name), load_av().error.FFmpegError
    frame = None
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt and packet.size:
                continue
            try:
                frame = next(iter(stream.codec_context.decode(packet)), None)
            except errors:
                continue
            if frame is not None:
                break
    except errors:
        pass
    if frame is None:
        raise VideoError(
            f"{name} contains no frame that can be decoded.", hint="The file is damaged, or its codec is unknown."
        )
    pixel_format = frame.format.name
    coding = coding_of(pixel_format, stream.codec_context, frame)
    if coding.model == "yuv" and coding.matrix in OTHER_MATRICES:
        raise VideoError(
            f"{name} has the colour matrix {OTHER_MATRICES[coding.matrix]}, which is not converted here.",
            hint="Convert it to BT.709 first: ffmpeg -i IN -vf zscale=matrix=709 OUT.",
        )
    notes: list[str] = []
    turn, understood = _turn_of(frame)
    if not understood:
        notes.append("Its rotation is not a multiple of a quarter turn and was ignored.")
    if frame.interlaced_frame:
        notes.append("It is interlaced: both fields are upscaled as one frame. Deinterlace it first.")
    if _has_light_levels(frame):
        notes.append("The brightness of its mastering display and of its pictures (HDR10) is not kept.")
    hidden = any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())
    if hidden or (coding.model != "rgb" and has_alpha(pixel_format)):
        notes.append("Its transparency is not decoded: the result is opaque.")
    height, width = (frame.width, frame.height) if turn[0] % 2 else (frame.height, frame.width)
    aspect = stream.sample_aspect_ratio or None
    base = Fraction(stream.time_base)
    start = stream.start_time if stream.start_time is not None else (frame.pts or 0)
    rate = next((one for one in (stream.average_rate, stream.guessed_rate) if one and one <= _MOST_RATE), None)
    info = VideoInfo(
        path,
        (height, width),
        base,
        Coding.assumed(coding, frame.height),
        Fraction(rate) if rate else None,
        start,
        alpha=coding.model == "rgb" and has_alpha(pixel_format) and not _is_opaque(frame, coding),
        turn=turn,
        pixel_aspect=(1 / aspect if turn[0] % 2 else aspect) if aspect and aspect > 0 else None,
        tracks=tuple(_track_of(one) for one in container.streams if one.type in {"audio", "subtitle"}),
        metadata=dict(container.metadata),
        notes=tuple(notes),
    )
    end_s = _stream_end(stream, info)
    if end_s is None and container.duration is not None:
        end_s = Fraction(container.duration, 1_000_000) + info.start_s
    return replace(info, end_s=end_s)


def _is_opaque(frame: Any, coding: Coding) -> bool:
    """Whether the first frame has no transparency: GIF always stores an alpha and rarely uses it."""
    pixels = packed_of(frame, coding, alpha=True)
    return bool((pixels[..., 3] == np.iinfo(pixels.dtype).max).all())


def _track_of(stream: Any) -> Track:
    context = stream.codec_context
    return Track(stream.index, stream.type, context.name if context is not None else "unknown")


def _stream_end(stream: Any, info: VideoInfo) -> Fraction | None:
    """The end of the video stream that the file states (not that of its sound)."""
    if stream.duration:
        return (stream.duration + info.start) * info.time_base
    with suppress(InvalidArgument):
        return read_clock(stream.metadata.get("DURATION"), "DURATION")  # Matroska
    return None


def _has_light_levels(frame: Any) -> bool:
    with suppress(ValueError):  # PyAV does not know the type of some side data
        return any(name in str(side.type) for side in frame.side_data for name in ("MASTERING", "LIGHT_LEVEL"))
    return False


def _turn_of(frame: Any) -> tuple[tuple[int, bool], bool]:
    """(quarter turns, mirrored) of the display matrix, and whether it is one of these eight."""
    try:
        data = next((side for side in frame.side_data if "DISPLAYMATRIX" in str(side.type)), None)
    except ValueError:  # PyAV does not know the type of some side data, such as that of stereo video
        turns, rest = divmod(-round(frame.rotation), 90)
        return (turns % 4, False), rest == 0
    if data is None:
        return (0, False), True
    matrix = np.frombuffer(bytes(data), np.int32)
    a, b, c, d = (int(np.sign(round(matrix[place] / 65536))) for place in (0, 1, 3, 4))
    signs = a, b, c, d
    return _TURNS.get(signs, (0, False)), signs in _TURNS


def _time_of(frame: Any, last: int | None, info: VideoInfo) -> tuple[int, int]:
    duration = int(frame.duration or 0)
    if frame.pts is not None:
        return frame.pts, duration
    if last is None:
        return info.start, duration
    step = duration or round(1 / (info.rate or 25) / info.time_base)  # an elementary stream has no times
    return last + max(1, step), duration


def _at_least(units: Fraction) -> int:
    """The first whole unit that is not before; a time in decimals may be slightly after the frame that it means."""
    return -((-units + Fraction(1, 1000)) // 1) if units.denominator != 1 else int(units)
