"""A resumable output: a folder next to the target collects finished parts, which survive a killed run.

`OUT.parts` holds `job.json` (the settings of its run) and the finished parts or pictures. A second run with the same
settings continues after them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gsr_app.core.atomic import locked
from gsr_app.core.errors import VideoError, printable
from gsr_app.io.video.gif import write_gif
from gsr_app.io.video.mux import Part, assemble
from gsr_app.io.video.reader import VideoInfo
from gsr_app.io.video.sequence import TIMES, count_times, write_times
from gsr_app.io.video.writer import PartWriter, Plan, write_picture

_FIRST_NUMBER = 1
Times = list[tuple[int, int]]


class ResumableOutput:
    """Takes pictures in order and writes the finished result. A context; it removes its folder if nothing was saved."""

    def __init__(self, target: Path, plan: Plan, info: VideoInfo, job: Mapping[str, Any], *, restart: bool) -> None:
        self.target = target
        self.plan = plan
        self.info = info
        self._place = _folder_of(target)
        self.folder = self._place.with_name(f"{self._place.name}.parts")
        self._job = json.loads(json.dumps(dict(job)))
        self._restart = restart
        self._parts: list[Part] = []
        self._writer: PartWriter | None = None
        self._pictures: Times = []
        self._held = ExitStack()

    # ---- opening and closing ------------------------------------------------------------------------------------

    def __enter__(self) -> ResumableOutput:
        name = printable(self.folder.name)
        try:
            self.folder.mkdir(parents=False, exist_ok=True)
        except OSError as error:
            raise VideoError(f"{name} cannot be made: {error.strerror}.", hint="Choose another place for -o.") from None
        try:
            self._held.enter_context(locked(self.folder / "lock", wait=False))
        except BlockingIOError:
            raise VideoError(f"Another run is working in {name}.", hint="Wait for it, or choose another -o.") from None
        try:
            self._check_job()
            self._find_finished()
        except BaseException:
            self._held.close()
            raise
        return self

    def _check_job(self) -> None:
        """Empty the folder, unless its content was made with the same settings; other content is an error."""
        note = self.folder / "job.json"
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before == self._job and not self._restart:
            return
        if before is not None and not self._restart:
            changed = sorted(key for key in {*before, *self._job} if before.get(key) != self._job.get(key))
            raise VideoError(
                f"{printable(self.folder.name)} holds the beginning of another run ({', '.join(changed)} differ).",
                hint="Run that command again to finish it, or start again with --restart.",
            )
        self._empty()
        note.write_text(json.dumps(self._job), encoding="utf-8")

    def _empty(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _find_finished(self) -> None:
        """Read what earlier runs have finished."""
        if self.plan.container == "frames":
            self._picture_folder.mkdir(exist_ok=True)
            self._pictures = _read_journal(self.folder / "times.txt")
            return
        while part := Part.find(self._part_path(len(self._parts))):
            self._parts.append(part)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            with suppress(VideoError):
                self._writer.abort()
            self._writer = None
        if self.times:
            self._held.close()
        else:
            self.clear()

    def check_pictures(self, sources: Sequence[Path], *, overwrite: bool) -> None:
        """Refuse pictures that would take the place of others, before any work; those of the input in any case."""
        folder = self._place
        if self.plan.container != "frames" or not folder.is_dir():
            return
        count = max(len(sources), count_times(folder))
        own = {TIMES, *(self._picture_name(_FIRST_NUMBER + number) for number in range(count))}
        if any(one.name in own and one.is_file() and one.parent.samefile(folder) for one in sources):
            raise VideoError(
                f"The pictures in {printable(folder.name)} are the input itself.", hint="Choose another folder."
            )
        clash = next((name for name in (self._picture_name(_FIRST_NUMBER), TIMES) if (folder / name).exists()), None)
        if clash is not None and not overwrite and not self.times:
            raise _there_already(folder, clash)

    # ---- adding pictures ----------------------------------------------------------------------------------------

    @property
    def times(self) -> Times:
        """(pts, duration) of every saved picture."""
        return [*self._pictures, *(time for part in self._parts for time in part.times)]

    @property
    def unsaved(self) -> int:
        """Pictures that a kill would lose."""
        return len(self._writer.times) if self._writer is not None else 0

    def append(self, pixels: np.ndarray, pts: int, duration: int) -> None:
        if self.plan.container == "frames":
            number = len(self._pictures) + _FIRST_NUMBER
            write_picture(self._picture_folder / self._picture_name(number), pixels, self.plan)
            with (self.folder / "times.txt").open("a", encoding="utf-8") as journal:
                journal.write(f"{pts} {duration}\n")
            self._pictures.append((pts, duration))
            return
        if self._writer is None:
            self._writer = PartWriter(self._part_path(len(self._parts)), self.plan)
        self._writer.append(pixels, pts, duration)

    def save(self) -> None:
        """Finish the current part: everything appended so far survives a kill."""
        if self._writer is None:
            return
        self._writer.close()
        part = Part(self._writer.path, tuple(self._writer.times))
        self._writer = None
        part.commit()
        self._parts.append(part)

    # ---- finishing ----------------------------------------------------------------------------------------------

    def finish(
        self,
        target: Path,
        *,
        tracks: Sequence[int],
        trimmed: bool,
        end_s: Fraction | None,
        overwrite: bool,
        comment: str,
    ) -> None:
        """Write everything that is saved as one result; the folder stays until `clear`."""
        self.save()
        times = self.times
        start = times[0][0] if trimmed else 0
        if self.plan.container == "frames":
            self._move_pictures(target, [(pts - start) * self.plan.time_base for pts, _ in times], overwrite)
        elif self.plan.container == "gif":
            write_gif(self._parts, target, self.plan, start=start, overwrite=overwrite)
        else:
            assemble(
                self._parts, target, self.plan, self.info,
                tracks=tracks, start=start, end_s=end_s, overwrite=overwrite, comment=comment,
            )  # fmt: skip

    def _move_pictures(self, target: Path, times: list[Fraction], overwrite: bool) -> None:
        folder = _folder_of(target)
        write_times(self._picture_folder, times)
        if not folder.exists():
            os.rename(self._picture_folder, folder)
            return
        clash = next((path.name for path in self._picture_folder.iterdir() if (folder / path.name).exists()), None)
        if clash is not None and not overwrite:
            raise _there_already(folder, clash)
        before = count_times(folder)
        for path in sorted(self._picture_folder.iterdir()):
            os.replace(path, folder / path.name)
        for number in range(len(times), before):  # the rest of a longer video would follow the end of this one
            (folder / self._picture_name(_FIRST_NUMBER + number)).unlink(missing_ok=True)

    def clear(self) -> None:
        """Release the lock and remove the folder."""
        self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- names --------------------------------------------------------------------------------------------------

    @property
    def _picture_folder(self) -> Path:
        return self.folder / "pictures"

    def _part_path(self, number: int) -> Path:
        return self.folder / f"{number:05}.mkv"

    def _picture_name(self, number: int) -> str:
        if "%" in self.target.name:
            return self.target.name % number
        return f"{number:06}{self.plan.suffix}"


def _folder_of(target: Path) -> Path:
    """Where the pictures go; of other results, the result itself."""
    return target.parent if "%" in target.name else target


def _there_already(folder: Path, name: str) -> VideoError:
    return VideoError(f"{printable(folder.name)} already has a {name}.", hint="Allow it with --overwrite.")


def _read_journal(path: Path) -> Times:
    times: Times = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) != 2 or not all(word.lstrip("-").isdigit() for word in words):
                break  # cut off by a kill
            times.append((int(words[0]), int(words[1])))
    return times
