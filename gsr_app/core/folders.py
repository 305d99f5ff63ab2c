"""The folders of the app on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gsr_app.core import settings

_PACKAGE = Path(__file__).resolve().parents[1]

CHECKOUT = None if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
"""The root of the repository if the app runs from it; None for an installed wheel."""

_ROOT = CHECKOUT or _PACKAGE  # a wheel has these folders inside the package

ASSETS = _ROOT / "assets"
"""The weights that ship with the app, and their model cards."""

KERNELS = _ROOT / "ext"
"""The sources and flags of the native drawing code."""


def cache_folder() -> Path:
    """`GSR_CACHE`, or the platform's cache folder. It may not exist yet."""
    if chosen := settings.cache_folder():
        return chosen
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "gsr"
