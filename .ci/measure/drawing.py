"""Drawing at growing sizes, with gradients and beside the naive kernel, against what memory and arithmetic allow."""

from __future__ import annotations

import gc
from typing import Any

import torch
from common import keep, read_arguments, seconds_left

from gsr_app.engine.timing import synchronize
from gsr_app.harness import bench_floor, splat_times
from gsr_app.ops import backend, splat

SIZES = ((80, 4.0), (180, 4.0), (360, 4.0), (720, 4.0), (180, 2.0), (180, 8.0), (40, 4.0))
TINY = ((16, 4.0),)
PROFILED = 360


def main() -> None:
    args = read_arguments(__doc__)
    device = torch.device(args.device)
    name = backend.load(device.type).backend
    found: dict[str, Any] = {"backend": name, "rows": [], "kernels": []}
    for source, scale in SIZES if device.type == "cuda" else TINY:
        if seconds_left() < 3:
            break
        found["rows"] += measure(source, scale, device, name)
        keep(args.json, found)
        gc.collect()
    if device.type == "cuda":
        found["kernels"] = profile(device)
        found["growth"] = [
            [one.case, one.metric, one.median] for one in splat_times.measure_growth((80, 360, 720), device, name, 5)
        ]
    keep(args.json, found)
    for row in found["rows"]:
        print(row)


def measure(source: int, scale: float, device: torch.device, name: str) -> list[dict[str, Any]]:
    count, side = (4 * source) ** 2, round(source * scale)
    figures = splat_times.measure(source, scale, device, name, repeats=9 if device.type == "cuda" else 1)
    by_metric = {one.metric: one.median for one in figures}
    rows: list[dict[str, Any]] = []
    for work in ("forward", "forward+backward", "forward, naive kernel"):
        if work not in by_metric:
            continue
        pairs = by_metric[f"{work} pairs"] * by_metric[work] / 1e3
        floor = bench_floor.floor_ms(count, side * side, pairs, backward="backward" in work)
        kernels = bench_floor.kernels(scale)[: None if "backward" in work else 5]
        rows.append(
            {
                "gaussians": count,
                "scale": scale,
                "work": work,
                "ms": by_metric[work],
                "gaussians_per_s": by_metric[f"{work} Gaussians"],
                "pairs_per_s": by_metric[f"{work} pairs"],
                "floor_ms": floor,
                "share_of_floor": floor / by_metric[work],
                "predicted_ms": None if "naive" in work else sum(one.predicted_ms(count) for one in kernels),
            }
        )
    return rows


def profile(device: torch.device) -> list[dict[str, Any]]:
    """The time of each kernel of a drawing with gradients, by torch's profiler."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    scene, side = splat_times.lattice(PROFILED, 4.0, device)
    leaves = tuple(x.requires_grad_() for x in scene)

    def work() -> None:
        torch.autograd.grad(splat(*leaves, (side, side)).sum(), leaves)

    work()
    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(3):
            work()
        synchronize(device)
    events = sorted(seen.key_averages(), key=lambda one: -one.self_device_time_total)
    return [
        {"name": one.key, "ms": one.self_device_time_total / 3e3, "calls": one.count / 3}
        for one in events[:25]
        if one.self_device_time_total
    ]


if __name__ == "__main__":
    main()
