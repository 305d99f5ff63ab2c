"""A video that is read and written again."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from gsr_app.io import video


def copy_through(
    source: Path, target: Path, *, parts: int = 3, start_s: Fraction | None = None, **options: object
) -> Path:
    """Decode every frame to RGB, encode them in several parts, and join these."""
    reader = video.open_video(source)
    info = reader.info
    plan = video.plan_output(info, target, info.size, **options)  # type: ignore[arg-type]
    tracks, _ = video.check_tracks(info, plan, target.suffix)
    frames = list(reader.frames(start_s))
    cuts = np.linspace(0, len(frames), parts + 1).astype(int)
    made: list[video.Part] = []
    for number, (first, last) in enumerate(pairwise(cuts)):
        writer = video.PartWriter(target.with_name(f"{target.stem}-{number}.mkv"), plan)
        for frame in frames[first:last]:
            writer.append(frame.pixels, frame.pts, frame.duration)
        writer.close()
        made.append(video.Part(writer.path, tuple(writer.times)))
    video.assemble(made, target, plan, info, tracks=tracks, start=0 if start_s is None else frames[0].pts)
    return target
