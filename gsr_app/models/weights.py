"""Finding weights: the user's own, those shipped with the app, those in the cache; and downloading the others.

The only module that uses the network. An incomplete file never has its final name.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app.core import settings
from gsr_app.core.atomic import locked
from gsr_app.core.errors import WeightsError
from gsr_app.core.folders import ASSETS, cache_folder
from gsr_app.core.types import Progress
from gsr_app.models.registry import Method, WeightFile, catalogue

Report = Callable[[Progress], None]
"""Called during a download; may raise to stop it."""

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 20
SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Weights:
    """The files of a method, by the part of the network they belong to ("" for the whole of it)."""

    files: dict[str, Path]
    id: str  # names the exact bytes: "rt4ksr-x2@9ec75000"


@dataclass(frozen=True)
class Availability:
    """Whether a method can run on this machine: at once, after a download, or not, and why."""

    here: bool
    download_bytes: int | None = None
    reason: str = ""
    own: bool = False  # whether the user's own weights are used instead of the published ones


def availability(method: Method, weights: str | Path | None = None) -> Availability:
    """Whether the weights of a method are on this machine, and if not, what prevents it. Reads no file."""
    try:
        here = all(_find_file(method, file, weights) for file in method.files)
    except WeightsError as error:
        return Availability(here=False, reason=str(error))
    if here:
        return Availability(here=True, own=weights is None and is_local(method))
    by_hand = f"no direct download: get it from {method.page}" if method.page else ""
    offline = "this machine is set to stay offline" if settings.is_offline() else ""
    return Availability(here=False, download_bytes=method.bytes, reason=by_hand or offline)


def is_present(method: Method, weights: str | Path | None = None) -> bool:
    """Whether the method can run without a download. Reads no file."""
    return availability(method, weights).here


def default_method() -> str:
    """The method that runs if none is chosen: the first one with a field that ships with the app."""
    packaged = (one for one in catalogue().values() if one.files and one.is_packaged and is_present(one))
    return next((one.id for one in packaged if one.kind == "field"), "bicubic")


def find(method: Method, weights: str | Path | None = None) -> Weights | None:
    """The weights if they are on this machine; None if a file would have to be downloaded."""
    found = {file.part: _find_file(method, file, weights) for file in method.files}
    paths = {part: path for part, path in found.items() if path is not None}
    return _identify(method, paths) if len(paths) == len(found) else None


def obtain(method: Method, weights: str | Path | None = None, report: Report | None = None) -> Weights:
    """The weights, downloaded if necessary. Any failure is a `WeightsError` with a hint."""
    paths: dict[str, Path] = {}
    for file in method.files:
        paths[file.part] = _find_file(method, file, weights) or _fetch(method, file, report or (lambda _: None))
    return _identify(method, paths)


def verify(method: Method) -> bool | None:
    """Whether the files on this machine have the catalogue's hashes; None if there is nothing to compare with."""
    pairs = [(path, file.sha256) for file in method.files if (path := _find_file(method, file, None)) and file.sha256]
    own = any(local_folder(method) in path.parents for path, _ in pairs)  # the user's own files may differ
    fits = all(_sha256(path).startswith(expected) for path, expected in pairs)
    return fits if pairs and (fits or not own) else None


def remove(method: Method) -> int:
    """Delete the files of a method from the cache, and the user's own; returns how many bytes that freed."""
    freed = 0
    for file in method.files:
        for path in [*_local_names(method, file), *_cached_names(file)]:
            if path.is_file():
                freed += path.stat().st_size
                path.unlink()
    return freed


# ---- on this machine --------------------------------------------------------------------------------------------


def _find_file(method: Method, file: WeightFile, weights: str | Path | None) -> Path | None:
    if weights is not None:
        return _find_given(method, file, Path(weights).expanduser())
    if here := settings.weights_folder():
        places = [here / method.id / name for name in _names(method, file)]
        places += [here / path for path in file.paths]
        places += [here / name for name in _names(method, file)]
        if path := _first(places):
            return path
    if path := _first(_local_names(method, file)):
        return path
    if file.asset:
        if path := _first([ASSETS / file.asset]):
            return path
        raise WeightsError(
            f"{file.asset}, which ships with the app, is not in {ASSETS}.", hint="The copy of the app is incomplete."
        )
    return _first(_cached_names(file))


def _find_given(method: Method, file: WeightFile, given: Path) -> Path:
    """A file from the path that the user gave. If it is not there, that is an error: no other place is searched."""
    if given.is_file():
        if len(method.files) > 1:
            parts = " and ".join(f"{one.part}.pth" for one in method.files)
            raise WeightsError(f"{method.id} needs {parts}, found one file {given}.", hint="Give the folder instead.")
        return given
    if not given.is_dir():
        raise WeightsError(f"There is no file or folder {given}.", hint="Check the path given with --weights.")
    names = _names(method, file)
    places = [given / name for name in names] + [given / method.id / name for name in names]
    places += [given / path for path in file.paths]
    alone = [path for path in sorted(given.iterdir()) if path.suffix in SUFFIXES]
    if len(method.files) == 1 and len(alone) == 1:
        places += alone
    if path := _first(places):
        return path
    raise WeightsError(f"{given} holds no {names[0]} for {method.id}.", hint=f"Looked for: {', '.join(names)}.")


def _names(method: Method, file: WeightFile) -> list[str]:
    stem = file.part or method.id
    return list(dict.fromkeys([file.name, *(stem + suffix for suffix in SUFFIXES)]))


def local_folder(method: Method) -> Path:
    """The folder of the user's own weights for a method."""
    return cache_folder() / "weights" / "local" / method.id


def _local_names(method: Method, file: WeightFile) -> list[Path]:
    return [local_folder(method) / f"{file.part or method.id}{suffix}" for suffix in SUFFIXES]


def is_local(method: Method) -> bool:
    """Whether the user's own weights replace the published ones."""
    return bool(method.files) and all(_first(_local_names(method, file)) for file in method.files)


def _cached_names(file: WeightFile) -> list[Path]:
    """The paths of a downloaded file in the cache, one per candidate."""
    folder = cache_folder() / "weights"
    if file.repo:
        return [folder / file.repo.replace("/", "--") / file.revision / path for path in file.paths]
    # Files from different addresses may share a name: the folder is a hash of the address.
    return [folder / hashlib.sha256(file.url.encode()).hexdigest()[:12] / file.name] if file.url else []


def _first(places: list[Path]) -> Path | None:
    return next((path for path in places if path.is_file()), None)


def _identify(method: Method, paths: dict[str, Path]) -> Weights:
    digest = hashlib.sha256()
    for part, path in sorted(paths.items()):
        digest.update(part.encode() + _sha256(path).encode())
    return Weights(paths, f"{method.id}@{digest.hexdigest()[:8]}" if paths else method.id)


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, _changed_ns: int, _size_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# ---- fetching ---------------------------------------------------------------------------------------------------


def _fetch(method: Method, file: WeightFile, report: Report) -> Path:
    if file.page:
        raise WeightsError(
            f"The weights of {method.id} are not here, and their authors offer no direct download.",
            hint=f"Get {file.name} from {file.page}, then give it with --weights, in the app under Models, "
            f"or put it into $GSR_WEIGHTS_DIR/{method.id}/.",
        )
    if settings.is_offline():
        raise WeightsError(
            f"{file.name} for {method.id} is not here, and GSR_OFFLINE is set (or HF_HUB_OFFLINE).",
            hint=_by_hand(method),
        )
    target = _cached_names(file)[0]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _fetch_hub(method, file, report) if file.repo else _fetch_url(method, file, target, report)
    except OSError as error:  # a full disk, a folder that may not be written
        raise WeightsError(
            f"Cannot write {file.name} for {method.id} to {target.parent}: {error.strerror or error}.",
            hint="Free some space or choose another folder with GSR_CACHE.",
        ) from None


def _checked(file: WeightFile, path: Path) -> Path:
    """The path, if the file has the hash of the catalogue; otherwise deletes the file and raises."""
    if file.sha256 and not (found := _sha256(path)).startswith(file.sha256):
        path.unlink()
        raise WeightsError(
            f"{file.name} from {file.source} has sha256 {found[:12]}…, expected {file.sha256[:12]}….",
            hint="The file was changed or damaged on the way; try again, or report it if it stays so.",
        )
    return path


def _fetch_url(method: Method, file: WeightFile, target: Path, report: Report) -> Path:
    """Download to a `.part` next to the target, then rename. A part is resumed only if the hash can be checked."""
    part = target.with_name(target.name + ".part")
    with locked(Path(f"{target}.lock")):
        if target.is_file():  # another process was first
            return target
        if not file.sha256:
            part.unlink(missing_ok=True)
        _download(method, file, part, report)
        os.replace(_checked(file, part), target)
    return target


def _download(method: Method, file: WeightFile, part: Path, report: Report) -> None:
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "gsr"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status != 206:  # the server starts from the beginning
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else file.bytes or 0
            with part.open("ab" if have else "wb") as stream:
                while chunk := answer.read(_CHUNK_BYTES):
                    stream.write(chunk)
                    have += len(chunk)
                    report(Progress("download", have, max(total, have)))
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # longer than the file, so it is not a part of it
            part.unlink()
            return _download(method, file, part, report)
        raise _http_error(method, file, error.code) from None
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise _unreachable(method, file, getattr(error, "reason", error)) from None
    if total and have < total:
        raise WeightsError(
            f"The download of {file.name} for {method.id} broke off at {have:,} of {total:,} bytes.",
            hint="Run it again" + (": it goes on from there." if file.sha256 else "."),
        )


def _fetch_hub(method: Method, file: WeightFile, report: Report) -> Path:
    """Through huggingface_hub, which handles tokens, resuming and locks. Candidates are tried in turn."""
    from huggingface_hub import errors, hf_hub_download

    folder = cache_folder() / "weights" / file.repo.replace("/", "--") / file.revision
    endpoint = settings.hub_address()
    _check_reachable(method, file, endpoint)
    options: dict[str, Any] = {"endpoint": endpoint}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # huggingface_hub 1.1 and later
        options["tqdm_class"] = _reporting_bar(report)
    for path in file.paths:
        try:
            found = hf_hub_download(file.repo, path, revision=file.revision, local_dir=folder, **options)
            return _checked(file, Path(found))
        except errors.LocalEntryNotFoundError as error:  # before EntryNotFoundError, of which it is one
            raise _unreachable(method, file, error.__cause__ or "the hub is set to offline") from None
        except errors.EntryNotFoundError:
            continue
        except errors.GatedRepoError:
            raise _http_error(method, file, 403) from None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            raise _http_error(method, file, 404) from None
        except errors.HfHubHTTPError as error:
            raise _http_error(method, file, getattr(error.response, "status_code", 0)) from None
        except OSError as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise WeightsError(
                f"The download of {file.name} for {method.id} broke off: {error}", hint="Run it again."
            ) from None
    raise WeightsError(
        f"None of {', '.join(file.paths)} is in huggingface.co/{file.repo} ({file.revision}).", hint=_by_hand(method)
    )


def _check_reachable(method: Method, file: WeightFile, endpoint: str) -> None:
    """Check the connection once: without one, huggingface_hub would retry for half a minute."""
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_TIMEOUT_S / 2).close()
    except urllib.error.HTTPError:
        return  # it answers
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise _unreachable(method, file, getattr(error, "reason", error)) from None


def _reporting_bar(report: Report) -> type[Any]:
    from tqdm.auto import tqdm

    class ReportingBar(tqdm):  # type: ignore[type-arg]
        """A progress bar for huggingface_hub that reports and draws nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._total, self._done = int(options.get("total") or 0), int(options.get("initial") or 0)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            report(Progress("download", self._done, max(self._total, self._done)))
            return None

    return ReportingBar


def _http_error(method: Method, file: WeightFile, status: int) -> WeightsError:
    if status in {401, 403}:
        return WeightsError(
            f"{file.source} is gated: it requires a login or an accepted licence (HTTP {status}).",
            hint=f"Accept its terms in a browser, then set HF_TOKEN. {_by_hand(method)}",
        )
    if status in {404, 410}:
        return WeightsError(f"{file.source} does not exist any more (HTTP {status}).", hint=_by_hand(method))
    return WeightsError(f"{file.source} answered HTTP {status} for {method.id}.", hint="Try again later.")


def _unreachable(method: Method, file: WeightFile, reason: object) -> WeightsError:
    return WeightsError(
        f"Cannot reach {file.source} for the weights of {method.id}: {reason}.",
        hint=f"Check the connection. {_by_hand(method)}",
    )


def _by_hand(method: Method) -> str:
    names = " and ".join(f"{file.part}.pth" if file.part else file.name for file in method.files)
    return f"Or fetch {names} by hand and give it with --weights PATH, or in the app under Models."
