"""Whether the networks and a fit give on the GPU what they give on a CPU, in every precision, within stated bounds."""

from __future__ import annotations

from typing import Any

import torch
from common import keep, precision, precisions, read_arguments

from gsr_app.core.folders import ASSETS
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.options import FitOptions
from gsr_app.harness import bench_floor
from gsr_app.models.checkpoint import load_state, read_state
from gsr_app.models.registry import architecture
from gsr_app.training.predict import Wanted, predict

# The largest difference of a picture of 0..1. In fp32 a drawing may differ where a value is cut off at 1e-4.
BOUNDS = {"fp32": 2e-3, "tf32": 1e-2, "bf16": 6e-2}
FIT_BOUND_DB = 0.1
SPEED_OF = 50_000  # Gaussians
CASES = {"swift": 4.0, "savsr": 2.5, "gsasr-edsr": 2.0}


def main() -> None:
    args = read_arguments(__doc__)
    device = torch.device(args.device)
    found: dict[str, Any] = {"rows": []}
    for name, scale in CASES.items() if device.type == "cuda" else [("swift", 4.0)]:
        found["rows"] += compare(name, scale, device)
        keep(args.json, found)
    found["rows"].append(compare_fits(device))
    keep(args.json, found)
    for row in found["rows"]:
        print(row)
    if not all(row["within"] for row in found["rows"]):
        raise SystemExit("Some results differ by more than the bounds.")


@torch.inference_mode()
def compare(name: str, scale: float, device: torch.device) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    arch = architecture(name)
    module = arch.build().eval()
    if name == "swift":
        load_state(module, read_state(ASSETS / "swift.safetensors"), name)
    side = 96 if device.type == "cuda" else 24
    lr = torch.rand((1, 7, 3, side, side) if arch.kind == "video" else (1, 3, side, side))
    wanted = [Wanted((round(side * scale), round(side * scale)), (0,))]
    true = predict(module, arch, lr, wanted)[0]
    module = module.to(device)
    rows: list[dict[str, Any]] = []
    for kind in precisions(device):
        with precision(kind):
            drawn = predict(module, arch, lr.to(device), wanted, amp=kind == "bf16")[0].cpu()
        # Random weights make values of any size: differences are told relative to the largest.
        difference = float((drawn - true).abs().max() / true.abs().max().clamp(min=1))
        rows.append(
            {"what": f"{name} x{scale:g}", "precision": kind, "difference": difference, "bound": BOUNDS[kind],
             "within": difference <= BOUNDS[kind]}
        )  # fmt: skip
    return rows


def compare_fits(device: torch.device) -> dict[str, Any]:
    """A picture fitted alone from the same start, and how fast."""
    on_gpu = device.type == "cuda"
    count, side, steps = (20_000, 256, 100) if on_gpu else (300, 32, 6)
    options = FitOptions(start="random", gaussians=count, steps=steps, moves_idle=False)
    reached = [fit(one, side, options)[0] for one in (torch.device("cpu"), device)]
    difference = abs(reached[0] - reached[1])
    row: dict[str, Any] = {
        "what": "fit, dB", "precision": "fp32", "difference": difference, "bound": FIT_BOUND_DB,
        "within": difference <= FIT_BOUND_DB, "gaussians": SPEED_OF,
        "predicted_steps_per_s": 1e3 / bench_floor.fit_step_ms(SPEED_OF),
    }  # fmt: skip
    if on_gpu:
        row["steps_per_s"], row["not_recorded"] = fit(
            device, 512, FitOptions(start="random", gaussians=SPEED_OF, steps=3000)
        )[1:]
    return row


def fit(device: torch.device, side: int, options: FitOptions) -> tuple[float, float, str]:
    """PSNR at the end, steps per second, and why they were not recorded as CUDA graphs, if they were not."""
    y, x = torch.meshgrid(torch.linspace(0, 9, side), torch.linspace(0, 7, side), indexing="ij")
    image = torch.stack([x.sin() * y.cos(), (x * y / 5).sin(), (x - y).cos()]).mul(0.4).add(0.5)
    fitter = Fitter(image, options, device=device)
    *_, last = fitter.run()
    return last.psnr, last.steps_per_second, "" if fitter.recorded is None else fitter.recorded.reason


if __name__ == "__main__":
    main()
