"""The names of the outputs of a batch: of files on the command line, and of uploads in the app."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gsr_app.core.errors import InvalidArgument

_LOSSLESS = {".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class Task:
    source: Path
    target: Path


def mark_of(method: str, wanted: str, *, in_pixels: bool = False) -> str:
    """What the names of outputs say about how they were made: "swift_x4"."""
    size = wanted if in_pixels else f"x{wanted}"
    return f"{method}_{size}".replace(":", "-").replace("×", "x")


def name_outputs(sources: Sequence[tuple[Path, Path]], out: Path, mark: str, suffix: str = "") -> list[Task]:
    """One task per (file, folder below `out`). `mark` goes into the names; `suffix` chooses the format of all outputs,
    else lossless files keep theirs and others become PNG."""

    def name(source: Path, stem: str) -> str:
        kept = source.suffix.lower() if source.suffix.lower() in _LOSSLESS else ".png"
        return f"{stem}_{mark}{suffix or kept}"

    targets = [out / inside / name(source, source.stem) for source, inside in sources]
    clashes = {target for target, count in Counter(targets).items() if count > 1}
    for index, (source, inside) in enumerate(sources):
        if targets[index] in clashes:  # cat.jpg beside cat.png
            targets[index] = out / inside / name(source, source.name.replace(".", "_"))
    if len(set(targets)) < len(targets):
        twice = next(target for target, count in Counter(targets).items() if count > 1)
        raise InvalidArgument(f"Two inputs would both become {twice}.", hint="Upscale them into different folders.")
    return [Task(source, target) for (source, _), target in zip(sources, targets, strict=True)]
