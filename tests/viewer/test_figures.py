"""The figure as a picture, and the table: odd shapes, transparency, names."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from gsr_app.viewer.contract import PaneMetrics, PaneSpec, Region, Scene
from gsr_app.viewer.crops import Row, cut
from gsr_app.viewer.figure import draw_figure
from gsr_app.viewer.paper import lay_out
from gsr_app.viewer.table import write_table

NAMES = ("SwinIR classical", "Bicubic")


def row_of(pictures: list[np.ndarray], region: Region, scale: float) -> Row:
    panes = tuple(
        PaneSpec(name, name, "#888888", state="done", span=(pixels.shape[0] / scale, pixels.shape[1] / scale))
        for name, pixels in zip(NAMES, pictures, strict=True)
    )
    opened = {name: Image.fromarray(pixels) for name, pixels in zip(NAMES, pictures, strict=True)}
    return Row(Scene(panes, scale={"x": scale, "y": scale}), region, opened)


def drawn(row: Row) -> np.ndarray:
    png = draw_figure([row])
    assert png
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(("width", "height"), [(1, 1000), (1000, 1), (1, 1), (30, 600)])
def test_a_region_of_any_shape_makes_a_figure_whose_captions_stand_apart(width: int, height: int) -> None:
    figure = drawn(row_of([np.zeros((1000, 1000, 3), np.uint8)] * 2, Region(0, 0, width, height), 1))
    crops = figure[: figure.shape[0] - 26]
    assert (crops.min(0).max(-1) == 0).sum() >= 2  # both crops are there
    wanted = sum(ImageFont.load_default(15).getlength(name) for name in NAMES)
    assert figure.shape[1] >= wanted


def test_hidden_colours_of_transparent_pixels_are_in_no_figure() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:, :20, 3] = 255
    row = row_of([pixels, pixels], Region(0, 0, 40, 40), 1)
    figure = drawn(row)
    assert figure[100, 50].tolist() == [200, 0, 0]
    assert figure[100, 300].tolist() == [255, 255, 255]
    for placed in lay_out([row], "page").pictures:
        shown = np.asarray(placed.picture)
        assert (shown[:, :20] == [200, 0, 0]).all()
        assert (shown[:, 20:] == 255).all()


def test_halves_of_a_pixel_are_rounded_up_at_both_sides_of_a_crop() -> None:
    pixels = np.arange(13 * 13 * 3, dtype=np.uint8).reshape(13, 13, 3)
    row = row_of([pixels, pixels], Region(3, 1, 1, 2), 1.5)  # 4.5 to 6, and 1.5 to 4.5
    crop = cut(row, row.panes[0])
    assert crop
    np.testing.assert_array_equal(np.asarray(crop), pixels[2:5, 5:6])


def scored(name: str, psnr_db: float, *, elsewhere: bool = False) -> PaneSpec:
    metrics = PaneMetrics("basicsr: Y", psnr_y=psnr_db, ssim_y=0.9)
    return PaneSpec(f"{name}{elsewhere}", name, "#888888", state="done", metrics=metrics, elsewhere=elsewhere)


def test_a_result_with_the_name_of_a_method_has_a_row_of_its_own() -> None:
    scene = Scene((scored("SAVSR", 30.0), scored("SAVSR", 31.0, elsewhere=True)))
    for form, rows in (("md", "| SAVSR | "), ("tex", "SAVSR & ")):
        table = write_table([("one.png", scene)], form)
        assert table.count(rows) == 2
        assert "30.00" in table
        assert "31.00" in table


def test_names_are_typeset_as_they_are() -> None:
    pages = [("a<b>|c.png", Scene((scored(r"x*y*\z", 30.0),)))]
    assert r"a\textless{}b\textgreater{}\textbar{}c & Time" in write_table(pages, "tex")
    assert r"x*y*\textbackslash{}z &" in write_table(pages, "tex")
    assert "| Method | a\\<b>\\|c | Time |" in write_table(pages, "md")
    assert "| x\\*y\\*\\\\z |" in write_table(pages, "md")
