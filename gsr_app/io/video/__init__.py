"""Read and write videos without loss of times, colours, depth and sound: files, GIFs, folders of pictures."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.io.video.mux import Part, assemble, check_tracks
from gsr_app.io.video.reader import VideoFrame, VideoInfo, VideoReader, clock, read_clock
from gsr_app.io.video.sequence import SequenceReader, is_sequence
from gsr_app.io.video.writer import CODECS, PartWriter, Plan, plan_output

Reader = VideoReader | SequenceReader


def open_video(path: str | os.PathLike[str], rate: Fraction | None = None) -> Reader:
    """A reader of a video; `rate` is for folders of pictures without times."""
    found = Path(path)
    if is_sequence(found):
        return SequenceReader(found, rate)
    if rate is not None:
        raise InvalidArgument("--fps is for folders of pictures; a video has its own times.", hint="Leave it out.")
    return VideoReader(found)


__all__ = [
    "CODECS",
    "Part",
    "PartWriter",
    "Plan",
    "Reader",
    "VideoFrame",
    "VideoInfo",
    "assemble",
    "check_tracks",
    "clock",
    "open_video",
    "plan_output",
    "read_clock",
]
