"""How much a drawing of a field costs, and that it is drawn in pieces which can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.engine import rows
from gsr_app.engine.cancellation import cancelling
from gsr_app.engine.rows import FieldRows, count_values
from gsr_app.engine.session import Session
from gsr_app.ops import render

EPS = 1e-4


def scatter(
    count: int, sigma: tuple[float, float], size: tuple[int, int], *, window: float | None = None
) -> GaussianField:
    generator = np.random.default_rng(count)
    mean = generator.uniform(-5, max(size) + 5, (count, 2)).astype(np.float32)
    shape = np.exp(generator.uniform(*np.log(sigma), (count, 2))).astype(np.float32)
    rho = generator.uniform(-0.9, 0.9, count).astype(np.float32)
    color = generator.uniform(0, 1, (count, 3)).astype(np.float32)
    return GaussianField(mean, shape, rho, color, size, window=window and (window, window))


def values_above_eps(field: GaussianField, view: View) -> int:
    """Counted pixel by pixel, from the formula."""
    height, width = view.size
    x = view.origin[0] + (np.arange(width) + 0.5) * view.span[1] / width
    y = view.origin[1] + (np.arange(height) + 0.5) * view.span[0] / height
    count = 0
    for (mx, my), (sx, sy), rho in zip(field.mean, field.sigma, field.rho, strict=True):
        a, b = ((x - mx) / sx)[None, :], ((y - my) / sy)[:, None]
        is_seen = (a * a - 2 * rho * a * b + b * b) / (1 - rho * rho) <= -2 * np.log(EPS)
        if field.window:
            is_seen = is_seen & (abs(x - mx) <= field.window[0])[None, :] & (abs(y - my) <= field.window[1])[:, None]
        count += int(is_seen.sum())
    return count


@pytest.mark.parametrize("window", [None, 3.0])
@pytest.mark.parametrize("sigma", [(0.2, 1.0), (1.0, 8.0), (1e5, 1e6)])
@pytest.mark.parametrize("enough", [0, 1 << 30])
def test_the_count_is_an_upper_bound_that_is_not_absurd(
    sigma: tuple[float, float], window: float | None, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "DRAWN_VALUES", enough)
    field = scatter(60, sigma, (30, 40), window=window)
    for view in (View.whole((30, 40), Scale(2, 3)), View((11.0, 7.0), (6.0, 9.0), (50, 70))):
        found, counted = count_values(field, view), values_above_eps(field, view)
        assert counted <= found <= 60 * view.size[0] * view.size[1]
        if not enough:
            assert found <= 6 * counted + 60 * 400  # the box of a tilted ellipse, and a rim of pixels


def test_large_gaussians_are_drawn_in_pieces_that_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field, view = scatter(200, (50.0, 300.0), (120, 90)), View.whole((120, 90), Scale(2, 2))
    assert len(FieldRows(field, view)) == 1
    whole = render(field, view)
    monkeypatch.setattr(rows, "DRAWN_VALUES", 200 * 240 * 180 // 8)
    pieces = list(FieldRows(field, view))
    assert 7 <= len(pieces) <= 10
    joined = torch.cat([render(seen, part) for _, part, seen in pieces], 1)
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=1e-5)


def test_a_drawing_of_large_gaussians_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DRAWN_VALUES", 100_000)
    field, asked = scatter(100, (50.0, 300.0), (60, 60)), [0]

    def cancel() -> bool:
        asked[0] += 1
        return asked[0] > 2

    with cancelling(cancel), pytest.raises(Cancelled):
        Session("cpu").render(field, View.whole((60, 60), Scale(1, 1)))
    assert asked[0] == 3
