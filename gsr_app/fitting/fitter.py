"""A fit on its way: one image, Gaussians, an optimiser, and what has been reached."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField
from gsr_app.fitting.adan import Adan
from gsr_app.fitting.covariance import Raw, Shape, join
from gsr_app.fitting.initial_count import count_by_content
from gsr_app.fitting.losses import find_loss, psnr
from gsr_app.fitting.optimizers import Mover, build_mover
from gsr_app.fitting.options import FitOptions
from gsr_app.fitting.published import PublishedRaw
from gsr_app.fitting.starts import begin
from gsr_app.ops import backend
from gsr_app.ops.drawing import DEFAULT_EPS

# Rates per step of a Gaussian's place (in its own widths), its covariance (as a factor on itself) and its colour.
_RATES = (0.2, 0.15, 0.035)
_WARM_STEPS, _LAST_RATE = 10, 0.03
_COARSE_EPS, _COARSE_UNTIL = 1e-3, 0.8  # until then the faintest tails are not worth their time
_SOLVER_STEPS, _RIDGE = 8, 0.02
_MOVE_EVERY, _MOVE_SHARE, _MOVE_UNTIL = 50, 0.03, 0.6  # steps; of the Gaussians; of the fit
_GROW_EVERY, _GROW_SHARE, _GROW_UNTIL = 100, 0.15, 0.5  # while a wanted PSNR is far
_PUBLISHED_RATE, _PUBLISHED_HALVE_EVERY = 1e-3, 10_000
_NEW_WIDTH = 0.27  # of the distance between Gaussians
_DEFAULT_SECONDS = 20.0
_SMALL_PIXELS = 1 << 19  # below this, a second thread costs more than it brings wherever other work runs, too


@dataclass(frozen=True)
class FitStatus:
    """Where a fit stands."""

    step: int
    seconds: float
    psnr: float
    best_psnr: float
    loss: float
    gaussians: int
    progress: float  # 0..1
    seconds_left: float
    start: str

    @property
    def steps_per_second(self) -> float:
        return self.step / self.seconds if self.seconds else 0.0


@dataclass
class Curve:
    """What was measured on the way, one entry per report."""

    step: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])
    psnr: list[float] = field(default_factory=list[float])
    loss: list[float] = field(default_factory=list[float])
    gaussians: list[int] = field(default_factory=list[int])

    def add(self, status: FitStatus) -> None:
        for name in ("step", "seconds", "psnr", "loss", "gaussians"):
            getattr(self, name).append(getattr(status, name))


class Fitter:
    """Fits one image. `run` yields a FitStatus now and then; it can be closed at any of them and run again."""

    def __init__(self, image: Tensor | np.ndarray[Any, Any], options: FitOptions | None = None) -> None:
        """image: [3, H, W] float32 in 0..1."""
        self.image = torch.as_tensor(image, dtype=torch.float32).contiguous()
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.numel() == 0:
            raise InvalidArgument(f"A fit takes an image [3, H, W], found {tuple(self.image.shape)}.")
        options = options or FitOptions()
        if options.seconds is None and options.steps is None:
            options = replace(options, seconds=_DEFAULT_SECONDS)
        self.options = options
        self.size = (int(self.image.shape[1]), int(self.image.shape[2]))
        self.step, self.seconds = 0, 0.0
        self.curve = Curve()
        self.position_map: Tensor | None = None
        self.first: GaussianField | None = None  # as it was before the first step
        self.best_psnr = -math.inf
        self.best: Raw | None = None
        self._goal_reached = False
        self._loss = find_loss(options.loss)
        self.random = torch.Generator().manual_seed(options.seed)
        self.raw: Raw | None = None
        self.mover: Mover | None = None

    # ---- what there is ---------------------------------------------------------------------------------------

    @property
    def field(self) -> GaussianField:
        """The best Gaussians so far."""
        found = self.best or self.raw
        if found is None:
            raise InvalidArgument("The fit has not begun: there are no Gaussians yet.")
        return self._as_field(found)

    def _as_field(self, raw: Raw) -> GaussianField:
        shape = raw.shape()
        arrays = (shape.mean + 0.5, shape.sigma, shape.rho, raw.color)
        return GaussianField(*(x.clone().numpy() for x in arrays), source_size=self.size)

    @property
    def digest(self) -> str:
        """Names the image, so that a state is not taken up with another one."""
        return hashlib.sha256(self.image.numpy().tobytes()).hexdigest()[:16]

    @property
    def spacing_px(self) -> float:
        """How far apart Gaussians lie on average."""
        return math.sqrt(self.size[0] * self.size[1] / max(1, len(self.raw or ())))

    def draw(self) -> Tensor:  # [3, H, W]
        """What the best Gaussians look like at the image's own size."""
        raw = self.best or self.raw
        assert raw is not None
        shape = raw.shape()
        return self._splat(shape, raw.color)

    def extend(
        self, *, seconds: float | None = None, steps: int | None = None, target_psnr: float | None = None
    ) -> None:
        """Go on after the end, with another budget."""
        seconds = None if seconds is None else self.seconds + seconds
        steps = None if steps is None else self.step + steps
        self.options = replace(self.options, seconds=seconds, steps=steps, target_psnr=target_psnr)
        self._budget_from = self._anneal_from = self._elapsed()
        self._goal_reached = False

    def take_up(
        self,
        raw: Raw,
        best: Raw,
        best_psnr: float,
        step: int,
        seconds: float,
        curve: Curve,
        mover: dict[str, Any],
        random: Tensor,
    ) -> None:
        """Go on from what an earlier fit of the same image has reached."""
        self.raw, self.best, self.best_psnr, self.curve = raw, best, best_psnr, curve
        self.step, self.seconds = step, seconds
        self.first = self._as_field(raw)
        self._build_mover()
        assert self.mover is not None
        self.mover.restore(mover)
        self.random.set_state(random)

    # ---- running ---------------------------------------------------------------------------------------------

    _beginning: Iterator[None] | None = None  # what is left of the start
    _budget_from: tuple[float, int] = (0.0, 0)  # seconds and steps
    _anneal_from: tuple[float, int] = (0.0, 0)  # likewise; the start, which takes no steps, is over

    def _elapsed(self) -> tuple[float, int]:
        return self.seconds, self.step

    @property
    def progress(self) -> float:
        """Of the present budget, by whichever limit comes first."""
        return self._share_since(*self._budget_from)

    def _share_since(self, seconds: float, step: int) -> float:
        """Of what the budget held at that time."""
        shares = [0.0]
        if self.options.seconds is not None:
            shares.append((self.seconds - seconds) / max(1e-6, self.options.seconds - seconds))
        if self.options.steps is not None:
            shares.append((self.step - step) / max(1, self.options.steps - step))
        return min(1.0, max(shares))

    @property
    def is_done(self) -> bool:
        return self._goal_reached or (self.raw is not None and self.progress >= 1)

    def run(self, *, report_seconds: float = 0.5, stop: Callable[[], bool] = lambda: False) -> Iterator[FitStatus]:
        """Fit until a limit is reached or `stop` says so."""
        backend.load("cpu")
        while not self.is_done and not stop():
            with torch.no_grad(), self._threads():
                status = self._run_for(report_seconds, stop)
            self.curve.add(status)
            yield status

    def _run_for(self, report_seconds: float, stop: Callable[[], bool]) -> FitStatus:
        began, before = time.monotonic(), self.seconds
        if self.raw is None:
            self._beginning = self._begin()
        loss = math.nan
        while self.raw is None or not self.is_done:
            if self._beginning is not None:
                if next(self._beginning, True):  # it has ended
                    self._beginning, self._anneal_from = None, (before + time.monotonic() - began, self.step)
            else:
                loss = self._take_step()
            self.seconds = before + time.monotonic() - began
            if self.seconds - before >= report_seconds or stop():
                break
        reached = self._judge()
        self.seconds = before + time.monotonic() - began
        left = self.seconds * (1 / self.progress - 1) if self.progress > 0 else math.inf
        return FitStatus(
            self.step, self.seconds, reached, self.best_psnr, loss, len(self.raw or ()), self.progress, left,
            self.options.start,
        )  # fmt: skip

    @contextmanager
    def _threads(self) -> Generator[None]:
        before = torch.get_num_threads()
        if self.image.shape[1] * self.image.shape[2] < _SMALL_PIXELS:
            torch.set_num_threads(1)
            # It also is what threads begin with that come to torch meanwhile, and keep for good: not for them.
            others = threading.Thread(target=torch.set_num_threads, args=(before,))
            others.start()
            others.join()
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _begin(self) -> Iterator[None]:
        """Piece by piece, so that the start of a large picture can be watched and stopped."""
        count = self.options.gaussians or count_by_content(self.image)
        self.raw = self._place(count)
        self._build_mover()
        self.first = self._as_field(self.raw)
        if self.options.solves_colors:
            yield
            yield from self.solve_colors()
            self.first = self._as_field(self.raw)

    def _place(self, count: int) -> Raw:
        options = self.options
        if options.rule == "published" and options.start == "random":
            return PublishedRaw.at_random(count, self.size, options.seed)
        begun = begin(self.image, options.start, count, options.seed, weights=options.weights)
        self.position_map = begun.position_map
        if options.rule == "published":
            return PublishedRaw.from_begun(begun, self.size)
        return Raw.from_gaussians(begun.mean, begun.sigma.clamp(min=0.3), begun.rho, begun.color)

    def as_raw(self, tensors: Sequence[Tensor]) -> Raw:
        """The optimiser's numbers, as this fit's rule reads them."""
        if self.options.rule == "published":
            return PublishedRaw(*tensors, size=self.size, from_scratch=self.options.start == "random")
        return Raw(*tensors)

    def _build_mover(self) -> None:
        assert self.raw is not None
        if self.options.rule == "published":
            self.mover = Adan(self.raw.tensors, _PUBLISHED_RATE)
            return
        rates = [self.options.rate * rate for rate in _RATES]
        self.mover = build_mover(self.options.optimizer, self.raw.moved(), rates)

    def _take_step(self) -> float:
        assert self.raw is not None
        raw = self.raw
        shape = raw.shape()
        eps = DEFAULT_EPS
        if self.options.rule == "ours" and self._share_since(*self._anneal_from) < _COARSE_UNTIL:
            eps = _COARSE_EPS
        drawn = self._splat(shape, raw.color, eps)
        loss, wanted = self._loss(drawn, self.image)
        *by_shape, by_color = self._pull(wanted, shape, raw.color, eps)
        assert self.mover is not None
        self.mover.step([*shape.pull_back(*by_shape), by_color], self._rate_factor())
        raw.settle(shape)
        self.step += 1
        if self.options.target_psnr is not None and self.step % 25 == 0:
            self._goal_reached = self._judge() >= self.options.target_psnr
        self._reshape(drawn)
        return loss

    def _rate_factor(self) -> float:
        if self.options.rule == "published":
            return 0.5 ** (self.step // _PUBLISHED_HALVE_EVERY)
        since = self.step - self._anneal_from[1]
        warm = min(1.0, (since + 1) / _WARM_STEPS)
        along = self._share_since(*self._anneal_from)
        return warm * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * along)))

    def _judge(self) -> float:
        """PSNR of the present Gaussians; they are kept if they are the best."""
        assert self.raw is not None
        shape = self.raw.shape()
        reached = psnr(self._splat(shape, self.raw.color), self.image)
        if reached > self.best_psnr:
            self.best_psnr, self.best = reached, self.raw.clone()
        return reached

    def _splat(self, at: Shape, color: Tensor, eps: float = DEFAULT_EPS) -> Tensor:
        # The op itself: what `ops.splat` checks at every call holds here by construction.
        frame = (*self.size, 0, 0, math.inf, math.inf, eps)
        return torch.ops.gsr.splat(at.mean, at.sigma, at.rho, color, *frame)

    def _pull(self, wanted: Tensor, at: Shape, color: Tensor, eps: float = DEFAULT_EPS) -> tuple[Tensor, ...]:
        frame = (*self.size, 0, 0, math.inf, math.inf, eps)
        return torch.ops.gsr.splat_backward(wanted, at.mean, at.sigma, at.rho, color, *frame)

    # ---- larger moves ----------------------------------------------------------------------------------------

    def solve_colors(self) -> Iterator[None]:
        """The colours that bring the drawing closest to the image, by a few steps of conjugate gradients."""
        assert self.raw is not None
        raw = self.raw
        shape = raw.shape()

        def normal(color: Tensor) -> Tensor:  # (A'A + ridge) color
            return self._pull(self._splat(shape, color), shape, color)[3] + _RIDGE * color

        weight = math.pi * shape.sigma.prod(1) * (1 - shape.rho.square()).sqrt()  # a Gaussian's sum of squares
        scale = (weight + _RIDGE)[:, None]
        rest = self._pull(self.image, shape, raw.color)[3] - normal(raw.color)
        way = rest / scale
        energy = (rest * way).sum()
        for _ in range(_SOLVER_STEPS):
            if energy <= 0:
                break
            bent = normal(way)
            length = energy / (way * bent).sum()
            raw.color += length * way
            rest = rest - length * bent
            ahead = rest / scale
            energy, before = (rest * ahead).sum(), energy
            way = ahead + energy / before * way
            yield

    def _reshape(self, drawn: Tensor) -> None:
        assert self.raw is not None
        options, progress = self.options, self._share_since(*self._anneal_from)
        may_grow = options.target_psnr is not None and options.gaussians is None and not self._goal_reached
        may_grow = may_grow and options.rule == "ours"
        if may_grow and self.step % _GROW_EVERY == 0 and progress < _GROW_UNTIL:
            self._grow(drawn)
        if options.moves_idle and self.step % _MOVE_EVERY == 0 and progress < _MOVE_UNTIL:
            self._move_idle(drawn)

    def _move_idle(self, drawn: Tensor) -> None:
        """Take the Gaussians that show least and put them where the error is largest."""
        assert self.raw is not None
        raw = self.raw
        count = int(len(raw) * _MOVE_SHARE)
        if count == 0:
            return
        shape = raw.shape()
        shows = raw.color.abs().sum(1) * shape.sigma.prod(1) * (1 - shape.rho.square()).sqrt()
        idle = shows.topk(count, largest=False).indices
        fresh = self._make_fresh(drawn, count)
        for old, new in zip(raw.tensors, fresh.tensors, strict=True):
            old[idle] = new
        assert self.mover is not None
        self.mover.forget(idle)

    def _grow(self, drawn: Tensor) -> None:
        """Add Gaussians where the error is largest."""
        assert self.raw is not None
        most = self.size[0] * self.size[1] // 2
        count = min(int(len(self.raw) * _GROW_SHARE) + 1, most - len(self.raw))
        if count > 0:
            self.raw = join(self.raw, self._make_fresh(drawn, count))
            self._build_mover()

    def _make_fresh(self, drawn: Tensor, count: int) -> Raw:
        """Small round Gaussians at random, more where more is wrong, in the colour that is missing there."""
        missing = self.image - drawn
        error = missing.square().sum(0)
        near = torch.nn.functional.avg_pool2d(error[None], 3, 1, 1, count_include_pad=False)[0]
        at = self._draw_places((near + 1e-12).flatten(), count)
        mean = torch.stack([at % self.size[1], at // self.size[1]], 1).float()
        sigma = torch.full((count, 2), max(0.5, _NEW_WIDTH * self.spacing_px))
        return Raw.from_gaussians(mean, sigma, torch.zeros(count), missing.flatten(1)[:, at].T)

    def _draw_places(self, weight: Tensor, count: int) -> Tensor:
        sums = weight.double().cumsum(0)
        draws = torch.rand(count, generator=self.random, dtype=torch.float64) * sums[-1]
        return torch.searchsorted(sums, draws).clamp(max=len(weight) - 1)
