"""What can be read as a file."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core.errors import GsrError


def check_has_end(path: Path, name: str, what: str, kind: type[GsrError]) -> None:
    """Raise for a device, pipe or socket: to read one may never end. What is not there is told where it is read."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise kind(f"{name} is a device, pipe or socket, not a file.", hint=f"Save the {what} to a file first.")
