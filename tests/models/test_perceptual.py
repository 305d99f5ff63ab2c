"""LPIPS and DISTS against their formulas, written out plainly in numpy, on weights that the test makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsr_app.models.perceptual import DISTS, LPIPS


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(2, 3, 67, 81, generator=generator, dtype=torch.float64)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def with_drawn_weights(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim == 4 and parameter.shape[0] > 1 else 1.0
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * spread
    return module.double().eval().requires_grad_(False)


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A convolution straight from its definition, one tap at a time. x is [C, H, W]."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[-1]
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:])
    out = np.broadcast_to(bias[:, None, None], (len(weight), rows, columns)).copy()
    for i in range(size):
        for j in range(size):
            patch = x[:, i : i + stride * rows : stride, j : j + stride * columns : stride][:, :rows, :columns]
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], patch)
    return out


def pool_largest(x: np.ndarray) -> np.ndarray:
    rows, columns = ((side - 3) // 2 + 1 for side in x.shape[1:])
    return np.array(
        [[x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(columns)] for i in range(rows)]
    ).transpose(2, 0, 1)


def pool_l2(x: np.ndarray) -> np.ndarray:
    hann = np.hanning(5)[1:-1]
    kernel = np.outer(hann, hann) / np.outer(hann, hann).sum()
    squares = np.pad(x**2, ((0, 0), (1, 1), (1, 1)))
    rows, columns = ((side - 1) // 2 + 1 for side in x.shape[1:])
    out = np.zeros((len(x), rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = (squares[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * kernel).sum((1, 2))
    return np.sqrt(out + 1e-12)


def test_lpips_equals_its_formula(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    module = with_drawn_weights(LPIPS())
    state = {key: value.numpy() for key, value in module.state_dict().items()}

    def taps(picture: np.ndarray) -> list[np.ndarray]:
        shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
        x = ((picture * 2 - 1) - shift[:, None, None]) / scale[:, None, None]
        found = []
        for index, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if index in (3, 6):
                x = pool_largest(x)
            weight, bias = (state[f"trunk.features.{index}.{part}"] for part in ("weight", "bias"))
            x = np.maximum(convolve(x, weight, bias, stride, padding), 0)
            found.append(x / (np.sqrt((x**2).sum(0)) + 1e-10))
        return found

    for i, got in enumerate(module(*pictures)):
        expected = 0.0
        for level, (x, y) in enumerate(zip(taps(pictures[0][i].numpy()), taps(pictures[1][i].numpy()), strict=True)):
            weight = state[f"linear.lin{level}.model.1.weight"].ravel()
            expected += (weight[:, None, None] * (x - y) ** 2).sum(0).mean()
        assert float(got) == pytest.approx(expected, rel=1e-9)


def test_dists_equals_its_formula(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    module = with_drawn_weights(DISTS())
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    stages = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))

    def levels(picture: np.ndarray) -> list[np.ndarray]:
        x = (picture - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None]
        found = [picture]
        for level, names in enumerate(stages):
            x = pool_l2(x) if level else x
            for name in names:
                weight, bias = (state[f"trunk.features.{name}.{part}"] for part in ("weight", "bias"))
                x = np.maximum(convolve(x, weight, bias, 1, 1), 0)
            found.append(x)
        return found

    a, b = (picture[:1, :, :40, :36] for picture in pictures)
    alpha, beta = state["linear.alpha"].ravel(), state["linear.beta"].ravel()
    total, at = 0.0, 0
    for x, y in zip(levels(a[0].numpy()), levels(b[0].numpy()), strict=True):
        for channel in range(len(x)):
            p, q = x[channel].ravel(), y[channel].ravel()
            texture = (2 * p.mean() * q.mean() + 1e-6) / (p.mean() ** 2 + q.mean() ** 2 + 1e-6)
            covariance = ((p - p.mean()) * (q - q.mean())).mean()
            structure = (2 * covariance + 1e-6) / (p.var() + q.var() + 1e-6)
            total += alpha[at] * texture + beta[at] * structure
            at += 1
    assert float(module(a, b)) == pytest.approx(1 - total / (alpha.sum() + beta.sum()), rel=1e-8)


@pytest.mark.parametrize("network", [LPIPS, DISTS])
def test_equal_images_have_distance_zero(network: type, pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    module = with_drawn_weights(network())
    assert torch.allclose(module(pictures[0], pictures[0]), torch.zeros(2, dtype=torch.float64), atol=1e-9)


def test_parameter_names_are_those_of_the_published_files() -> None:
    lpips, dists = LPIPS(), DISTS()
    assert [f"features.{i}.weight" for i in (0, 3, 6, 8, 10)] == [k for k in lpips.trunk.state_dict() if "weight" in k]
    assert {f"lin{i}.model.1.weight" for i in range(5)} == set(lpips.linear.state_dict())
    assert {"alpha", "beta"} == set(dists.linear.state_dict())
    assert dists.linear["alpha"].shape == (1, 1475, 1, 1)
    assert [int(k.split(".")[1]) for k in dists.trunk.state_dict() if "weight" in k] == [
        *(0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ]
