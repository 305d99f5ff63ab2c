"""Finished parts become one file: packets are copied, sound and subtitles of the source beside them."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from gsr_app.core.atomic import replacing, write_whole
from gsr_app.core.errors import InvalidArgument, VideoError
from gsr_app.io.video.pyav import explaining, load_av, open_input
from gsr_app.io.video.reader import VideoInfo
from gsr_app.io.video.writer import Plan
from gsr_app.io.vips import printable

_KIND = {"audio": "sound", "subtitle": "subtitles"}


@dataclass(frozen=True)
class Part:
    """A finished stretch: a Matroska file, and beside it the exact times of its pictures, which Matroska rounds."""

    path: Path
    times: tuple[tuple[int, int], ...]  # (pts, duration), in units of the plan's time base, in order of time

    def commit(self) -> None:
        """From now on the part counts."""
        write_whole(self.path.with_suffix(".json"), json.dumps({"times": self.times}), error=VideoError)

    @classmethod
    def find(cls, path: Path) -> Part | None:
        """The part of a file, if it was finished."""
        try:
            times = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["times"]
            return cls(path, tuple((int(pts), int(duration)) for pts, duration in times)) if path.is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def check_tracks(info: VideoInfo, plan: Plan, suffix: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(the source's streams that are copied, what is to be said about the others); raises if sound would be lost."""
    if info.kind != "file" or not info.tracks:
        return (), ()
    if plan.container in {"frames", "gif"}:
        lost = sorted({_KIND[track.kind] for track in info.tracks})
        return (), (f"Pictures alone have no {' and no '.join(lost)}: left out.",)
    copied: list[int] = []
    notes: list[str] = []
    with load_av().open(os.devnull, "w", format=plan.container) as container:
        known = container.supported_codecs
    for track in info.tracks:
        if track.codec in known:
            copied.append(track.index)
        elif track.kind == "audio":
            raise InvalidArgument(
                f"A {suffix} file cannot hold the sound of {printable(info.path.name)} ({track.codec}) as it is.",
                hint="Write a .mkv file, which can, or leave the sound out with --no-audio.",
            )
        else:
            notes.append(f"A {suffix} file cannot hold these subtitles ({track.codec}): left out. A .mkv file can.")
    return tuple(copied), tuple(notes)


def assemble(
    parts: Sequence[Part],
    target: Path,
    plan: Plan,
    info: VideoInfo,
    *,
    tracks: Sequence[int] = (),
    start: int = 0,  # this time of the source becomes 0; 0 leaves all times as they are
    end_s: Fraction | None = None,  # sound from here on is left out
    overwrite: bool = False,
    comment: str = "",
) -> None:
    """Write the target; it appears when it is whole, or not at all."""
    av = load_av()
    name = printable(target.name)
    options = {"movflags": "+faststart"} if plan.container in {"mp4", "mov"} else {}
    with (
        replacing(target, overwrite=overwrite, error=VideoError) as temporary,
        explaining(f"{name} cannot be written", "Check the space and the permissions of its folder."),
        av.open(str(temporary), "w", format=plan.container, container_options=options) as output,
        av.open(str(parts[0].path)) as first,
    ):
        video = output.add_stream_from_template(first.streams.video[0], opaque=True)
        if plan.codec.tag and plan.container in {"mp4", "mov"}:
            video.codec_tag = plan.codec.tag
        video.time_base = plan.time_base
        flows: list[Iterable[tuple[Fraction, int, Any]]] = [_pictures(parts, video, plan, start)]
        source = None
        try:
            if tracks:
                source = open_input(str(info.path))
                copies = {index: output.add_stream_from_template(source.streams[index]) for index in tracks}
                for index, copy in copies.items():
                    copy.metadata.update(source.streams[index].metadata)
                    copy.metadata.pop("DURATION", None)
                flows.append(_beside(source, copies, start * info.time_base, end_s, trimmed=start != 0))
            _describe(output, info, comment)
            for _, _, packet in heapq.merge(*flows, key=lambda item: item[:2]):
                output.mux_one(packet)
        finally:
            if source is not None:
                source.close()


def _describe(output: Any, info: VideoInfo, comment: str) -> None:
    kept = {"title", "artist", "date", "creation_time", "description", "copyright", "location", "comment"}
    output.metadata.update({key: value for key, value in info.metadata.items() if key.lower() in kept})
    if comment:
        before = output.metadata.get("comment", "")
        output.metadata["comment"] = f"{before}; {comment}" if before else comment


def _pictures(
    parts: Sequence[Part], stream: Any, plan: Plan, start: int
) -> Generator[tuple[Fraction, int, Any], None, None]:
    """The packets of all parts, with the exact times of their pictures."""
    first = None
    stamps = DecodeTimes(plan.codec.reorders)
    for part in parts:
        with load_av().open(str(part.path)) as container:
            found = container.streams.video[0]
            extradata = found.codec_context.extradata
            if first is None:
                first = extradata
            if extradata != first:
                raise VideoError(
                    f"The parts of {printable(part.path.parent.name)} were encoded differently.",
                    hint="Another version has made some of them; remove the folder and run again.",
                )
            packets = [packet for packet in container.demux(found) if packet.size]
            order = sorted(range(len(packets)), key=lambda place: packets[place].pts)
            if len(order) != len(part.times):
                raise VideoError(
                    f"{printable(part.path.name)} holds {len(order)} pictures, not {len(part.times)}.",
                    hint="Remove the folder of parts and run again.",
                )
            exact = {place: part.times[rank] for rank, place in enumerate(order)}
            decoded = stamps.of([time for time, _ in part.times])
            for place, (packet, dts) in enumerate(zip(packets, decoded, strict=True)):
                time, duration = exact[place]
                packet.pts, packet.dts, packet.duration = time - start, dts - start, duration
                packet.time_base = plan.time_base
                packet.stream = stream
                yield (dts - start) * plan.time_base, 0, packet


class DecodeTimes:
    """When a decoder gets each packet: never after its picture is shown, always later than the packet before.

    Encoders give such times only within a part; at a join they may run backwards.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth  # by how many places an encoder may move a picture
        self._shown: list[int] = []  # the times of the last pictures, in order
        self._count = 0

    def of(self, times: Sequence[int]) -> list[int]:
        """Decode times for a part, from the times at which its pictures are shown, in order."""
        if not self._count:  # before the first picture, in small steps
            step = min((after - before for before, after in pairwise(times)), default=1)
            self._shown = [times[0] - step * (self._depth - place) for place in range(self._depth)]
        shown = [*self._shown, *times]
        self._count += len(times)
        self._shown = shown[len(shown) - self._depth :]
        return shown[: len(times)]


def _beside(
    source: Any, copies: dict[int, Any], start_s: Fraction, end_s: Fraction | None, *, trimmed: bool
) -> Generator[tuple[Fraction, int, Any], None, None]:
    """The packets of sound and subtitles, moved as far as the pictures are."""
    errors = load_av().error.FFmpegError
    last: dict[int, int] = {}
    packets = source.demux([source.streams[index] for index in copies])
    while True:
        try:
            packet = next(packets)
        except (StopIteration, errors):  # the rest of a cut file
            return
        if not packet.size or packet.is_corrupt or packet.pts is None:
            continue
        index, base = packet.stream_index, Fraction(packet.time_base)
        seconds = packet.pts * base
        if end_s is not None and seconds >= end_s:
            continue
        if trimmed and seconds < start_s:
            continue
        shift = round(start_s / base) if trimmed else 0
        dts = packet.dts if packet.dts is not None else packet.pts
        packet.pts, packet.dts = packet.pts - shift, dts - shift
        if index in last and packet.dts <= last[index]:
            continue
        last[index] = packet.dts
        packet.stream = copies[index]
        yield packet.dts * base, 1 + index, packet
