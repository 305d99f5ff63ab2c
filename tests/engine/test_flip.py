"""FLIP against numbers of its authors' program, and what its definition demands.

The numbers come from the package flip-evaluator 1.7: `flip_evaluator.evaluate(reference, test, "LDR", inputsRGB=True,
applyMagma=False, parameters={"ppd": ppd})` on the pictures that `drawn` makes, as float32 in 0..1. It computes in
float32.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine import flip
from gsr_app.engine.metrics import convention

WHOLE = convention("whole-rgb")
PLACES = ((0, 0), (30, 41), (47, 20), (60, 82))

# Change, pixels per degree, mean, greatest, errors at PLACES.
PUBLISHED = [
    ("shift", 67.0206, 0.2717964, 0.955868, (0.53981, 0.267261, 0.011284, 0.134917)),
    ("dim", 67.0206, 0.5187629, 0.712979, (0.473669, 0.56093, 0.553814, 0.563356)),
    ("blue", 67.0206, 0.4375411, 0.907742, (0.003499, 0.530721, 0.127964, 0.907742)),
    ("grid", 67.0206, 0.0334027, 0.121088, (0.083528, 0.028431, 0.035071, 0.121088)),
    ("dots", 67.0206, 0.0575652, 0.602528, (0.007757, 0.012161, 0.112103, 0.035958)),
    ("dots", 30.0, 0.0411267, 0.966013, (3.2e-05, 0.0044, 0.090959, 0.0)),
    ("shift", 110.0, 0.25109, 0.865561, (0.55853, 0.326186, 0.047563, 0.083609)),
]


def drawn(change: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture of waves, edges and flat colours, and the same picture changed; [61, 83, 3] uint8."""
    y, x = np.mgrid[:61, :83].astype(float)
    waves = 0.5 + 0.4 * np.sin(x / 3.7 + y / 9.1) * np.cos(y / 5.3)
    edges = ((x // 13 + y // 17) % 2) * 0.8 + 0.1
    reference = np.stack([waves, 0.5 * waves + 0.5 * edges, (x + 2 * y) / 205], -1)
    reference[40:55, 10:30] = (0.9, 0.2, 0.1)
    dots = ((x % 9 == 4) & (y % 11 == 5))[..., None]
    changed = {
        "shift": np.roll(reference, 1, 1),
        "dim": 0.8 * reference,
        "blue": reference * (1, 1, 0.5),
        "grid": reference + 0.1 * (((x + y) % 2)[..., None] - 0.5),
        "dots": np.where(dots, 1 - reference, reference),
    }[change]
    one, two = (np.round(255 * picture.clip(0, 1)).astype(np.uint8) for picture in (reference, changed))
    return one, two


def planes(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())


@pytest.mark.parametrize(("change", "per_degree", "mean", "greatest", "at"), PUBLISHED)
def test_errors_are_those_of_the_published_program(
    change: str, per_degree: float, mean: float, greatest: float, at: tuple[float, ...]
) -> None:
    reference, test = drawn(change)
    errors = flip.error_map(planes(test), planes(reference), per_degree)
    assert errors.mean().item() == pytest.approx(mean, abs=2e-6)
    assert errors.max().item() == pytest.approx(greatest, abs=2e-5)
    assert [errors[place].item() for place in PLACES] == pytest.approx(at, abs=2e-5)


def test_equal_pictures_have_no_error_and_the_order_does_not_count() -> None:
    one, two = drawn("shift")
    assert flip.flip(one, one, by=WHOLE) == 0
    assert flip.flip(one, two, by=WHOLE) == flip.flip(two, one, by=WHOLE) > 0.05


def test_the_error_does_not_depend_on_the_rows_that_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (planes(picture) for picture in drawn("dots"))
    whole = flip.error_map(one, two)
    monkeypatch.setattr(flip, "_STRIP_PIXELS", 5 * 83)
    assert torch.allclose(flip.error_map(one, two), whole, rtol=0, atol=1e-12)


def test_it_is_measured_on_8_bits_inside_the_border_of_the_convention() -> None:
    one, two = drawn("dim")
    by = convention("gsasr")  # of luma, with a border of the scale
    inside = np.s_[3:-3, 3:-3]
    expected = flip.flip(one[inside], two[inside], by=WHOLE)
    assert flip.flip(one, two, by=by, scale=3) == pytest.approx(expected, abs=1e-12)
    nearly = one.astype(np.float32) / 255 + np.float32(0.4 / 255)
    assert flip.flip(nearly.clip(0, 1), two, by=by, scale=3) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InvalidArgument, match="cannot be compared"):
        flip.flip(one, two[:-1], by=WHOLE)
