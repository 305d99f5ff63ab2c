"""Texts that a command is given."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.reading import check_has_end


def read_text(path: Path) -> str:
    """A file of text. A device or a pipe may have no end; bytes that are not UTF-8 are replaced."""
    check_has_end(path, str(path), "text", InvalidArgument)
    return path.read_text(encoding="utf-8", errors="replace")
