"""How pairs are made, and what is compared."""

from __future__ import annotations

import numpy as np
import pytest

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.types import Scale
from gsr_app.engine.metrics import CONVENTIONS
from gsr_app.engine.protocols import PROTOCOLS, choices, find, judge, make_pair, pair_size, protocol


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "scale", "lr_size", "reference_size"),
    [
        ("basicsr", 2, (20, 25), (40, 50)),
        ("basicsr", 3, (13, 17), (39, 51)),
        ("basicsr", 2.5, (17, 21), (41, 51)),  # not a whole factor: MATLAB's size, the whole reference is compared
        ("basicsr", 3.7, (12, 14), (41, 51)),
        ("rt4ksr", 3, (12, 16), (36, 48)),  # its loader wants an even LR
        ("savsr", 2.5, (16, 20), (40, 50)),  # both sides in steps of 2 source pixels, which are 5 output pixels
    ],
)
def test_sizes_follow_the_protocol(
    name: str, scale: float, lr_size: tuple[int, int], reference_size: tuple[int, int]
) -> None:
    pair = make_pair(noise(41, 51), scale, protocol(name))
    assert pair.lr.shape[:2] == lr_size
    assert pair.reference.shape[:2] == reference_size


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("scale", [Scale(1, 1), Scale(2, 2), Scale(2.5, 2.5), Scale(3.7, 3.7), Scale(4, 1.5)])
def test_sizes_can_be_asked_without_making_the_pair(name: str, scale: Scale) -> None:
    pair, size = make_pair(noise(200, 235), scale, protocol(name)), pair_size((200, 235), scale, protocol(name))
    assert (size.lr, size.reference) == (pair.lr.shape[:2], pair.reference.shape[:2])
    assert size.output == scale.output_size(size.lr)


@pytest.mark.parametrize("name", ["basicsr", "savsr"])
def test_grey_alpha_and_16_bits_are_shrunk_like_rgb(name: str) -> None:
    by, rgb = protocol(name), noise(41, 51)
    lr = make_pair(rgb, 2.5, by).lr
    opaque = np.concatenate([rgb, np.full((41, 51, 1), 255, np.uint8)], axis=2)
    assert np.array_equal(make_pair(opaque, 2.5, by).lr[..., :3], lr)
    assert np.array_equal(make_pair(rgb[..., 0], 2.5, by).lr, lr[..., 0])
    deep = make_pair(rgb.astype(np.uint16) * 257, 2.5, by).lr
    exact = lr / 255 if lr.dtype == np.uint8 else lr
    assert np.abs(deep / (65535 if deep.dtype == np.uint16 else 1) - exact).max() <= 0.5 / 255 + 1e-4
    assert np.abs(make_pair((rgb / 255).astype(np.float32), 2.5, by).lr - exact).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("name", ["basicsr", "savsr"])
def test_colours_of_transparent_pixels_do_not_spread_when_a_picture_is_shrunk(name: str) -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[:, :20] = (200, 100, 50, 255)  # visible; the other half is a transparent green
    picture[:, 20:, 1] = 255
    lr = make_pair(picture, 2, protocol(name)).lr.astype(np.float64)
    lr = lr if name == "basicsr" else lr * 255
    assert np.abs(lr[:, :10, :3] - (200, 100, 50)).max() < 1
    assert np.abs(lr[:, 12:, 3]).max() < 1


def test_a_scale_below_1_and_a_tiny_picture_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        pair_size((40, 40), Scale(2, 0.5), protocol("basicsr"))
    with pytest.raises(InvalidArgument, match="too small"):
        make_pair(noise(3, 40), 4, protocol("basicsr"))


def test_every_choice_names_a_protocol_and_a_convention() -> None:
    for name in choices():
        by, convention = find(name)
        assert convention.name == name or convention == PROTOCOLS[name].main
        assert convention in (by.y, by.rgb) or convention.channel == "y-swapped"
    assert find("liif-div2k")[1].channel == "rgb"
    assert find("gsasr-rgb") == (PROTOCOLS["gsasr"], CONVENTIONS["gsasr-rgb"])
    with pytest.raises(UnknownName):
        find("gsars")


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
