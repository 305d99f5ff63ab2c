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
from gsr_app.ops import backend, render

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


def points(first: float, span: float, count: int, spacing: int) -> np.ndarray:
    """The pixels of one side of a view, or every so many of them and six beside the frame."""
    at = np.arange(count) if spacing == 1 else np.arange(-2 * spacing, count + 3 * spacing, spacing)
    return first + (at + 0.5) * span / count


def values_above_eps(field: GaussianField, view: View) -> int:
    """Counted point by point, from the formula: a whole large Gaussian has points that are 1/8 to 1/16 of it apart."""
    height, width = view.size
    scale_x, scale_y = width / view.span[1], height / view.span[0]
    is_native = backend.load("cpu").backend == "cpu"
    count = 0
    for (mx, my), (sx, sy), rho in zip(field.mean, field.sigma, field.rho, strict=True):
        narrow = min(sx * scale_x, sy * scale_y) * np.sqrt(1 - rho**2)
        is_coarse = is_native and not field.window and narrow >= 16
        spacing = 2 ** int(np.floor(np.log2(narrow / 8))) if is_coarse else 1
        x, y = (points(*side, spacing) for side in zip(view.origin, view.span[::-1], (width, height), strict=True))
        a, b = ((x - mx) / sx)[None, :], ((y - my) / sy)[:, None]
        is_seen = (a * a - 2 * rho * a * b + b * b) / (1 - rho * rho) <= -2 * np.log(EPS)
        if field.window:
            is_seen = is_seen & (abs(x - mx) <= field.window[0])[None, :] & (abs(y - my) <= field.window[1])[:, None]
        count += int(is_seen.sum())
    return count


@pytest.mark.parametrize("window", [None, 3.0])
@pytest.mark.parametrize("sigma", [(0.2, 1.0), (1.0, 8.0), (8.0, 100.0), (1e5, 1e6)])
@pytest.mark.parametrize("enough", [0, 1 << 30])
def test_the_count_is_an_upper_bound_that_is_not_absurd(
    sigma: tuple[float, float], window: float | None, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "DRAWN_VALUES", enough)
    field = scatter(60, sigma, (30, 40), window=window)
    for view in (View.whole((30, 40), Scale(2, 3)), View((11.0, 7.0), (6.0, 9.0), (50, 70))):
        found, counted = count_values(field, view), values_above_eps(field, view)
        assert counted <= found <= 60 * (view.size[0] + 6) * (view.size[1] + 6)
        if not enough:
            assert found <= 6 * counted + 60 * 400  # the box of a tilted ellipse, and a rim of pixels


def test_large_gaussians_are_drawn_in_pieces_that_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field, view = scatter(200, (5.0, 300.0), (120, 90)), View.whole((120, 90), Scale(2, 2))
    assert len(FieldRows(field, view)) == 1
    whole = render(field, view)
    monkeypatch.setattr(rows, "DRAWN_VALUES", 0)  # counts exactly
    monkeypatch.setattr(rows, "DRAWN_VALUES", int(count_values(field, view) / 8))
    pieces = list(FieldRows(field, view))
    assert 7 <= len(pieces) <= 10
    joined = torch.cat([render(seen, part) for _, part, seen in pieces], 1)
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=1e-5)


def test_a_drawing_of_large_gaussians_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DRAWN_VALUES", 10_000)
    field, asked = scatter(100, (50.0, 300.0), (60, 60)), [0]

    def cancel() -> bool:
        asked[0] += 1
        return asked[0] > 2

    with cancelling(cancel), pytest.raises(Cancelled):
        Session("cpu").render(field, View.whole((60, 60), Scale(1, 1)))
    assert asked[0] == 3
