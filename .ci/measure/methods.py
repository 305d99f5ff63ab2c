"""Every method of the catalogue with real or random weights: frames per second and peak memory; and the timing protocol
that GSASR was published with.

Timed on the device: network and drawing, without reading, sending and writing.
"""

from __future__ import annotations

import gc
from typing import Any

import torch
from common import keep, precision, precisions, read_arguments, seconds_left, time_ms
from torch import nn

from gsr_app.engine import devices, networks
from gsr_app.engine.timing import peak_bytes, reset_peak
from gsr_app.harness import bench_floor
from gsr_app.models import checkpoint, registry, weights
from gsr_app.ops.resize import resize
from gsr_app.training.predict import Wanted, predict

SIZES = {"256x256": (256, 256), "1280x720": (720, 1280), "1920x1080": (1080, 1920)}
TINY = {"24x16": (16, 24)}
FIRST = ("swift", "rt4ksr-x2", "span-x4", "bicubic")  # those with stated speeds
FRAMES = 7  # of a video network
PUBLISHED = ("gsasr-edsr", "gsasr-rdn", "gsasr-swin")
PUBLISHED_SCALES = (2, 3, 4, 6, 8, 12)
LONGEST_MS = 4000


def main() -> None:
    args = read_arguments(__doc__)
    device = torch.device(args.device)
    on_gpu = device.type == "cuda"
    found: dict[str, Any] = {"rows": [], "published": []}
    torch.backends.cudnn.benchmark = False
    known = sorted(registry.catalogue().values(), key=lambda one: FIRST.index(one.id) if one.id in FIRST else 99)
    for method in known:
        if on_gpu or method.id in ("swift", "bicubic"):
            found["rows"] += measure(method, device)
        else:
            found["rows"].append({"method": method.id, "status": "not run here"})
        keep(args.json, found)
    if on_gpu:
        for name in PUBLISHED:
            found["published"] += measure_published(name, device)
            keep(args.json, found)
    for row in found["rows"] + found["published"]:
        print(row)


def measure(method: registry.Method, device: torch.device) -> list[dict[str, Any]]:
    """Rows by size and precision; one row that says why there are none."""
    if seconds_left() < 8:
        return [{"method": method.id, "status": "no time left"}]
    try:
        module, kind = load(method, device)
        rows: list[dict[str, Any]] = []
        for size in (SIZES if device.type == "cuda" else TINY).items():
            rows += measure_size(method, module, kind, size, device, rows[:])
        return rows
    except Exception as error:
        return [{"method": method.id, "status": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}]
    finally:
        devices.release(device)


def load(method: registry.Method, device: torch.device) -> tuple[nn.Module | None, str]:
    """The network in its inference form, and whether its weights are real."""
    if method.kind == "resize":
        return None, "none"
    module = registry.build(method.arch)
    found = weights.find(method)
    if found is not None:
        module = checkpoint.load_files(module, found.files)
    arch = registry.architecture(method.arch)
    return networks.prepare(module, arch, device), "random" if found is None else "real"


@torch.inference_mode()
def measure_size(
    method: registry.Method,
    module: nn.Module | None,
    kind: str,
    size: tuple[str, tuple[int, int]],
    device: torch.device,
    smaller: list[dict[str, Any]],  # the rows of smaller sizes
) -> list[dict[str, Any]]:
    label, (height, width) = size
    scale = float(method.native_scale or (2 if height == 1080 else 4))
    rows: list[dict[str, Any]] = []
    counted: bench_floor.Work | None = None
    for name in precisions(device):
        row: dict[str, Any] = {"method": method.id, "input": label, "scale": scale, "precision": name, "weights": kind}
        rows.append(row)
        if seconds_left() < 6:
            row["status"] = "no time left"
            continue
        if reason := foretell(smaller, name, height * width, device):
            row["status"] = reason
            continue
        gc.collect()
        reset_peak(device)
        try:
            run = prepare(method, module, (height, width), scale, device, amp=name == "bf16")
            if module is not None:
                counted = counted or bench_floor.count_work(run, module)
                row["flops_per_pixel"] = counted.flops / (height * width)
                row["bytes_per_pixel"] = counted.bytes / (height * width)
                row["h100_floor_ms"] = counted.floor_ms(name)
            with precision(name):
                ms = time_ms(run, device, repeats=5 if device.type == "cuda" else 1, limit_s=LONGEST_MS / 1e3)
            peak = peak_bytes(device)
            row |= {"ms": ms, "frames_per_s": 1e3 / ms, "peak_mib": None if peak is None else peak / 2**20}
        except RuntimeError as error:
            row["status"] = "out of memory" if devices.is_out_of_memory(error) else str(error).splitlines()[0][:200]
            devices.release(device)
    return rows


def foretell(smaller: list[dict[str, Any]], name: str, pixels: int, device: torch.device) -> str:
    """Why a size is not tried: from the smallest one, which both time and memory grow with."""
    first = next((row for row in smaller if row.get("precision") == name and "ms" in row), None)
    if first is None:
        return "a smaller one failed" if smaller else ""
    height, width = SIZES[first["input"]]
    more = pixels / (height * width)
    if more * first["ms"] > LONGEST_MS:
        return "would take too long"
    return "would not fit" if more * (first["peak_mib"] or 0) * 2**20 > 0.9 * devices.free_bytes(device) else ""


def prepare(
    method: registry.Method,
    module: nn.Module | None,
    size: tuple[int, int],
    scale: float,
    device: torch.device,
    *,
    amp: bool,
) -> Any:
    lr = torch.rand(1, 3, *size, device=device)
    wanted = [Wanted((round(size[0] * scale), round(size[1] * scale)), (0,))]
    if module is None:
        return lambda: resize(lr, scale=scale, kernel=method.id)
    arch = registry.architecture(method.arch)
    padded = [-(-side // arch.multiple_of) * arch.multiple_of for side in size]
    if padded != list(size):
        lr = torch.rand(1, 3, *padded, device=device)
        wanted = [Wanted((round(padded[0] * scale), round(padded[1] * scale)), (0,))]
    if arch.kind == "video":
        lr = lr[:, None].expand(-1, FRAMES, -1, -1, -1).contiguous()
    elif arch.channels_last:
        lr = lr.contiguous(memory_format=torch.channels_last)
    return lambda: predict(module, arch, lr, wanted, amp=amp, window_fraction=arch.window_fraction)


@torch.inference_mode()
def measure_published(name: str, device: torch.device) -> list[dict[str, Any]]:
    """720x720 results, batch 1, whole, float32, the first two of seven pictures dropped."""
    arch = registry.architecture(name)
    module = arch.build().to(device).eval()
    rows: list[dict[str, Any]] = []
    for scale in PUBLISHED_SCALES:
        if seconds_left() < 5:
            rows.append({"method": name, "scale": scale, "status": "no time left"})
            continue
        side = 720 // scale
        side += -side % arch.multiple_of
        wanted, fraction = [Wanted((side * scale, side * scale), (0,))], 0.05 if scale == 2 else 0.1
        times: list[float] = []
        peaks: list[float] = []
        for picture in range(7):
            lr = torch.rand(1, 3, side, side, device=device)
            reset_peak(device)
            with precision("fp32"):
                times.append(time_ms(lambda: predict(module, arch, lr, wanted, window_fraction=fraction), device, 0))  # noqa: B023
            peaks.append((peak_bytes(device) or 0) / 2**20)
            if picture < 2:
                times.clear(), peaks.clear()
            if sum(times) > LONGEST_MS:
                break
        rows.append({"method": name, "scale": scale, "ms": sum(times) / max(1, len(times)), "pictures": len(times),
                     "peak_mib": sum(peaks) / max(1, len(peaks))})  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
