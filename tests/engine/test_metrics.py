"""PSNR and SSIM against the numbers of the published scripts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.engine.metrics import CONVENTIONS, Convention, VideoScorer, convention, measure, psnr, ssim


@pytest.fixture(scope="module")
def pair(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.load(shared / "golden/others/metrics/metrics.npz")
    return arrays["a_rgb"], arrays["b_rgb"]


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, float]:
    return json.loads((shared / "golden/others/metrics/metrics.json").read_text())


def noisy_pair(size: tuple[int, int] = (24, 31)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    one = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return one, np.clip(one.astype(int) + rng.integers(-9, 10, one.shape), 0, 255).astype(np.uint8)


@pytest.mark.shared
@pytest.mark.parametrize("crop", [0, 2, 4])
@pytest.mark.parametrize(
    ("script", "channel"),
    [("rgt", "y"), ("savsr", "y"), ("rgt", "rgb"), ("rt4ksr", "rgb")],
)
def test_scores_equal_the_published_scripts(pair, published, script: str, channel: str, crop: int) -> None:
    by = Convention("script", channel=channel)
    score = measure(*pair, by=by, scale=crop)
    # The RGT script averages the squared error in float32, which is worth some 3e-6 dB.
    assert score.psnr_db == pytest.approx(published[f"{script}_psnr_crop{crop}_{channel}"], abs=1e-5)
    assert score.ssim == pytest.approx(published[f"{script}_ssim_crop{crop}_{channel}"], abs=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("crop", [0, 2, 4])
def test_the_swapped_luma_of_rt4ksr_is_a_convention_of_its_own(pair, published, crop: int) -> None:
    by = Convention("rt4ksr", channel="y-swapped")
    assert psnr(*pair, by=by, scale=crop) == pytest.approx(published[f"rt4ksr_psnr_crop{crop}_y"], abs=1e-5)
    assert ssim(*pair, by=by, scale=crop) == pytest.approx(published[f"rt4ksr_ssim_crop{crop}_y"], abs=1e-6)
    assert abs(psnr(*pair, by=by, scale=crop) - psnr(*pair, by=convention("basicsr"), scale=crop)) > 0.05


@pytest.mark.shared
def test_liif_scores_float_pictures(shared: Path) -> None:
    arrays = np.load(shared / "golden/others/liif/psnr_rule.npz")
    expected = json.loads((shared / "golden/others/liif/notes.json").read_text())
    pair = [torch.from_numpy(arrays[key])[0].permute(1, 2, 0) for key in "ab"]
    plain = Convention("plain", channel="rgb", border_per_scale=0, quantised=False)
    assert psnr(*pair, by=plain) == pytest.approx(expected["psnr_plain"], abs=1e-5)
    assert psnr(*pair, by=convention("liif-div2k"), scale=2) == pytest.approx(expected["psnr_div2k_x2"], abs=1e-5)
    found = psnr(*pair, by=convention("liif-benchmark"), scale=3)
    assert found == pytest.approx(expected["psnr_benchmark_x3"], abs=1e-5)


def test_psnr_of_a_constant_error_is_the_closed_form() -> None:
    one = np.full((12, 12, 3), 100, np.uint8)
    assert psnr(one, one + np.uint8(5), by=convention("whole-rgb")) == pytest.approx(20 * math.log10(255 / 5))


def test_ssim_equals_a_double_loop() -> None:
    one, two = (picture[:14, :15, 0] for picture in noisy_pair())
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for top in range(4):
        for left in range(5):
            a, b = (p[top : top + 11, left : left + 11].astype(float) for p in (one, two))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            cov = (window * a * b).sum() - ma * mb
            c1, c2 = 2.55**2, 7.65**2
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(one, two, by=convention("whole-rgb")) == pytest.approx(np.mean(values), abs=1e-12)


def test_equal_pictures_score_perfectly() -> None:
    one, _ = noisy_pair()
    score = measure(one, one.copy(), by=convention("basicsr"), scale=2)
    assert score.psnr_db == math.inf
    assert score.ssim == pytest.approx(1.0)


def test_dtype_and_channels_of_a_picture_do_not_change_its_score() -> None:
    one, two = noisy_pair()
    expected = measure(one, two, by=convention("basicsr"), scale=3)
    for change in (
        lambda x: x.astype(np.uint16) * 257,
        lambda x: (x / np.float32(255)).astype(np.float32),
        lambda x: torch.from_numpy(x),
        lambda x: np.dstack([x, np.full(x.shape[:2], 9, np.uint8)]),
    ):
        found = measure(change(one), two, by=convention("basicsr"), scale=3)
        assert found.psnr_db == pytest.approx(expected.psnr_db, abs=1e-12)
        assert found.ssim == pytest.approx(expected.ssim, abs=1e-12)


def test_a_score_says_how_it_was_measured() -> None:
    assert str(CONVENTIONS["gsasr"]) == "Y (BT.601), border scale, at most 8, 8 bit"
    assert str(CONVENTIONS["liif-div2k"]) == "RGB, border scale + 6, not quantised"
    assert str(CONVENTIONS["whole-y"]) == "Y (BT.601), whole frame, 8 bit"
    assert [CONVENTIONS["gsasr"].border_px(s) for s in (2, 3.7, 12)] == [2, 3, 8]


def test_pictures_that_cannot_be_compared_are_refused() -> None:
    one, two = noisy_pair()
    with pytest.raises(InvalidArgument, match="31x24 cannot be compared with a reference of 30x24"):
        psnr(one, two[:, :30], by=convention("basicsr"))
    with pytest.raises(InvalidArgument, match="nothing left"):
        psnr(one, two, by=convention("basicsr"), scale=12)
    with pytest.raises(InvalidArgument, match="at least 11x11"):
        ssim(one, two, by=convention("basicsr"), scale=8)
    with pytest.raises(UnknownName, match="Did you mean 'basicsr'"):
        convention("basic")


def test_flicker_is_the_change_that_the_reference_does_not_have() -> None:
    rng = np.random.default_rng(1)
    reference = [rng.integers(60, 190, (24, 30, 3), dtype=np.uint8) for _ in range(3)]
    scorer, still = VideoScorer(), VideoScorer()
    shift = (0, 10, 4)  # of grey levels: the result grows brighter by 10, then darker by 6
    found = [
        scorer.score(np.pad(frame + np.uint8(more), ((0, 1), (0, 0), (0, 0))), frame)
        for frame, more in zip(reference, shift, strict=True)
    ]
    assert found[0].flicker is None
    span = (235 - 16) / 255
    assert [score.flicker for score in found[1:]] == pytest.approx([10 * span, 6 * span])
    assert found[0].psnr_db == math.inf
    assert found[1].psnr_db == psnr(reference[1] + np.uint8(10), reference[1], by=convention("whole-y"))
    assert [still.score(frame + np.uint8(9), frame).flicker for frame in reference[:2]] == [None, pytest.approx(0)]
