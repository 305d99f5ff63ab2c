"""What can be asked of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from gsr_app.core.errors import InvalidArgument, UnknownName

Start = Literal["network", "quadtree", "random", "initnet"]
Rule = Literal["ours", "published"]

MOST_GAUSSIANS = 2_000_000


@dataclass(frozen=True)
class FitOptions:
    """How to fit. At least one limit ends it; several end it at the first that is reached."""

    start: Start = "network"
    gaussians: int | None = None  # None: by what the picture holds
    seconds: float | None = None
    steps: int | None = None
    target_psnr: float | None = None
    loss: str = "l2"  # l2, l1 or ssim
    optimizer: Literal["adam", "adan"] = "adam"
    rate: float = 1.0  # factor on all learning rates
    solves_colors: bool = True  # least squares for the colours before the first step
    moves_idle: bool = True  # Gaussians that do little are moved to where the error is
    seed: int = 0
    weights: str | None = None  # of the network that it starts from, instead of those that ship or are fetched
    rule: Rule = "ours"  # how numbers become Gaussians and at what rates they move

    def __post_init__(self) -> None:
        if self.start not in get_args(Start):
            raise UnknownName(self.start, get_args(Start), what="Start", where="the list of starts")
        if self.optimizer not in ("adam", "adan"):
            raise UnknownName(self.optimizer, ("adam", "adan"), what="Optimizer", where="the list of optimizers")
        if self.gaussians is not None and not 1 <= self.gaussians <= MOST_GAUSSIANS:
            raise InvalidArgument(f"A fit takes 1 to {MOST_GAUSSIANS:,} Gaussians, found {self.gaussians}.")
        for name, value in (("seconds", self.seconds), ("steps", self.steps), ("target_psnr", self.target_psnr)):
            if value is not None and not 0 < value < 1e9:
                raise InvalidArgument(f"{name} must be greater than 0, found {value}.")


PUBLISHED_STEPS, PUBLISHED_GAUSSIANS = 50_000, 20_000


def as_published(**wishes: Any) -> FitOptions:
    """GaussianImage's own fit as Instant-GI runs it, but with true gradients and every Gaussian drawn."""
    if wishes.get("seconds") is None and wishes.get("steps") is None:
        wishes["steps"] = PUBLISHED_STEPS
    if wishes.get("start") == "random" and wishes.get("gaussians") is None:
        wishes["gaussians"] = PUBLISHED_GAUSSIANS
    fixed: dict[str, Any] = {"loss": "l2-clamped", "optimizer": "adan", "solves_colors": False, "moves_idle": False}
    return FitOptions(**wishes, **fixed, rule="published")
