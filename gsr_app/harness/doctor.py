"""`gsr doctor`: what this machine runs on, and why not something faster."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from importlib import metadata
from typing import Any

from gsr_app import __version__
from gsr_app.core import settings
from gsr_app.core.folders import ASSETS, cache_folder
from gsr_app.harness.models import presence_text
from gsr_app.models.registry import catalogue

_PACKAGES = ("torch", "numpy", "pyvips", "pyvips-binary", "safetensors", "huggingface_hub", "gradio", "spaces", "av")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--device", default="auto", help="look at this device")


def run(arguments: argparse.Namespace) -> int:
    found = examine(arguments.device)
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for title, section in found.items():
        print(title)
        for name, value in section.items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print(f"  {name:<18} {shown}")
    return 0


def examine(wanted: str) -> dict[str, dict[str, Any]]:
    """Everything that decides how things run here, as plain data by section."""
    import torch

    from gsr_app.engine import devices

    device = devices.choose_device(wanted)
    return {
        "machine": {
            "system": platform.platform(),
            "device": devices.describe(device),
            "precision": str(devices.choose_precision("auto", device)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "free memory": f"{devices.free_bytes(device) / 1e9:.1f} GB",
            "gpu": _gpu(),
        },
        "drawing": _drawing(device.type),
        "versions": {
            "gsr": __version__,
            "python": sys.version.split()[0],
            **{name: _version(name) for name in _PACKAGES},
        },
        "folders": {
            "cache": f"{cache_folder()}{'' if cache_folder().is_dir() else ' (made when needed)'}",
            "assets": f"{ASSETS}{'' if ASSETS.is_dir() else ' (missing)'}",
            "own weights": str(settings.weights_folder() or "GSR_WEIGHTS_DIR is not set"),
        },
        "weights": {method.id: presence_text(method) for method in catalogue().values() if method.files}
        or {"-": "no method needs any"},
    }


def _gpu() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return (
        f"torch was built for CUDA {torch.version.cuda} but sees no GPU" if torch.version.cuda else "torch has no CUDA"
    )


def _drawing(device_type: str) -> dict[str, Any]:
    """Which implementation draws Gaussians, and why not a faster one."""
    from gsr_app.ops import backend

    compiler = next((path for name in ("g++", "clang++") if (path := shutil.which(name))), "none found")
    found: dict[str, Any] = {"compiler": compiler, "GSR_BACKEND": settings.backend()}
    said = backend.load(device_type)
    reasons = {f"because {index}": reason for index, reason in enumerate(said.reasons, 1)}
    return {"backend": said.backend, "fell back": bool(said), **reasons, **found}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
