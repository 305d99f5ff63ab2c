"""SMFANet against the outputs of the published program with the released weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.models import registry
from gsr_app.models.checkpoint import load_state, read_state
from gsr_app.models.registry import architecture, build
from gsr_app.models.smfanet import SMFANet
from tests import set5

SCALES = (2, 3, 4)


def released(shared: Path, scale: int, *, plus: bool = False) -> SMFANet:
    path = shared / f"weights/SMFANet{'_plus' if plus else ''}_DF2K_100w_x{scale}SR.pth"
    net = build(f"smfanet{'-plus' if plus else ''}-x{scale}")
    assert isinstance(net, SMFANet)
    load_state(net, read_state(path), path)
    return net


@pytest.mark.shared
@pytest.mark.parametrize("scale", SCALES)
def test_keys_and_shapes_are_the_checkpoints(shared: Path, scale: int) -> None:
    expected = json.loads((shared / "golden/light/keys.json").read_text())[f"smfanet-x{scale}"]
    own = {name: list(value.shape) for name, value in build(f"smfanet-x{scale}").state_dict().items()}
    assert own == expected


@pytest.mark.shared
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("picture", ["a", "b"])  # b has odd sides
def test_outputs_equal_the_published_ones(shared: Path, scale: int, picture: str) -> None:
    with np.load(shared / "golden/light/light.npz") as golden:
        lr, expected = (torch.from_numpy(golden[f"smfanet-x{scale}/{picture}/{end}"]) for end in ("in", "out"))
    with torch.inference_mode():
        answer = released(shared, scale)(lr)
    assert float((answer - expected).abs().max()) <= 1e-4 * float(expected.std()) + 1e-5


@pytest.mark.shared
@pytest.mark.parametrize("scale", SCALES)
def test_set5_gives_the_published_figures(shared: Path, scale: int) -> None:
    method = registry.method(f"smfanet-x{scale}")
    published = next(float(one["psnr_y"]) for one in method.published if one["dataset"] == "Set5")
    assert set5.psnr_y(shared, scale, released(shared, scale)) == pytest.approx(published, abs=0.01)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("scale", "least_db"), [(2, 38.18), (4, 32.50)])
def test_the_larger_network_is_better_on_set5(shared: Path, scale: int, least_db: float) -> None:
    assert set5.psnr_y(shared, scale, released(shared, scale, plus=True)) >= least_db


def test_a_side_below_eight_pixels_is_what_the_architecture_pads() -> None:
    arch = architecture("smfanet-x2")
    small = torch.rand(1, 3, arch.minimum_size, arch.minimum_size + 5)
    with torch.inference_mode():
        assert build("smfanet-x2")(small).shape == (1, 3, 16, 26)
        with pytest.raises(RuntimeError):
            build("smfanet-x2")(small[:, :, :7])
