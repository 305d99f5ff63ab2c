"""What can be built (architectures) and what can be run (methods of the catalogue).

An architecture is code; a method is an architecture with particular weights. Both are plain data: nothing is
registered by importing something, and a duplicate id is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gsr_app.core.errors import GsrError, UnknownName

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["resize", "field", "pixels", "continuous", "video"]
"""How the engine runs an architecture.

resize      a kernel; no network, `ops.resize` does it
field       `module.encode(lr) -> features`, `module.field(features, scale) -> GaussianField`, drawn at any view
pixels      `module(lr) -> sr` at one native scale
continuous  `module(lr, (H, W)) -> sr`; when tileable also `module.encode(lr) -> features` and
            `module.query(features, view) -> sr` of any View of the source plane
video       seven frames in, one out
"""


@dataclass(frozen=True)
class Architecture:
    """What the engine has to know about a network in order to run it; everything else stays in its file."""

    id: str
    build: Callable[[], nn.Module]
    kind: Kind
    native_scale: int | None = None  # pixels: the one factor the network makes
    multiple_of: int = 1  # both sides of the input are padded to a multiple of this,
    minimum_size: int = 1  # and to at least this
    pad_mode: Literal["reflect", "replicate", "zeros"] = "reflect"
    overlap: int = 16  # source pixels of context that a tile needs on each side
    tileable: bool = True
    scale_conditioned: bool = False  # field: the field belongs to the scale it was made for
    lattice: int = 1  # field: Gaussians per source pixel and axis, in row-major order over the whole lattice
    window_fraction: float | None = None  # field: half-width of the published hard window, over half the frame
    parts: tuple[str, ...] = ()  # submodules that have a weight file each ("encoder", "decoder"); empty: one file


# The whole list, in the order in which a reader meets them: architecture id -> the file that defines it in ARCHS.
_FILES: dict[str, str] = {}


def architecture_ids() -> tuple[str, ...]:
    return tuple(_FILES)


def architecture(arch_id: str) -> Architecture:
    """The architecture of an id; imports its file."""
    if arch_id not in _FILES:
        raise UnknownName(arch_id, _FILES, what="Architecture", where="the registry")
    for arch in importlib.import_module(f"gsr_app.models.{_FILES[arch_id]}").ARCHS:
        if arch.id == arch_id:
            return arch
    raise GsrError(f"{_FILES[arch_id]}.py does not define {arch_id!r}.")


def build(arch_id: str) -> nn.Module:
    """A network with fresh weights, in eval mode."""
    return architecture(arch_id).build().eval()
