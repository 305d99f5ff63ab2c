"""Results that were made elsewhere: their names, and which picture each belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.io.formats import readable_suffixes
from gsr_app.viewer.sink import safe_stem

PREFIX = "result-"  # of the ids of their panes
_LONGEST_NAME = 40
_REFERENCES = {"reference", "gt", "hr"}
_SCALE = re.compile(r"(?:^|(?<=[\s_.-]))x\d+(?:\.\d+)?(?=$|[\s_.-])")  # x4 between separators


@dataclass(frozen=True)
class ForeignResult:
    """A picture that another program made of a source picture."""

    name: str
    path: Path
    number: int = 0  # of the result beside the others, for its colour

    @property
    def id(self) -> str:
        """The pane's id, which no method has."""
        return f"{PREFIX}{self.number}-{safe_stem(self.name)}"


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
    return number_results(named)


def number_results(named: Sequence[tuple[str, Path]]) -> list[ForeignResult]:
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
    longer = [path for path in files if _continues(path.stem, image.stem)]
    found = same or longer
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        what = f"several results for {image.name}: {names}" if found else f"no result for {image.name}"
        raise InvalidArgument(f"{folder} holds {what}.", hint="A result has the stem of its picture.")
    return found[0]


def _continues(stem: str, picture: str) -> bool:
    return re.match(re.escape(picture) + r"(?:x\d|[^0-9A-Za-z])", stem) is not None


def belongs_to(stem: str, pictures: Sequence[str]) -> str | None:
    """The picture's stem that a result's stem repeats or continues; the longest of several."""
    fitting = [picture for picture in pictures if stem == picture or _continues(stem, picture)]
    return max(fitting, key=len, default=None)


def name_result(stem: str, pictures: Sequence[str]) -> str:
    """The name of a result from its file's: what follows the picture's stem and the scale, else the stem itself.

    For a picture cat: cat_x4_SwinIR and catx4-SwinIR are "SwinIR".
    """
    picture = belongs_to(stem, pictures)
    rest = stem[len(picture) :] if picture else stem
    return (_SCALE.sub("", rest).strip(" _.-") or stem)[:_LONGEST_NAME]


@dataclass(frozen=True)
class Assigned:
    """What belongs to one picture."""

    results: tuple[ForeignResult, ...] = ()
    reference: Path | None = None


def assign_results(files: Sequence[tuple[Path, str]], pictures: Sequence[Path]) -> list[Assigned]:
    """What belongs to each picture, of files with names (empty: named by the file). Without pictures there is one.

    Of several pictures, each file belongs to the one whose stem it repeats or continues. A file named reference, GT or
    HR is the reference. Results of one name have one number, and so one colour, for all pictures.
    """
    stems = [picture.stem for picture in pictures]
    named = [(path, name or name_result(path.stem, stems)) for path, name in files]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in named))}
    found = [Assigned() for _ in pictures or [None]]
    for path, name in named:
        place = _place(path, stems)
        before = found[place]
        is_reference = name.lower() in _REFERENCES
        if any(other.name == name for other in before.results) or (is_reference and before.reference):
            raise InvalidArgument(f"Two results have the name {name!r}.", hint="Give each a name of its own.")
        if is_reference:
            found[place] = replace(before, reference=path)
        else:
            result = ForeignResult(name, path, numbers[name])
            found[place] = replace(before, results=(*before.results, result))
    return found


def _place(path: Path, stems: Sequence[str]) -> int:
    """Which of several pictures a file belongs to."""
    if len(stems) < 2:
        return 0
    stem = belongs_to(path.stem, stems)
    if stem is None:
        raise InvalidArgument(
            f"{path.name} belongs to none of the pictures.",
            hint="The name of a result's file begins with that of its picture: cat_SwinIR.png for cat.png.",
        )
    return stems.index(stem)
