"""The fit of Gaussians to one image: starting, stepping, relocating Gaussians, and keeping the best."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField
from gsr_app.fitting.adan import Adan
from gsr_app.fitting.adding import make_gaussians
from gsr_app.fitting.covariance import Footprints, Parameters, join
from gsr_app.fitting.initial_count import count_from_content
from gsr_app.fitting.losses import loss_function, psnr
from gsr_app.fitting.optimizers import Optimizer, build_optimizer
from gsr_app.fitting.options import FitOptions
from gsr_app.fitting.progress import Curve, FitStatus
from gsr_app.fitting.published import PublishedParameters
from gsr_app.fitting.recorded import RecordedSteps
from gsr_app.fitting.starts import initial_gaussians
from gsr_app.ops import backend, cuda
from gsr_app.ops.drawing import DEFAULT_EPS
from gsr_app.ops.recording import Recorder, record

# Learning rates of the mean (in the Gaussian's own widths), the covariance (as a factor on itself) and the colour.
_RATES = (0.2, 0.15, 0.035)
_WARM_STEPS, _LAST_RATE = 10, 0.03
_COARSE_EPS, _COARSE_UNTIL = 1e-3, 0.8  # until then the faintest tails cost more time than they gain
_SOLVER_STEPS, _RIDGE = 8, 0.02
_RELOCATE_EVERY, _RELOCATE_SHARE, _RELOCATE_UNTIL = 50, 0.03, 0.6  # steps; of the Gaussians; of the fit
_GROW_EVERY, _GROW_SHARE, _GROW_UNTIL = 100, 0.15, 0.5  # while a wanted PSNR is far
_PUBLISHED_RATE, _PUBLISHED_HALVE_EVERY = 1e-3, 10_000
_DEFAULT_SECONDS = 20.0
_SMALL_PIXELS = 1 << 19  # below this, a second thread costs more than it saves while other work runs


class Fitter:
    """Fits one image. `run` yields a FitStatus at intervals; it can be closed at any of them and run again."""

    def __init__(
        self,
        image: Tensor | np.ndarray[Any, Any],  # [3, H, W] float32 in 0..1
        options: FitOptions | None = None,
        *,
        device: torch.device | str = "cpu",
        recorder: Recorder | None = None,  # default: CUDA graphs on a GPU
    ) -> None:
        self.device = torch.device(device)
        if self.device.type not in ("cpu", "cuda"):  # others lack float64
            raise InvalidArgument(f"A fit runs on cpu or cuda, found {device}.", hint="Use --device cpu.")
        self.image = torch.as_tensor(image, dtype=torch.float32).contiguous().to(self.device)
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.numel() == 0:
            raise InvalidArgument(f"A fit takes an image [3, H, W], found {tuple(self.image.shape)}.")
        if not bool(torch.isfinite(self.image).all()):
            raise InvalidArgument("A fit takes an image of finite values, found some that are not.")
        options = options or FitOptions()
        if options.seconds is None and options.steps is None:
            options = replace(options, seconds=_DEFAULT_SECONDS)
        self.options = options
        self.size = (int(self.image.shape[1]), int(self.image.shape[2]))
        self.step, self.seconds = 0, 0.0
        self.curve = Curve()
        self.position_map: Tensor | None = None
        self.first: GaussianField | None = None  # before the first step
        self.best_psnr = -math.inf
        self.best: Parameters | None = None
        self._goal_reached = False
        self._loss = loss_function(options.loss)
        self.random = torch.Generator().manual_seed(options.seed)
        self.parameters: Parameters | None = None
        self.optimizer: Optimizer | None = None
        recorder = record if recorder is None and self.device.type == "cuda" else recorder
        self.recorded = None if recorder is None else RecordedSteps[tuple[Tensor, Tensor]](recorder, self.device)

    # ---- results ---------------------------------------------------------------------------------------------

    @property
    def field(self) -> GaussianField:
        """The best Gaussians so far."""
        found = self.best or self.parameters
        if found is None:
            raise InvalidArgument("The fit has not begun: there are no Gaussians yet.")
        return self._as_field(found)

    def _as_field(self, parameters: Parameters) -> GaussianField:
        footprints = parameters.footprints()
        arrays = (footprints.mean + 0.5, footprints.sigma, footprints.rho, parameters.color)
        return GaussianField(*(x.clone().cpu().numpy() for x in arrays), source_size=self.size)

    @property
    def digest(self) -> str:
        """A hash of the image, so that a state is not resumed with another one."""
        return hashlib.sha256(self.image.cpu().numpy().tobytes()).hexdigest()[:16]

    @property
    def spacing_px(self) -> float:
        """The mean distance between neighbouring Gaussians."""
        return math.sqrt(self.size[0] * self.size[1] / max(1, len(self.parameters or ())))

    def draw(self) -> Tensor:  # [3, H, W]
        """The best Gaussians, drawn at the size of the image."""
        parameters = self.best or self.parameters
        assert parameters is not None
        footprints = parameters.footprints()
        return self._splat(footprints, parameters.color)

    def extend(
        self, *, seconds: float | None = None, steps: int | None = None, target_psnr: float | None = None
    ) -> None:
        """Allow more steps or time after the end."""
        seconds = None if seconds is None else self.seconds + seconds
        steps = None if steps is None else self.step + steps
        self.options = replace(self.options, seconds=seconds, steps=steps, target_psnr=target_psnr)
        self._budget_from = self._anneal_from = self._elapsed()
        self._goal_reached = False

    def restore(
        self,
        parameters: Parameters,
        best: Parameters,
        best_psnr: float,
        step: int,
        seconds: float,
        curve: Curve,
        optimizer: dict[str, Any],
        random: Tensor,
    ) -> None:
        """Continue an earlier fit of the same image."""
        self.parameters, self.best = parameters.to(self.device), best.to(self.device)
        self.best_psnr, self.curve = best_psnr, curve
        self.step, self.seconds = step, seconds
        self.first = self._as_field(parameters)
        self._build_optimizer()
        assert self.optimizer is not None
        self.optimizer.restore(optimizer)
        self.random.set_state(random)

    # ---- running ---------------------------------------------------------------------------------------------

    _start_steps: Iterator[None] | None = None  # the rest of the start
    _start_seconds = 0.0
    _budget_from: tuple[float, int] = (0.0, 0)  # seconds and steps
    _anneal_from: tuple[float, int] = (0.0, 0)  # likewise, when the start ended: it takes no steps

    def _elapsed(self) -> tuple[float, int]:
        return self.seconds, self.step

    @property
    def progress(self) -> float:
        """Of the present budget, by the limit that is closest."""
        if self._start_steps is not None and not self.options.counts_start:
            return 0.0
        return self._share_since(*self._budget_from)

    def _share_since(self, seconds: float, step: int) -> float:
        """The fraction that is used of what remained of the budget then."""
        shares = [0.0]
        if self.options.seconds is not None:
            shares.append((self.seconds - seconds) / max(1e-6, self.options.seconds - seconds))
        if self.options.steps is not None:
            shares.append((self.step - step) / max(1, self.options.steps - step))
        return min(1.0, max(shares))

    @property
    def is_done(self) -> bool:
        if self._start_steps is not None and not self.options.counts_start:
            return False
        return self._goal_reached or (self.parameters is not None and self.progress >= 1)

    def run(self, *, report_seconds: float = 0.5, stop: Callable[[], bool] = lambda: False) -> Iterator[FitStatus]:
        """Fit until a limit is reached or `stop` says so. The first report comes as soon as there are Gaussians."""
        backend.load(self.device.type)
        while not self.is_done and not stop():
            with torch.no_grad(), self._threads():
                status = self._run_for(0.0 if self.parameters is None else report_seconds, stop)
            self.curve.add(status)
            yield status

    def _run_for(self, report_seconds: float, stop: Callable[[], bool]) -> FitStatus:
        began, before = time.monotonic(), self.seconds
        if self.parameters is None:
            self._start_steps = self._start()
        loss: float | Tensor = math.nan
        while self.parameters is None or not self.is_done:
            if self._start_steps is not None:
                if next(self._start_steps, True):  # it has ended
                    self._end_start(before + time.monotonic() - began)
            else:
                loss = self._take_step()
            self.seconds = before + time.monotonic() - began
            if self.seconds - before >= report_seconds or stop():
                break
        reached = self._measure()
        self.seconds = before + time.monotonic() - began
        left = self.seconds * (1 / self.progress - 1) if self.progress > 0 else math.inf
        return FitStatus(
            self.step, self.seconds, reached, self.best_psnr, float(loss), len(self.parameters or ()), self.progress,
            left, self.options.start, self._start_seconds if self._start_steps is None else self.seconds,
        )  # fmt: skip

    def _end_start(self, seconds: float) -> None:
        self._start_steps, self._start_seconds, self._anneal_from = None, seconds, (seconds, self.step)
        if not self.options.counts_start and self.options.seconds is not None:
            self.options = replace(self.options, seconds=self.options.seconds + seconds)
            self._budget_from = self._anneal_from

    @contextmanager
    def _threads(self) -> Generator[None]:
        before = torch.get_num_threads()
        if self.image.shape[1] * self.image.shape[2] < _SMALL_PIXELS:
            torch.set_num_threads(1)
            # set_num_threads also seeds new threads; restore it for them.
            others = threading.Thread(target=torch.set_num_threads, args=(before,))
            others.start()
            others.join()
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _start(self) -> Iterator[None]:
        """In several steps, so that the start of a large image reports progress and can be stopped."""
        image = self.image.cpu()
        self.parameters = self._place(image, self.options.gaussians or count_from_content(image)).to(self.device)
        self._build_optimizer()
        self.first = self._as_field(self.parameters)
        if self.options.solves_colors:
            yield
            yield from self.solve_colors()
            self.first = self._as_field(self.parameters)

    def _place(self, image: Tensor, count: int) -> Parameters:
        options = self.options
        if options.rule == "published" and options.start == "random":
            return PublishedParameters.at_random(count, self.size, options.seed)
        initial = initial_gaussians(image, options.start, count, options.seed, weights=options.weights)
        self.position_map = initial.position_map
        if options.rule == "published":
            return PublishedParameters.from_initial(initial, self.size)
        return Parameters.from_gaussians(initial.mean, initial.sigma.clamp(min=0.3), initial.rho, initial.color)

    def as_parameters(self, tensors: Sequence[Tensor]) -> Parameters:
        """Parameters of this fit's kind from their tensors."""
        if self.options.rule == "published":
            return PublishedParameters(*tensors, size=self.size, from_scratch=self.options.start == "random")
        return Parameters(*tensors)

    def _build_optimizer(self) -> None:
        assert self.parameters is not None
        if self.options.rule == "published":
            self.optimizer = Adan(self.parameters.tensors, _PUBLISHED_RATE)
            return
        rates = [self.options.rate * rate for rate in _RATES]
        self.optimizer = build_optimizer(
            self.options.optimizer, self.parameters.trained(), rates, is_recordable=self.recorded is not None
        )
        if self.recorded is not None:
            self.recorded.forget()

    def _take_step(self) -> Tensor:
        """Take a step and return its loss."""
        assert self.optimizer is not None
        eps = DEFAULT_EPS
        if self.options.rule == "ours" and self._share_since(*self._anneal_from) < _COARSE_UNTIL:
            eps = _COARSE_EPS
        self.optimizer.begin(self._rate_factor())
        if self.recorded is not None and self.optimizer.is_recordable:
            drawn, loss = self.recorded.take(lambda: self._move(eps), eps)
        else:
            drawn, loss = self._move(eps)
        self.step += 1
        if self.options.target_psnr is not None and self.step % 25 == 0:
            self._goal_reached = self._measure() >= self.options.target_psnr
        self._adapt(drawn)
        return loss

    def _move(self, eps: float) -> tuple[Tensor, Tensor]:
        """Move the Gaussians along their gradients, without waiting for a GPU; the drawing before that and its loss."""
        assert self.parameters is not None
        assert self.optimizer is not None
        parameters = self.parameters
        footprints = parameters.footprints()
        drawn = self._splat(footprints, parameters.color, eps)
        loss, grad = self._loss(drawn, self.image)
        *by_footprints, by_color = self._splat_backward(grad, footprints, parameters.color, eps)
        gradients = [*footprints.backward(*by_footprints), by_color]
        if cuda.is_recording(self.device):  # a drawing that lacked room must not move anything
            is_whole = (cuda.reserve.lacking(self.device) <= 0).float()
            gradients = [one * is_whole for one in gradients]
        self.optimizer.apply(gradients)
        parameters.apply_steps(footprints)
        return drawn, loss

    def _rate_factor(self) -> float:
        if self.options.rule == "published":
            return 0.5 ** (self.step // _PUBLISHED_HALVE_EVERY)
        since = self.step - self._anneal_from[1]
        warm = min(1.0, (since + 1) / _WARM_STEPS)
        along = self._share_since(*self._anneal_from)
        return warm * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * along)))

    def _measure(self) -> float:
        """PSNR of the present Gaussians, which are kept if they are the best so far."""
        assert self.parameters is not None
        footprints = self.parameters.footprints()
        reached = psnr(self._splat(footprints, self.parameters.color), self.image)
        if reached > self.best_psnr:
            self.best_psnr, self.best = reached, self.parameters.clone()
        return reached

    def _splat(self, at: Footprints, color: Tensor, eps: float = DEFAULT_EPS) -> Tensor:
        # The op itself: the conditions that `ops.splat` checks at every call hold here by construction.
        frame = (*self.size, 0, 0, math.inf, math.inf, eps)
        return torch.ops.gsr.splat(at.mean, at.sigma, at.rho, color, *frame)

    def _splat_backward(
        self, grad: Tensor, at: Footprints, color: Tensor, eps: float = DEFAULT_EPS
    ) -> tuple[Tensor, ...]:
        frame = (*self.size, 0, 0, math.inf, math.inf, eps)
        return torch.ops.gsr.splat_backward(grad, at.mean, at.sigma, at.rho, color, *frame)

    # ---- changes beyond gradient steps -----------------------------------------------------------------------

    def solve_colors(self) -> Iterator[None]:
        """Least squares for the colours, by a few steps of conjugate gradients."""
        assert self.parameters is not None
        parameters = self.parameters
        footprints = parameters.footprints()

        def normal(color: Tensor) -> Tensor:  # (A'A + ridge) color
            return self._splat_backward(self._splat(footprints, color), footprints, color)[3] + _RIDGE * color

        weight = (
            math.pi * footprints.sigma.prod(1) * (1 - footprints.rho.square()).sqrt()
        )  # a Gaussian's sum of squares
        scale = (weight + _RIDGE)[:, None]
        residual = self._splat_backward(self.image, footprints, parameters.color)[3] - normal(parameters.color)
        direction = residual / scale
        energy = (residual * direction).sum()
        for _ in range(_SOLVER_STEPS):
            if energy <= 0:
                break
            image = normal(direction)
            length = energy / (direction * image).sum()
            parameters.color += length * direction
            residual = residual - length * image
            preconditioned = residual / scale
            energy, before = (residual * preconditioned).sum(), energy
            direction = preconditioned + energy / before * direction
            yield

    def _adapt(self, drawn: Tensor) -> None:
        assert self.parameters is not None
        options, progress = self.options, self._share_since(*self._anneal_from)
        may_grow = options.target_psnr is not None and options.gaussians is None and not self._goal_reached
        may_grow = may_grow and options.rule == "ours"
        if may_grow and self.step % _GROW_EVERY == 0 and progress < _GROW_UNTIL:
            self._grow(drawn)
        if options.moves_idle and self.step % _RELOCATE_EVERY == 0 and progress < _RELOCATE_UNTIL:
            self._relocate_idle(drawn)

    def _relocate_idle(self, drawn: Tensor) -> None:
        """Move the least visible Gaussians to where the error is largest."""
        assert self.parameters is not None
        parameters = self.parameters
        count = int(len(parameters) * _RELOCATE_SHARE)
        if count == 0:
            return
        footprints = parameters.footprints()
        visibility = parameters.color.abs().sum(1) * footprints.sigma.prod(1) * (1 - footprints.rho.square()).sqrt()
        idle = visibility.topk(count, largest=False).indices
        fresh = self._make_gaussians(drawn, count)
        for old, new in zip(parameters.tensors, fresh.tensors, strict=True):
            old[idle] = new
        assert self.optimizer is not None
        self.optimizer.reset(idle)

    def _grow(self, drawn: Tensor) -> None:
        """Add Gaussians where the error is largest."""
        assert self.parameters is not None
        most = self.size[0] * self.size[1] // 2
        count = min(int(len(self.parameters) * _GROW_SHARE) + 1, most - len(self.parameters))
        if count > 0:
            self.parameters = join(self.parameters, self._make_gaussians(drawn, count))
            self._build_optimizer()

    def _make_gaussians(self, drawn: Tensor, count: int) -> Parameters:
        return make_gaussians(self.image, drawn, count, self.spacing_px, self.random)
