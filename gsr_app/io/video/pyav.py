"""PyAV (FFmpeg's libraries): loaded at first use, without log output, its errors raised as `VideoError`."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from gsr_app.core.errors import VideoError, printable
from gsr_app.core.extras import needs_extra
from gsr_app.io.video.color import Coding, Planes

_YUV = re.compile(r"yuva?(j?)(\d{3})p(?:(\d+)le)?")
_GREY = re.compile(r"gray(?:(\d+)le)?")
_SHIFTS = {"444": (0, 0), "422": (0, 1), "420": (1, 1), "440": (1, 0), "411": (0, 2), "410": (2, 2)}
# Playlists (HLS, DASH, concat) are not among these: they name other files, and an uploaded file must not decide which
# files of this machine are opened.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,h264,hevc,av1,ivf,mxf,nut,dv,yuv4mpegpipe"
)
_FULL_RANGE = 2
_CENTRED_CHROMA = {"mjpeg", "mpeg1video", "h261", "h263", "h263i", "h263p", "flv"}
_RGB_MATRIX = 0


@cache
def load_av() -> Any:
    """The av module."""
    with needs_extra("video", "A video"):
        import av
        import av.logging
    av.logging.set_level(None)  # errors are raised, the rest is noise
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 ignores that level: errors only
    return av


def open_input(path: str) -> Any:
    """A container to read from; no other file and no network address is opened."""
    limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    return load_av().open(path, metadata_errors="replace", container_options=limits)


@contextmanager
def explaining(what: str, hint: str = "") -> Generator[None, None, None]:
    """Raise FFmpeg's and the system's errors as `VideoError`: `what` and the reason."""
    av = load_av()
    try:
        yield
    except av.error.FFmpegError as error:
        raise VideoError(f"{what}: {printable(str(error.strerror or error))}.", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise VideoError(f"{what}: {printable(reason)}.", hint=hint) from error


# ---- frames and arrays ------------------------------------------------------------------------------------------


def coding_of(pixel_format: str, context: Any, frame: Any = None) -> Coding:
    """The coding of the frames of a decoder."""
    av = load_av()
    source = context if frame is None else frame
    full = int(source.color_range) == _FULL_RANGE
    said = Coding(
        full_range=full,
        matrix=int(source.colorspace),
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        centred=context.name in _CENTRED_CHROMA,
    )
    if match := _YUV.fullmatch(pixel_format):
        return replace(said, bits=int(match[3] or 8), shift=_SHIFTS[match[2]], full_range=full or bool(match[1]))
    if match := _GREY.fullmatch(pixel_format):
        return replace(said, model="grey", bits=int(match[1] or 8), shift=(0, 0))
    found = av.VideoFormat(pixel_format)
    bits = 8 if found.has_palette else max(component.bits for component in found.components)
    if found.is_rgb or found.has_palette:
        bits = 8 if bits <= 8 else 16
        return replace(said, model="rgb", bits=bits, shift=(0, 0), full_range=True, matrix=_RGB_MATRIX)
    wide, high = found.chroma_width(64), found.chroma_height(64)
    shift = (64 // high).bit_length() - 1, (64 // wide).bit_length() - 1
    return replace(said, bits=next(known for known in (8, 9, 10, 12, 14, 16) if known >= bits), shift=shift)


def has_alpha(pixel_format: str) -> bool:
    found = load_av().VideoFormat(pixel_format)
    return found.has_palette or any(component.is_alpha for component in found.components)


def planes_of(frame: Any, coding: Coding) -> Planes:
    """The stored numbers of a frame: Y, Cb, Cr or Y; interleaved formats are converted to planes first."""
    name = frame.format.name
    if not (_YUV.fullmatch(name) or _GREY.fullmatch(name)):
        same = {"src_color_range": frame.color_range, "dst_color_range": frame.color_range}
        frame = frame.reformat(format=coding.pixel_format, **same)
    return [_plane_of(plane, coding) for plane in frame.planes[: 1 if coding.model == "grey" else 3]]


def _plane_of(plane: Any, coding: Coding) -> Any:
    rows = np.frombuffer(plane, coding.dtype).reshape(plane.height, plane.line_size // coding.dtype.itemsize)
    return rows[:, : plane.width]


def packed_of(frame: Any, coding: Coding, *, alpha: bool) -> np.ndarray:
    """A frame of an RGB format as [H, W, 3 or 4] of uint8 or uint16."""
    name = ("rgba" if alpha else "rgb24") if coding.bits == 8 else ("rgba64le" if alpha else "rgb48le")
    return frame.to_ndarray(format=name)


def frame_of(planes: Planes, coding: Coding, pixel_format: str) -> Any:
    """A frame with these planes; its format is the coding's, or another one with the same planes."""
    height, width = planes[0].shape
    frame = load_av().VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        _plane_of(plane, coding)[...] = values
    return frame
