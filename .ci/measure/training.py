"""The training that takes the time that is left: a larger swift, grown from the shipped weights."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

STEPS_OF_A_DRY_RUN = 2
SET_UP_S = 75  # teaching 8,000 tiles, recording graphs, the first validation


def command(device: str, work: Path, data: Path | None) -> list[str]:
    """`gsr train`, or for a dry run this file, which makes data first."""
    words = [str(work / "trained"), "" if data is None else str(data)]
    return [sys.executable, str(Path(__file__).resolve()), device, *words]


def main() -> int:
    device, out, data = sys.argv[1:4]
    left_s = float(os.environ.get("GSR_PART_SECONDS", "60"))
    tiny = device == "cpu" or not data
    folder = make_noise(Path(out).parent / "noise") if not data else Path(data)
    words = [
        *("train", "swift", "--arch", "swift-12", "--device", device, "--out", out, "--small-state"),
        *("--data", str(folder / "photos.pack"), "--validate", str(folder / "validation.pack")),
        *("--pages", str(folder / "pages.pack"), "--from", "assets/swift.safetensors"),
    ]
    teacher = "smfanet-plus" if data else "smfanet"
    for scale in (2, 3, 4):
        words += ["--teacher", f"{teacher}-x{scale}={folder / f'x{scale}.pth'}"]
    if tiny:
        words += ["--steps", str(STEPS_OF_A_DRY_RUN), "--tiles", "4", "--tile-px", "48", "--batch", "2"]
    else:
        minutes = max(0.2, (left_s - SET_UP_S) / 60)
        words += ["--minutes", f"{minutes:.2f}", "--tiles", "8000", "--batch", "144", "--amp"]

    from gsr_app.harness import cli

    return cli.main(words)


def make_noise(folder: Path) -> Path:
    """Packs of noise and teachers of random weights, for a machine without data."""
    import torch

    from gsr_app.models.registry import architecture
    from gsr_app.training.pack import write_pack

    random = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, side in (("photos", 2, 240), ("pages", 1, 240), ("validation", 1, 48)):
        pictures = torch.randint(256, (count, 3, side, side), generator=random, dtype=torch.uint8)
        write_pack(folder / f"{name}.pack", [{"picture": picture} for picture in pictures])
    for scale in (2, 3, 4):
        torch.save(architecture(f"smfanet-x{scale}").build().state_dict(), folder / f"x{scale}.pth")
    return folder


def collect(work: Path, out: Path) -> str:
    """Keep the state and the weights, the last ones where the training has ended, and return its log."""
    folder, weights = work / "trained", "swift.safetensors"
    for name, kept in (("last.pt", "state.pt"), ("best.safetensors", weights), ("final.safetensors", weights)):
        if (folder / name).is_file():
            shutil.copy(folder / name, out / kept)
    return (folder / "log.csv").read_text() if (folder / "log.csv").is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
