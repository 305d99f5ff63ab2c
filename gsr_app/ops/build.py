"""The CPU kernels' library: found prebuilt or in the cache, or built by one compiler call at first use.

Loading a library that was written in part can end the process without a message. So its size and hash lie beside it in
the cache and are checked before it is loaded; where they do not fit, it is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

from gsr_app.core.atomic import locked, replacing, write_whole
from gsr_app.core.errors import BackendError
from gsr_app.core.folders import KERNELS, cache_folder

_LOG = logging.getLogger("gsr_app")
_COMPILE_LIMIT_S = 300


def cpu_library(*, retry: bool = False) -> Path:
    """The library of the CPU kernels for this machine, built if there is none. A failed build is recorded on disk.

    retry: try again where an earlier attempt with the same sources and compiler failed.
    """
    if ready := find_cpu_library():
        return ready
    flags, compiler = load_flags(), _find_compiler()
    library = _built_library(flags, compiler)
    folder = library.parent
    failure = library.with_suffix(".failed")
    with _locked(folder):
        if _is_whole(library):  # another process has built it meanwhile
            return library
        if failure.exists() and not retry:
            raise BackendError(
                f"an earlier build failed: {failure.read_text()}", hint=f"Delete {failure} to try again."
            )
        _LOG.warning("Building the CPU kernels with %s, once: this takes about ten seconds.", Path(compiler).name)
        _compile(flags, compiler, library, failure)
    return library


def find_cpu_library() -> Path | None:
    """The library if it is there; None if it would have to be built. Without a compiler that is an error."""
    flags = load_flags()
    if ready := _find_prebuilt(flags):
        return ready
    library = _built_library(flags, _find_compiler())
    return library if _is_whole(library) else None


def _built_library(flags: ModuleType, compiler: str) -> Path:
    target = f"{flags.processor_key()}-{_compiler_key(compiler)}"
    return cache_folder() / "kernels" / flags.library_name(target)


def load_flags() -> ModuleType:
    """`ext/flags.py`."""
    path = KERNELS / "flags.py"
    spec = importlib.util.spec_from_file_location("gsr_ext_flags", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BackendError(f"the kernels' sources are not in {KERNELS}", hint="The copy of the app is incomplete.")
    flags = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flags)
    return flags


def prebuilt_folder() -> Path | None:
    """The folder of the package `gsr_ext` that `ext/setup.py` installs, if it is installed."""
    installed = importlib.util.find_spec("gsr_ext")
    if installed is None or not installed.submodule_search_locations:
        return None
    return Path(installed.submodule_search_locations[0])


def _find_prebuilt(flags: ModuleType) -> Path | None:
    """A library that `ext/setup.py` built from the same sources and that this processor can run."""
    folder = prebuilt_folder()
    if folder is None:
        return None
    features: frozenset[str] = flags.processor_features()
    targets = [flags.processor_key(), *(level for level, needed in flags.LEVELS.items() if needed <= features)]
    found = (folder / flags.library_name(target) for target in targets)
    return next((path for path in found if path.is_file()), None)


def _find_compiler() -> str:
    wanted = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    for name in wanted:
        if name and (found := shutil.which(name)):
            return found
    raise BackendError("no C++ compiler is on the PATH (g++ or clang++)", hint="On Debian: apt install g++")


def _compiler_key(compiler: str) -> str:
    # Asking the compiler for its version would cost a process at every start; its file identifies it as well.
    real = Path(compiler).resolve()
    about = real.stat()
    return hashlib.sha256(f"{real} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:8]


def _compile(flags: ModuleType, compiler: str, library: Path, failure: Path) -> None:
    import torch

    with replacing(library, error=BackendError) as built:
        command: list[str] = flags.compile_command(compiler, built, Path(torch.__file__).parent)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            raise BackendError(f"{Path(compiler).name} took longer than {_COMPILE_LIMIT_S} s") from None
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            reason = f"{Path(compiler).name} failed: {errors[0] if errors else f'exit code {done.returncode}'}"
            failure.write_text(reason)
            raise BackendError(reason, hint=f"The whole call was: {' '.join(command)}")
    write_whole(_seal_path(library), _seal_of(library), error=BackendError)
    failure.unlink(missing_ok=True)


def _seal_path(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _seal_of(library: Path) -> str:
    """The size and hash of a library, as they lie beside it."""
    data = library.read_bytes()
    return f"{hashlib.sha256(data).hexdigest()} {len(data)}\n"


def _is_whole(library: Path) -> bool:
    """Whether a library is there, and is what was built."""
    try:
        expected = _seal_path(library).read_bytes()
        return _seal_of(library).encode() == expected
    except OSError:
        return False


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None, None, None]:
    """One process builds, the others wait for it."""
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / "lock"))
        except OSError as error:
            raise BackendError(
                f"the cache folder cannot be written: {error}", hint="Choose another folder with GSR_CACHE."
            ) from None
        yield
