"""The splat's speed, in milliseconds and in products of two 1024 x 1024 float32 matrices: what `gsr bench splat` times.

The unit is timed in turn with the rest and with as many threads, so that a busy or a slow machine changes both alike.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gsr_app.engine.timing import peak_bytes, reset_peak, synchronize
from gsr_app.harness import bench_floor
from gsr_app.harness.bench_record import Measure, time_in_turns_ms
from gsr_app.ops import cuda, reference, splat

EPS = 1e-4


def lattice(source: int, scale: float, device: torch.device) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], int]:
    """16 Gaussians per source pixel, placed, sized and turned as a network would; and the drawing's side in pixels."""
    random = torch.Generator().manual_seed(0)
    side = 4 * source
    along = (torch.arange(side) + 0.5) * scale / 4 - 0.5
    y, x = torch.meshgrid(along, along, indexing="ij")
    mean = torch.stack([x, y], -1).view(-1, 2) + 0.3 * torch.randn(side * side, 2, generator=random)
    sigma = torch.sigmoid(math.log(0.4 / 0.6) + 0.7 * torch.randn(side * side, 2, generator=random)) * scale / 1.2
    rho = torch.tanh(0.5 * torch.randn(side * side, generator=random))
    color = torch.rand(side * side, 3, generator=random)
    return (mean.to(device), sigma.to(device), rho.to(device), color.to(device)), round(source * scale)


def measure(source: int, scale: float, device: torch.device, name: str, repeats: int) -> list[Measure]:
    """Forward and forward with backward, in turn with the unit."""
    scene, side = lattice(source, scale, device)
    matrix = torch.rand(1024, 1024, device=device)
    mean, sigma, rho, color = (x.clone().requires_grad_() for x in scene)
    leaves = (mean, sigma, rho, color)

    def draw(gaussians: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        if name == "reference":
            frame = (side, side, 0, 0, math.inf, math.inf, EPS)
            return torch.ops.gsr.splat_reference(*gaussians, *frame)
        return splat(*gaussians, (side, side), eps=EPS)

    works: dict[str, Callable[[], object]] = {
        "forward": partial(draw, scene),
        "forward+backward": lambda: torch.autograd.grad(draw(leaves).sum(), leaves),
    }
    if device.type == "cuda" and name == "cuda":
        works["forward, naive kernel"] = naive_drawing(scene, side, cuda.load(scene[3].shape[1], device.index or 0))
    unit = partial(torch.matmul, matrix, matrix)
    count, pairs = len(scene[0]), _count_pairs(scene, side)
    case = f"{name} {count} Gaussians x{scale:g}"
    measures: list[Measure] = []
    for work, act in works.items():
        act()
        unit()
        reset_peak(device)
        units_ms, times_ms = [], []
        for _ in range(repeats):
            units_ms.append(_time_ms(unit, device))
            times_ms.append(_time_ms(act, device))
        unit_ms = statistics.median(units_ms)
        measures += [
            Measure.of(case, work, times_ms, "ms"),
            Measure.of(case, f"{work} in matmul units", [x / unit_ms for x in times_ms], "ratio"),
            Measure.of(case, f"{work} Gaussians", [count / x * 1e3 for x in times_ms], "1/s"),
            Measure.of(case, f"{work} pairs", [pairs / x * 1e3 for x in times_ms], "1/s"),
        ]
        if (peak := peak_bytes(device)) is not None:
            measures.append(Measure.of(case, f"{work} peak", [peak / 2**20], "MiB"))
    return measures + (_measure_stages(case, scene, side, unit, repeats) if name == "cpu" else [])


def _measure_stages(
    case: str, scene: tuple[Tensor, Tensor, Tensor, Tensor], side: int, unit: Callable[[], object], repeats: int
) -> list[Measure]:
    """Where a drawing's time goes, told from drawings that end early: hard windows without a pixel have no lists, and
    those of one pixel have no rows. Beside them what the operations alone would take at the speed of the unit."""
    windows = {"preparation": 1e-4, "lists": 0.55, "rows": math.inf}
    draw = partial(splat, *scene, (side, side), eps=EPS)
    works = [partial(draw, window_px=(one, one)) for one in windows.values()]
    *taken, units_ms = time_in_turns_ms([*works, unit], repeats)
    unit_ms = statistics.median(units_ms)
    floor = bench_floor.operations(_count_pairs(scene, side)) / (2 * 1024**3)
    measures = [Measure(case, "operations in matmul units", floor, 0.0, 1, "ratio")]
    before = [0.0] * repeats
    for stage, until in zip(windows, taken, strict=True):
        shares = [(x - earlier) / unit_ms for x, earlier in zip(until, before, strict=True)]
        measures.append(Measure.of(case, f"{stage} in matmul units", shares, "ratio"))
        before = until
    return measures


def naive_drawing(
    scene: tuple[Tensor, Tensor, Tensor, Tensor], side: int, kernels: cuda.Kernels
) -> Callable[[], Tensor]:
    """The baseline of a GPU: one thread per Gaussian, with global atomics."""
    frame = cuda.Frame(side, side, 0, 0, math.inf, math.inf, EPS)
    return partial(cuda.draw_naively, *scene, frame=frame, kernels=kernels)


def measure_growth(sources: Sequence[int], device: torch.device, name: str, rounds: int) -> list[Measure]:
    """What a Gaussian costs in drawings of growing size, taken in turn, beside what it costs in the smallest."""
    scenes = [lattice(source, 4.0, device) for source in sources]
    counts = [len(scene[0]) for scene, _ in scenes]
    costs_ns: list[list[float]] = [[] for _ in sources]
    for round_ in range(rounds + 1):
        for (scene, side), count, costs in zip(scenes, counts, costs_ns, strict=True):
            # As long as a million Gaussians, so that a short drawing is not judged by one interruption.
            times_ms = [
                _time_ms(lambda: splat(*scene, (side, side), eps=EPS), device)  # noqa: B023  called at once
                for _ in range(max(1, 1_000_000 // count))
            ]
            if round_:  # the first warms up
                costs.append(statistics.mean(times_ms) * 1e6 / count)
    measures: list[Measure] = []
    for count, costs in zip(counts, costs_ns, strict=True):
        beside = [cost / least for cost, least in zip(costs, costs_ns[0], strict=True)]
        measures.append(Measure.of(f"{name} growth, {count} Gaussians", "cost of one", costs, "ns"))
        measures.append(Measure.of(f"{name} growth, {count} Gaussians", "beside the smallest", beside, "ratio"))
    return measures


def _count_pairs(scene: tuple[Tensor, Tensor, Tensor, Tensor], side: int) -> int:
    """The area of the ellipses in pixels: how many values a drawing adds up, but for the frame's border."""
    _, sigma, rho, _ = scene
    area = math.pi * reference.Frame(side, side, eps=EPS).largest_q
    return round(area * (sigma.double().prod(1) * (1 - rho.double().square()).sqrt()).sum().item())


def _time_ms(act: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    act()
    synchronize(device)
    return (time.perf_counter() - start) * 1e3
