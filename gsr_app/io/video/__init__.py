"""Videos in and out: times, colours, depth and sound as they were. Files, GIFs and folders of pictures."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.io.video.mux import Part, assemble, check_tracks
from gsr_app.io.video.reader import Frame, VideoInfo, VideoReader, clock, read_clock
from gsr_app.io.video.sequence import SequenceReader, is_sequence, write_times
from gsr_app.io.video.writer import CODECS, PartWriter, Plan, output_suffixes, plan_output, write_picture

Reader = VideoReader | SequenceReader


def open_video(path: str | os.PathLike[str], rate: Fraction | None = None) -> Reader:
    """A reader; `rate` is for folders of pictures that say nothing about their times."""
    found = Path(path)
    if is_sequence(found):
        return SequenceReader(found, rate)
    if rate is not None:
        raise InvalidArgument("--fps is for folders of pictures; a video brings its own times.", hint="Leave it out.")
    return VideoReader(found)


__all__ = [
    "CODECS",
    "Frame",
    "Part",
    "PartWriter",
    "Plan",
    "Reader",
    "VideoInfo",
    "assemble",
    "check_tracks",
    "clock",
    "open_video",
    "output_suffixes",
    "plan_output",
    "read_clock",
    "write_picture",
    "write_times",
]
