"""What can be built (architectures) and what can be run (methods of the catalogue).

An architecture is code; a method is an architecture with particular weights. Both are plain data, and a duplicate id
is an error. Methods of other packages are added by `register`, or by an entry point of the group `gsr.methods` that
names a function without arguments which calls it.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from gsr_app.core.errors import GsrError, InvalidArgument, UnknownMethod, UnknownName
from gsr_app.core.tables import construct, parse_toml
from gsr_app.models.community.files import PREFIX, model_files

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("gsr")

ENTRY_POINTS = "gsr.methods"
STRENGTH_MARK = "@"
_STRENGTHS = 20
CATALOG = Path(__file__).with_name("catalog.toml")
MEASURES = Path(__file__).with_name("measures.toml")
STARTS = Path(__file__).with_name("starts.toml")

Kind = Literal["resize", "field", "pixels", "continuous", "video", "metric", "start"]
"""How the engine runs an architecture.

resize      a kernel; no network, `ops.resize` does it
field       `module.encode(lr) -> features`, `module.field(features, scale) -> GaussianField`, drawn at any view
pixels      `module(lr) -> sr` at one native scale
continuous  `module(lr, (H, W)) -> sr`; when tileable also `module.encode(lr) -> features` and
            `module.query(features, view) -> sr` of any View of the source plane, some rows at a time
video       `module(frames, (sy, sx)) -> sr` of the middle one of seven frames. Its parts are called, to cache what
            windows share: `module.look(before, frame, after) -> look` of a frame, `module.encode(looks, frame, scale)
            -> features` of a window, `module.locate(region) -> places` and `module.draw(features, places) -> sr` of a
            `savsr_upsample.OutputRegion`
metric      from two pictures to a distance
start       from a picture to the Gaussians that a fit starts with (fitting/starts.py)
"""


@dataclass(frozen=True)
class Architecture:
    """What the engine needs to know about a network to run it."""

    id: str
    build: Callable[[], nn.Module]
    kind: Kind
    native_scale: int | None = None  # pixels: the one factor the network makes
    multiple_of: int = 1  # both sides of the input are padded to a multiple of this,
    minimum_size: int = 1  # and to at least this
    pad_mode: Literal["reflect", "replicate", "zeros"] = "reflect"
    overlap: int = 16  # source pixels of context that a tile needs on each side
    tileable: bool = True
    reads_all: bool = False  # it looks further than the overlap: what is made of a tile or a part differs, and says so
    wraps: bool = False  # its shifted windows wrap around the frame: each edge sees the opposite one
    bytes_per_pixel: int = 20_000  # approximate peak memory of a forward pass per source pixel: sets the tile size
    largest_tile: int | None = None  # limit for a tile's side, if time or memory grow faster than its area
    channels_last: bool = False  # whether convolutions run faster in that layout
    pixels_at_once: int = 1 << 16  # continuous, video: output pixels that are asked for at once
    full_precision: bool = False  # always float32: its values need more than half precision
    scale_conditioned: bool = False  # field: the field belongs to the scale it was made for
    lattice: int = 1  # field: Gaussians per source pixel and axis, in row-major order over the whole lattice
    window_fraction: float | None = None  # field: half-width of the published hard window, over half the frame
    onnx_multiple: int = (
        1  # ONNX: sides are multiples of this, too; 0: a file is for one size, on which the network depends
    )
    parts: tuple[str, ...] = ()  # submodules that have a weight file each ("encoder", "decoder"); empty: one file


def architecture_ids() -> tuple[str, ...]:
    """The architectures of this package. Imports all of its files."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return tuple(arch.id for file in files for arch in _read_file(file))


def architecture(arch_id: str) -> Architecture:
    """The architecture of an id; imports its file, which is named by what precedes the first hyphen of the id."""
    registered = _registered_architectures()
    if arch_id in registered:
        return registered[arch_id]
    if arch_id.startswith(PREFIX) and (found := _community("describe", arch_id)):
        return found[1]
    for arch in _read_file(_file_of(arch_id)) if _is_ours(arch_id) else ():
        if arch.id == arch_id:
            return arch
    raise _unknown_architecture(arch_id)


def _file_of(arch_id: str) -> str:
    return arch_id.partition("-")[0]


def _is_ours(arch_id: str) -> bool:
    """Whether an id belongs to a file of this package. Imports nothing."""
    return _file_of(arch_id).isidentifier() and Path(__file__).with_name(f"{_file_of(arch_id)}.py").is_file()


def _read_file(name: str) -> tuple[Architecture, ...]:
    return getattr(importlib.import_module(f"gsr_app.models.{name}"), "ARCHS", ())


def _unknown_architecture(arch_id: str) -> UnknownName:
    known = [*architecture_ids(), *_registered_architectures()]
    return UnknownName(arch_id, known, what="Architecture", where="the registry")


def build(arch_id: str) -> nn.Module:
    """A network with fresh weights, in eval mode."""
    return architecture(arch_id).build().eval()


@dataclass(frozen=True)
class WeightFile:
    """One file of weights and where it comes from: exactly one of `asset`, `repo` with `paths`, `url`, or `page`."""

    asset: str = ""  # a file of the assets folder, shipped with the app
    repo: str = ""  # a Hugging Face repository, "owner/name",
    revision: str = "main"
    paths: tuple[str, ...] = ()  # and the file in it; several are candidates, the first that exists is taken
    url: str = ""  # "drive:ID" is a file of Google Drive, whose name `paths` says
    page: str = ""  # web page to get it from by hand, if there is no direct download
    mirrors: tuple[str, ...] = ()  # further addresses of the same bytes, used in this order if the first one fails
    part: str = ""  # the submodule it belongs to, when a network comes in several files
    sha256: str = ""  # whole, or the first digits where only those are published
    git_sha1: str = ""  # what git calls the file: the SHA-1 of "blob SIZE", a zero byte, and the bytes
    bytes: int | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return (self.asset or (self.paths[0] if self.paths else self.url)).rpartition("/")[2].partition("?")[0]

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""
        hub = f"huggingface.co/{self.repo}/{self.paths[0]} ({self.revision})" if self.repo else ""
        return self.page or self.asset or hub or address_text(self.url)

    @property
    def link(self) -> str:
        """The web address of the file, or of the page or folder that has it; empty if it ships with the app."""
        if self.repo:
            return f"https://huggingface.co/{self.repo}/blob/{self.revision}/{self.paths[0]}"
        return self.page or (address_text(self.url) if self.url else "")

    @property
    def has_hash(self) -> bool:
        return bool(self.sha256 or self.git_sha1)

    @property
    def can_be_checked(self) -> bool:
        """Whether a file of this name can be compared with the catalogue."""
        return self.has_hash or self.bytes is not None


DRIVE = "drive:"


def address_text(address: str) -> str:
    """The address of a file as a browser opens it."""
    return f"https://drive.google.com/file/d/{address[len(DRIVE) :]}/view" if address.startswith(DRIVE) else address


@dataclass(frozen=True)
class Method:
    """Something that can be run: an architecture with particular weights, or a resize kernel."""

    id: str
    title: str
    family: str
    kind: Kind
    code_licence: str
    arch: str = ""
    kernel: str = ""  # resize: what ops.resize calls it
    scales: tuple[float, float] | None = None  # the range it was trained for; None: any
    native_scale: int | None = None  # pixels: the one factor the network makes
    blends_with: str = ""  # the method that it is at strength 0: the same network with other weights
    strength: float | None = None  # of a method with `blends_with`; None: guessed from each picture
    parameters: int | None = None
    weights_licence: str = ""
    paper: str = ""
    paper_url: str = ""
    repository: str = ""
    note: str = ""
    color: str = "#7f7f7f"
    convention: str = ""  # the protocol under which the published scores were measured
    published: tuple[Mapping[str, float | str], ...] = ()  # {"dataset": "Set5", "scale": 2, "psnr_y": 33.66, …}
    files: tuple[WeightFile, ...] = ()

    @property
    def bytes(self) -> int | None:
        """The size of all files; None if it is unknown."""
        sizes = [file.bytes for file in self.files]
        return sum(size or 0 for size in sizes) if all(size is not None for size in sizes) else None

    @property
    def is_packaged(self) -> bool:
        """Whether it runs without any download."""
        return all(file.asset for file in self.files)

    @property
    def page(self) -> str:
        """The web page of a file without direct download; empty if all can be downloaded."""
        return next((file.page for file in self.files if file.page), "")

    def is_trained_for(self, scale: float) -> bool:
        return self.scales is None or self.scales[0] - 1e-6 <= scale <= self.scales[1] + 1e-6


def catalogue() -> Mapping[str, Method]:
    """Every method by its id: those of this package in the order of the file, then the registered ones and files."""
    files = _community("methods") if model_files() else {}
    return {**own_methods(), **{found.id: found for found, _ in files.values()}}


def own_methods() -> Mapping[str, Method]:
    """The methods that are no files of other authors: nothing is read for them."""
    _load_plugins()
    return {**packaged_catalogue(), **{found.id: found for found, _ in tuple(_registered.values())}}


@functools.cache
def packaged_catalogue() -> Mapping[str, Method]:
    """The methods of this package alone. Uses no network and imports no torch."""
    return read_catalogue(CATALOG.read_text(encoding="utf-8"), CATALOG.name)


@functools.cache
def measures() -> Mapping[str, Method]:
    """Metrics that need weights (LPIPS, DISTS, NIQE), as tables like the methods'."""
    return read_catalogue(MEASURES.read_text(encoding="utf-8"), MEASURES.name)


@functools.cache
def starts() -> Mapping[str, Method]:
    """Networks that a fit can start from, as tables like the methods'."""
    return read_catalogue(STARTS.read_text(encoding="utf-8"), STARTS.name)


def method(method_id: str) -> Method:
    """The method of an id. A strength may follow the id of a method that has one: "swift-photo@0.6"."""
    if method_id.startswith(PREFIX) and (found := _community("describe", method_id)):
        return found[0]
    if (own := own_methods().get(method_id)) is not None:
        return own
    name, mark, strength = method_id.rpartition(STRENGTH_MARK)
    if mark and (own := own_methods().get(name)) is not None:
        return with_strength(own, strength)
    raise UnknownMethod(method_id, catalogue())


def without_strength(method_id: str) -> str:
    """The id in the catalogue. Example: "swift-photo" of "swift-photo@0.6"."""
    return method_id if method_id.startswith(PREFIX) else method_id.partition(STRENGTH_MARK)[0]


def find(method_id: str) -> Method | None:
    """The method of an id, or None."""
    try:
        return method(method_id)
    except GsrError:
        return None


def with_strength(method: Method, strength: float | str) -> Method:
    """A method at a strength of 0 to 1, in steps of 0.05."""
    if not method.blends_with:
        raise InvalidArgument(f"{method.id} has no strength, found {strength!r}.", hint=f"Write {method.id} alone.")
    try:
        value = float(strength)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidArgument(f"The strength of {method.id} is 0 to 1, found {strength!r}.", hint="Write 0.5.")
    value = round(value * _STRENGTHS) / _STRENGTHS  # each one is a network in memory
    name, title = f"{method.id}{STRENGTH_MARK}{value:g}", f"{method.title}, strength {value:g}"
    return replace(method, id=name, title=title, strength=value)


def _community(function: str, *arguments: str) -> Any:
    """Call a function of community/loading.py, which imports torch."""
    return getattr(importlib.import_module("gsr_app.models.community.loading"), function)(*arguments)


# ---- methods of other packages ----------------------------------------------------------------------------------

_registered: dict[str, tuple[Method, Architecture | None]] = {}
_lock = threading.RLock()  # a plug-in registers while it is loaded
_plugins_are_loaded = False


def register(method: Method, architecture: Architecture | None = None) -> Method:
    """Add a method that lives outside this package; returns it with its architecture filled in.

    Without weight files, `build` returns a network that has its weights already. Without an architecture, the method
    uses one of this package: a checkpoint of your own under its own name.

    Example: `register(Method("mine", "Mine", "own", "pixels", "MIT"), Architecture("mine", build, "pixels", 2))`
    """
    if architecture is not None:
        if method.arch not in {"", architecture.id} or method.kind != architecture.kind:
            raise InvalidArgument(
                f"{method.id} ({method.kind}, {method.arch or 'no arch'}) does not belong to the architecture "
                f"{architecture.id} ({architecture.kind})."
            )
        method = replace(method, arch=architecture.id, native_scale=architecture.native_scale)
    _check(method)
    with _lock:
        if method.id in catalogue():
            raise InvalidArgument(f"The id {method.id!r} is taken.", hint="Choose another, or unregister it first.")
        known = _registered_architectures()
        if architecture is None:
            if not _is_ours(method.arch) and method.arch not in known:
                raise _unknown_architecture(method.arch)
        elif _is_ours(architecture.id) or known.get(architecture.id, architecture) != architecture:
            raise InvalidArgument(f"The architecture id {architecture.id!r} is taken.", hint="Choose another.")
        _registered[method.id] = method, architecture
    return method


def unregister(method_id: str) -> None:
    """Remove a registered method. Example: `unregister("mine")`"""
    with _lock:
        if method_id not in _registered:
            raise UnknownName(method_id, _registered, what="Method", where="the registered methods")
        del _registered[method_id]


def _registered_architectures() -> dict[str, Architecture]:
    _load_plugins()
    return {arch.id: arch for _, arch in tuple(_registered.values()) if arch is not None}


def _load_plugins() -> None:
    """Call the entry points of installed packages, once. One that fails is left out, and the log says so."""
    global _plugins_are_loaded  # noqa: PLW0603
    with _lock:
        if _plugins_are_loaded:
            return
        _plugins_are_loaded = True
        for entry in entry_points(group=ENTRY_POINTS):
            try:
                entry.load()()
            except Exception as error:
                log.warning("The plug-in %s is left out: %s: %s", entry.value, type(error).__name__, error)


# ---- reading ----------------------------------------------------------------------------------------------------


def read_catalogue(text: str, file: str = "catalog.toml") -> dict[str, Method]:
    """The methods of a catalogue in TOML. An unknown key or a wrong type is an error."""
    found: dict[str, Method] = {}
    for method_id, table in parse_toml(text, file).items():
        if not isinstance(table, dict):
            raise InvalidArgument(f"{file}: {method_id} is {table!r}, expected a table.")
        found[method_id] = construct(Method, {**table, "id": method_id}, file, method_id)
        _check(found[method_id])
    return found


def _check(method: Method) -> None:
    """Raise `InvalidArgument` if the fields of a method contradict each other."""
    if method.kind not in get_args(Kind):
        raise InvalidArgument(f"{method.id}: kind {method.kind!r} is not one of {', '.join(get_args(Kind))}.")
    if bool(method.kernel) != (method.kind == "resize") or bool(method.arch) == (method.kind == "resize"):
        raise InvalidArgument(f"{method.id}: a resize names a kernel, everything else an arch.")
    if method.strength is not None and not method.blends_with:
        raise InvalidArgument(f"{method.id}: a strength needs the method that it is at strength 0, in blends_with.")
    for file in method.files:
        sources = file.asset, file.repo and file.paths, file.url, file.page and file.paths
        if sum(map(bool, sources)) != 1:
            raise InvalidArgument(
                f"{method.id}: a weight file comes from an asset, a repo, a url, or a page (with paths)."
            )
        if file.url.startswith(DRIVE) and not file.paths:
            raise InvalidArgument(f"{method.id}: a file of Google Drive needs its name, in paths.")
        uncertain = bool(file.mirrors) or file.url.startswith(DRIVE)
        if uncertain and not file.can_be_checked:
            raise InvalidArgument(f"{method.id}: a mirror and a file of Google Drive need a hash or a size.")
