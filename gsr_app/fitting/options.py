"""The options of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from gsr_app.core.errors import InvalidArgument, UnknownName

Start = Literal["network", "quadtree", "random", "initnet"]
Rule = Literal["ours", "published"]

MOST_GAUSSIANS = 2_000_000


@dataclass(frozen=True)
class FitOptions:
    """How to fit. The first limit that is reached ends the fit."""

    start: Start = "network"
    gaussians: int | None = None  # None: from the content of the image
    seconds: float | None = None
    steps: int | None = None
    target_psnr: float | None = None
    loss: str = "l2"  # l2, l1 or ssim
    optimizer: Literal["adam", "adan"] = "adam"
    rate: float = 1.0  # factor on all learning rates
    solves_colors: bool = True  # least squares for the colours before the first step
    moves_idle: bool = True  # Gaussians that are hardly visible are moved to where the error is largest
    seed: int = 0
    weights: str | None = None  # of the start's network, instead of the packaged or downloaded ones
    rule: Rule = "ours"  # the parametrisation and its learning rates
    counts_start: bool = True  # whether `seconds` include the start, or are those of the steps alone

    def __post_init__(self) -> None:
        if self.start not in get_args(Start):
            raise UnknownName(self.start, get_args(Start), what="Start", where="the list of starts")
        if self.optimizer not in ("adam", "adan"):
            raise UnknownName(self.optimizer, ("adam", "adan"), what="Optimizer", where="the list of optimizers")
        if self.gaussians is not None and not 1 <= self.gaussians <= MOST_GAUSSIANS:
            raise InvalidArgument(f"A fit takes 1 to {MOST_GAUSSIANS:,} Gaussians, found {self.gaussians}.")
        if not -(1 << 63) <= self.seed < 1 << 64:  # what torch takes
            raise InvalidArgument(f"seed must be a number of 64 bits, found {self.seed}.")
        for name, value in (("seconds", self.seconds), ("steps", self.steps), ("target_psnr", self.target_psnr)):
            if value is not None and not 0 < value < 1e9:
                raise InvalidArgument(f"{name} must be greater than 0, found {value}.")


PUBLISHED_STEPS, PUBLISHED_GAUSSIANS = 50_000, 20_000


def as_published(**options: Any) -> FitOptions:
    """GaussianImage's fit as Instant-GI runs it, but with true gradients and every Gaussian drawn."""
    if options.get("seconds") is None and options.get("steps") is None:
        options["steps"] = PUBLISHED_STEPS
    if options.get("start") == "random" and options.get("gaussians") is None:
        options["gaussians"] = PUBLISHED_GAUSSIANS
    fixed: dict[str, Any] = {"loss": "l2-clamped", "optimizer": "adan", "solves_colors": False, "moves_idle": False}
    return FitOptions(**options, **fixed, rule="published")
