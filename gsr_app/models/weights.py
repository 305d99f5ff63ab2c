"""Finding weights: the user's own, those shipped with the app, those in the cache; the others are downloaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gsr_app.core import settings
from gsr_app.core.errors import WeightsError
from gsr_app.core.folders import ASSETS, cache_folder
from gsr_app.models.community.files import is_added, model_file, remove_added
from gsr_app.models.download import Report, digest_of, fetch, fits_catalogue
from gsr_app.models.registry import Method, WeightFile, own_methods

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
    own: bool = False  # whether the user's own weights are used instead of the published ones, or a file was added


def availability(method: Method, weights: str | Path | None = None) -> Availability:
    """Whether the weights of a method are on this machine, and if not, what prevents it. Reads no file."""
    try:
        here = all(_find_file(method, file, weights) for file in method.files)
    except WeightsError as error:
        return Availability(here=False, reason=str(error))
    if here:
        return Availability(here=True, own=weights is None and (is_local(method) or is_added(method.id)))
    by_hand = f"no direct download: get it from {method.page}" if method.page else ""
    offline = "this machine is set to stay offline" if settings.is_offline() else ""
    return Availability(here=False, download_bytes=method.bytes, reason=by_hand or offline)


def is_present(method: Method, weights: str | Path | None = None) -> bool:
    """Whether the method can run without a download. Reads no file."""
    return availability(method, weights).here


def default_method() -> str:
    """The method that runs if none is chosen: the first one with a field that ships with the app."""
    packaged = (one for one in own_methods().values() if one.files and one.is_packaged and is_present(one))
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
        paths[file.part] = _find_file(method, file, weights) or fetch(
            method, file, _cached_names(file), report or (lambda _: None)
        )
    return _identify(method, paths)


def verify(method: Method, weights: str | Path | None = None) -> bool | None:
    """Whether the files on this machine have the catalogue's hashes and sizes; None if there is nothing to compare."""
    found = [(path, file) for file in method.files if (path := _find_file(method, file, weights))]
    known = [(path, file) for path, file in found if file.can_be_checked]
    own = any(not _is_published(method, file, path) for path, file in known)  # the user's own files may differ
    fits = all(fits_catalogue(file, path) for path, file in known)
    return fits if known and (fits or not own) else None


def remove(method: Method) -> int:
    """Delete the files of a method from the cache, and the user's own; returns how many bytes that freed."""
    freed = remove_added(method.id)
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


def _is_published(method: Method, file: WeightFile, path: Path) -> bool:
    """Whether a file comes from the catalogue's source: it ships with the app or was downloaded."""
    return path in _cached_names(file) or (bool(file.asset) and path == ASSETS / file.asset)


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
        digest.update(part.encode() + digest_of(path).encode())
    if not paths and (file := model_file(method.id)):
        digest.update(digest_of(file).encode())
    elif not paths:
        return Weights(paths, method.id)
    return Weights(paths, f"{method.id}@{digest.hexdigest()[:8]}")
