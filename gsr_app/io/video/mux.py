"""Join finished parts to one file: packets are copied, with the sound and subtitles of the source."""

from __future__ import annotations

import heapq
import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from gsr_app.core.atomic import replacing, write_whole
from gsr_app.core.errors import InvalidArgument, VideoError, printable
from gsr_app.io.video.pyav import explaining, load_av, open_input
from gsr_app.io.video.reader import Track, VideoInfo
from gsr_app.io.video.writer import Plan

_KIND = {"audio": "sound", "subtitle": "subtitles"}
_TRIAL_PACKETS = 8  # an MP4 file with E-AC-3 needs more than one


@dataclass(frozen=True)
class Part:
    """A finished part: a Matroska file, and a JSON file with the exact times of its frames, which Matroska rounds."""

    path: Path
    times: tuple[tuple[int, int], ...]  # (pts, duration), in units of the plan's time base, increasing

    def commit(self) -> None:
        """Write the JSON file: only now does the part count as finished."""
        write_whole(self.path.with_suffix(".json"), json.dumps({"times": self.times}), error=VideoError)

    @classmethod
    def find(cls, path: Path) -> Part | None:
        """The part in a file, if it was finished."""
        try:
            times = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["times"]
            return cls(path, tuple((int(pts), int(duration)) for pts, duration in times)) if path.is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def check_tracks(info: VideoInfo, plan: Plan, suffix: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(indices of the source's streams that are copied, notes about the others); raises if sound would be lost."""
    if info.kind != "file" or not info.tracks:
        return (), ()
    if plan.container in {"frames", "gif"}:
        lost = sorted({_KIND[track.kind] for track in info.tracks})
        return (), (f"Pictures alone have no {' and no '.join(lost)}: left out.",)
    copied: list[int] = []
    notes: list[str] = []
    for track in info.tracks:
        if _can_hold(plan.container, info.path, track):
            copied.append(track.index)
            if track.codec.startswith("mp2") and plan.container in {"mp4", "mov"}:
                notes.append(f"A {suffix} file calls MP2 sound MP3, which some players refuse. A .mkv file does not.")
        elif track.kind == "audio":
            raise InvalidArgument(
                f"A {suffix} file cannot hold the sound of {printable(info.path.name)} ({track.codec}) as it is.",
                hint="Write a .mkv file, which can, or leave the sound out with --no-audio.",
            )
        else:
            notes.append(f"A {suffix} file cannot hold these subtitles ({track.codec}): left out. A .mkv file can.")
    return tuple(copied), tuple(notes)


def _can_hold(container: str, source: Path, track: Track) -> bool:
    """Whether a file with the beginning of this stream can be written: containers list codecs that they then refuse."""
    av = load_av()
    try:
        with open_input(str(source)) as opened, av.open(BytesIO(), "w", format=container) as output:
            if track.codec not in output.supported_codecs:
                return False
            stream = opened.streams[track.index]
            copy = output.add_stream_from_template(stream)
            output.start_encoding()
            packets: list[Any] = []
            if track.kind == "audio":  # some is refused at the end of the file; subtitles may begin too late to try
                with suppress(av.error.FFmpegError):  # the source ends early
                    packets.extend(islice(opened.demux(stream), _TRIAL_PACKETS))
            for packet in packets:
                if packet.size and not packet.is_corrupt and packet.pts is not None:
                    packet.stream = copy
                    output.mux_one(packet)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def assemble(
    parts: Sequence[Part],
    target: Path,
    plan: Plan,
    info: VideoInfo,
    *,
    tracks: Sequence[int] = (),
    start: int = 0,  # this time of the source becomes 0; with 0 all times stay as they are
    end_s: Fraction | None = None,  # sound after it is left out
    overwrite: bool = False,
    comment: str = "",
) -> None:
    """Write the target; it appears only when it is complete."""
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
        streams: list[Iterable[tuple[Fraction, int, Any]]] = [_video_packets(parts, video, plan, start)]
        source = None
        try:
            if tracks:
                source = open_input(str(info.path))
                copies = {index: output.add_stream_from_template(source.streams[index]) for index in tracks}
                for index, copy in copies.items():
                    copy.metadata.update(source.streams[index].metadata)
                    copy.metadata.pop("DURATION", None)
                    copy.disposition = source.streams[index].disposition
                streams.append(_other_packets(source, copies, start * info.time_base, end_s, trimmed=start != 0))
            _write_metadata(output, info, comment)
            for _, _, packet in heapq.merge(*streams, key=lambda item: item[:2]):
                output.mux_one(packet)
        finally:
            if source is not None:
                source.close()


def _write_metadata(output: Any, info: VideoInfo, comment: str) -> None:
    kept = {"title", "artist", "date", "creation_time", "description", "copyright", "location", "comment"}
    output.metadata.update({key: value for key, value in info.metadata.items() if key.lower() in kept})
    if comment:
        before = output.metadata.get("comment", "")
        output.metadata["comment"] = f"{before}; {comment}" if before else comment


def _video_packets(
    parts: Sequence[Part], stream: Any, plan: Plan, start: int
) -> Generator[tuple[Fraction, int, Any], None, None]:
    """The packets of all parts, with the exact times of their frames."""
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
                    f"The parts of {printable(part.path.parent.name)} have different encoder settings.",
                    hint="Another version made some of them; remove the folder and run again.",
                )
            packets = [packet for packet in container.demux(found) if packet.size]
            order = sorted(range(len(packets)), key=lambda place: packets[place].pts)
            if len(order) != len(part.times):
                raise VideoError(
                    f"{printable(part.path.name)} has {len(order)} frames, not {len(part.times)}.",
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
    """Decode times of packets: increasing, and never later than the presentation time.

    The times of the encoders are correct only within a part; where parts join they may decrease.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth  # by how many places an encoder may reorder a frame
        self._shown: list[int] = []  # the presentation times of the last frames, in order
        self._count = 0

    def of(self, times: Sequence[int]) -> list[int]:
        """Decode times for a part, from its presentation times in order."""
        if not self._count:  # extrapolated before the first frame
            step = min((after - before for before, after in pairwise(times)), default=1)
            self._shown = [times[0] - step * (self._depth - place) for place in range(self._depth)]
        shown = [*self._shown, *times]
        self._count += len(times)
        self._shown = shown[len(shown) - self._depth :]
        return shown[: len(times)]


def _other_packets(
    source: Any, copies: dict[int, Any], start_s: Fraction, end_s: Fraction | None, *, trimmed: bool
) -> Generator[tuple[Fraction, int, Any], None, None]:
    """The packets of sound and subtitles, shifted by as much as the frames."""
    errors = load_av().error.FFmpegError
    last: dict[int, int] = {}
    packets = source.demux([source.streams[index] for index in copies])
    while True:
        try:
            packet = next(packets)
        except (StopIteration, errors):  # the file ends early
            return
        if not packet.size or packet.is_corrupt or packet.pts is None:
            continue
        index, base = packet.stream_index, Fraction(packet.time_base)
        seconds = packet.pts * base
        if end_s is not None and seconds >= end_s:
            continue
        shift = round(start_s / base) if trimmed else 0
        dts = packet.dts if packet.dts is not None else packet.pts
        if trimmed and seconds < start_s:
            left = packet.pts + (packet.duration or 0) - shift
            if left <= 0 or packet.stream.type != "subtitle":
                continue
            packet.pts, packet.duration, dts = shift, left, shift  # a subtitle that still shows at the start
        packet.pts, packet.dts = packet.pts - shift, dts - shift
        if index in last and packet.dts <= last[index] - (packet.stream.type == "subtitle"):  # two may begin together
            continue
        last[index] = packet.dts
        packet.stream = copies[index]
        yield packet.dts * base, 1 + index, packet
