"""A 4000x3000 picture, 16-bit RGBA, through every way in which the engine runs a method of the catalogue.

The networks are shortened (`shortened.py`): tiles, alpha, 16 bits, joins, drawing, resizing and memory are the real
ones. `send_large.py` says how the answer is known.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsr_app.core import pixels
from gsr_app.core.types import Scale
from gsr_app.engine import image_job
from gsr_app.engine.session import Session
from gsr_app.io import images
from gsr_app.models import registry

ROOT = Path(__file__).resolve().parents[2]
SCALES = (1, 1.5, 2, 3.3, 4)
SIZE = 3000, 4000
GAUSSIAN_BYTES = 32


def route(method: registry.Method) -> str:
    """All that the engine knows of a method: two with the same go the same way."""
    if method.kind == "resize":
        return method.kernel
    return repr((method.native_scale, replace(registry.architecture(method.arch), id="", build=int, parts=())))


def group() -> dict[str, list[str]]:
    """The methods of the catalogue that go the same way, by the first of them."""
    ways: dict[str, list[str]] = {}
    for method in registry.catalogue().values():
        ways.setdefault(route(method), []).append(method.id)
    return {methods[0]: methods for methods in ways.values()}


ROUTES = group()


def send(method: str, scale: float, *more: object) -> dict[str, Any]:
    """What `send_large` found, in a process of its own: its peak of memory is that of this method alone."""
    words = [sys.executable, "-m", "tests.engine.send_large", method, str(scale), *map(str, more)]
    ran = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(ran.stdout)
    print(f"{method} x{scale} {more}: {found}")
    return found


def check(found: dict[str, Any], method: str, scale: float, size: tuple[int, int]) -> None:
    """Errors in steps of 16 bits. A step of the source's ramps is 11 or more."""
    most = allowed_error(registry.method(method), scale, size)
    for name in ("red", "green", "blue", "alpha", "crop 0", "crop 1"):
        assert found["errors"][name] <= most, f"{name}: {found['errors'][name]}"


def allowed_error(method: registry.Method, scale: float, size: tuple[int, int]) -> float:
    if method.id == "nearest":  # stands up to half a source pixel beside the ramp
        return 1.5 + 0.5 * 0.8 * 65535 / min(size)
    if method.kind == "resize":
        return 1.5
    arch = registry.architecture(method.arch)
    if arch.window_fraction is None:
        return 6
    # Gaussians that add up by themselves are cut off where they have sunk to 1e-4, and stand where float32 can put
    # them: in a picture so wide, two may be too near each other by the last bit of a place.
    apart = scale / arch.lattice
    return 20 + 65535 * 0.5 * float(np.spacing(np.float32(max(size) * scale))) / apart


def allowed_bytes(method: str, scale: float, size: tuple[int, int]) -> float:
    """The answer itself, twice the source as floats, a field where there is one, and 2 GB for the work in between."""
    pixels = size[0] * size[1]
    needed = pixels * scale**2 * 8 + 2 * pixels * 16 + 2e9
    entry = registry.method(method)
    if entry.kind == "field":
        needed += pixels * registry.architecture(entry.arch).lattice ** 2 * GAUSSIAN_BYTES
    if entry.native_scale and scale > entry.native_scale:
        needed += pixels * entry.native_scale**2 * 12  # the first pass's answer
    return needed


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("method", ROUTES)
def test_a_picture_of_12_megapixels_comes_back_right_and_in_bounded_memory(method: str, scale: float) -> None:
    found = send(method, scale, *SIZE)
    check(found, method, scale, SIZE)
    assert found["peak_bytes"] < allowed_bytes(method, scale, SIZE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("method", "suffix"), [("liif-edsr", "png"), ("rt4ksr-x2", "tif"), ("bicubic", "png")])
def test_from_file_to_file_192_megapixels_need_no_more(method: str, suffix: str) -> None:
    found = send(method, 4, *SIZE, "--file", suffix)
    check(found, method, 4, SIZE)
    assert found["peak_bytes"] < allowed_bytes(method, 4, SIZE)


@pytest.mark.parametrize(("method", "scale"), [("swift", 3.3), ("savsr", 1.5), ("rt4ksr-x2", 3.3)])
def test_a_smaller_picture_takes_the_same_way(method: str, scale: float) -> None:
    check(send(method, scale, 360, 400), method, scale, (360, 400))


def test_every_method_of_the_catalogue_goes_one_of_these_ways() -> None:
    assert sorted(itertools.chain(*ROUTES.values())) == sorted(registry.catalogue())
    print("; ".join(" = ".join(methods) for methods in ROUTES.values()))


@pytest.mark.parametrize(
    ("channels", "dtype", "suffix"),
    [(4, np.uint16, "png"), (3, np.uint8, "png"), (0, np.uint16, "tif"), (4, np.uint8, "jpg"), (3, np.float32, "tif")],
)
@pytest.mark.usefixtures("fakes")
def test_an_answer_converted_in_blocks_is_the_file_converted_at_once(
    channels: int, dtype: type, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).random((70, 50, channels or 1))
    most = 1 if dtype == np.float32 else np.iinfo(dtype).max
    array = (values * most).astype(dtype)
    source = tmp_path / f"source.{'tif' if dtype == np.float32 else 'png'}"
    images.write_image(source, images.Picture(array if channels else array[..., 0]))
    for name, limit in (("whole", 1 << 26), ("blocks", 1000)):
        monkeypatch.setattr(pixels, "_BLOCK_PIXELS", limit)
        method, target = registry.method("fake-doubler"), tmp_path / f"{name}.{suffix}"
        job = image_job.FileJob(method, images.RowReader(source), target, Scale(2, 2))
        list(image_job.upscale_file(Session("cpu"), job))
    assert (tmp_path / f"blocks.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
