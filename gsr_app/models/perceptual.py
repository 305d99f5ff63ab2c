"""LPIPS and DISTS: distances between images in deep features.

LPIPS: Zhang et al., CVPR 2018, arXiv 1801.03924, richzhang/PerceptualSimilarity (BSD-2), v0.1 with AlexNet.
DISTS: Ding et al., TPAMI 2020, arXiv 2004.07728, dingkeyan93/DISTS (MIT), with VGG16.
Written from the papers. The trunks are the ImageNet networks of torchvision (BSD-3): only their convolutions are
needed, with their published parameter names; the classifiers in the official files are ignored.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.models.registry import Architecture

# LPIPS standardises RGB in [-1, 1] with the ImageNet statistics in its own rounding.
_LPIPS_SHIFT = (-0.030, -0.088, -0.188)
_LPIPS_SCALE = (0.458, 0.448, 0.450)
_LPIPS_EPSILON = 1e-10

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_DISTS_EPSILON = 1e-6
_L2_POOL_EPSILON = 1e-12  # keeps the square root's slope finite at zero


class AlexNetFeatures(nn.Module):
    """The five convolutions of AlexNet; returns the output of each ReLU."""

    widths = (64, 192, 384, 256, 256)

    def __init__(self) -> None:
        super().__init__()
        # The indices are those of the published file; pooling and ReLU have no parameters and sit in `forward`.
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
                "3": nn.Conv2d(64, 192, 5, padding=2),
                "6": nn.Conv2d(192, 384, 3, padding=1),
                "8": nn.Conv2d(384, 256, 3, padding=1),
                "10": nn.Conv2d(256, 256, 3, padding=1),
            }
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        taps: list[Tensor] = []
        for index, convolution in self.features.items():
            if index in {"3", "6"}:
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(convolution(x))
            taps.append(x)
        return taps


class LPIPS(nn.Module):
    """Learned perceptual distance of two pictures [B, 3, H, W] in [0, 1]; 0 for equal ones. Returns [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = AlexNetFeatures()
        self.linear = nn.ModuleDict(
            {
                f"lin{i}": nn.ModuleDict({"model": nn.ModuleDict({"1": nn.Conv2d(width, 1, 1, bias=False)})})
                for i, width in enumerate(AlexNetFeatures.widths)
            }
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        shift = a.new_tensor(_LPIPS_SHIFT)[:, None, None]
        scale = a.new_tensor(_LPIPS_SCALE)[:, None, None]
        total = a.new_zeros(len(a))
        taps = zip(*(self.trunk((2 * x - 1 - shift) / scale) for x in (a, b)), strict=True)
        for level, (in_a, in_b) in enumerate(taps):
            difference = (_unit_length(in_a) - _unit_length(in_b)) ** 2  # [B, C, h, w]
            weight = self.linear[f"lin{level}"].get_parameter("model.1.weight")
            total = total + F.conv2d(difference, weight).mean((1, 2, 3))
        return total


def _unit_length(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + _LPIPS_EPSILON)


class Vgg16Features(nn.Module):
    """VGG16's convolutions in five stages, with L2 pooling instead of max pooling, as in DISTS."""

    stages = (("0", "2"), ("5", "7"), ("10", "12", "14"), ("17", "19", "21"), ("24", "26", "28"))
    widths = (64, 128, 256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        before = 3
        for names, width in zip(self.stages, self.widths, strict=True):
            for name in names:
                self.features[name] = nn.Conv2d(before, width, 3, padding=1)
                before = width

    def forward(self, x: Tensor) -> list[Tensor]:
        taps: list[Tensor] = []
        for level, names in enumerate(self.stages):
            if level:
                x = _l2_pool(x)
            for name in names:
                x = F.relu(self.features[name](x))
            taps.append(x)
        return taps


def _l2_pool(x: Tensor) -> Tensor:
    """Square, blur with a 3x3 Hann window at stride 2, square root."""
    taps = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + _L2_POOL_EPSILON).sqrt()


class DISTS(nn.Module):
    """Structure and texture distance of two pictures [B, 3, H, W] in [0, 1]; 0 for equal ones. Returns [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Vgg16Features()
        channels = 3 + sum(Vgg16Features.widths)  # the picture itself is the first level
        self.linear = nn.ParameterDict(
            {name: nn.Parameter(torch.full((1, channels, 1, 1), 0.1)) for name in ("alpha", "beta")}
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        mean = a.new_tensor(_IMAGENET_MEAN)[:, None, None]
        std = a.new_tensor(_IMAGENET_STD)[:, None, None]
        levels_a, levels_b = ([x, *self.trunk((x - mean) / std)] for x in (a, b))
        similar: list[tuple[Tensor, Tensor]] = []
        for x, y in zip(levels_a, levels_b, strict=True):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))  # [B, C]
            var_x = (x - mean_x[..., None, None]).square().mean((2, 3))
            var_y = (y - mean_y[..., None, None]).square().mean((2, 3))
            covariance = (x * y).mean((2, 3)) - mean_x * mean_y
            texture = (2 * mean_x * mean_y + _DISTS_EPSILON) / (mean_x**2 + mean_y**2 + _DISTS_EPSILON)
            structure = (2 * covariance + _DISTS_EPSILON) / (var_x + var_y + _DISTS_EPSILON)
            similar.append((texture, structure))
        texture, structure = (torch.cat(parts, 1) for parts in zip(*similar, strict=True))  # [B, 1475]
        alpha, beta = self.linear["alpha"].flatten(), self.linear["beta"].flatten()
        return 1 - ((alpha * texture + beta * structure).sum(1) / (alpha.sum() + beta.sum()))


# The weights of the trunk and those of the metric are published in separate files.
ARCHS = (
    Architecture(id="perceptual-lpips", build=LPIPS, kind="metric", parts=("trunk", "linear"), tileable=False),
    Architecture(id="perceptual-dists", build=DISTS, kind="metric", parts=("trunk", "linear"), tileable=False),
)
