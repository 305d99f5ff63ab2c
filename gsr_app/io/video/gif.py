"""Write GIF: a palette of its own for each frame, times in hundredths of a second."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import VideoError, printable
from gsr_app.io.video.mux import Part
from gsr_app.io.video.pyav import explaining, load_av
from gsr_app.io.video.writer import Plan

_TICK = Fraction(1, 100)  # the unit of time of GIF


def write_gif(parts: Sequence[Part], target: Path, plan: Plan, *, start: int = 0, overwrite: bool = False) -> None:
    """Write the lossless parts as one GIF that repeats; it appears only when it is complete."""
    av = load_av()
    with (
        replacing(target, overwrite=overwrite, error=VideoError) as temporary,
        explaining(f"{printable(target.name)} cannot be written", "Check the space and the permissions of its folder."),
        av.open(str(temporary), "w", format="gif", container_options={"loop": "0"}) as output,
    ):
        stream = output.add_stream("gif", rate=Fraction(100), options={"gifflags": "-offsetting-transdiff"})
        stream.height, stream.width = plan.size
        stream.pix_fmt = "pal8"
        stream.codec_context.time_base = _TICK
        last = -1
        for part in parts:
            with av.open(str(part.path)) as container:
                pictures = container.decode(video=0)
                for frame, (pts, _) in zip(pictures, part.times, strict=True):
                    reduced = _reduce(frame.to_ndarray(format="rgba" if plan.alpha else "rgb24"))
                    last = max(last + 1, round((pts - start) * plan.time_base / _TICK))
                    reduced.pts, reduced.time_base = last, _TICK
                    output.mux(stream.encode(reduced))
        for packet in stream.encode(None):
            output.mux(packet)


def _reduce(pixels: np.ndarray) -> Any:
    """The frame with its own palette of 255 colours, and one entry for transparency."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    few = image.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    indices = np.array(few, np.uint8)
    colours = np.array(few.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 4), np.uint8)  # A, R, G, B
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    if pixels.shape[2] == 4:
        palette[255] = 0
        indices[pixels[..., 3] < 128] = 255
    return load_av().VideoFrame.from_ndarray((indices, palette), format="pal8")
