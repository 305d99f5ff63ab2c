"""First pictures without a download: photographs that scikit-image carries, all free to use."""

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
    """Name -> file of scikit-image, for those that are here."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(found.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _NAMES.items() if (folder / file).is_file()}


def lay_out(folder: Path) -> dict[str, Path]:
    """Copies in a folder that the app may serve from, so that the package's own folder never is."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    laid: dict[str, Path] = {}
    for name, path in photographs().items():
        copy = folder / f"{name}{path.suffix}"
        if not copy.is_file() or copy.stat().st_size != path.stat().st_size:
            shutil.copyfile(path, copy)
        laid[name] = copy
    return laid
