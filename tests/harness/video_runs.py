"""Runs of `gsr video` with a resize as the method, for its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.types import Scale
from gsr_app.engine.session import Session
from gsr_app.engine.video_job import SavedVideo, VideoJob, VideoStep, upscale_video
from gsr_app.harness.cli import main
from gsr_app.io.images import Picture, write_image
from tests import clips


def video(*words: object) -> int:
    return main(["video", *map(str, words), "--method", "bilinear"])


def job_for(source: Path, target: Path, scale: float = 2.0, **more: Any) -> VideoJob:
    return VideoJob(source, target, "bilinear", lambda _: Scale(scale, scale), **more)


def finish(job: VideoJob, **options: Any) -> tuple[SavedVideo, list[VideoStep]]:
    steps = upscale_video(Session(device="cpu"), job, **options)
    seen: list[VideoStep] = []
    try:
        while True:
            seen.append(next(steps))
    except StopIteration as end:
        return end.value, seen


def size_of(path: Path) -> tuple[int, int]:
    frame = clips.decoded(path)[0]
    return frame.height, frame.width


def stop_after(job: VideoJob, count: int, session: Session | None = None) -> None:
    steps = upscale_video(session or Session(device="cpu"), job, part_pictures=(2, 2))
    for _ in range(count):
        next(steps)
    steps.close()


def write_frames(folder: Path, level: int, count: int = 6) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = Picture(np.full((24, 32, 3), level, np.uint8))
        write_image(folder / f"{number:05d}.png", picture, overwrite=True)
    return folder
