"""Every environment variable that sets something, read in this module only and checked when it is used.

`VARIABLES` is the table of the README, too. An empty variable counts as unset.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app.core.errors import InvalidArgument

BACKENDS = ("auto", "reference", "cpu", "cuda")
_TRUE, _FALSE = ("1", "true", "yes", "on", "t"), ("0", "false", "no", "off", "f")


def check() -> None:
    """Raise `InvalidArgument` for the first variable whose value cannot be used."""
    for name in VARIABLES:
        _value(name, None)


def cache_folder() -> Path | None:
    """None: the platform's own (`core.folders`)."""
    return _value("GSR_CACHE", None)


def weights_folder() -> Path | None:
    return _value("GSR_WEIGHTS_DIR", None)


def model_places() -> tuple[Path, ...]:
    """Folders with model files of other authors, or single files."""
    return _value("GSR_MODELS_DIR", ())


def is_offline() -> bool:
    """Whether nothing may be fetched."""
    return _value("GSR_OFFLINE", False) or _value("HF_HUB_OFFLINE", False)


def backend() -> str:
    return _value("GSR_BACKEND", "auto")


def memory_bytes() -> int:
    return _value("GSR_MEMORY_BYTES", 1 << 30)


def max_pixels() -> int:
    return _value("GSR_MAX_PIXELS", 1 << 28)


def hub_address() -> str:
    return _value("HF_ENDPOINT", "https://huggingface.co")


def server_name() -> str:
    return _value("GRADIO_SERVER_NAME", "127.0.0.1")


def server_port() -> int:
    return _value("GRADIO_SERVER_PORT", 7860)


def allowed_hosts() -> tuple[str, ...]:
    """Names that the app answers to, besides those of the address that it listens at; "*" for all."""
    return _value("GSR_ALLOWED_HOSTS", ())


def space_host() -> str:
    """The name of the Space that this is, or nothing."""
    return _value("SPACE_HOST", "")


def upload_folder() -> Path | None:
    """Where Gradio keeps what the browser sends; None: its own choice."""
    return _value("GRADIO_TEMP_DIR", None)


def is_zero_gpu() -> bool:
    """Whether this is a Space whose GPU is lent for single calls."""
    return _value("SPACES_ZERO_GPU", False)


def set_weights_folder(folder: Path) -> None:
    """Set `GSR_WEIGHTS_DIR`, for the processes that this one starts, too."""
    os.environ["GSR_WEIGHTS_DIR"] = str(folder)


def add_model_file(path: Path) -> None:
    """Put a file before the others in `GSR_MODELS_DIR`, for the processes that this one starts, too."""
    os.environ["GSR_MODELS_DIR"] = os.pathsep.join(str(place) for place in (path.resolve(), *model_places()))


def markdown() -> str:
    """The table as the README shows it."""
    lines = ["| variable | default | supported values | what it sets |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {one.default} | {one.supported} | {one.about} |" for name, one in VARIABLES.items()]
    return "\n".join(lines) + "\n"


# ---- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable:
    about: str
    default: str
    supported: str
    parse: Callable[[str], Any]  # raises ValueError


def _value(name: str, default: Any) -> Any:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    variable = VARIABLES[name]
    try:
        return variable.parse(text)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{name} is {text!r}. Supported values: {variable.supported}.",
            hint=f"Change the environment variable {name}, or unset it (default: {variable.default}).",
        ) from None


def _switch(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _count(text: str, thousand: int) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d+)?)\s*([kmgt]?)(?:i?b)?", text.lower())
    count = int(float(match[1]) * thousand ** " kmgt".index(match[2] or " ")) if match else 0
    if count < 1:
        raise ValueError(text)
    return count


def _bytes(text: str) -> int:
    return _count(text, 1024)


def parse_pixels(text: str) -> int:
    return _count(text, 1000)


def _folder(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # ~name of an unknown user
        raise ValueError(text) from None
    return path


def _places(text: str) -> tuple[Path, ...]:
    return tuple(_folder(part.strip()) for part in text.split(os.pathsep) if part.strip())


def _readable_folder(text: str) -> Path:
    path = _folder(text)
    if path.is_file():
        raise ValueError(text)
    return path


def _backend(text: str) -> str:
    if text.lower() not in BACKENDS:
        raise ValueError(text)
    return text.lower()


def parse_port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def parse_hosts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError(text)
    for name in names:
        if not re.fullmatch(r"\*|[\w.-]+", name):
            ipaddress.IPv6Address(name)  # raises ValueError
    return names


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError(text)
    return text


PIXELS, PORT = "a number of pixels: 268435456, 500M, 1G", "a whole number from 1 to 65535"
HOSTS = "names separated by commas, without http:// and port; * for all"
_SWITCH, _FOLDER = "1 or 0 (also true, false, yes, no, on, off)", "a folder"

VARIABLES: dict[str, Variable] = {
    "GSR_CACHE": Variable(
        "where fetched weights, compiled kernels and learned times are kept",
        "`gsr` in the platform's cache folder", "a folder, made if need be", _folder,
    ),
    "GSR_WEIGHTS_DIR": Variable("your own weight files, looked for here first", "none", _FOLDER, _readable_folder),
    "GSR_MODELS_DIR": Variable(
        "model files of other authors, each the method `file:NAME`", "none",
        "a folder or a file, or several separated as in `PATH`", _places,
    ),
    "GSR_OFFLINE": Variable("fetch nothing: weights that are not here are an error", "0", _SWITCH, _switch),
    "GSR_BACKEND": Variable(
        "what draws Gaussians; one that is named loads or is an error", "auto", ", ".join(BACKENDS), _backend
    ),
    "GSR_MEMORY_BYTES": Variable(
        "memory for encoded pictures that may be drawn again", "1G", "a number of bytes: 1073741824, 512M, 2G", _bytes
    ),
    "GSR_MAX_PIXELS": Variable(
        "the largest picture that is read into memory; in strips, 64 times as many",
        "268435456", PIXELS, parse_pixels,
    ),
    "GSR_MARCH": Variable(
        "`ext/setup.py` only: the processor level to build for", "this processor", "x86-64-v3", str
    ),
    "GSR_ALLOWED_HOSTS": Variable(
        "names that the app answers to besides its own, such as that of a proxy in front of it: `--allowed-hosts`",
        "none", HOSTS, parse_hosts,
    ),
    "HF_HUB_OFFLINE": Variable("the same as `GSR_OFFLINE`", "0", _SWITCH, _switch),
    "HF_ENDPOINT": Variable(
        "a mirror of the Hugging Face Hub", "https://huggingface.co", "an address: http://… or https://…", _address
    ),
    "GRADIO_SERVER_NAME": Variable("who may connect to the app: `--host`", "127.0.0.1", "a host name or address", str),
    "GRADIO_SERVER_PORT": Variable("the port of the app: `--port`", "7860", PORT, parse_port),
    "GRADIO_TEMP_DIR": Variable(
        "where the app keeps files of its visitors", "a new one, removed at the end", _FOLDER, _folder
    ),
    "SPACE_HOST": Variable("set by Spaces, which answer to any name: their own name", "none", "a host name", str),
    "SPACES_ZERO_GPU": Variable("set by Spaces that lend a GPU for single calls", "0", _SWITCH, _switch),
}  # fmt: skip
