"""NIQE: its fit recovers known shapes, and its score equals known distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine import niqe


def draw_asymmetric(shape: float, left: float, right: float, count: int, seed: int) -> np.ndarray:
    """Samples of an asymmetric generalised Gaussian: a side by its weight, then a Gamma power."""
    rng = np.random.default_rng(seed)
    size = rng.gamma(1 / shape, 1, count) ** (1 / shape)
    is_left = rng.random(count) < left / (left + right)
    return np.where(is_left, -left * size, right * size)


@pytest.mark.parametrize(("shape", "left", "right"), [(2.0, 1.0, 1.0), (0.8, 0.5, 1.5), (3.5, 2.0, 0.7)])
def test_the_fit_recovers_the_shape_that_samples_were_drawn_from(shape: float, left: float, right: float) -> None:
    found = niqe._fit_asymmetric_gaussian(draw_asymmetric(shape, left, right, 400_000, seed=3))
    assert found == pytest.approx((shape, left, right), rel=0.03)


def test_features_of_white_noise_are_the_same_in_both_directions() -> None:
    noise = torch.from_numpy(np.random.default_rng(1).normal(128, 20, (192, 288)))
    features = niqe.extract_features(noise)
    assert features.shape == (6, 36)
    # Subtracting the local mean leaves neighbours of independent values a little opposed, alike in both directions.
    across, down, one_diagonal, other_diagonal = features.mean(0)[[3, 7, 11, 15]]
    assert -0.2 < across < -0.05
    assert across == pytest.approx(down, abs=0.03)
    assert one_diagonal == pytest.approx(other_diagonal, abs=0.03)


def test_the_score_is_the_mahalanobis_distance_between_the_two_models() -> None:
    picture = torch.from_numpy(np.random.default_rng(2).normal(128, 30, (288, 288)).clip(0, 255))
    features = niqe.extract_features(picture)
    mean, covariance = features.mean(0), np.cov(features, rowvar=False)
    assert niqe.niqe(picture, niqe.PristineModel(mean, covariance)) == pytest.approx(0, abs=1e-9)
    # A pristine model with the identity added: the pooled covariance is regular, and the distance has a closed form.
    shift = np.zeros(36)
    shift[5] = 2.0
    model = niqe.PristineModel(mean + shift, covariance + np.eye(36))
    expected = math.sqrt(shift @ np.linalg.solve(covariance + np.eye(36) / 2, shift))
    assert niqe.niqe(picture, model) == pytest.approx(expected, rel=1e-6)


def test_flat_blocks_count_as_in_the_program_of_the_authors() -> None:
    """There a flat block has the least shape, 0.2, and no other feature; means leave out what is not a number."""
    picture = torch.from_numpy(np.random.default_rng(4).normal(128, 30, (288, 480)).clip(0, 255))
    picture[:, :180] = 255
    features = niqe.extract_features(picture)
    flat, textured = features[:3], features[3:]  # the blocks of the first column, whose neighbours are flat as well
    shapes = [scale + at for scale in (0, 18) for at in (0, 2, 6, 10, 14)]
    assert np.array_equal(np.isnan(flat).all(0), [column not in shapes for column in range(36)])
    assert (flat[:, shapes] == 0.2).all()
    assert np.isfinite(textured).all()
    mean = textured.mean(0)
    mean[shapes] = (textured[:, shapes].sum(0) + 3 * 0.2) / 15
    model = niqe.PristineModel(np.zeros(36), np.eye(36))
    expected = math.sqrt(mean @ np.linalg.solve((np.eye(36) + np.cov(textured, rowvar=False)) / 2, mean))
    assert niqe.niqe(picture, model) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("size", "says"), [((95, 200), "at least 96x96"), ((192, 192), "flat or too small")])
def test_pictures_without_enough_texture_are_refused(size: tuple[int, int], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        niqe.niqe(torch.full(size, 128.0), niqe.PristineModel(np.zeros(36), np.eye(36)))
