"""Whether the networks and a fit give on the GPU what they give on a CPU, in every precision, within stated bounds."""

from __future__ import annotations

import time
from typing import Any

import torch
from common import keep, precision, precisions, read_arguments
from torch import Tensor

from gsr_app.core.folders import ASSETS
from gsr_app.models.checkpoint import load_state, read_state
from gsr_app.models.registry import architecture
from gsr_app.ops import splat
from gsr_app.training.predict import Wanted, predict

# The largest difference of a picture of 0..1. In fp32 a drawing may differ where a value is cut off at 1e-4.
BOUNDS = {"fp32": 2e-3, "tf32": 1e-2, "bf16": 6e-2}
FIT_BOUND_DB = 0.1
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
    """A picture fitted by drawing, gradients and Adam, alone from the same start; and how fast."""
    count, side, steps = (20_000, 256, 100) if device.type == "cuda" else (300, 32, 3)
    reached = [fit(torch.device("cpu"), count, side, steps)[0], fit(device, count, side, steps)[0]]
    rate = fit(device, 50_000, 512, 300)[1] if device.type == "cuda" else None
    difference = abs(reached[0] - reached[1])
    return {"what": "fit, dB", "precision": "fp32", "difference": difference, "bound": FIT_BOUND_DB,
            "within": difference <= FIT_BOUND_DB, "steps_per_s_of_50000": rate}  # fmt: skip


def fit(device: torch.device, count: int, side: int, steps: int) -> tuple[float, float]:
    """PSNR after some steps, and steps per second."""
    random = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.linspace(0, 9, side), torch.linspace(0, 7, side), indexing="ij")
    image = torch.stack([x.sin() * y.cos(), (x * y / 5).sin(), (x - y).cos()]).mul(0.4).add(0.5).to(device)
    mean = torch.rand(count, 2, generator=random) * side
    start = [
        mean,
        torch.full((count, 2), side / count**0.5),
        torch.zeros(count),
        torch.rand(count, 3, generator=random),
    ]
    leaves = [one.to(device).requires_grad_() for one in start]
    adam = torch.optim.Adam(leaves, 0.02)

    def draw() -> Tensor:
        mean, sigma, rho, color = leaves
        return splat(mean, sigma.abs() + 0.3, rho.tanh() * 0.9, color, (side, side), normalize=True)

    began = time.perf_counter()
    for _ in range(steps):
        adam.zero_grad()
        (draw() - image).square().mean().backward()
        adam.step()
    error = float((draw() - image).square().mean())
    return -10 * torch.tensor(error).log10().item(), steps / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
