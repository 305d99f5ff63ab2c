"""The training loop: one process or several, on CPU or GPU, resumable at any step."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn

from gsr_app.core.atomic import remove_abandoned, replacing
from gsr_app.core.errors import InvalidArgument, WeightsError, first_line
from gsr_app.core.types import Scale
from gsr_app.engine import devices
from gsr_app.engine.metrics import convention, psnr
from gsr_app.models.checkpoint import load_state, read_state
from gsr_app.models.registry import architecture
from gsr_app.ops import render
from gsr_app.training.clips import Clip, Windows, make_pair
from gsr_app.training.data import Batch, Patches, shrink
from gsr_app.training.graphs import GradientGraphs
from gsr_app.training.held import HeldPatches
from gsr_app.training.log import CsvLog
from gsr_app.training.losses import mix
from gsr_app.training.memory import (
    choose_parts,
    has_batch_statistics,
    measure_fixed_bytes,
    measure_patch_bytes,
    split_batch,
)
from gsr_app.training.optim import build_optimizers, follow, rate_factor, set_rate
from gsr_app.training.predict import Draw, Wanted, predict
from gsr_app.training.recipe import Recipe
from gsr_app.training.state import lengthen, shorten

_COLUMNS = ("step", "loss", "rate", "seconds", "psnr_y", "scores")
_LOG_EVERY = 50
_SAVE_EVERY_S = 60
_SHOW_EVERY_S = 20


@dataclass(frozen=True)
class Team:
    """The processes of a data-parallel run, as `torchrun` sets them up; one by default."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Team:
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size > 1 and not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)  # NCCL allocates on the current device
            # The others wait while the leader validates, which takes long where other programs have the CPU.
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(hours=6))
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def average_gradients(self, module: nn.Module) -> None:
        """Replace gradients by their mean over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        message = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(message)
        message /= self.size
        for gradient, mean in zip(gradients, message.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def largest(self, value: float) -> float:
        """The maximum over the processes; of flags, whether any is set."""
        if self.size == 1:
            return value
        message = torch.tensor(value, dtype=torch.float64, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(message, dist.ReduceOp.MAX)
        return float(message.item())


@dataclass
class Status:
    """Progress of a run, for display."""

    step: int
    steps: int
    loss: float
    rate_factor: float
    step_ms: float
    seconds_left: float
    scores: dict[str, float] = field(default_factory=dict[str, float])
    is_best: bool = False
    is_first: bool = False  # after the first step of this run
    is_recorded: bool = True  # whether it is a line of the log; others only show that the run goes on


class Trainer:
    """A run of a recipe. `run` yields a Status every few steps and saves a state that can be resumed."""

    def __init__(
        self,
        recipe: Recipe,
        pictures: Sequence[Any] | HeldPatches,  # [3, H, W] uint8 each, or clips; see `_prepare`
        validation: Sequence[Any],
        out: Path,
        *,
        device: str = "cpu",
        minutes: float | None = None,  # anneal by elapsed time instead of by steps
        draw: Draw = render,
        small_state: bool = False,  # see state.py
    ) -> None:
        self.recipe, self.out, self.draw, self.minutes = recipe, out, draw, minutes
        self.device = torch.device(device)
        self.team = Team.join(self.device)
        if recipe.data.batch % self.team.size:
            raise InvalidArgument(f"A batch of {recipe.data.batch} cannot be shared by {self.team.size} processes.")
        torch.manual_seed(recipe.seed)
        self.arch = architecture(recipe.arch)
        self.module = self.arch.build().to(self.device).train()
        self.average = copy.deepcopy(self.module).eval().requires_grad_(False)
        self.optimizers = build_optimizers(self.module, recipe.optimizer)
        self._prepare(pictures)
        self.validation = validation
        self.log = CsvLog(out / "log.csv", _COLUMNS)
        self.step, self.seconds, self.best = 0, 0.0, float("-inf")
        self.small_state = small_state
        self.parts = 1  # of a batch, one after the other
        self.graphs: GradientGraphs | None = None

    def fit_into(self, free_bytes: int) -> int | None:
        """Split the batch so that a step fits, and return the bytes that it needs; None where they are not known."""
        count = self.recipe.data.batch // self.team.size
        if self.arch.kind == "start":  # whole pictures of any size
            return None
        per_patch = measure_patch_bytes(self.module, self.arch, self.recipe)
        fixed = measure_fixed_bytes(self.module, self.recipe.optimizer.name)
        most = count // 2 if has_batch_statistics(self.module) else count
        self.parts = max(1, min(most, choose_parts(count, per_patch, fixed, free_bytes)))
        return fixed + per_patch * math.ceil(count / self.parts)

    def use_graphs(self) -> None:
        """Find gradients by CUDA graphs, where the batches allow it."""
        if self.parts == 1 and self.arch.kind != "start":
            self.graphs = GradientGraphs(
                self._measure_batch, [weight for weight in self.module.parameters() if weight.requires_grad]
            )

    def _prepare(self, pictures: Any) -> None:
        """Set up the data and loss for `_measure_parts`; subclasses for other kinds of networks override both."""
        recipe = self.recipe
        self.loss = mix(recipe.loss)
        if isinstance(pictures, HeldPatches):
            self.patches = pictures
        elif self.arch.kind == "video":
            self.patches = Windows([one for one in pictures if isinstance(one, Clip)], recipe.data)
        else:
            self.patches = Patches(pictures, recipe.data, recipe.degradation)

    # ---- running ---------------------------------------------------------------------------------------------

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Status]:
        """Train to the end of the schedule or until `stop()` is true; the state is saved in both cases."""
        if self.team.leads:
            self.out.mkdir(parents=True, exist_ok=True)
            remove_abandoned([self.out])
            self.log.begin(after_step=self.step)
        steps, every = self.recipe.schedule.steps, self.recipe.validation.every
        began, before, total, count = time.monotonic(), self.seconds, self._zero(), 0
        last_save = last_shown = began
        first_step = self.step
        while not self.is_done and not self.team.largest(stop()):
            factor = rate_factor(self.step, self._progress(), self.recipe.schedule)
            total, count = total + self._take_step(factor), count + 1
            # With a schedule by time all processes use the same clock, so that their rates are equal.
            seconds = before + time.monotonic() - began
            self.seconds = seconds if self.minutes is None else self.team.largest(seconds)
            if self.team.leads and time.monotonic() - last_save > _SAVE_EVERY_S:
                self.save()
                last_save = time.monotonic()
            is_validated = bool(every) and (self.step % every == 0 or self.is_done)
            is_recorded = is_validated or self.step % _LOG_EVERY == 0
            is_first = self.step == first_step + 1
            if not (is_recorded or is_first or time.monotonic() - last_shown > _SHOW_EVERY_S):
                continue
            if is_recorded and self.graphs is not None:
                self.graphs.grow_if_lacking()
            last_shown = time.monotonic()
            step_ms = 1e3 * (self.seconds - before) / max(1, self.step - first_step)
            scores = self.validate() if is_validated and self.team.leads else {}
            loss, left = float(total) / count, self._seconds_left(step_ms)
            status = Status(
                self.step, steps, loss, factor, step_ms, left, scores, is_first=is_first, is_recorded=is_recorded
            )
            if is_recorded:
                total, count = self._zero(), 0
                if self.team.leads:
                    self._record(status)
                    if is_validated:
                        self.save()
                        last_save = time.monotonic()
            yield status
        if self.team.leads:
            self.save()

    def _take_step(self, factor: float) -> Tensor:
        set_rate(self.optimizers, factor)
        # What a network drops at random depends, as its patches do, on nothing before this step.
        seeds = np.random.SeedSequence((self.recipe.seed, self.step, self.team.rank))
        torch.manual_seed(int(seeds.generate_state(1, np.uint32)[0]))
        loss = self._find_gradients(self.recipe.data.batch // self.team.size)
        self.team.average_gradients(self.module)
        if self.recipe.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.optimizer.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        follow(self.average, self.module, step=self.step, decay=self.recipe.schedule.ema)
        self.step += 1
        return loss

    def _find_gradients(self, count: int) -> Tensor:
        """The loss of the patches of this process. What does not fit into memory is split further."""
        if self.graphs is not None:
            return self.graphs.find(self._draw_batch(count).to(self.device))
        while True:
            try:
                return self._accumulate(count)
            except (RuntimeError, MemoryError) as error:
                if self.parts >= count or not devices.is_out_of_memory(error):
                    raise
            self.parts = min(count, 2 * self.parts)
            devices.release(self.device)

    def _accumulate(self, count: int) -> Tensor:
        """Add the gradients of the parts of a batch, which are those of the whole."""
        for weight in self.module.parameters():
            weight.grad = None
        total = self._zero()
        for loss, share in self._measure_parts(count):
            weighted = loss if share == 1 else share * loss
            weighted.backward()
            total = total + weighted.detach()
        return total

    def _measure_parts(self, count: int) -> Iterator[tuple[Tensor, float]]:
        """The loss of each part of the batch, and its share in the loss of the whole."""
        for part, share in split_batch(self._draw_batch(count), self.parts):
            yield self._measure_batch(part.to(self.device)), share

    def _draw_batch(self, count: int) -> Batch:
        return self.patches.draw(self.recipe.seed, self.step, self.team.rank, count=count)

    def _measure_batch(self, batch: Batch) -> Tensor:
        drawn = self._predict(self.module, batch.lr, [one.wanted for one in batch.targets])
        return self.loss(drawn, [one.hr for one in batch.targets], [one.weight for one in batch.targets])

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.device)  # a loss that stays on the GPU does not wait for it

    def _progress(self) -> float:
        if self.minutes is not None:
            return self.seconds / (60 * self.minutes)
        return self.step / self.recipe.schedule.steps

    @property
    def is_done(self) -> bool:
        return self._progress() >= 1

    def _seconds_left(self, step_ms: float) -> float:
        if self.minutes is not None:
            return 60 * self.minutes - self.seconds
        return (self.recipe.schedule.steps - self.step) * step_ms / 1e3

    def _record(self, status: Status) -> None:
        if status.scores:
            mean = sum(status.scores.values()) / len(status.scores)
            status.is_best = mean > self.best
            if status.is_best:
                self.best = mean
                self.export(self.out / "best.safetensors")
        shown = {name: f"{value:.3f}" for name, value in status.scores.items()}
        self.log.add(
            {
                "step": status.step,
                "loss": f"{status.loss:.6f}",
                "rate": f"{status.rate_factor:.5f}",
                "seconds": f"{self.seconds:.1f}",
                "psnr_y": f"{mean:.4f}" if status.scores else "",  # type: ignore[possibly-undefined]
                "scores": json.dumps(shown) if shown else "",
            }
        )

    # ---- validation ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean PSNR-Y of the averaged weights over the validation pictures, by scale."""
        return {f"x{scale:g}": self._validate_at(scale) for scale in self._scales()} if self.validation else {}

    def _scales(self) -> tuple[float, ...]:
        if self.arch.kind == "pixels":
            return (float(self.arch.native_scale or 1),)
        return self.recipe.validation.scales

    def _validate_at(self, scale: float) -> float:
        by, total = convention(self.recipe.validation.convention), 0.0
        for picture in self.validation:
            if isinstance(picture, Clip):
                lr, hr = make_pair(picture, scale, self.recipe.data.frames)
            else:
                hr = self._crop(picture, scale).float() / 255
                lr = shrink(hr, scale)
            wanted = [Wanted((hr.shape[1], hr.shape[2]), (0,))]
            # In float32, as the exported weights are used.
            sr = self._predict(self.average, lr.to(self.device), wanted, Scale(scale, scale), amp=False)[0][0]
            total += psnr(sr.cpu().permute(1, 2, 0), hr.permute(1, 2, 0), by=by, scale=scale)
        return total / len(self.validation)

    def _crop(self, picture: Tensor, scale: float) -> Tensor:
        """Cropped to whole source pixels, as in published tests, and to the multiple that the network needs."""
        multiple = self.arch.multiple_of
        if scale != int(scale) and multiple == 1:
            return picture
        height, width = (int(int(side / scale) // multiple * multiple * scale) for side in picture.shape[1:])
        return picture[:, :height, :width]

    def _predict(
        self,
        module: nn.Module,
        lr: Tensor,
        wanted: Sequence[Wanted],
        scale: Scale | None = None,
        *,
        amp: bool | None = None,
    ) -> list[Tensor]:
        amp = self.recipe.amp if amp is None else amp
        window = self.recipe.window_fraction
        return predict(module, self.arch, lr, wanted, scale=scale, amp=amp, window_fraction=window, draw=self.draw)

    # ---- files -----------------------------------------------------------------------------------------------

    def export(self, path: Path) -> None:
        """The averaged weights in their inference form."""
        fuse: Callable[[], nn.Module] | None = getattr(self.average, "fuse", None)
        module = fuse() if fuse is not None else self.average
        with replacing(path) as temporary:
            state = {name: value.contiguous().cpu() for name, value in module.state_dict().items()}
            temporary.write_bytes(pack_tensors(state))

    def save(self) -> None:
        """Write the state of the run; resuming from it equals an uninterrupted run, but for a small state."""
        state: dict[str, Any] = {
            "recipe": json.dumps(dataclasses.asdict(self.recipe)),
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [
                shorten(one.state_dict()) if self.small_state else one.state_dict() for one in self.optimizers
            ],
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
        }
        with replacing(self.out / "last.pt") as temporary:
            torch.save(state, temporary)

    def begin_with(self, path: Path) -> None:
        """Initialise the weights from the averaged ones of another run's state, or from a weight file."""
        state = read_state(path, "average")
        extend: Callable[[Any], Any] | None = getattr(self.module, "extend", None)  # of a smaller network's weights
        load_state(self.module, extend(state) if extend is not None else state, path)
        self.average.load_state_dict(self.module.state_dict())

    def resume(self) -> None:
        """Load the state in the output folder."""
        path = self.out / "last.pt"
        if not path.exists():
            raise WeightsError(f"{self.out} holds no state to resume.", hint="Leave --resume out to start anew.")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            arch = json.loads(state["recipe"])["arch"]
        except Exception as error:  # torch, pickle, zip and JSON each raise their own kinds for a broken file
            raise WeightsError(
                f"{path} is damaged, or not the state of a training: {first_line(error, 120)}.",
                hint="Train on from its weights with `--from best.safetensors`, into another folder.",
            ) from None
        if arch != self.recipe.arch:
            raise WeightsError(f"{path} belongs to another architecture than {self.recipe.arch!r}.")
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            full = [group["full_rate"] for group in optimizer.param_groups]
            optimizer.load_state_dict(lengthen(kept))
            for group, rate in zip(optimizer.param_groups, full, strict=True):
                group["full_rate"] = rate  # the current recipe decides
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
