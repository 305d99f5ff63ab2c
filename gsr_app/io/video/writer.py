"""Plan how a video is stored, and encode one part of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core import pixels
from gsr_app.core.errors import InvalidArgument, UnknownName, VideoError
from gsr_app.io import images
from gsr_app.io.picture import NO_COLOR_TAGS, ColorTags
from gsr_app.io.video.color import BT709, BT2020, SRGB_TRANSFER, UNSPECIFIED, Coding, to_planes
from gsr_app.io.video.pyav import explaining, frame_of, load_av
from gsr_app.io.video.reader import VideoInfo

_X265_QUIET = "log-level=error"
# In narrower pictures x265's code for AVX2 writes beyond a buffer and ends the process. What is turned off distributes
# bits between parts of a picture by how long they are seen.
_X265_NARROW_PX, _X265_NARROW = 64, ":cutree=0"


@dataclass(frozen=True)
class Codec:
    """An encoder and its options."""

    id: str
    name: str
    encoder: str
    crf: int | None = None  # the default; None: the encoder has no CRF
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    lossless: Mapping[str, str] | None = None  # the options of --crf 0; None: not supported
    even: bool = False  # sides must be even along subsampled chroma
    tag: str = ""  # the codec tag that players expect in MP4 and QuickTime
    reorders: int = 0  # an upper bound of the places by which it may store a frame early


CODECS = {
    codec.id: codec
    for codec in (
        Codec("h264", "H.264", "libx264", 16, {"preset": "medium"}, {"qp": "0"}, even=True, reorders=4),
        Codec("h265", "H.265", "libx265", 18, {"preset": "medium", "x265-params": _X265_QUIET},
              {"x265-params": f"lossless=1:{_X265_QUIET}"}, even=True, reorders=4, tag="hvc1"),
        Codec("vp9", "VP9", "libvpx-vp9", 24, {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
              {"lossless": "1"}),
        Codec("av1", "AV1", "libsvtav1", 24, {"preset": "7", "svtav1-params": "film-grain=0"}),
        Codec("ffv1", "FFV1", "ffv1", None, {"level": "3", "slicecrc": "1"}, {}),
        Codec("prores", "ProRes", "prores_ks", None, {"profile": "3"}, even=True),
    )
}  # fmt: skip
_CONTAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".mp4": ("mp4", ("h264", "h265", "av1", "vp9")),
    ".m4v": ("mp4", ("h264", "h265")),
    ".mov": ("mov", ("h264", "h265", "prores")),
    ".mkv": ("matroska", ("h264", "h265", "vp9", "av1", "ffv1", "prores")),
    ".webm": ("webm", ("vp9", "av1")),
}
_FINER = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 2))


@dataclass(frozen=True)
class Plan:
    """How the result is stored."""

    container: str  # FFmpeg's name, or "frames" or "gif"
    codec: Codec
    coding: Coding
    crf: int | None
    size: tuple[int, int]  # (height, width) that each result is cropped to
    time_base: Fraction
    rate: Fraction | None
    pixel_aspect: Fraction | None = None
    alpha: bool = False
    suffix: str = ".png"  # of pictures
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()


def output_suffixes() -> tuple[str, ...]:
    return (*_CONTAINERS, ".gif")


def plan_output(
    info: VideoInfo,
    target: Path,
    size: tuple[int, int],
    *,
    codec: str | None = None,
    crf: int | None = None,
    may_crop: bool = True,  # by one row or column, if a codec needs even sizes
) -> Plan:
    """Everything about the result that does not depend on its pixels; raises before any work is done."""
    suffix = target.suffix.lower()
    if is_folder_of_pictures(target):
        if "%" in target.name and not re.fullmatch(r"[^%]*%0?\d?d[^%]*", target.name):
            raise InvalidArgument(f"{target.name!r} does not number its pictures.", hint="Write name%05d.png.")
        chosen = suffix if "%" in target.name else ".png"
        if chosen not in {".png", ".tif", ".tiff", ".webp"}:
            raise InvalidArgument(f"A sequence cannot be written as {chosen}.", hint="Use .png, .tif or .webp.")
        bits = 16 if info.coding.bits > 8 and chosen != ".webp" else 8
        source = info.coding
        coding = Coding("rgb", bits, (0, 0), True, 0, source.primaries, source.transfer)
        return Plan(
            "frames", CODECS["ffv1"], coding, None, size, info.time_base, info.rate, alpha=info.alpha, suffix=chosen
        )
    if suffix == ".gif":
        note = (
            ()
            if info.coding.model == "rgb"
            else ("GIF has at most 256 colours per frame; each frame has its own palette.",)
        )
        coding = Coding("rgb", 8, (0, 0), full_range=True, matrix=0)
        return Plan("gif", CODECS["ffv1"], coding, None, size, info.time_base, info.rate, alpha=info.alpha, notes=note)
    if suffix not in _CONTAINERS:
        raise InvalidArgument(
            f"The output {target.name!r} is not a video that can be written.",
            hint=f"Choose one of {', '.join(output_suffixes())}, or a folder for pictures.",
        )
    container, allowed = _CONTAINERS[suffix]
    found = _choose_codec(codec, suffix, allowed, info)
    if crf is not None:
        _check_crf(found, crf)
    coding, notes = _choose_coding(found, info, size)
    if info.alpha:
        notes.append("The video has no alpha: transparent parts were blended with black.")
    height, width = size
    step_y, step_x = (1 << shift if found.even else 1 for shift in coding.shift)
    kept = height - height % step_y, width - width % step_x
    if min(kept) < 1 or (kept != size and not may_crop):
        raise InvalidArgument(
            f"{found.name} holds even sizes only, not {width}x{height}.",
            hint=f"Ask for {width + width % step_x}x{height + height % step_y}, or use --codec vp9 or av1.",
        )
    if kept != size:
        notes.append(f"{found.name} holds even sizes only: {width}x{height} was cut to {kept[1]}x{kept[0]}.")
    return Plan(
        container,
        found,
        coding,
        found.crf if crf is None else crf,
        kept,
        info.time_base,
        info.rate,
        pixel_aspect=info.pixel_aspect,
        notes=tuple(notes),
    )


def is_folder_of_pictures(target: Path) -> bool:
    return "%" in target.name or not target.suffix or target.is_dir()


def _choose_codec(wanted: str | None, suffix: str, allowed: Sequence[str], info: VideoInfo) -> Codec:
    if wanted is None:
        deep = info.coding.bits > 8 and info.coding.model != "rgb"
        # More players support ten bits in H.265 than in H.264; libvpx is built for eight here.
        wanted = {False: allowed[0], True: next(one for one in ("h265", "av1", "prores") if one in allowed)}[deep]
    if wanted not in CODECS:
        raise UnknownName(wanted, CODECS, what="Codec", where="the list of codecs")
    if wanted not in allowed:
        raise InvalidArgument(
            f"A {suffix} file does not hold {CODECS[wanted].name} here.",
            hint=f"Choose one of {', '.join(allowed)}, or write a .mkv file.",
        )
    codec = CODECS[wanted]
    try:
        load_av().codec.Codec(codec.encoder, "w")
    except ValueError:
        raise VideoError(f"This build of PyAV cannot write {codec.name}.", hint="Choose another --codec.") from None
    return codec


def _check_crf(codec: Codec, crf: int) -> None:
    if codec.crf is None:
        raise InvalidArgument(f"{codec.name} has no --crf.", hint="Leave it out.")
    if not 0 <= crf <= 63:
        raise InvalidArgument(f"--crf must lie between 0 (lossless) and 63, found {crf}.")
    if crf == 0 and codec.lossless is None:
        raise InvalidArgument(f"{codec.name} cannot be written without loss here.", hint="Use h264, h265, vp9 or ffv1.")


def _choose_coding(codec: Codec, info: VideoInfo, size: tuple[int, int]) -> tuple[Coding, list[str]]:
    """The coding that the encoder supports and that is closest to the source: depth, chroma, range and matrix."""
    wanted = replace(info.coding, centred=False)  # what players assume of these codecs
    if wanted.model != "yuv" and codec.id != "ffv1":
        # RGB (pictures, GIF) and grey become 4:2:0, which every player supports.
        grey, bits = wanted.model == "grey", 8 if wanted.bits == 16 else wanted.bits
        primaries, transfer = wanted.primaries, wanted.transfer
        if not grey and (primaries, transfer) == (UNSPECIFIED, UNSPECIFIED):
            primaries, transfer = BT709, SRGB_TRANSFER
        matrix = BT2020 if primaries == BT2020 and not grey else BT709
        wanted = Coding("yuv", bits, (1, 1), wanted.full_range and grey, matrix, primaries, transfer)
    wanted = Coding.assumed(wanted, size[0]) if wanted.matrix == UNSPECIFIED else wanted
    if wanted.model == "rgb":
        return wanted, []
    formats = {one.name for one in load_av().codec.Codec(codec.encoder, "w").video_formats or ()}
    finer = [shift for shift in _FINER if all(a <= b for a, b in zip(shift, wanted.shift, strict=True))]
    shifts = [wanted.shift, *reversed(finer), (1, 1)] if wanted.model == "yuv" else [(0, 0)]
    depths = [wanted.bits, *(b for b in (9, 10, 12, 14, 16) if b > wanted.bits), 14, 12, 10, 8]
    for bits in depths:
        for shift in shifts:
            coding = replace(wanted, bits=bits, shift=shift)
            if coding.pixel_format in formats:
                lost = bits < info.coding.bits and info.coding.model != "rgb"
                note = [
                    f"{codec.name} is written with {bits} bits here: the lowest {info.coding.bits - bits} are lost."
                ]
                return coding, note if lost else []
    raise VideoError(f"{codec.name} cannot hold {wanted.pixel_format}.", hint="Choose another --codec.")


class PartWriter:
    """Encodes one part of the result into a Matroska file; `close` finishes the file."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self.times: list[tuple[int, int]] = []  # (pts, duration) of each picture, in units of the plan's time base
        self._container: Any = None
        self._stream: Any = None
        self._stored = 0

    def append(self, array: np.ndarray, pts: int, duration: int) -> None:
        """One frame of at least the plan's size; it is cropped at the right and at the bottom."""
        plan = self.plan
        height, width = plan.size
        shown = array[:height, :width]
        if shown.shape[:2] != plan.size:
            raise VideoError(f"Expected a picture of {width}x{height}, found {shown.shape[1]}x{shown.shape[0]}.")
        if self._container is None:
            self._open()
        self.times.append((pts, duration))
        frame = _frame_of(shown, plan)
        frame.pts, frame.time_base = pts, plan.time_base
        with explaining(f"{plan.codec.name} cannot be written"):
            self._store(self._stream.encode(frame))

    def close(self) -> None:
        if self._container is None:
            return
        with explaining(f"{self.plan.codec.name} cannot be written"):
            self._store(self._stream.encode(None))
            self._container.close()
        self._container = None

    def _store(self, packets: list[Any]) -> None:
        for packet in packets:
            # Some encoders give invalid decode times to the last frames of a short part. Only their order matters here:
            # the exact times are set when the parts are joined.
            packet.dts = self.times[0][0] - self.plan.codec.reorders + self._stored
            self._stored += 1
            self._container.mux_one(packet)

    def abort(self) -> None:
        """Close the file without finishing it."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> None:
        plan, codec = self.plan, self.plan.codec
        options = dict(codec.options)
        if plan.crf == 0 and codec.lossless is not None:
            options.update(codec.lossless)
        elif plan.crf is not None:
            options["crf"] = str(plan.crf)
        options.update(plan.options)
        if "x265-params" in options and plan.size[1] < _X265_NARROW_PX:
            options["x265-params"] += _X265_NARROW
        with explaining(f"{codec.name} cannot be written", "Choose another --codec or container."):
            self._container = load_av().open(str(self.path), "w", format="matroska")
            rate = plan.rate or Fraction(25)
            stream = self._container.add_stream(codec.encoder, rate=rate, options=options)
            stream.height, stream.width = plan.size
            context = stream.codec_context
            context.pix_fmt = _stored_format(plan)
            context.time_base = plan.time_base
            if plan.coding.model != "rgb":
                context.color_range = 2 if plan.coding.full_range else 1
                context.colorspace = plan.coding.matrix
                context.color_primaries = plan.coding.primaries
                context.color_trc = plan.coding.transfer
            if plan.pixel_aspect:
                context.sample_aspect_ratio = plan.pixel_aspect
            self._stream = stream


def _stored_format(plan: Plan) -> str:
    if plan.coding.model == "rgb":
        return {(8, False): "bgr0", (8, True): "bgra", (16, False): "rgb48le", (16, True): "rgba64le"}[
            plan.coding.bits, plan.alpha
        ]
    return plan.coding.pixel_format


def _frame_of(array: np.ndarray, plan: Plan) -> Any:
    if plan.coding.model == "rgb":
        channels = 4 if pixels.has_alpha(array) else 3
        array = pixels.convert(in_depth(array, plan.coding.bits), channels=channels)
        name = {(8, 3): "rgb24", (8, 4): "rgba", (16, 3): "rgb48le", (16, 4): "rgba64le"}[plan.coding.bits, channels]
        frame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(array), format=name)
        stored = _stored_format(plan)
        return frame if stored == name else frame.reformat(format=stored)
    if pixels.has_alpha(array):
        array = pixels.convert(array, np.float32, 3, background=0.0)
    return frame_of(to_planes(array, plan.coding), plan.coding, plan.coding.pixel_format)


def in_depth(array: np.ndarray, bits: int) -> np.ndarray:
    """The picture as uint8 or uint16."""
    return pixels.convert(array, np.uint8 if bits == 8 else np.uint16)


def write_picture(path: Path, array: np.ndarray, plan: Plan) -> None:
    """One picture of a sequence."""
    height, width = plan.size
    stored = in_depth(array[:height, :width], plan.coding.bits)
    coding = plan.coding
    color = ColorTags(cicp=(coding.primaries, coding.transfer, True)) if coding.is_unusual else NO_COLOR_TAGS
    images.write_image(path, images.Picture(stored, images.Metadata(color=color)), overwrite=True)
