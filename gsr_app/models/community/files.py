"""Where model files of other authors lie. Imports nothing that takes long."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core import settings
from gsr_app.core.folders import cache_folder

PREFIX = "file:"
SUFFIXES = (".pth", ".safetensors", ".pt")


def own_folder() -> Path:
    """Where files are kept that were added in the app."""
    return cache_folder() / "models"


def model_files() -> dict[str, Path]:
    """The files by method id: those of `GSR_MODELS_DIR` first, then those that were added in the app."""
    found: dict[str, Path] = {}
    for place in (*settings.model_places(), own_folder()):
        if place.is_dir():
            files = [path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
        else:
            files = [place] if place.is_file() else []
        for path in files:
            found.setdefault(PREFIX + path.stem, path)
    return found


def model_file(method_id: str) -> Path | None:
    """The file that a method is; None if it is none of another author."""
    return model_files().get(method_id) if method_id.startswith(PREFIX) else None


def is_added(method_id: str) -> bool:
    """Whether a method is a file that was added in the app."""
    path = model_file(method_id)
    return path is not None and path.parent == own_folder()


def remove_added(method_id: str) -> int:
    """Delete a file that was added in the app; returns its bytes. Files of `GSR_MODELS_DIR` are left alone."""
    if not is_added(method_id):
        return 0
    path = model_files()[method_id]
    size = path.stat().st_size
    path.unlink()
    return size


def use_file(path: Path) -> str:
    """Let this process and those that it starts use a file; returns its method id."""
    settings.add_model_file(path)
    return PREFIX + path.stem
