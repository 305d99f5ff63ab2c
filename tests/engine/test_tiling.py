"""Tiles cover a picture exactly once, fall where the network's windows fall, and fade without a trace."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gsr_app.core.types import Scale
from gsr_app.engine import tiling
from gsr_app.engine.rows import PlaneSink, split_rows
from gsr_app.models.registry import Architecture


def architecture(**options: object) -> Architecture:
    return Architecture("a", nn.Identity, "pixels", **options)  # type: ignore[arg-type]


@given(
    st.integers(1, 700), st.integers(1, 300), st.integers(0, 64), st.sampled_from([1, 2, 8, 12, 16])
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_cores_cover_an_axis_once_and_start_at_whole_windows(
    length: int, tile: int, overlap: int, multiple_of: int
) -> None:
    spans = tiling.split(length, tile, overlap, multiple_of)
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == length
    assert spans[0].is_first
    assert spans[-1].is_last
    for span in spans:
        assert span.start % multiple_of == 0
        assert span.begin % multiple_of == 0
        assert span.stop - span.start <= max(tile, multiple_of) + multiple_of
        assert span.start - span.begin >= min(overlap, span.start)
        assert span.end - span.stop >= min(overlap, length - span.stop)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(0, 12), st.floats(0.1, 5), st.floats(0.1, 5)
)
@settings(max_examples=100, deadline=None)
def test_the_shares_of_all_tiles_add_up_to_one_at_every_pixel(
    height: int, width: int, tile: int, overlap: int, y: float, x: float
) -> None:
    scale = Scale(y, x)
    grid = tiling.plan((height, width), architecture(overlap=overlap), tile)
    size = scale.output_size((height, width))
    sheet = PlaneSink(size[0])
    mosaic = tiling.TileBlender(grid, size, scale, overlap, sheet)
    for one in grid:
        rows, columns = mosaic.reach(one)
        mosaic.add(one, torch.ones(1, 3, rows.stop - rows.start, columns.stop - columns.start))
    assert sheet.planes.shape[-2:] == size
    assert (sheet.planes - 1).abs().max() < 1e-5


def test_a_network_that_cannot_be_cut_gets_the_whole_picture() -> None:
    assert len(tiling.plan((500, 300), architecture(tileable=False), 64)) == 1
    assert tiling.choose_tile((5000, 3000), architecture(tileable=False), 1 << 20, "cpu") is None


def test_the_tile_follows_the_free_memory() -> None:
    arch = architecture(bytes_per_pixel=10_000, overlap=16, multiple_of=8)
    assert tiling.choose_tile((300, 300), arch, 64 << 30, "cpu") is None
    tiles = [tiling.choose_tile((4000, 3000), arch, free, "cpu") for free in (1 << 28, 1 << 30, 64 << 30)]
    assert tiles == sorted(tiles, key=lambda side: side or 0)
    for tile in tiles:
        assert tile is not None
        assert tile % 8 == 0
    assert tiling.choose_tile((4000, 3000), arch, 0, "cpu") == tiling.MIN_TILE


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (7, 3), (16, 16), (33, 20)])
def test_padding_reaches_what_the_network_needs_and_leaves_the_picture_alone(mode: str, size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size)
    padded: Tensor = tiling.pad(x, architecture(multiple_of=8, minimum_size=20, pad_mode=mode))
    assert all(side % 8 == 0 and side >= 20 for side in padded.shape[-2:])
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    if mode == "zeros" and size != (16, 16):
        assert padded.sum() == pytest.approx(float(x.sum()), rel=1e-5)


def test_a_side_that_is_long_enough_is_mirrored_without_its_edge() -> None:
    x = torch.arange(6.0).view(1, 1, 1, 6)
    padded = tiling.pad(x, architecture(multiple_of=8))
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]
    assert (padded == padded[:, :, :1]).all(), "one row can only be repeated"


def test_strips_cover_all_rows() -> None:
    assert split_rows(10, 4, 12) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert split_rows(2, 1000, 1) == [(0, 1), (1, 2)]
