"""LIIF against the published code's outputs; pieces of a picture against the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.types import Scale, View
from gsr_app.models.checkpoint import load_files
from gsr_app.models.layers.lattice import axes, query_in_rows, whole
from gsr_app.models.liif import LIIF, LIIFConfig
from gsr_app.models.registry import build
from tests import set5
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill


@pytest.fixture(scope="module")
def net() -> LIIF:
    return fill(build("liif-edsr"))


@pytest.mark.parametrize("encoder", ["edsr", "rdn"])
def test_keys_and_outputs_equal_the_published_code(encoder: str) -> None:
    net, golden = build(f"liif-{encoder}"), load(f"liif-{encoder}")
    assert digest(shapes(net)) == expected_digest(f"liif-{encoder}")
    size = tuple(golden["image"].shape[2:])
    fill(net)
    with torch.inference_mode():
        assert_same(net(golden["input"], size), golden["image"])
        raw = net.decode(net.encode(golden["input"]), whole(golden["input"].shape[2:], size))
    assert_same(raw.flatten(0, 1)[None, ::7], golden["raw_pred"])


@pytest.mark.shared
@pytest.mark.parametrize("encoder", ["edsr", "rdn"])
def test_features_equal_the_published_code(shared: Path, encoder: str) -> None:
    golden = np.load(shared / f"golden/others/liif/liif_{encoder}.npz")
    with torch.inference_mode():
        features = fill(build(f"liif-{encoder}")).encoder((torch.from_numpy(golden["input"]) - 0.5) / 0.5)
    assert_same(features[:, :4], torch.from_numpy(golden["feat_ch0_4"]))


@pytest.mark.parametrize(
    ("part", "switch"), [("ensemble", "local_ensemble"), ("unfold", "feat_unfold"), ("cell", "cell_decode")]
)
def test_each_ablation_equals_the_published_code(part: str, switch: str) -> None:
    golden = load(f"liif-edsr-no-{part}")
    size, source = (int(golden["out_h"]), int(golden["out_w"])), tuple(golden["input"].shape[2:])
    net = fill(LIIF(config=LIIFConfig(**{switch: False})).eval())
    with torch.inference_mode():
        found = net.decode(net.encode(golden["input"]), whole(source, size))
    expected = golden["raw_pred"].view(*size, 3)
    if part == "ensemble":
        # Without the nudge of the ensemble, a pixel on the border between two cells goes to either by rounding noise.
        clear = [(torch.tensor([(i + 0.5) * h / n for i in range(n)]) % 1 - 0.5).abs() < 0.499 for n, h in
                 zip(size, source, strict=True)]  # fmt: skip
        assert [int((~axis).sum()) for axis in clear] == [6, 1]
        found, expected = (image[clear[0]][:, clear[1]] for image in (found, expected))
    assert_same(found, expected)


def test_the_shared_convolution_equals_the_unfolded_decoder(net: LIIF) -> None:
    """The decoder as the paper states it: 580 inputs per neighbour, written out."""
    torch.manual_seed(1)
    lr, size = torch.rand(1, 3, 5, 6), (4, 9)
    with torch.inference_mode():
        features = net.encoder((lr - 0.5) / 0.5)
        unfolded = torch.nn.functional.unfold(features, 3, padding=1)[0].T.view(5, 6, -1)
        expected = torch.empty(*size, 3)
        for i in range(size[0]):
            for j in range(size[1]):
                y, x = (i + 0.5) * 5 / size[0], (j + 0.5) * 6 / size[1]
                terms = []
                for dy in (-0.5, 0.5):
                    for dx in (-0.5, 0.5):
                        row, column = (int(min(max(v, 0), n - 1)) for v, n in ((y + dy + 1e-6, 5), (x + dx + 1e-6, 6)))
                        away = [2 * (y - row - 0.5), 2 * (x - column - 0.5)]
                        cell = [2 / size[0] * 5, 2 / size[1] * 6]
                        answer = net.imnet(torch.cat([unfolded[row, column], torch.tensor(away + cell)]))
                        terms.append((answer, abs(away[0] * away[1]) + 1e-9))
                total = sum(area for _, area in terms)
                expected[i, j] = sum(terms[k][0] * terms[3 - k][1] for k in range(4)) / total
        found = net.decode(net.encode(lr), whole((5, 6), size))
    assert_same(found, expected)


@pytest.mark.parametrize("scale", ["30", "2.5x4"])
def test_decoding_in_groups_of_rows_does_not_change_the_image(net: LIIF, scale: str) -> None:
    lr = torch.rand(1, 3, 4, 3, generator=torch.Generator().manual_seed(3))
    view = View.whole((4, 3), Scale.parse(scale))
    with torch.inference_mode():
        features = net.encode(lr)
        whole_picture = net.query(features, view)
        for pixels in (1, 997):
            assert (query_in_rows(net, features, view, pixels) - whole_picture).abs().max() <= 1e-6


def test_a_tile_is_the_same_as_that_part_of_the_whole(net: LIIF) -> None:
    lr = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(4))
    view = View.whole((9, 11), Scale(3.7, 2.3))
    with torch.inference_mode():
        features = net.encode(lr)
        part = net.query(features, view.crop(7, 5, 12, 9))
        assert (part - net.query(features, view)[..., 7:19, 5:14]).abs().max() <= 1e-5


def test_axes_place_pixels_at_the_centres_of_their_cells() -> None:
    y, x = axes(View((2.0, 1.0), (2.0, 3.0), (2, 2)), (4, 8))
    assert y.coord.tolist() == [2 * 1.5 / 4 - 1, 2 * 2.5 / 4 - 1]
    assert x.coord.tolist() == [2 * 2.75 / 8 - 1, 2 * 4.25 / 8 - 1]
    assert (y.cell, x.cell) == (2 / 4, 2 * 1.5 / 8)
    assert x.nearest().tolist() == [2, 4]
    assert x.offset(x.nearest()).tolist() == [0.5, -0.5]


@pytest.mark.slow
@pytest.mark.shared
def test_set5_is_far_better_than_bicubic_with_the_published_weights(shared: Path) -> None:
    """Bicubic reaches 28.42 dB. The authors' table has only scores of pictures that are not at hand."""
    net = load_files(build("liif-edsr"), {"": shared / "weights/edsr-baseline-liif.pth"})
    assert set5.psnr_y(shared, 4, lambda lr: net(lr, (4 * lr.shape[2], 4 * lr.shape[3]))) > 32.2


def test_training_reaches_every_applied_parameter() -> None:
    net = LIIF(config=LIIFConfig())
    net(torch.rand(1, 3, 5, 5), (9, 8)).sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None]
    assert idle == [f"encoder.{name}.{kind}" for name in ("sub_mean", "add_mean") for kind in ("weight", "bias")]


_LARGE = """
import sys, torch
from gsr_app.core.types import Scale, View
from gsr_app.engine.timing import process_peak_bytes
from gsr_app.models.layers.lattice import query_in_rows
from gsr_app.models.registry import build
net, lr, view = build("liif-edsr"), torch.rand(1, 3, 64, 64), View.whole((64, 64), Scale.parse(sys.argv[1]))
with torch.inference_mode():
    features = net.encode(lr)
    one, two = (query_in_rows(net, features, view, pixels) for pixels in (16384, 5000))
assert (one - two).abs().max() <= 1e-6
print(process_peak_bytes())
"""


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["30", "2.5x4"])
def test_memory_stays_flat(scale: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _LARGE, scale], capture_output=True, text=True, check=True)
    peak_bytes = int(ran.stdout)
    print(f"LIIF x{scale} on 64x64: {peak_bytes / 1e9:.2f} GB at its peak, the interpreter and torch included")
    assert peak_bytes < 1.5e9
