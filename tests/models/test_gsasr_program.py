"""The oracle of the original program's grid and tiling, against that program's outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.errors import InvalidArgument
from gsr_app.models.gsasr import GSASR
from gsr_app.models.registry import build
from tests.golden.gsasr_weights import fill, make_input
from tests.oracles import gsasr_program

GOLDEN = Path(__file__).parents[1] / "golden" / "gsasr"
MAPS = sorted(GOLDEN.glob("tiling_map*.npz"))


@pytest.fixture(scope="module")
def edsr() -> GSASR:
    module = build("gsasr-edsr")
    assert isinstance(module, GSASR)
    fill(module.encoder)
    fill(module.decoder)
    return module


def assert_pictures_equal(found: torch.Tensor, expected: np.ndarray) -> None:
    """Filled weights make near-degenerate Gaussians, at which single float32 pixels differ more."""
    assert found.shape == expected.shape
    difference = np.abs(found.numpy() - expected)
    assert difference.mean() <= 1e-4
    assert np.quantile(difference, 0.99) <= 1e-3


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_every_pixel_comes_from_the_same_tile_and_position_as_in_the_original(path: Path) -> None:
    golden = np.load(path)
    size = (int(golden["h"]), int(golden["w"]))
    options = {name: int(golden[name]) for name in ("tile", "overlap", "crop")}
    tiling = gsasr_program.Tiling(size, float(golden["scale"]), **options)
    assert tiling.canvas == golden["index_map"].shape
    owner, row, column = torch.full((3, *tiling.canvas), -1, dtype=torch.int16)
    place = torch.arange(tiling.tile_px, dtype=torch.int16)
    for index, paste in enumerate(tiling):
        assert paste.rows.tolist() == golden["lr_rows"][index].tolist()
        assert paste.columns.tolist() == golden["lr_cols"][index].tolist()
        tile = (tiling.tile_px, tiling.tile_px)
        tiling.paste(owner, torch.full(tile, index, dtype=torch.int16), paste)
        tiling.paste(row, place[:, None].expand(tile), paste)
        tiling.paste(column, place.expand(tile), paste)
    for found, name in ((owner, "index_map"), (row, "tile_row"), (column, "tile_col")):
        assert np.array_equal(found.numpy(), golden[name]), name


def test_an_image_equals_the_output_of_the_original(edsr: GSASR) -> None:
    golden = np.load(GOLDEN / "pipeline_EDSR.npz")
    lr = make_input("pipeline/EDSR/public", (1, 3, 20, 30))
    found = gsasr_program.upscale(edsr, lr, float(golden["scale"]), multiple_of=12, dmax=float(golden["dmax"]))
    assert_pictures_equal(found, golden["sr"])


def test_a_tiled_image_equals_the_output_of_the_original(edsr: GSASR) -> None:
    golden = np.load(GOLDEN / "tiled_EDSR.npz")
    lr = make_input("tiled/EDSR/public", (1, 3, 40, 52))
    tiling = gsasr_program.Tiling((40, 52), float(golden["scale"]), tile=24, overlap=8, crop=4)
    assert_pictures_equal(gsasr_program.upscale_tiled(edsr, lr, tiling, dmax=float(golden["dmax"])), golden["sr"])


@pytest.mark.parametrize("name", ["raster_c12", "raster_c16", "raster_a", "raster_d"])
@pytest.mark.shared
def test_raw_gaussians_are_drawn_as_the_original_draws_them(shared: Path, name: str) -> None:
    golden = np.load(shared / "golden" / "gsasr" / f"{name}.npz")
    scale = 2.5 if name.startswith("raster_c") else 4.0
    for key in golden.files:
        if key.startswith("out_dmax"):
            expected = golden[key]
            raw = torch.from_numpy(golden["raw"])
            for dtype, limit in ((torch.float64, 1e-10), (torch.float32, 2e-4 if name == "raster_d" else 5e-5)):
                found = gsasr_program.draw(raw.to(dtype), expected.shape[1:], scale, dmax=float(key[8:]))
                assert np.abs(found.numpy() - expected).max() <= limit, (key, dtype)


def test_tiles_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="too short"):
        gsasr_program.Tiling((10, 100), 2.0, tile=48)
    with pytest.raises(InvalidArgument, match="overlap"):
        gsasr_program.Tiling((100, 100), 2.0, tile=48, overlap=24)
