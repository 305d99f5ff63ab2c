"""Checks of a command's output path, made before the work so that no work is lost."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core.errors import GsrError, InvalidArgument


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if folder.is_file() else error.strerror
        raise GsrError(f"Cannot make the folder {folder}: {why}.", hint="Choose another.") from None


def check_output(path: Path, suffix: str) -> None:
    """Check the suffix, so that a mistyped name never overwrites another kind of file, and make the folder."""
    if path.suffix.lower() != suffix:
        raise InvalidArgument(
            f"The output {path} must end in {suffix}.", hint=f"For example {path.with_suffix(suffix).name}."
        )
    if path.is_dir():
        raise InvalidArgument(f"The output {path} is a folder.", hint="Choose another name.")
    make_folder(path.parent)


def check_ours(path: Path, mark: str) -> None:
    """Raise where a file is there that does not hold what this program writes into its own of that name."""
    if path.exists() and mark not in path.read_text(encoding="utf-8", errors="replace"):
        raise InvalidArgument(
            f"{path} is there already, and this program did not write it.", hint="Choose another folder, or move it."
        )
