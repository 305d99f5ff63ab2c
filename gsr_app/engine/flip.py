"""FLIP: how visible the difference of two pictures is to a person who sees them in turn at the same place of a screen.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström, Fairchild, "FLIP: A Difference Evaluator for Alternating Images",
HPG 2020. Written from the paper's formulas: the version for pictures of 8 bits (LDR-FLIP). 0 is equal, 1 the largest
difference.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gsr_app.engine.metrics import Convention, Image, comparable
from gsr_app.engine.rows import split_rows

PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180
"""Of the paper's viewer: 0.7 m in front of a screen that is 0.7 m wide and has 3840 pixels across."""

# Contrast sensitivity of the eye per opponent channel: pairs (a, b) of a sum of Gaussians, b in square degrees.
_SENSITIVITY = (
    ((1.0, 0.0047),),  # black to white
    ((1.0, 0.0053),),  # red to green
    ((34.1, 0.04), (13.5, 0.025)),  # blue to yellow
)
_FEATURE_DEGREES = 0.082  # width of the edges and points that the eye finds
_COLOR_POWER, _FEATURE_POWER = 0.7, 0.5
_KNEE_AT, _KNEE_TO = 0.4, 0.95  # up to this part of the largest colour error, errors fill this part of the scale

_STRIP_PIXELS = 1 << 16

_LEVELS = torch.arange(256, dtype=torch.float64) / 255
_LINEAR = torch.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)

# Linear sRGB to CIE XYZ, from the chromaticities of the primaries and of D65.
_PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
_D65 = np.array([0.31271, 0.32902])


def _to_xyz() -> np.ndarray:  # [3, 3]
    columns = np.stack([_PRIMARIES[:, 0], _PRIMARIES[:, 1], 1 - _PRIMARIES.sum(1)])
    white = np.array([_D65[0], _D65[1], 1 - _D65.sum()]) / _D65[1]
    return columns * np.linalg.solve(columns, white)


_XYZ = torch.from_numpy(_to_xyz())
_WHITE = _XYZ.sum(1)
# Y, Cx and Cz of the opponent space from XYZ over white, without the constant -16 of Y.
_OPPONENT = torch.tensor([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]], dtype=torch.float64)
_RGB_TO_OPPONENT = _OPPONENT @ (_XYZ / _WHITE[:, None])
_OPPONENT_TO_RGB = torch.linalg.inv(_RGB_TO_OPPONENT)


def flip(image: Image, reference: Image, *, by: Convention, scale: float = 1.0) -> float:
    """The mean error of a picture that was made at `scale`, on RGB of 8 bits, inside the convention's border."""
    pair = comparable(image, reference, replace(by, channel="rgb", quantised=True), scale)
    return error_map(*pair).mean().item()


def error_map(one: Tensor, two: Tensor, pixels_per_degree: float = PIXELS_PER_DEGREE) -> Tensor:  # -> [H, W] float64
    """The error of every pixel of two sRGB pictures, [3, H, W] of levels from 0 to 255."""
    filters = _Filters(pixels_per_degree)
    height, width = one.shape[1:]
    found = torch.empty(height, width, dtype=torch.float64)
    for start, stop in split_rows(height, width, _STRIP_PIXELS):
        found[start:stop] = filters.compare(*(filters.strip(picture, start, stop) for picture in (one, two)))
    return found


class _Filters:
    """The filters of one viewing distance. Each is a product of one along the rows and one along the columns."""

    def __init__(self, pixels_per_degree: float) -> None:
        widest = max(b for channel in _SENSITIVITY for _, b in channel)
        radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * pixels_per_degree)
        degrees = torch.arange(-radius, radius + 1, dtype=torch.float64) / pixels_per_degree
        self.sensitivity: list[list[tuple[float, Tensor]]] = []
        for channel in _SENSITIVITY:
            terms = [(a * math.sqrt(math.pi / b), torch.exp(-(math.pi**2) * degrees.square() / b)) for a, b in channel]
            total = sum(weight * taps.sum().item() ** 2 for weight, taps in terms)
            self.sensitivity.append([(weight / total, taps) for weight, taps in terms])
        sigma = 0.5 * _FEATURE_DEGREES * pixels_per_degree
        self.feature_radius = math.ceil(3 * sigma)
        x = torch.arange(-self.feature_radius, self.feature_radius + 1, dtype=torch.float64)
        bell = torch.exp(-x.square() / (2 * sigma**2))
        self.bell = bell / bell.sum()
        self.edge = _balanced(-x * bell)
        self.point = _balanced((x.square() / sigma**2 - 1) * bell)
        self.radius = max(radius, self.feature_radius)
        self.color_radius = radius

    def strip(self, picture: Tensor, start: int, stop: int) -> Tensor:
        """Rows of a picture as linear RGB [3, h, w], with the margin that the filters need; edges are repeated."""
        height, width = picture.shape[1:]
        rows = torch.arange(start - self.radius, stop + self.radius).clamp(0, height - 1)
        columns = torch.arange(-self.radius, width + self.radius).clamp(0, width - 1)
        return _LINEAR[picture[:, rows][:, :, columns].long()]

    def compare(self, one: Tensor, two: Tensor) -> Tensor:
        return _color_error(self._seen(one), self._seen(two)) ** (1 - self._feature_error(one, two))

    def _seen(self, rgb: Tensor) -> Tensor:
        """The colours as the eye resolves them, in L*a*b* with Hunt's correction."""
        planes = _mixed(_RGB_TO_OPPONENT, _cut(rgb, self.radius - self.color_radius))
        blurred = [
            sum((weight * _filtered(plane, taps, taps) for weight, taps in terms), torch.zeros(()))
            for plane, terms in zip(planes, self.sensitivity, strict=True)
        ]
        return _hunt_lab(_mixed(_OPPONENT_TO_RGB, torch.stack(blurred)).clamp(0, 1))

    def _feature_error(self, one: Tensor, two: Tensor) -> Tensor:
        (edges, points), (other_edges, other_points) = self._features(one), self._features(two)
        most = torch.maximum((edges - other_edges).abs(), (points - other_points).abs())
        return (most / math.sqrt(2)) ** _FEATURE_POWER

    def _features(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """How strong an edge and a point each pixel is."""
        luminance = torch.einsum("chw,c->hw", _cut(rgb, self.radius - self.feature_radius), _XYZ[1])
        return (
            torch.hypot(_filtered(luminance, self.bell, self.edge), _filtered(luminance, self.edge, self.bell)),
            torch.hypot(_filtered(luminance, self.bell, self.point), _filtered(luminance, self.point, self.bell)),
        )


def _balanced(taps: Tensor) -> Tensor:
    """Taps whose positive ones add up to 1 and whose negative ones to -1."""
    return torch.where(taps > 0, taps / taps.clamp(min=0).sum(), taps / -taps.clamp(max=0).sum())


def _cut(planes: Tensor, margin: int) -> Tensor:
    height, width = planes.shape[-2:]
    return planes[..., margin : height - margin, margin : width - margin]


def _mixed(matrix: Tensor, planes: Tensor) -> Tensor:
    return torch.einsum("ij,jhw->ihw", matrix, planes)


def _filtered(plane: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """[H, W] -> [H - 2r, W - 2r]."""
    return _along(_along(plane, down, 0), across, 1)


def _along(plane: Tensor, taps: Tensor, axis: int) -> Tensor:
    length = plane.shape[axis] - len(taps) + 1
    found = plane.narrow(axis, 0, length) * taps[0]
    for at, tap in enumerate(taps.tolist()[1:], 1):
        found.add_(plane.narrow(axis, at, length), alpha=tap)
    return found


def _hunt_lab(rgb: Tensor) -> Tensor:
    """Linear RGB as L*a*b* whose a* and b* grow with L*: of dark colours little is seen."""
    ratio = _mixed(_XYZ / _WHITE[:, None], rgb)
    bent = torch.where(ratio > (6 / 29) ** 3, ratio.clamp(min=1e-9) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    light = 116 * bent[1] - 16
    return torch.stack([light, 5 * light * (bent[0] - bent[1]), 2 * light * (bent[1] - bent[2])])


def _distance(one: Tensor, two: Tensor) -> Tensor:
    """HyAB to the power of the paper: lightness and colour apart."""
    apart = (one - two).abs()
    return (apart[0] + torch.hypot(apart[1], apart[2])) ** _COLOR_POWER


def _color_error(one: Tensor, two: Tensor) -> Tensor:
    """The distance in 0..1, where most of the scale is given to the errors that are common."""
    error, knee = _distance(one, two), _KNEE_AT * _LARGEST
    upper = _KNEE_TO + (error - knee) / (_LARGEST - knee) * (1 - _KNEE_TO)
    return torch.where(error < knee, error * (_KNEE_TO / knee), upper)


_GREEN, _BLUE = (_hunt_lab(color[:, None, None]) for color in torch.eye(3, dtype=torch.float64)[1:])
_LARGEST = _distance(_GREEN, _BLUE).item()
