"""Reading model files of other authors: which network it is, what the engine has to know about it, and its weights."""

from __future__ import annotations

import functools
import json
import logging
import math
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gsr_app.core.atomic import replacing, write_whole
from gsr_app.core.errors import GsrError, WeightsError, first_line
from gsr_app.core.folders import cache_folder
from gsr_app.models.checkpoint import check_finite, read_state
from gsr_app.models.community.files import PREFIX, SUFFIXES, model_files, own_folder
from gsr_app.models.community.measuring import measure
from gsr_app.models.community.spandrel_import import NEED_TORCHVISION, import_spandrel
from gsr_app.models.registry import Architecture, Method

log = logging.getLogger("gsr")
_NO_LICENCE = "not stated in the file"


@dataclass(frozen=True)
class Facts:
    """What is remembered of a file."""

    architecture: str
    scale: int
    parameters: int
    multiple_of: int
    minimum_size: int
    tileable: bool
    half: bool
    overlap: int
    reads_all: bool
    bytes_per_pixel: int


class CommunityNetwork(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s], whatever the channels of the network; grey ones see each channel."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network = descriptor.model
        self._call = descriptor
        self.is_grey = descriptor.input_channels == 1

    def forward(self, lr: Tensor) -> Tensor:
        if not self.is_grey:
            return self._call(lr)
        grey = [self._call(lr[:, channel : channel + 1]) for channel in range(3)]
        return torch.cat(grey, dim=1)


def methods() -> dict[str, tuple[Method, Architecture]]:
    """Every file that can be used, as a method with its architecture; the log says which cannot."""
    found: dict[str, tuple[Method, Architecture]] = {}
    for method_id, path in model_files().items():
        stat = path.stat()
        try:
            found[method_id] = _describe(method_id, path, stat.st_size, stat.st_mtime_ns)
        except GsrError as error:
            _warn(path.name, str(error), stat.st_mtime_ns)
    return found


@functools.lru_cache(maxsize=256)
def _warn(name: str, problem: str, _changed_ns: int) -> None:
    """Once for each file, as long as it does not change."""
    log.warning("The model file %s is left out: %s", name, problem)


def describe(method_id: str) -> tuple[Method, Architecture] | None:
    """The method of an id; None if there is no such file, an error if it cannot be used."""
    path = model_files().get(method_id)
    return path and _describe(method_id, path, path.stat().st_size, path.stat().st_mtime_ns)


def keep(path: Path) -> str:
    """Copy a file that can be used to where it is found from now on; returns its method id."""
    stat = path.stat()
    _usable_facts(path, stat.st_size, stat.st_mtime_ns)  # an error if it cannot be used
    own_folder().mkdir(parents=True, exist_ok=True)
    with replacing(own_folder() / path.name, error=WeightsError) as temporary:
        shutil.copyfile(path, temporary)
    for other in own_folder().iterdir():  # one file per name: delete an earlier one of another type
        if other.stem == path.stem and other.suffix.lower() in SUFFIXES and other.name != path.name:
            other.unlink(missing_ok=True)
    return PREFIX + path.stem


@functools.lru_cache(maxsize=256)
def _describe(method_id: str, path: Path, size: int, changed_ns: int) -> tuple[Method, Architecture]:
    facts = _usable_facts(path, size, changed_ns)
    architecture = Architecture(
        id=method_id,
        build=functools.partial(load, path),
        kind="pixels",
        native_scale=facts.scale,
        multiple_of=facts.multiple_of,
        minimum_size=facts.minimum_size,
        overlap=facts.overlap,
        tileable=facts.tileable,
        reads_all=facts.reads_all,
        bytes_per_pixel=facts.bytes_per_pixel,
        full_precision=not facts.half,
    )
    method = Method(
        method_id, method_id.removeprefix(PREFIX), "file", "pixels", code_licence="MIT (spandrel)",
        arch=method_id, scales=(facts.scale, facts.scale), native_scale=facts.scale, parameters=facts.parameters,
        weights_licence=_NO_LICENCE, note=f"{facts.architecture}, recognized in {path.name}.", color="#8a6fae",
    )  # fmt: skip
    return method, architecture


# ---- facts ------------------------------------------------------------------------------------------------------


def _usable_facts(path: Path, size: int, changed_ns: int) -> Facts:
    found = _facts(path, size, changed_ns)
    if isinstance(found, WeightsError):
        raise found.with_traceback(None)
    return found


@functools.lru_cache(maxsize=256)
def _facts(path: Path, size: int, changed_ns: int) -> Facts | WeightsError:
    """Read from the file, and measured the first time that it is seen; later remembered. What is wrong with a file that
    cannot be used is remembered as long as the process runs."""
    key = f"{path.resolve()}|{size}|{changed_ns}"
    remembered = _read_memory()
    with suppress(KeyError, TypeError):
        return Facts(**remembered[key])
    try:
        facts = _inspect(path)
    except WeightsError as error:
        return error
    with suppress(GsrError):  # a cache that cannot be written: measured again next time
        write_whole(_memory_file(), json.dumps({**remembered, key: asdict(facts)}, indent=1))
    return facts


def _memory_file() -> Path:
    return cache_folder() / "community.json"


def _read_memory() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(_memory_file().read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _inspect(path: Path) -> Facts:
    descriptor = _load_descriptor(path)
    name = descriptor.architecture.name
    needs = descriptor.size_requirements
    window = getattr(descriptor.model, "window_size", 1)
    multiple_of = math.lcm(needs.multiple_of, window if isinstance(window, int) and window > 0 else 1)
    tiling = import_spandrel().module.ModelTiling
    network = CommunityNetwork(descriptor).eval()
    try:
        overlap, reads_all, bytes_per_pixel = measure(network, descriptor.scale, multiple_of)
    except RuntimeError as error:
        raise WeightsError(
            f"{path.name} is a {name} that does not run: {first_line(error)}",
            hint="The file may be damaged, or made for another version of the network.",
        ) from None
    return Facts(
        name, descriptor.scale, sum(value.numel() for value in descriptor.model.parameters()), multiple_of,
        max(needs.minimum, 1), descriptor.tiling is not tiling.INTERNAL, descriptor.supports_bfloat16, overlap,
        reads_all, bytes_per_pixel,
    )  # fmt: skip


# ---- networks ---------------------------------------------------------------------------------------------------


def load(path: Path) -> nn.Module:
    """The network of a file with its weights. Runs no code from the file."""
    return CommunityNetwork(_load_descriptor(path)).eval().requires_grad_(False)


def _load_descriptor(path: Path) -> Any:
    spandrel = import_spandrel()
    state = read_state(path)
    for key, value in state.items():
        check_finite(key, value, path.name)
    try:
        found = spandrel.module.MAIN_REGISTRY.load(
            {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        )
    except spandrel.module.UnsupportedModelError:
        raise _unknown(path, state) from None
    except Exception as error:  # each of its architectures raises its own kinds for tensors that do not fit
        raise WeightsError(
            f"{path.name} does not fit the network that its keys belong to: {first_line(error)}",
            hint="The file may be damaged or cut, or made for another version of the network.",
        ) from None
    name = found.architecture.name
    if name in NEED_TORCHVISION and spandrel.torchvision_problem:
        raise WeightsError(
            f"{path.name} is a {name}, which needs torchvision: {spandrel.torchvision_problem}.",
            hint="Install a torchvision that fits this torch. All other networks work without it.",
        )
    if not isinstance(found, spandrel.module.ImageModelDescriptor):
        raise WeightsError(f"{path.name} is a {name}: it fills in masked parts of pictures, which is not offered here.")
    if (found.input_channels, found.output_channels) not in {(1, 1), (3, 3)}:
        raise WeightsError(
            f"{path.name} is a {name} from {found.input_channels} to {found.output_channels} channels.",
            hint="Networks for colour (3) and for grey (1) can be used.",
        )
    if found.size_requirements.square:
        raise WeightsError(f"{path.name} is a {name} for square pictures alone, which is not offered here.")
    return found


def _unknown(path: Path, state: Mapping[str, Tensor]) -> WeightsError:
    shown = ", ".join(f"{key} {'x'.join(map(str, value.shape))}" for key, value in list(state.items())[:3])
    near = _nearest_architectures(state)
    alike = f" Most alike: {', '.join(near)}." if near else ""
    return WeightsError(
        f"{path.name} is of no network that is known here. It holds {len(state)} tensors: {shown}, ….{alike}",
        hint="Expected the generator of a network that spandrel recognizes, not a discriminator or a training state. "
        "Weights of a method of the catalogue are given with --weights.",
    )


def _nearest_architectures(state: Mapping[str, Tensor], most: int = 3) -> list[str]:
    """The architectures of whose telling keys at least half are there."""
    shares: dict[str, float] = {}
    for support in import_spandrel().module.MAIN_REGISTRY.architectures():
        architecture = support.architecture
        shares[architecture.name] = _share(getattr(architecture, "_detect", None), state)
    names = sorted(shares, key=lambda name: -shares[name])
    return [name for name in names if shares[name] >= 0.5][:most]


def _share(condition: Any, state: Mapping[str, Tensor]) -> float:
    """How far a condition of spandrel about keys is fulfilled."""
    if isinstance(condition, str):
        return float(condition in state)
    parts = [_share(part, state) for part in getattr(condition, "_keys", ())]
    if not parts:
        return 0.0
    return max(parts) if getattr(condition, "_kind", "") == "any" else sum(parts) / len(parts)
