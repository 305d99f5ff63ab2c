"""Which output belongs to which input of a batch, and the outcome of each.

Outputs are written whole or not at all, so one that exists is finished, and a batch that was killed continues where it
stopped.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine.batch import Task, name_outputs


@dataclass(frozen=True)
class Outcome:
    task: Task
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    hint: str = ""


def plan(inputs: Sequence[str], out: Path, mark: str, readable: Iterable[str], suffix: str = "") -> list[Task]:
    """One task per image. `mark` ("swift_x4") goes into the names; `suffix` chooses the format of all outputs."""
    readable = {one.lower() for one in readable}
    found = _expand(inputs, out, readable)
    if len(found) == 1 and not os.path.isdir(inputs[0]) and out.suffix and not out.is_dir():
        return [Task(found[0][0], out)]
    if out.is_file() or (out.suffix.lower() in readable and not out.is_dir()):
        raise InvalidArgument(
            f"{out} names a file, and there are {len(found)} images to make.", hint="Give a folder with -o."
        )

    return name_outputs(found, out, mark, suffix)


def _expand(inputs: Sequence[str], out: Path, readable: set[str]) -> list[tuple[Path, Path]]:
    """(file, folder below the output) of every image that the inputs name, each once, in order."""
    found: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text).expanduser()
        if os.path.isdir(path):  # unlike Path.is_dir, False for a name that is too long
            for file, inside in _images_below(path, out, readable):
                found.setdefault(file, inside)
        elif not os.path.exists(path) and glob.has_magic(text):
            matches = sorted(glob.glob(os.path.expanduser(text), recursive=True))
            if not matches:
                raise InvalidArgument(f"Nothing matches {text}.")
            for match in map(Path, matches):
                if match.is_file():
                    found.setdefault(match, Path())
        else:
            found.setdefault(path, Path())  # a missing file is reported when its turn comes
    if not found:
        raise InvalidArgument(
            f"There is no image in {', '.join(inputs)}.", hint=f"Read: {', '.join(sorted(readable))}."
        )
    return list(found.items())


def _images_below(folder: Path, out: Path, readable: set[str]) -> Iterable[tuple[Path, Path]]:
    """The images of a folder and its subfolders, without hidden files and without our own output."""
    own = out.resolve()
    if own == folder.resolve():
        raise InvalidArgument(f"The output folder {out} is the input folder.", hint="Give another folder with -o.")
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and (Path(here) / one).resolve() != own)
        for one in sorted(names):
            if not one.startswith(".") and Path(one).suffix.lower() in readable:
                yield Path(here) / one, Path(here).relative_to(folder)
