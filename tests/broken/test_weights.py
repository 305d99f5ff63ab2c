"""Damaged weight files: each is loaded with finite numbers, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.broken.damage import Rng, damage_bytes, damage_tensor_header, damage_zip_member
from tests.broken.networks import small_network
from tests.broken.worker import try_damaged


def seeds(folder: Path) -> list[tuple[str, bytes]]:
    state = small_network().state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save({"params_ema": state, "epoch": 5}, folder / "wrapped.pth")
    torch.save({"state_dict": {f"module.{key}": one for key, one in state.items()}}, folder / "old.pt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    save_file(state, folder / "plain.safetensors")
    names = ("plain.pth", "plain.safetensors", "wrapped.pth", "old.pt")
    return [(name, (folder / name).read_bytes()) for name in names]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_damaged_weights_are_loaded_or_refused(tmp_path: Path, count: int) -> None:
    damages = [damage_bytes(400), damage_bytes(4000, most=1), _damage_inside]
    try_damaged("load_weights", seeds(tmp_path), damages, tmp_path, count=count, read=count // 40, refused=count // 3)


def _damage_inside(data: bytes, rng: Rng) -> bytes:
    if data.startswith(b"PK"):
        return damage_zip_member(data, rng)
    return damage_bytes(400)(data, rng) if data.startswith(b"\x80") else damage_tensor_header(data, rng)
