"""Files that the browser fetches: unguessable names, removed after a while."""

from __future__ import annotations

import contextlib
import secrets
import stat
import threading
import time
from pathlib import Path

_LOOK_EVERY_S = 60.0


class Files:
    """A folder of results. A name is a capability: who has it may read the file, and nobody can guess it."""

    def __init__(self, root: Path, *, keep_s: float = 3600.0, most_bytes: int = 4 << 30) -> None:
        self.root = root
        self.keep_s = keep_s
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._looked = 0.0
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
        """Remove what is older than `keep_s`, and the oldest while there is too much."""
        with self._lock:
            moment = time.time() if now is None else now
            if now is None and moment - self._looked < _LOOK_EVERY_S:
                return
            self._looked = moment
            found: list[tuple[float, Path, int]] = []
            for path in self.root.glob("*/*"):
                with contextlib.suppress(OSError):  # gone meanwhile: others remove files, too
                    about = path.stat()
                    if stat.S_ISREG(about.st_mode):
                        found.append((about.st_mtime, path, about.st_size))
            total = sum(size for _, _, size in found)
            for changed, path, size in sorted(found):
                if moment - changed <= self.keep_s and total <= self.most_bytes:
                    break
                total -= size
                with contextlib.suppress(OSError):  # or another file lives there
                    path.unlink(missing_ok=True)
                    path.parent.rmdir()


def url_of(path: Path) -> str:
    """Where the page finds a file: relative, so that any proxy and any mount point will do."""
    from urllib.parse import quote

    return f"gradio_api/file={quote(path.as_posix())}"


def path_of(url: str) -> Path:
    """The file behind one of our own addresses."""
    from urllib.parse import unquote

    return Path(unquote(url.removeprefix("gradio_api/file=")))
