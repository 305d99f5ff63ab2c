"""How pairs are made, and what is compared."""

from __future__ import annotations

import numpy as np
import pytest

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.engine.protocols import PROTOCOLS, judge, make_pair, protocol


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "scale", "lr_size", "reference_size"),
    [
        ("basicsr", 2, (20, 25), (40, 50)),
        ("basicsr", 3, (13, 17), (39, 51)),
        ("basicsr", 2.5, (17, 21), (41, 51)),  # not a whole factor: MATLAB's size, the whole reference is compared
        ("rt4ksr", 3, (12, 16), (36, 48)),  # its loader wants an even LR
    ],
)
def test_sizes_follow_the_protocol(
    name: str, scale: float, lr_size: tuple[int, int], reference_size: tuple[int, int]
) -> None:
    pair = make_pair(noise(41, 51), scale, protocol(name))
    assert pair.lr.shape[:2] == lr_size
    assert pair.reference.shape[:2] == reference_size


def test_borders_are_those_of_the_table() -> None:
    borders = {name: [one.y.border_px(s) for s in (2, 3.7, 12)] for name, one in PROTOCOLS.items()}
    assert borders == {
        "basicsr": [2, 4, 12],
        "gsasr": [2, 3, 8],
        "liif-div2k": [8, 10, 18],
        "liif-benchmark": [2, 4, 12],
        "rt4ksr": [0, 0, 0],
        "savsr": [0, 0, 0],
    }


def test_a_larger_picture_is_judged_on_what_the_reference_covers() -> None:
    pair = make_pair(noise(41, 51), 2.5, protocol("basicsr"))
    drawn = np.pad(pair.reference, ((0, 1), (0, 1), (0, 0))).astype(np.float32) / 255
    assert judge(drawn, pair, protocol("basicsr"))[0].ssim == pytest.approx(1)


def test_an_lr_of_another_scale_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not cover"):
        make_pair(noise(40, 40), 2, protocol("basicsr"), lr=noise(10, 10) * 0 + 1)


def test_an_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'gsasr'"):
        protocol("gsars")
