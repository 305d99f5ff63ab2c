"""MetaSR against the published code's outputs."""

from __future__ import annotations

import torch

from gsr_app.core.types import Scale, View
from gsr_app.models.layers.lattice import query_in_rows, whole
from gsr_app.models.registry import build
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill


def test_keys_and_outputs_equal_the_published_code() -> None:
    net, golden = build("metasr-edsr"), load("metasr-edsr")
    assert digest(shapes(net)) == expected_digest("metasr-edsr")
    fill(net)
    with torch.inference_mode():
        raw = net.decode(
            net.encode(golden["input"]), whole(golden["input"].shape[2:], (int(golden["out_h"]), int(golden["out_w"])))
        )
    assert_same(raw.flatten(0, 1)[None], golden["raw_pred"])


def test_groups_of_rows_and_tiles_do_not_change_the_image() -> None:
    net, view = fill(build("metasr-edsr")), View.whole((5, 6), Scale(2.3, 3))
    with torch.inference_mode():
        features = net.encode(torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1)))
        picture = net.query(features, view)
        assert (query_in_rows(net, features, view, 1) - picture).abs().max() <= 1e-5
        assert (net.query(features, view.crop(2, 3, 4, 5)) - picture[..., 2:6, 3:8]).abs().max() <= 1e-5
