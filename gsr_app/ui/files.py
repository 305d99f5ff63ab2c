"""Files that the browser fetches. Their names cannot be guessed, and they are removed after a while."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterable
from pathlib import Path

KEEP_S = 3600.0  # how long results are kept
KEEP_OWN_S = 24 * 3600.0  # the same where only the owner can connect, who may come back to the page
_SWEEP_EVERY_S = 60.0


class Files:
    """A folder of results. A file can be read by its name alone, so names are random."""

    def __init__(self, root: Path, *, keep_s: float = KEEP_S, most_bytes: int = 4 << 30) -> None:
        self.root = root
        self.keep_s = keep_s
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._swept = -_SWEEP_EVERY_S
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def new(self, suffix: str, stem: str = "") -> Path:
        """A path that does not exist yet, in a folder of its own so that `stem` may be a readable name."""
        self.sweep()
        folder = self.root / secrets.token_urlsafe(18)
        folder.mkdir(mode=0o700)
        return folder / f"{stem or 'file'}{suffix}"

    def put(self, data: bytes, suffix: str, stem: str = "") -> Path:
        path = self.new(suffix, stem)
        path.write_bytes(data)
        return path

    def sweep(self, *, now: float | None = None) -> None:
        """Remove what is older than `keep_s`, and the oldest while there is too much.

        The clock of the system may be set back: then files come from the future, and their age counts from now on.
        """
        with self._lock:
            if now is None and time.monotonic() - self._swept < _SWEEP_EVERY_S:
                return
            self._swept = time.monotonic()
            moment = time.time() if now is None else now
            found: list[tuple[float, Path, int]] = []
            for folder in os.listdir(self.root):
                with contextlib.suppress(OSError):  # removed meanwhile by another thread or app, or a file
                    entries = list(os.scandir(self.root / folder))
                    if not entries and moment - os.stat(self.root / folder).st_mtime > self.keep_s:
                        (self.root / folder).rmdir()  # its run was stopped
                    for entry in entries:
                        about = entry.stat(follow_symlinks=False)
                        if not stat.S_ISREG(about.st_mode):
                            continue
                        if about.st_mtime > moment + _SWEEP_EVERY_S:
                            os.utime(entry.path, (moment, moment))
                        found.append((min(about.st_mtime, moment), Path(entry.path), about.st_size))
            total = sum(size for _, _, size in found)
            for changed, path, size in sorted(found):
                if moment - changed <= self.keep_s and total <= self.most_bytes:
                    break
                total -= size
                with contextlib.suppress(OSError):  # not empty
                    path.unlink(missing_ok=True)
                    path.parent.rmdir()


def renew(uploads: Iterable[Path]) -> None:
    """Files that visitors have sent are needed still. Gradio removes them two hours after their state last changed,
    or two days where only the owner can connect.

    The time of their content stays: what is reading a file would otherwise find that it has changed.
    """
    for path in uploads:
        with contextlib.suppress(OSError):
            about = path.stat()
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def url_of(path: Path) -> str:
    """The address of a file, relative to the page, so that it works behind any proxy and at any mount point."""
    from urllib.parse import quote

    return f"gradio_api/file={quote(path.as_posix())}"


def path_of(url: str) -> Path:
    """The file of an address that `url_of` made."""
    from urllib.parse import unquote

    return Path(unquote(url.removeprefix("gradio_api/file=")))
