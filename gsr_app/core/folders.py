"""The folders of the app on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gsr_app.core import settings

ASSETS = Path(__file__).resolve().parents[2] / "assets"
"""What ships with the app: the default weights, examples, benchmark tables."""


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
