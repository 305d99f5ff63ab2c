"""Whether files have changed since they were looked at, without reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def state_of_files(paths: Iterable[Path]) -> str:
    """Changes when one of the files is written to or replaced. One that is missing is reported where it is read."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        digest.update(path.name.encode(errors="surrogateescape"))
        with suppress(OSError):
            about = path.stat()
            digest.update(b" %d %d;" % (about.st_size, about.st_mtime_ns))
    return digest.hexdigest()
