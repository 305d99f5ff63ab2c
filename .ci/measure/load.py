"""Drawing and gradients to look at from outside: for compute-sanitizer a small field, for ncu one of two millions."""

from __future__ import annotations

import argparse

import torch

from gsr_app.harness.splat_times import lattice
from gsr_app.ops import splat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    source = 12 if args.small else 360
    scene, side = lattice(source, 4.0, torch.device(args.device))
    leaves = tuple(x.requires_grad_() for x in scene)
    splat(*leaves, (side, side)).square().sum().backward()
    if args.small:  # with large Gaussians and a weight, which take other kernels
        mean, sigma, rho, color = (x.detach().clone() for x in leaves)
        sigma[::200] *= 60
        large = tuple(x.requires_grad_() for x in (mean, sigma, rho, color))
        splat(*large, (140, 150), normalize=True).square().sum().backward()
    print("Sums of the gradients:", [float(x.grad.abs().sum()) for x in leaves if x.grad is not None])


if __name__ == "__main__":
    main()
