"""Files that are written whole or not at all, and one lock between processes."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from gsr_app.core.errors import GsrError, printable

_WAIT_S = 0.2  # how long a wait for a lock may hold up its being given up
# Short and independent of the output's name, which may already be as long as the file system allows.
_TEMPORARY = re.compile(r"\.gsr-(\d+)-[0-9a-f]+\..+")


@contextmanager
def replacing(path: Path, *, overwrite: bool = True, error: type[GsrError] = GsrError) -> Generator[Path, None, None]:
    """A temporary file beside `path` that replaces it when the block ends, and is removed when the block fails.

    Without `overwrite`, a file that another process has put there meanwhile is kept and is an error. What the system
    refuses (a full disk, a read-only folder) is raised as `error` with the name of the output.
    """
    target = Path(os.path.realpath(path))  # write through a link, not over it
    temporary = target.with_name(f".gsr-{os.getpid()}-{secrets.token_hex(4)}.part")
    name = printable(target.name)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        if overwrite or not _link(temporary, target):
            os.replace(temporary, target)
    except FileExistsError as problem:
        raise error(f"The output {name} appeared meanwhile.", hint="Choose another name.") from problem
    except OSError as problem:
        raise error(
            f"The output {name} cannot be written: {problem.strerror or problem}.",
            hint="Is the disk full? May the folder be written? Nothing was left behind.",
        ) from problem
    finally:
        with suppress(OSError):
            temporary.unlink()


def _link(temporary: Path, target: Path) -> bool:
    """Give the temporary file its final name. Unlike a rename, this fails when the target exists already."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        return False
    return True


def write_whole(path: Path, content: str | bytes, *, error: type[GsrError] = GsrError) -> None:
    """Write a text or bytes, and make the folder if need be; replaces a file that is there already.

    Text is UTF-8. What UTF-8 cannot hold, such as the odd bytes of a file name, is written as \\udc80 to \\udcff.
    """
    with suppress(OSError):  # the write itself says why
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, error=error) as temporary:
        temporary.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def remove_abandoned(folders: Iterable[Path]) -> int:
    """Remove the temporary files that killed processes left in these folders; returns how many."""
    count = 0
    for folder in set(folders):
        with suppress(OSError):
            for entry in os.scandir(folder):
                match = _TEMPORARY.fullmatch(entry.name)
                if match and not _is_alive(int(match[1])):
                    os.unlink(entry.path)
                    count += 1
    return count


def _is_alive(process_id: int) -> bool:
    if process_id == os.getpid() or os.name == "nt":  # on Windows signal 0 would end the process: keep the file
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


@contextmanager
def locked(path: Path, *, wait: bool = True, waiting: Callable[[], None] = lambda: None) -> Generator[None, None, None]:
    """Hold the lock of a lock file, made if need be, against other processes and threads.

    The system releases it when the process ends, however that happens. A lock that is held elsewhere is waited for,
    or raises BlockingIOError without `wait`. `waiting` is called again and again meanwhile, and may raise to give up.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_WAIT_S if wait else 0)
        except Timeout:
            if not wait:
                raise BlockingIOError(f"{path} is locked by another process") from None
            waiting()
        except NotImplementedError as problem:  # a file system without locks
            raise OSError(f"{path} cannot be locked: {problem}") from None
    try:
        yield
    finally:
        lock.release()
