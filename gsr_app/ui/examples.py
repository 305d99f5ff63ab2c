"""Example pictures: photographs of scikit-image, free to use."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from pathlib import Path

_NAMES = {
    "chelsea": "chelsea.png",
    "astronaut": "astronaut.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
}


@functools.cache
def photographs() -> dict[str, Path]:
    """Name -> file, of those that are installed."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(found.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _NAMES.items() if (folder / file).is_file()}


def copy_examples(folder: Path) -> dict[str, Path]:
    """Copy the photographs into a folder that the app may serve; the package's own folder is not served."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copied: dict[str, Path] = {}
    for name, path in photographs().items():
        copy = folder / f"{name}{path.suffix}"
        if not copy.is_file() or copy.stat().st_size != path.stat().st_size:
            shutil.copyfile(path, copy)
        copied[name] = copy
    return copied
