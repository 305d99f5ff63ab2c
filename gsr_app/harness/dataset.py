"""Test pictures and clips in the folder layouts of the usual datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gsr_app.core.errors import ImageError
from gsr_app.core.types import Scale
from gsr_app.io.formats import by_number

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One reference picture of a dataset and, if given, its LR."""

    dataset: str
    name: str
    reference: Path
    lr: Path | None = None


def list_pictures(folder: Path, scale: Scale | float) -> list[Picture]:
    """The pictures of a dataset at a scale.

    Three layouts are supported: a folder of references, whose LR the protocol makes; folders `HR/` and `LR/`; and such
    a pair of folders per scale under `x2/`, `x3/`, ….
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder.", hint="Name a folder of reference pictures.")
    scale = Scale.of(scale)
    by_scale = folder / f"x{scale}"
    root = by_scale if by_scale.is_dir() else folder
    references = root / "HR" if (root / "HR").is_dir() else root
    lrs = root / "LR" if (root / "LR").is_dir() else None
    found = sorted(path for path in references.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        per_scale = sorted(path.name for path in folder.glob("x*") if path.is_dir())
        only = f" It has pairs for {', '.join(per_scale)} only." if per_scale else ""
        raise ImageError(
            f"{references} holds no pictures.{only}", hint=f"Known endings: {', '.join(sorted(SUFFIXES))}."
        )
    return [Picture(folder.name, path.stem, path, _matching_lr(path, lrs, scale)) for path in found]


def _matching_lr(reference: Path, lrs: Path | None, scale: Scale) -> Path | None:
    """The LR of a reference: the same name, with or without the scale at its end (0801.png, 0801x4.png)."""
    if lrs is None:
        return None
    for stem in (reference.stem, f"{reference.stem}x{scale}"):
        for path in sorted(lrs.iterdir()):
            if path.stem == stem and path.suffix.lower() in SUFFIXES:
                return path
    raise ImageError(f"{lrs} has no LR for {reference.name}.", hint="Every HR picture needs an LR of the same name.")


@dataclass(frozen=True, slots=True)
class Clip:
    """The reference frames of a clip, in order."""

    dataset: str
    name: str
    frames: tuple[Path, ...]


def list_clips(folder: Path) -> list[Clip]:
    """The clips of a dataset: folders of frames in the dataset's folder or in its `GT/`; or `CLIP/truth/` (UDM10)."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder.", hint="Name a folder with one folder of frames per clip.")
    root = folder / "GT" if (folder / "GT").is_dir() else folder
    clips: list[Clip] = []
    for clip in sorted(path for path in root.iterdir() if path.is_dir()):
        inside = clip / "truth" if (clip / "truth").is_dir() else clip
        found = (path for path in inside.iterdir() if path.suffix.lower() in SUFFIXES)
        frames = tuple(sorted(found, key=by_number))
        if frames:
            clips.append(Clip(folder.name, clip.name, frames))
    if not clips:
        raise ImageError(
            f"{root} holds no clips.", hint=f"A clip is a folder of frames: {', '.join(sorted(SUFFIXES))}."
        )
    return clips
