"""The scores of a region's crops."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import gsr_app as gsr
from gsr_app.viewer.contract import PaneSpec, Region, Scene
from gsr_app.viewer.crops import Row, cut, score_crops


def test_a_crop_of_another_size_is_scored_after_the_same_resize_as_the_whole_picture() -> None:
    y, x = np.mgrid[:60, :80]
    truth = (127 + 120 * np.sin(x / 5)[..., None] * np.cos(y / 7)[..., None] * np.ones(3)).astype(np.uint8)
    half = truth[::2, ::2].copy()
    panes = [
        PaneSpec(id=name, name=name, colour="#888888", kind="reference" if name == "truth" else "method", span=span)
        for name, span in (("half", (30.0, 40.0)), ("part", (15.0, 40.0)), ("truth", (30.0, 40.0)))
    ]
    pictures = {"half": half, "part": half[:15], "truth": truth}
    row = Row(
        Scene(panes=tuple(panes), scale={"x": 2.0, "y": 2.0}),
        Region(x=5, y=3, width=20, height=10),
        {name: Image.fromarray(pixels) for name, pixels in pictures.items()},
    )
    scores = score_crops(row, {pane.id: cut(row, pane) for pane in panes})
    assert list(scores) == ["half"]  # a picture of a part is not stretched
    resized = np.asarray(gsr.upscale(half, 2, method="bicubic"))
    wanted = gsr.measure(resized[6:26, 10:50], truth[6:26, 10:50], protocol="whole-y")
    assert scores["half"].psnr_db == pytest.approx(wanted.psnr_db)
