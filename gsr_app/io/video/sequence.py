"""A video as numbered pictures in a folder, with their times in `timestamps.txt` (format v2, milliseconds)."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Generator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from gsr_app.core import pixels
from gsr_app.core.errors import ImageError, VideoError, printable
from gsr_app.io import images
from gsr_app.io.formats import by_number
from gsr_app.io.video.color import UNSPECIFIED, Coding
from gsr_app.io.video.reader import VideoFrame, VideoInfo

TIMES = "timestamps.txt"
_FIRST_LINE = "# timestamp format v2"
_TIME_BASE = Fraction(1, 1_000_000)
_NUMBERED = re.compile(r"%0?(\d*)d")
DEFAULT_RATE = Fraction(25)


def is_sequence(path: Path) -> bool:
    """Whether a path is a folder, frames/%05d.png, or 'frames/*.png'."""
    return path.is_dir() or (not path.is_file() and bool(_NUMBERED.search(path.name) or glob.has_magic(path.name)))


class SequenceReader:
    """Pictures in the order of their numbers; the interface of `VideoReader`."""

    def __init__(self, path: str | os.PathLike[str], rate: Fraction | None = None) -> None:
        self.path = Path(path)
        self.trouble = ""
        self.notes: list[str] = []
        self._files = _find(self.path)
        name = printable(self.path.name)
        if not self._files:
            known = ", ".join(images.readable_suffixes())
            raise VideoError(
                f"{name} holds no pictures.", hint=f"A sequence is made of files such as 00001.png ({known})."
            )
        times = None if rate is not None else _read_times(self._files[0].parent / TIMES)
        if times is not None and len(times) != len(self._files):
            raise VideoError(
                f"{TIMES} has {len(times)} times for {len(self._files)} pictures.",
                hint="Give --fps, or remove the file.",
            )
        rate = rate or DEFAULT_RATE
        base = _TIME_BASE if times is not None else 1 / rate
        self._times = times if times is not None else list(range(len(self._files)))
        steps = [b - a for a, b in pairwise(self._times)]
        last_step = steps[-1] if steps else max(1, round(1 / rate / base))
        self._steps = [*steps, last_step]
        first = images.read_image(self._files[0])
        bits = 16 if first.layout.depth > 8 else 8
        cicp = first.meta.color.cicp
        code_points = cicp[:2] if cicp else (UNSPECIFIED, UNSPECIFIED)
        end = self._times[-1] + last_step
        average = Fraction(len(self._files)) / ((end - self._times[0]) * base)
        self.info = VideoInfo(
            self.path,
            first.size,
            base,
            Coding("rgb", bits, (0, 0), True, 0, *code_points),
            average.limit_denominator(1001),
            self._times[0],
            end * base,
            alpha=first.layout.has_alpha,
            kind="frames",
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read: the pictures and their times."""
        return (*self._files, self._files[0].parent / TIMES)

    def frames(
        self, start_s: Fraction | None = None, end_s: Fraction | None = None, after: int | None = None
    ) -> Generator[VideoFrame, None, None]:
        for file, pts, step in zip(self._files, self._times, self._steps, strict=True):
            seconds = pts * self.info.time_base
            if (start_s is not None and seconds < start_s) or (after is not None and pts <= after):
                continue
            if end_s is not None and seconds >= end_s:
                return
            try:
                picture = images.read_image(file)
            except ImageError as error:
                self.trouble = f"The sequence stops before {printable(file.name)}: {error}"
                return
            if picture.size != self.info.size:
                height, width = picture.size
                self.trouble = f"The sequence stops before {printable(file.name)}, which is {width}x{height}."
                return
            # Encoders have no grey with alpha.
            channels = 4 if picture.layout.has_alpha else None
            yield VideoFrame(pixels.convert(picture.pixels, channels=channels), pts, step)


def _find(path: Path) -> list[Path]:
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix.lower() in images.readable_suffixes()]
    elif match := _NUMBERED.search(path.name):
        before, after = re.escape(path.name[: match.start()]), re.escape(path.name[match.end() :])
        pattern = re.compile(f"{before}\\d+{after}")
        found = [file for file in path.parent.glob("*") if pattern.fullmatch(file.name)]
    else:
        found = [Path(file) for file in glob.glob(str(path))]
    return sorted((file for file in found if not file.name.startswith(".")), key=by_number)


def _read_times(path: Path) -> list[int] | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    try:
        times = [round(Fraction(line.strip()) * 1000) for line in lines if line.strip() and not line.startswith("#")]
    except (ValueError, ZeroDivisionError):
        raise VideoError(f"{path.name} is not a list of milliseconds.", hint="Remove it, or give --fps.") from None
    if any(b <= a for a, b in pairwise(times)):
        raise VideoError(f"The times in {path.name} do not increase.", hint="Remove it, or give --fps.")
    return times


def count_times(folder: Path) -> int:
    """How many pictures a folder was made with; 0 where it does not say."""
    with suppress(VideoError):
        return len(_read_times(folder / TIMES) or ())
    return 0


def write_times(folder: Path, times: Sequence[Fraction]) -> None:
    """Write times, given in seconds, as lines of milliseconds."""
    lines = [_FIRST_LINE, *(f"{float(time * 1000):.3f}" for time in times)]
    (folder / TIMES).write_text("\n".join(lines) + "\n", encoding="utf-8")
