"""A part of a result is what the whole result has there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import Part, Scale, Upscaled
from gsr_app.engine.session import Session
from gsr_app.models import registry, weights
from tests.engine.test_networks_in_pixels import stand_in
from tests.engine.test_networks_in_pixels import weights as weights_folder
from tests.engine.test_session import KINDS, picture

__all__ = ["weights_folder"]

HEIGHT, WIDTH = 61, 83
PARTS = (Part(30, 21, 17, 13), Part(0, 0, 20, 15), Part(60, 40, 23, 21), Part(41, 0, 1, 1), Part(0, 0, WIDTH, HEIGHT))
SCALES = (Scale(2, 2), Scale(2.7, 2.7), Scale(0.6, 1.5), Scale(4, 4))


def part_of(session: Session, image: np.ndarray, method: str, scale: Scale, part: Part) -> Upscaled:
    *_, last = session.stream(image, method=method, scale=scale, part=part)
    assert isinstance(last, Upscaled)
    return last


def largest_difference(session: Session, image: np.ndarray, method: str, scale: Scale, *chosen: Part) -> int:
    """To the same pixels of the whole, in steps of 8 bits."""
    whole = session.upscale(image, method=method, scale=scale).image
    differences: list[int] = []
    for part in chosen:
        made = part_of(session, image, method, scale, part).image
        rows, columns = part.pixels(image.shape[:2], scale)
        assert made.shape == whole[rows, columns].shape
        differences.append(int(np.abs(made.astype(int) - whole[rows, columns]).max()))
    return max(differences)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_a_part_of_every_kind_equals_the_whole_there(method: str, scale: Scale) -> None:
    most = largest_difference(Session("cpu"), picture(HEIGHT, WIDTH), method, scale, *PARTS)
    is_resize = registry.method(method).kind == "resize"
    assert most <= (0 if is_resize else 1)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("method", ["bicubic", "fake-doubler", "fake-painter"])
def test_a_part_of_a_transparent_picture_equals_the_whole_there(method: str) -> None:
    image = picture(HEIGHT, WIDTH, 4)
    image[:20, :, 3] = 0
    assert largest_difference(Session("cpu"), image, method, Scale(2.5, 2.5), *PARTS) <= 1


def test_a_part_by_swift_equals_the_whole_there() -> None:
    if weights.find(registry.method("swift")) is None:
        pytest.skip("needs the weights of swift")
    session, image = Session("cpu"), np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)
    for scale in (Scale(4, 4), Scale(2.7, 2.7)):
        assert largest_difference(session, image, "swift", scale, Part(50, 40, 32, 24), Part(110, 0, 20, 20)) <= 1


@pytest.mark.parametrize("scale", [2, 2.7])
def test_a_part_by_a_network_of_windows_and_padding_equals_the_whole_there(scale: float, weights_folder: Path) -> None:
    stand_in(weights_folder, "rt4ksr-x2")
    image = picture(90, 75)
    assert largest_difference(Session("cpu"), image, "rt4ksr-x2", Scale(scale, scale), Part(41, 33, 20, 15)) <= 1


@pytest.mark.usefixtures("fakes")
def test_a_part_says_so_and_keeps_no_field() -> None:
    made = part_of(Session("cpu"), picture(40, 40), "fake-painter", Scale(2, 2), Part(4, 6, 10, 12))
    assert made.field is None
    assert made.done == "field drawn at x2, of 10x12 pixels at (4, 6) alone"
    assert made.image.shape == (24, 20, 3)


@pytest.mark.parametrize("values", [(-1, 0, 5, 5), (0, 0, 0, 5), (30, 0, 20, 5), (0, 36, 5, 5)])
def test_a_part_outside_the_picture_is_refused(values: Any) -> None:
    with pytest.raises(InvalidArgument, match="is not inside the picture of 40x40"):
        part_of(Session("cpu"), picture(40, 40), "bicubic", Scale(2, 2), Part(*values))
