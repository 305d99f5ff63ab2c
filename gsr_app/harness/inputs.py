"""Texts that a command is given."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core.errors import InvalidArgument


def read_text(path: Path) -> str:
    """A file of text. A device or a pipe may have no end; bytes that are not UTF-8 are replaced."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidArgument(f"{path} is a device, pipe or socket, not a file.", hint="Save the text to a file first.")
    return path.read_text(encoding="utf-8", errors="replace")
