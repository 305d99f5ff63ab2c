"""Importing spandrel beside a torchvision that does not fit torch.

spandrel imports three names of torchvision for two of its architectures. Where torchvision cannot be imported, modules
that hold those names alone take its place during the import; then the two architectures cannot be used.
"""

from __future__ import annotations

import enum
import functools
import importlib
import sys
import types
from dataclasses import dataclass
from typing import Any

from gsr_app.core.extras import needs_extra

NEED_TORCHVISION = ("LaMa", "RestoreFormer")


@dataclass(frozen=True)
class Spandrel:
    module: Any
    torchvision_problem: str = ""  # why torchvision cannot be imported; empty if it can


@functools.cache
def import_spandrel() -> Spandrel:
    """The package, imported once. If it is not installed, the error says how to install it."""
    with needs_extra("community", "A model file of another author"):
        try:
            importlib.import_module("torchvision.transforms.functional")
            problem = ""
        except Exception as error:  # one that was built for another torch raises a RuntimeError
            problem = f"{type(error).__name__}: {error}"
        if not problem:
            return Spandrel(importlib.import_module("spandrel"))
        replaced = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
        stand_ins = _stand_ins()
        for name in replaced:
            del sys.modules[name]
        sys.modules.update(stand_ins)
        try:
            return Spandrel(importlib.import_module("spandrel"), problem)
        finally:  # for the rest of the process torchvision is as absent as before
            for name in stand_ins:
                sys.modules.pop(name, None)


def _stand_ins() -> dict[str, types.ModuleType]:
    def unusable(*_: object, **__: object) -> None:
        raise RuntimeError("torchvision cannot be imported")

    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: types.ModuleType(name) for name in names}
    functional = modules[names[2]]
    functional.__dict__.update(
        rotate=unusable, normalize=unusable, InterpolationMode=enum.Enum("InterpolationMode", ["NEAREST", "BILINEAR"])
    )
    modules[names[1]].__dict__["functional"] = functional
    modules[names[0]].__dict__["transforms"] = modules[names[1]]
    return modules
