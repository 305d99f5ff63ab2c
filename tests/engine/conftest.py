"""Small networks of every kind that the engine runs, with weights made on the spot.

Each is simple enough that the right answer is known: a convolution whose reach is smaller than the overlap must give
the same picture in tiles as in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.engine import networks
from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method, WeightFile

REACH = 4  # pixels that two 5x5 convolutions see to each side


class Doubler(nn.Module):
    """pixels: twice the size, by two convolutions and a pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 12, 5, padding=2)

    def forward(self, lr: Tensor) -> Tensor:
        assert lr.shape[-2] % 2 == 0, "the engine pads"
        assert lr.shape[-1] % 2 == 0, "the engine pads"
        smooth = F.pixel_shuffle(self.second(self.first(lr).relu()), 2)
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2) + 0.1 * smooth


class Asker(nn.Module):
    """continuous: bilinear samples of convolved features at the centres of the view's pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 5, padding=2)

    def encode(self, lr: Tensor) -> Tensor:
        return lr + 0.1 * self.conv(lr)

    def query(self, features: Tensor, view: View) -> Tensor:
        height, width = features.shape[-2:]
        scale_y, scale_x = view.size[0] / view.span[0], view.size[1] / view.span[1]
        y = (torch.arange(view.size[0]) + 0.5) / scale_y + view.origin[1]
        x = (torch.arange(view.size[1]) + 0.5) / scale_x + view.origin[0]
        where = torch.stack(torch.meshgrid(y / height * 2 - 1, x / width * 2 - 1, indexing="ij")[::-1], -1)[None]
        return F.grid_sample(features, where, mode="bilinear", padding_mode="border", align_corners=False)

    def forward(self, lr: Tensor, size: tuple[int, int]) -> Tensor:
        return self.query(self.encode(lr), View((0, 0), (lr.shape[-2], lr.shape[-1]), size))


class Painter(nn.Module):
    """field: four normalised Gaussians per pixel, coloured by convolved features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 5, padding=2)

    def encode(self, lr: Tensor) -> Tensor:
        return lr + 0.1 * self.conv(lr)

    def field(self, features: Tensor, scale: Scale) -> GaussianField:
        height, width = features.shape[-2:]
        y, x = torch.meshgrid((torch.arange(height * 2) + 0.5) / 2, (torch.arange(width * 2) + 0.5) / 2, indexing="ij")
        color = F.interpolate(features, scale_factor=2, mode="nearest")[0].flatten(1).t()
        count = len(color)
        mean = torch.stack([x.flatten(), y.flatten()], 1)
        return GaussianField(mean, torch.full((count, 2), 0.4), torch.zeros(count), color, (height, width), True)


_FAKES = {
    "fake-doubler": (Architecture("fake-doubler", Doubler, "pixels", native_scale=2, multiple_of=2, overlap=8), 2),
    "fake-asker": (Architecture("fake-asker", Asker, "continuous", overlap=12), None),
    "fake-whole-asker": (Architecture("fake-whole-asker", Asker, "continuous", tileable=False), None),
    "fake-painter": (Architecture("fake-painter", Painter, "field", multiple_of=4, overlap=8, lattice=2), None),
    "fake-scaled-painter": (
        Architecture("fake-scaled-painter", Painter, "field", lattice=2, scale_conditioned=True, window_fraction=0.5),
        None,
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """These networks are so small that a second thread only costs time."""
    torch.set_num_threads(1)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The fake methods in the catalogue, their weights in GSR_WEIGHTS_DIR."""
    for name, (arch, native) in _FAKES.items():
        torch.manual_seed(1)
        (tmp_path / name).mkdir()
        save_file(arch.build().state_dict(), tmp_path / name / f"{name}.safetensors")
        method = Method(
            id=name,
            title=name,
            family="fake",
            kind=arch.kind,
            scales=(2.0, 2.0) if native else (1.0, 4.0),
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0",
            files=(WeightFile(url=f"https://example.invalid/{name}.safetensors"),),
        )
        registry.register(method, arch)
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    networks.forget_all()
    yield
    networks.forget_all()
    for name in _FAKES:
        registry.unregister(name)
