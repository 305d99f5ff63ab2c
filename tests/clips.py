"""Short test videos, encoded by FFmpeg without the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NTSC = Fraction(30000, 1001)
FLASH = 45  # the picture that is white, while the beep sounds
SOUND_HZ = 48000


def drawing(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth moving picture, of colours that a video can store."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [
        120 + 60 * np.sin((x + 2 * number) / 11) * np.cos(y / 13),
        115 + 50 * np.cos((y - number) / 9),
        125 + 45 * np.sin((x + y + number) / 17),
    ]
    return np.stack(planes, -1).round().astype(np.uint8)


def sound(seconds: float, flash_s: float, flash_for_s: float) -> np.ndarray:
    """Silence with one beep, [1, n] float."""
    at = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    beep = (at >= flash_s) & (at < flash_s + flash_for_s)
    return (0.8 * beep * np.sin(2 * np.pi * 1000 * at)).astype(np.float32)[None]


def write_clip(
    path: Path,
    *,
    count: int = 90,  # about three seconds
    rate: Fraction = NTSC,
    times: Sequence[int] | None = None,  # in milliseconds, instead of a rate
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    audio: str | None = "aac",
    rotation: float | None = None,
    size: tuple[int, int] = (48, 64),
    options: dict[str, str] | None = None,
    colour: dict[str, int] | None = None,
) -> Path:
    height, width = size
    base = 1 / rate if times is None else Fraction(1, 1000)
    stamps = list(range(count)) if times is None else list(times)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "12", **(options or {})})
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        stream.codec_context.time_base = base
        for name, value in (colour or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        heard = None
        if audio:
            heard = container.add_stream(audio, rate=SOUND_HZ, layout="mono")
        for number, stamp in enumerate(stamps):
            picture = drawing(number, height, width)
            if number == FLASH:
                picture[:] = 235
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = stamp, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if heard is not None:
            step = float(base) * (stamps[1] - stamps[0])
            flash_s = float(stamps[min(FLASH, len(stamps) - 1)] * base)
            wave = sound(float(stamps[-1] * base) + step, flash_s, 0.05)
            for first in range(0, wave.shape[1], 1024):
                chunk = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(wave[:, first : first + 1024]), format="fltp", layout="mono"
                )
                chunk.sample_rate, chunk.pts, chunk.time_base = SOUND_HZ, first, Fraction(1, SOUND_HZ)
                container.mux(heard.encode(chunk))
            container.mux(heard.encode(None))
    return path


def write_beyond_white(path: Path, *, bits: int = 8, count: int = 3, grey: bool = False) -> Path:
    """A clip without loss, in squares whose luma and chroma take the whole range of numbers: far outside of RGB."""
    rng = np.random.default_rng(bits)
    name = ("gray" if grey else "yuv420p") + ("" if bits == 8 else f"{bits}le")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, name
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1
        for number in range(count):
            frame = av.VideoFrame(96, 64, name)
            frame.color_range, frame.colorspace = 1, 1
            for plane in frame.planes:
                side = 16 * plane.width // 96
                squares = rng.integers(0, 1 << bits, (4, 6)).repeat(side, 0).repeat(side, 1)
                dtype = np.uint8 if bits == 8 else np.dtype("<u2")
                rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
                rows[:, : plane.width] = squares
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_subtitles(
    clip: Path, path: Path, lines: Sequence[tuple[str, str, str]] = (("00,500", "01,500", "hello"),)
) -> Path:
    """The same clip and lines of text, each with its first and last second: one from 0.5 to 1.5 seconds."""
    text = path.with_suffix(".srt")
    numbered = enumerate(lines, 1)
    text.write_text("".join(f"{n}\n00:00:{start} --> 00:00:{end}\n{line}\n\n" for n, (start, end, line) in numbered))
    with av.open(str(clip)) as pictures, av.open(str(text)) as words, av.open(str(path), "w") as out:
        for source in (pictures, words):
            for one in source.streams:
                out.add_stream_from_template(one, opaque=True)
        streams = list(out.streams)
        for source, offset in ((pictures, 0), (words, len(pictures.streams))):
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[packet.stream_index + offset]
                    out.mux(packet)
    return path


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path: Path) -> list[Fraction]:
    return [(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in decoded(path)]


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """The stored numbers of a planar frame."""
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    return [
        np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].astype(int) for plane in frame.planes
    ]


def flash_and_beep_s(path: Path) -> tuple[float, float]:
    """The time of the white frame and of the start of the beep."""
    bright = [planes_of(frame)[0].mean() / (1 << (frame.format.components[0].bits - 8)) for frame in decoded(path)]
    flash = times_of(path)[int(np.argmax(bright))]
    with av.open(str(path)) as container:
        found: list[tuple[float, np.ndarray]] = []
        for frame in container.decode(audio=0):
            found.append((float(frame.pts * frame.time_base), np.abs(frame.to_ndarray()).max(0)))
            rate = frame.sample_rate
    for start, wave in found:
        loud = np.flatnonzero(wave > 0.3)
        if len(loud):
            return float(flash), start + loud[0] / rate
    raise AssertionError(f"{path.name} is silent")
