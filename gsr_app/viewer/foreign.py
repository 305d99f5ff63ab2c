"""Results that were made elsewhere, as panes beside those of methods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gsr_app.core.errors import InvalidArgument
from gsr_app.io.formats import readable_suffixes
from gsr_app.io.images import read_image
from gsr_app.viewer.comparison import CompareJob, measure_result
from gsr_app.viewer.contract import PaneSpec
from gsr_app.viewer.panes import picture_pane
from gsr_app.viewer.sink import Sink, safe_stem

COLOURS = ("#7d9bc1", "#c17d9b", "#9bc17d", "#c1a77d", "#7dc1b4", "#a57dc1")


@dataclass(frozen=True)
class ForeignResult:
    """A picture that another program made of a source picture."""

    name: str
    path: Path
    number: int = 0  # of the result beside the others, for its colour

    @property
    def id(self) -> str:
        """The pane's id, which no method has."""
        return f"result-{self.number}-{safe_stem(self.name)}"


def read_names(words: Sequence[str], option: str) -> list[tuple[str, Path]]:
    """Parse NAME=PATH."""
    found: list[tuple[str, Path]] = []
    for word in words:
        name, sign, path = word.partition("=")
        if not (sign and name.strip() and path.strip()):
            raise InvalidArgument(f"Cannot read {option} {word!r}.", hint=f"Write {option} NAME=PATH.")
        if name.strip() in dict(found):
            raise InvalidArgument(f"Two results have the name {name.strip()!r}.", hint="Give each a name of its own.")
        found.append((name.strip(), Path(path.strip()).expanduser()))
    return found


def find_results(image: Path, files: Sequence[str], folders: Sequence[str], pictures: int) -> list[ForeignResult]:
    """The results for a picture: the files given, and from each folder the one of the picture's stem."""
    single = read_names(files, "--result")
    if single and pictures > 1:
        raise InvalidArgument(
            f"--result belongs to one picture, found {pictures}.", hint="Give folders: --results NAME=DIR."
        )
    named = single + [(name, match_stem(image, folder)) for name, folder in read_names(folders, "--results")]
    if len({name for name, _ in named}) < len(named):
        raise InvalidArgument("Two results have the same name.", hint="Give each a name of its own.")
    return [ForeignResult(name, path, number) for number, (name, path) in enumerate(named)]


def match_stem(image: Path, folder: Path) -> Path:
    """The result of a picture in a folder: of the same stem, or of one that continues it (cat_x4.png, catx4.png)."""
    if not folder.is_dir():
        raise InvalidArgument(f"{folder} is not a folder.", hint="Name a folder of results: --results NAME=DIR.")
    known = readable_suffixes()
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in known]
    same = [path for path in files if path.stem == image.stem]
    longer = [path for path in files if re.match(re.escape(image.stem) + r"(?:x\d|[^0-9A-Za-z])", path.stem)]
    found = same or longer
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        what = f"several results for {image.name}: {names}" if found else f"no result for {image.name}"
        raise InvalidArgument(f"{folder} holds {what}.", hint="A result has the stem of its picture.")
    return found[0]


def foreign_pane(job: CompareJob, result: ForeignResult, sink: Sink) -> PaneSpec:
    """The pane of a result. One of another size but the same shape is shown over the others; its scores are those of
    the picture resized to the size of the reference, and a warning says so."""
    picture = read_image(result.path)
    height, width = picture.size
    expected = job.output_size
    warnings: tuple[str, ...] = ()
    pixels: NDArray[Any] = picture.pixels
    if (height, width) != expected:
        if not _has_shape(height, width, expected):
            raise InvalidArgument(
                f"{result.path.name} is {width}×{height}; the results here are {expected[1]}×{expected[0]}, "
                f"which is another shape.",
                hint="Choose the scale that it was made at, or crop it alike.",
            )
        scale = f"×{width / job.source.size[1]:.3g}"
        scored = f", scored after a bicubic resize to {expected[1]}×{expected[0]}" if job.scoring else ""
        warnings = (f"{result.name}: made at {width}×{height} ({scale}){scored}",)
    metrics = None
    if job.scoring is not None:
        metrics = measure_result(job.scoring, _resized(pixels, expected))
    stored = sink.put_result(result.id, pixels, picture, f"{safe_stem(job.name)}_{safe_stem(result.name)}")
    pane = picture_pane(
        pixels, stored.url, (float(job.source.size[0]), float(job.source.size[1])), id=result.id, name=result.name,
        colour=COLOURS[result.number % len(COLOURS)],
    )  # fmt: skip
    return replace(
        pane, download_url=stored.download_url, download_name=stored.download_name, metrics=metrics,
        elsewhere=True, done=f"made elsewhere: {result.path.name}", licence="not stated", warnings=warnings,
    )  # fmt: skip


def _has_shape(height: int, width: int, expected: tuple[int, int]) -> bool:
    """Whether a picture has the aspect of another, but for the rounding of its sides to whole pixels."""
    return abs(height * expected[1] / expected[0] - width) <= max(1.0, expected[1] / expected[0]) + 1e-6


def _resized(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if pixels.shape[:2] == size:
        return pixels
    from gsr_app.engine.planes import resize_picture  # it imports torch

    return resize_picture(pixels, size)
