"""Damaged field files: each is drawn, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gsr_app.core.types import GaussianField
from gsr_app.io.fields import Quantised, pack_field
from tests.broken.damage import damage_bytes, damage_tensor_header
from tests.broken.worker import try_damaged


def seeds() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)

    def field(channels: int, window: tuple[float, float] | None) -> GaussianField:
        spans = {"mean": (60, 2), "sigma": (60, 2), "rho": (60,), "color": (60, channels)}
        arrays = {name: rng.uniform(0.1, 0.9, shape).astype(np.float32) for name, shape in spans.items()}
        arrays["mean"] *= 20
        return GaussianField(**arrays, source_size=(16, 20), window=window, normalize=window is not None)

    return [
        ("float32.gsr", pack_field(field(3, None), precision="float32", method="swift", licence="MIT")),
        ("float16.gsr", pack_field(field(1, (2.0, 2.0)))),
        ("quantised.gsr", pack_field(field(3, None), precision=Quantised(12, 10, 9, 8))),
    ]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_damaged_fields_are_drawn_or_refused(tmp_path: Path, count: int) -> None:
    damages = [damage_bytes(1000), damage_bytes(4000, most=1), damage_tensor_header]
    try_damaged("draw_field", seeds(), damages, tmp_path, count=count, read=count // 20, refused=count // 3)
