"""What a fit tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FitStatus:
    """The progress of a fit."""

    step: int
    seconds: float
    psnr: float
    best_psnr: float
    loss: float
    gaussians: int
    progress: float  # 0..1
    seconds_left: float
    start: str
    start_seconds: float = 0.0  # of `seconds`, those before the first step

    @property
    def steps_per_second(self) -> float:
        spent = self.seconds - self.start_seconds
        return self.step / spent if spent > 0 else 0.0


@dataclass
class Curve:
    """The measurements of a fit, one entry per report."""

    step: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])
    psnr: list[float] = field(default_factory=list[float])
    loss: list[float] = field(default_factory=list[float])
    gaussians: list[int] = field(default_factory=list[int])

    def add(self, status: FitStatus) -> None:
        for name in ("step", "seconds", "psnr", "loss", "gaussians"):
            getattr(self, name).append(getattr(status, name))
