"""Checkpoints in the layouts in which their authors publish them load strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gsr_app.core.errors import WeightsError
from gsr_app.models import registry, weights
from gsr_app.models.checkpoint import load_files
from gsr_app.models.download import digest_of
from tests.golden.filling import fill

LAYOUTS: dict[str, Any] = {
    "rt4ksr-x2": lambda state: {
        "epoch": 100,
        "iteration": 242401,
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer": {},
        "scheduler": {},
    },
    "rgt-s-x4": lambda state: {"params": state},
    "savsr": lambda state: {"params": state, "params_ema": {key: value * 0 for key, value in state.items()}},
    "liif-edsr": lambda state: {
        "model": {"name": "liif", "args": {}, "sd": state},
        "optimizer": {"name": "adam", "args": {}, "sd": {}},
        "epoch": 1000,
    },
    "ciaosr-edsr": lambda state: {
        "meta": {},
        "state_dict": {f"generator.{key}": value for key, value in state.items()},
    },
    "gaussiansr-edsr": lambda state: {"model": {"name": "gaussian-splatter", "args": {}, "sd": state}},
}


@pytest.mark.parametrize("arch", LAYOUTS)
def test_a_published_layout_loads_strictly(arch: str, tmp_path: Path) -> None:
    trained = fill(registry.build(arch)).state_dict()
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS[arch](trained), path)
    loaded = load_files(registry.build(arch), {"": path}).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in trained.items())


def test_weights_that_cannot_be_downloaded_name_their_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GSR_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("GSR_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="ciaosr-edsr are not here") as caught:
        weights.obtain(registry.method("ciaosr-edsr"))
    assert "github.com/caojiezhang/CiaoSR/releases" in caught.value.hint
    assert "edsr-ciaosr.pth" in caught.value.hint
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "edsr-ciaosr.pth").write_bytes(b"here")
    found = weights.find(registry.method("ciaosr-edsr"))
    assert found is not None
    assert found.files[""].name == "edsr-ciaosr.pth"


@pytest.mark.shared
@pytest.mark.parametrize("scale", [2, 3])
def test_the_catalogue_names_the_released_rt4ksr_files(shared: Path, scale: int) -> None:
    path = shared / f"weights/rt4ksr_x{scale}.pth"
    (file,) = registry.method(f"rt4ksr-x{scale}").files
    assert file.name == path.name
    assert file.bytes == path.stat().st_size
    assert file.sha256 == digest_of(path)
    load_files(registry.build(f"rt4ksr-x{scale}"), {"": path})
