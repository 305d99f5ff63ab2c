"""Packed pictures: one file of raw bytes, memory-mapped, so that a run starts at once and needs no picture library.

Layout: the arrays one after the other, a JSON manifest (for every entry its arrays: name, shape, offset), the length of
the manifest in eight bytes, and the signature.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import ImageError

ENDING = ".pack"
_SIGNATURE = b"GSRPACK1"

Entry = Mapping[str, Tensor]  # arrays by name, [3, H, W] uint8 each


def write_pack(path: Path, entries: Iterable[Entry], about: Mapping[str, Any] | None = None) -> int:
    """Write entries as they come and return how many there were. The file appears only when it is complete."""
    manifest: list[dict[str, Any]] = []
    with replacing(path) as partial, partial.open("wb") as file:
        for entry in entries:
            described: dict[str, Any] = {}
            for name, array in entry.items():
                described[name] = {"shape": list(array.shape), "offset": file.tell()}
                file.write(array.contiguous().numpy().tobytes())
            manifest.append(described)
        text = json.dumps({"about": dict(about or {}), "entries": manifest}).encode()
        file.write(text + struct.pack("<Q", len(text)) + _SIGNATURE)
    return len(manifest)


class Pack(Sequence[dict[str, Tensor]]):
    """The entries of a pack; their tensors are views of the mapped file and must not be written to."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ImageError(f"There is no pack {path}.", hint="`gsr pack FOLDER FILE.pack` makes one.")
        size, tail = path.stat().st_size, struct.calcsize("<Q") + len(_SIGNATURE)
        with path.open("rb") as file:
            file.seek(max(0, size - tail))
            end = file.read()
            if len(end) != tail or not end.endswith(_SIGNATURE):
                raise ImageError(f"{path} is not a pack, or was cut short.", hint="Write it again with `gsr pack`.")
            (length,) = struct.unpack_from("<Q", end)
            file.seek(size - tail - length)
            manifest = json.loads(file.read(length))
        self.path, self.about = path, manifest["about"]
        self._entries: list[dict[str, Any]] = manifest["entries"]
        self._bytes = np.memmap(path, np.uint8, "c")  # copy on write: torch wants a writable buffer

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Tensor]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {name: self._view(**place) for name, place in self._entries[index].items()}

    def _view(self, shape: list[int], offset: int) -> Tensor:
        return torch.from_numpy(self._bytes[offset : offset + int(np.prod(shape))]).view(shape)


def find_packs(path: Path) -> list[Path]:
    """The pack itself, or the packs of a folder in the order of their names."""
    return [path] if path.suffix == ENDING else sorted(path.glob(f"*{ENDING}"))
