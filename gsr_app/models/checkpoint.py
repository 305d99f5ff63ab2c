"""Loading weight files: read without running code from them, unwrap, check, copy into the network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gsr_app.core.errors import WeightsError, first_line

# Training programs wrap the weights in these, the outermost first; the averaged weights before the raw ones.
_WRAPPERS = ("params_ema", "params", "state_dict", "model", "sd")
_PREFIXES = ("module.", "generator.")  # left by data-parallel training, and by MMEditing's restorers


def read_state(path: Path, first: str = "") -> dict[str, Tensor]:
    """The tensors of a weight file, unwrapped; under `first` where it has that. Runs no code from the file."""
    if not path.is_file():
        raise WeightsError(f"There is no weight file {path}.", hint="Check the path given with --weights.")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty.", hint="Delete it and download it again.")
    is_safetensors = path.suffix.lower() == ".safetensors"
    if not is_safetensors and not _looks_like_torch(path):
        raise WeightsError(f"{path} is not a weight file.", hint="Expected .safetensors or torch's .pth.")
    try:
        if is_safetensors:
            from safetensors.torch import load_file

            stored: Any = load_file(path)
        else:
            with warnings.catch_warnings():  # about what a damaged file seems to be
                warnings.simplefilter("ignore")
                stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} holds more than tensors, and reading it would run its code.",
            hint="Ask its author for a safetensors file or a plain state dict.",
        ) from None
    except Exception as error:  # safetensors, zip and torch each raise their own kinds for a broken file
        raise WeightsError(
            f"{path} is damaged or cut short ({path.stat().st_size:,} bytes): {first_line(error, 120)}.",
            hint="Delete it and download it again.",
        ) from None
    return unwrap(stored, path, first)


def _looks_like_torch(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}


def unwrap(stored: Any, path: Path | str = "the file", first: str = "") -> dict[str, Tensor]:
    """The state dict, without the wrappers of training programs."""
    seen: set[int] = set()  # a dictionary may contain itself
    while isinstance(stored, Mapping) and id(cast("object", stored)) not in seen:
        stored = cast("Mapping[str, Any]", stored)
        seen.add(id(stored))
        tensors = {key: value for key, value in stored.items() if isinstance(value, Tensor)}
        wrapper = next((key for key in (first, *_WRAPPERS) if isinstance(stored.get(key), Mapping)), None)
        if wrapper is not None:
            stored = stored[wrapper]
            continue
        # Files from outside may have any keys.
        if not tensors or len(tensors) != len(stored) or not all(isinstance(key, str) for key in tensors):  # pyright: ignore[reportUnnecessaryIsInstance]
            break
        for prefix in _PREFIXES:
            if all(key.startswith(prefix) for key in tensors):
                tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
        return tensors
    raise WeightsError(
        f"{path} does not hold a state dict.",
        hint=f"Expected tensors by name, alone or under one of {', '.join(_WRAPPERS)}.",
    )


def load_state(module: nn.Module, state: Mapping[str, Tensor], path: Path | str = "the weights") -> None:
    """Copy a state dict into a network. Names, shapes and kinds of numbers must fit; the error says which do not."""
    own = module.state_dict()
    for key, value in state.items():
        if key in own:
            _check_value(key, value, own[key], path)
    result = module.load_state_dict(dict(state), strict=False)
    problems = [f"{what} {_some(keys)}" for what, keys in (
        ("is missing", result.missing_keys), ("has the unknown", result.unexpected_keys)) if keys]  # fmt: skip
    if problems:
        raise WeightsError(
            f"{path} does not fit: it {' and '.join(problems)}.",
            hint="These are weights of another network; choose the method they belong to.",
        )


def _check_value(key: str, value: Tensor, own: Tensor, path: Path | str) -> None:
    """Refuse what torch would copy without a word into numbers that mean nothing."""
    if own.shape != value.shape:
        raise WeightsError(
            f"{path} does not fit: {key} is {_size(value)}, the network wants {_size(own)}.",
            hint="These are weights of another size of network; choose the method they belong to.",
        )
    plain = value.layout == torch.strided and not value.is_quantized and not value.is_complex()
    if not plain or value.is_floating_point() != own.is_floating_point():
        raise WeightsError(
            f"{path} does not fit: {key} holds {_kind(value)}, the network wants {_kind(own)}.",
            hint="They may have been quantized for another program; choose a file with floating-point weights.",
        )
    check_finite(key, value, path)


def check_finite(key: str, value: Tensor, path: Path | str) -> None:
    """Refuse values that are not numbers."""
    if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
        raise WeightsError(
            f"{path} is damaged: {key} holds values that are not numbers or infinite.",
            hint="Delete it and get it again; if you trained it, take an earlier checkpoint.",
        )


def _kind(value: Tensor) -> str:
    name = str(value.dtype).removeprefix("torch.")
    return name if value.layout == torch.strided else f"{str(value.layout).removeprefix('torch.')} {name}"


def load_files(module: nn.Module, files: Mapping[str, Path]) -> nn.Module:
    """Load one file per part ("encoder", "decoder"), or the one file "" for the whole network."""
    for part, path in files.items():
        load_state(module.get_submodule(part), read_state(path, getattr(module, "PUBLISHED_UNDER", "")), path)
    return module


def _size(value: Tensor) -> str:
    return "x".join(str(side) for side in value.shape) or "a single number"


def _some(keys: Iterable[str], most: int = 3) -> str:
    named = list(keys)
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more
