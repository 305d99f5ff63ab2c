"""Every fixed-scale and continuous network of the catalogue through the engine, with stand-in weights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import Part, Scale, Upscaled
from gsr_app.engine import networks, tiling
from gsr_app.engine.session import Session
from gsr_app.models import registry
from tests.golden.filling import fill

# The rest differ from these in size alone.
QUICK = ("rt4ksr-x2", "rt4ksr-x3", "rgt-s-x2", "liif-edsr", "ciaosr-edsr", "gaussiansr-edsr")
FAMILIES = {"RT4KSR", "RGT", "LIIF", "CiaoSR", "GaussianSR"}
METHODS = [
    method.id if method.id in QUICK else pytest.param(method.id, marks=pytest.mark.slow)
    for method in registry.catalogue().values()
    if method.family in FAMILIES
]
SCALES = (1, 3.3, 4)  # below, between and above the scales of the networks


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder of weights, which `stand_in` fills."""
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    networks.forget_all()
    yield tmp_path
    networks.forget_all()


def stand_in(folder: Path, method: str, *, damped: float = 0.05) -> None:
    """Weights from the names of the tensors, the last layer turned down so that pictures stay within 0..1."""
    leave = ("sigma_x", "sigma_y", "opacity", "rho")
    state = fill(registry.build(registry.method(method).arch), leave=leave).state_dict()
    last = [key for key in state if key.startswith(("upsample.0.weight", "conv_last.weight")) or "layers.8" in key]
    for key in last:
        state[key] = state[key] * damped
    torch.save(state, folder / f"{method}.pth")


def waves(height: int, width: int, channels: int, dtype: type) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    picture = np.stack([0.5 + 0.45 * np.sin(0.3 * y + 0.2 * (c + 1) * x + c) for c in range(channels)], axis=-1)
    return np.round(picture * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("method", METHODS)
def test_any_picture_at_any_scale_comes_back_as_its_own_kind(method: str, weights: Path) -> None:
    stand_in(weights, method)
    session = Session("cpu")
    for image in (waves(1, 1, 3, np.uint8), waves(5, 8, 4, np.uint16)):
        for scale in SCALES:
            up = session.upscale(image, method=method, scale=scale)
            size = Scale(scale, scale).output_size(image.shape[:2])
            assert up.image.shape == (*size, image.shape[2])
            assert up.image.dtype == image.dtype
    native = registry.method(method).native_scale
    if native:
        assert up.done.startswith(f"x{native} network")
        assert ("then resized to x4" in up.done) == (native == 3)


@pytest.mark.parametrize("method", ["rt4ksr-x2", "liif-edsr", pytest.param("liif-rdn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("scale", [2, 3.3])
def test_tiles_put_together_equal_the_whole(method: str, scale: float, weights: Path) -> None:
    stand_in(weights, method)
    image = waves(70, 30, 3, np.uint8)
    whole, tiled = (Session("cpu", tile=tile).upscale(image, method=method, scale=scale).image for tile in (512, 36))
    assert np.abs(whole.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize(("method", "reads_all"), [("smfanet-x2", True), ("rgt-s-x2", True), ("rt4ksr-x2", False)])
def test_what_reads_the_whole_picture_says_where_it_saw_less(method: str, reads_all: bool, weights: Path) -> None:
    torch.save(fill(registry.build(registry.method(method).arch)).state_dict(), weights / f"{method}.pth")
    image = waves(48, 96, 4, np.uint8)
    session = Session("cpu")
    assert session.upscale(image, method=method, scale=2).warnings == ()
    tiled = Session("cpu", tile=32).upscale(image, method=method, scale=2).warnings
    assert [f"made in tiles, without the rest of the picture: {method}" in one for one in tiled] == [True] * reads_all
    *_, part = session.stream(image, method=method, scale=2, part=Part(8, 8, 16, 16))
    assert isinstance(part, Upscaled)
    assert [f"made without the rest of the picture: {method}" in one for one in part.warnings] == [True] * reads_all


def test_what_reads_the_whole_picture_gets_it_where_memory_allows() -> None:
    size, gib = (900, 1400), 1 << 30
    assert tiling.choose_tile(size, registry.architecture("smfanet-x2"), 20 * gib, "cpu") is None
    assert tiling.choose_tile(size, registry.architecture("rt4ksr-x2"), 20 * gib, "cpu") is not None
    assert 32 <= (tiling.choose_tile(size, registry.architecture("smfanet-x2"), 2 * gib, "cpu") or 0) < 900


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rgt-s-x4", "liif-edsr", "ciaosr-edsr", "gaussiansr-edsr"])
def test_cancelling_within_a_large_tile_takes_less_than_a_second(method: str, weights: Path) -> None:
    """On an idle machine; a tile takes many seconds, a layer a fraction of one."""
    stand_in(weights, method)
    started = time.monotonic()
    steps = Session("cpu").stream(
        waves(512, 512, 3, np.uint8), method=method, scale=4, cancel=lambda: time.monotonic() > started + 6
    )
    with pytest.raises(Cancelled):
        list(steps)
    late_s = time.monotonic() - started - 6
    print(f"{method}: stopped after {late_s:.2f} s")
    assert late_s < 1


_FLAT = """
import sys, time, numpy as np
from gsr_app.engine.session import Session
from gsr_app.engine.timing import process_peak_bytes
method, height, width, scale = sys.argv[1], *map(float, sys.argv[2:5])
image = (np.random.default_rng(0).random((int(height), int(width), 3)) * 255).astype(np.uint8)
start = time.monotonic()
up = Session("cpu").upscale(image, method=method, scale=scale)
print(process_peak_bytes(), time.monotonic() - start, up.image.shape)
"""


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("method", "height", "width", "scale", "limit_gb"),
    [
        ("rgt-s-x4", 480, 720, 4, 4.0),
        ("rgt-x4", 480, 720, 4, 4.0),
        ("rt4ksr-x2", 1080, 1920, 2, 2.0),
        ("rt4ksr-x2", 3000, 4000, 2, 4.0),
        ("liif-edsr", 480, 720, 2, 2.0),
    ],
)
def test_memory_stays_within_bounds(
    method: str, height: int, width: int, scale: float, limit_gb: float, weights: Path
) -> None:
    stand_in(weights, method)
    command = [sys.executable, "-c", _FLAT, method, str(height), str(width), str(scale)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    peak_bytes, seconds = int(ran.stdout.split()[0]), float(ran.stdout.split()[1])
    print(f"{method} {width}x{height} x{scale}: {seconds:.1f} s, {peak_bytes / 1e9:.2f} GB at its peak")
    assert peak_bytes < limit_gb * 1e9


@pytest.mark.shared
def test_tiles_of_200_are_the_parts_into_which_rgt_is_chopped_by_its_authors(shared: Path) -> None:
    layouts = json.loads((shared / "golden/others/rgt/chop_layout.json").read_text())
    arch = registry.architecture("rgt-x2")
    for name, layout in layouts.items():
        height, width = map(int, name.split("@")[0].split("x"))
        parts = [(t.y.end - t.y.begin, t.x.end - t.x.begin) for t in tiling.plan((height, width), arch, 200)]
        # They fill up the last row and column to equal parts; here the last parts are smaller instead.
        short = np.array(layout["parts"]) - np.array(parts)
        assert short.shape == (len(layout["parts"]), 2), name
        assert 0 <= short.min() <= short.max() <= 4, name
