"""What the real GSASR-EDSR needs of memory, with filled weights, in a process of its own. Takes long."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

METHOD = "gsasr-edsr-df2k"


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("side", "scale", "more", "limit_gb"),
    [(512, 4, (), 5.0), (2048, 2, ("--reuse",), 6.0)],
    ids=["512 at x4 whole", "2048 at x2 in tiles"],
)
def test_a_large_picture_goes_through_the_real_network_in_little_memory(
    side: int, scale: float, more: tuple[str, ...], limit_gb: float
) -> None:
    words = [sys.executable, "-m", "tests.engine.test_gsasr_memory", str(side), str(scale), *more]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout)
    found = dict(word.split("=") for word in done.stdout.split())
    assert found["size"] == f"{round(side * scale)}x{round(side * scale)}"
    assert float(found["peak_gb"]) < limit_gb


class Reused:
    """Answers from a file what was answered before for an input of the same shape: tiles differ in content alone.

    The memory that a tile needs is not less for it: the network runs on one tile of every shape.
    """

    def __init__(self, answer: Callable[..., Any], folder: Path) -> None:
        self.answer, self.folder, self.known = answer, folder, {}

    def __call__(self, x: Tensor, *more: object) -> Any:
        key = tuple(x.shape)
        if key not in self.known:
            found = self.answer(x, *more)
            self.known[key] = self.folder / f"{len(self.known)}.pt"
            torch.save(found, self.known[key])
            return found
        return torch.load(self.known[key], weights_only=False)


def main() -> None:
    from gsr_app.engine import networks
    from gsr_app.engine.session import Session
    from gsr_app.engine.timing import process_peak_bytes
    from gsr_app.models import registry
    from tests.golden.gsasr_weights import fill

    parser = argparse.ArgumentParser()
    parser.add_argument("side", type=int)
    parser.add_argument("scale", type=float)
    parser.add_argument("--reuse", action="store_true")
    given = parser.parse_args()
    arch = registry.architecture(registry.method(METHOD).arch)
    module = arch.build().eval()
    fill(module.get_submodule("encoder"))
    fill(module.get_submodule("decoder"))
    network: Any = networks.prepare(module, arch, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as name:
        if given.reuse:
            (Path(name) / "encode").mkdir()
            (Path(name) / "field").mkdir()
            network.encode = Reused(network.encode, Path(name) / "encode")
            network.field = Reused(network.field, Path(name) / "field")
        loaded = networks.Loaded(registry.method(METHOD), arch, network, "filled")

        def load(*_: object) -> Any:
            return loaded, False
            yield

        networks.load = load
        y, x = np.mgrid[: given.side, : given.side]
        waves = [127 + 100 * np.sin(0.1 * (c + 1) * x + 0.07 * y) for c in range(3)]
        picture = np.stack(waves, -1).astype(np.uint8)
        began = time.monotonic()
        for event in Session("cpu").stream(picture, method=METHOD, scale=given.scale):
            peak = process_peak_bytes() or 0
            print(f"{time.monotonic() - began:.0f} s {str(event)[:60]} {peak / 1e9:.2f} GB", file=sys.stderr)
        height, width = event.image.shape[:2]  # pyright: ignore
        print(f"size={width}x{height} seconds={time.monotonic() - began:.0f} peak_gb={peak / 1e9:.2f}")  # pyright: ignore


if __name__ == "__main__":
    main()
