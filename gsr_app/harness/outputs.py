"""Where a command's answer goes: looked at before the work, so that no work is lost; written whole or not at all."""

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
    """The name ends as it must, and its folder is there: a page never lands on a picture because of a slip."""
    if path.suffix.lower() != suffix:
        raise InvalidArgument(
            f"The output {path} must end in {suffix}.", hint=f"For example {path.with_suffix(suffix).name}."
        )
    if path.is_dir():
        raise InvalidArgument(f"The output {path} is a folder.", hint="Choose another name.")
    make_folder(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """A page or a figure; one that is there already is replaced by the finished new one."""
    from gsr_app.io.encode import replacing

    with replacing(path, overwrite=True) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
