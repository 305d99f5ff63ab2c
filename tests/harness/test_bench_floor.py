"""The predictions of the drawing kernels, and the page that states them."""

from __future__ import annotations

import math

import pytest
import torch

from gsr_app.harness import bench_floor, splat_times
from tests.conftest import ROOT


def test_the_page_states_what_the_formulas_give() -> None:
    page = (ROOT / "assets" / "bench" / "gpu.md").read_text()
    for kernel in bench_floor.kernels(4.0):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {kernel.name} ")]
        assert f"| {kernel.predicted_ms(2_073_600):.3f} |" in row
        assert f"| {kernel.bytes:.0f} |" in row
    assert f"| {1e3 / bench_floor.fit_step_ms(50_000):,.0f} |" in page
    assert f"| {sum(one.predicted_ms(8_294_400) for one in bench_floor.kernels(4.0)[:5]):.2f} |" in page


def test_the_work_of_a_network_bounds_its_time() -> None:
    work = bench_floor.Work(flops=6e6, bytes=3.3e6).enlarged(1e6)
    assert work.floor_ms("fp32") == pytest.approx(1000)
    assert work.floor_ms("bf16") == pytest.approx(500)
    assert bench_floor.Work(flops=6e12, bytes=3.3e6).floor_ms("fp32") == pytest.approx(100)


@pytest.mark.parametrize("scale", bench_floor.SCENES)
def test_the_counts_of_the_scene_are_those_of_the_benchmark(scale: float) -> None:
    (mean, sigma, rho, _), side = splat_times.lattice(12, scale, torch.device("cpu"))
    along = torch.arange(side).float()
    a, b = ((along - mean[:, axis, None]) / sigma[:, axis, None] for axis in (0, 1))
    a, b, rho = a[:, None, :], b[:, :, None], rho[:, None, None]
    inside = (a - rho * b).square() / (1 - rho.square()) + b.square() <= -2 * math.log(splat_times.EPS)
    scene = bench_floor.SCENES[scale]
    assert inside.sum().item() / len(mean) == pytest.approx(scene.pixels, rel=0.12)  # more lies beyond a smaller frame
    padded = torch.nn.functional.pad(inside.float(), (0, -side % 16, 0, -side % 16))[:, None]
    tiles = torch.nn.functional.max_pool2d(padded, 16).sum().item() / len(mean)
    assert tiles == pytest.approx(scene.tiles, rel=0.2)


def test_the_floor_is_memory_where_ellipses_are_small_and_arithmetic_where_they_are_large() -> None:
    gpu = bench_floor.Gpu(bytes_per_s=1e9, flops=1e9)
    assert bench_floor.floor_ms(1000, 0, 0, gpu=gpu) == pytest.approx(1e3 * 4 * 8 * 1000 / 1e9)
    assert bench_floor.floor_ms(1000, 0, 1e6, gpu=gpu) == pytest.approx(1e3 * 16 * 1e6 / 1e9)
    assert bench_floor.floor_ms(1000, 0, 1e6, backward=True, gpu=gpu) == pytest.approx(1e3 * (16 + 34) * 1e6 / 1e9)
    assert bench_floor.Kernel("a", 1, registers=64).occupancy == 0.5
