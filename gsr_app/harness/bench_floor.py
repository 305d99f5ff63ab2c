"""How fast drawing can be at most, and what is predicted of each CUDA kernel, from bytes and operations.

The floor is the least that any drawing must do: read each Gaussian once, write each pixel once, and add up the values
of all pixels within the ellipses. A prediction counts what our kernels do beyond that. The counts per Gaussian hold for
the scene of `gsr bench splat` (16 Gaussians per source pixel) and were counted on a CPU; registers are ptxas' for
sm_90, three channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

CHANNELS = 3


@dataclass(frozen=True)
class Gpu:
    """Rates of a GPU; by default those of an H100 (SXM)."""

    bytes_per_s: float = 3.3e12
    flops: float = 60e12
    tf32_flops: float = 495e12  # of matrix products and convolutions
    bf16_flops: float = 989e12
    processors: int = 132
    clock_hz: float = 1.75e9

    @property
    def instructions_per_s(self) -> float:
        """Of single lanes, in float32."""
        return 128 * self.processors * self.clock_hz

    @property
    def shuffles_per_s(self) -> float:
        return 32 * self.processors * self.clock_hz


H100 = Gpu()


@dataclass(frozen=True)
class Scene:
    """What the Gaussians of the benchmark reach at a scale, each on average."""

    pixels: float  # within its ellipse
    tiles: float  # of 16x16
    quarters: float  # of 8x8: each is 64 evaluations
    warp_steps: float  # of the backward pass: 4 rows by 8 columns


SCENES = {
    2.0: Scene(22.9, 1.43, 2.15, 1.88),
    4.0: Scene(91.6, 2.33, 4.44, 5.56),
    8.0: Scene(366.2, 4.69, 11.08, 18.17),
}


def floor_ms(gaussians: int, pixels: int, pairs: float, *, backward: bool = False, gpu: Gpu = H100) -> float:
    """The time that memory or arithmetic alone take, whichever is longer; with `backward` for both passes."""
    read = 4 * (5 + CHANNELS) * gaussians + 4 * CHANNELS * pixels
    if backward:
        read += 2 * 4 * (5 + CHANNELS) * gaussians + 4 * CHANNELS * pixels
    return 1e3 * max(read / gpu.bytes_per_s, operations(pairs, backward=backward) / gpu.flops)


def operations(pairs: float, *, backward: bool = False) -> float:
    """Of the values of so many pixels, each of one Gaussian."""
    return (10 + 2 * CHANNELS + (22 + 4 * CHANNELS if backward else 0)) * pairs


@dataclass(frozen=True)
class Kernel:
    """A kernel, or a step of torch's, per Gaussian."""

    name: str
    bytes: float  # moved to and from memory
    instructions: float = 0.0  # of single lanes
    shuffles: float = 0.0  # of single lanes
    registers: int = 0
    shared_bytes: int = 0  # of a block

    def predicted_ms(self, gaussians: int, gpu: Gpu = H100) -> float:
        arithmetic = self.instructions / gpu.instructions_per_s + self.shuffles / gpu.shuffles_per_s
        return 1e3 * gaussians * max(self.bytes / gpu.bytes_per_s, arithmetic)

    @property
    def occupancy(self) -> float | None:
        """The share of a multiprocessor's 64 warps that registers and shared memory leave room for."""
        if not self.registers:
            return None
        blocks = 65536 // (128 * (-self.registers // 8 * -8))
        if self.shared_bytes:
            blocks = min(blocks, 228 * 1024 // (self.shared_bytes + 1024))
        return min(64, 4 * blocks) / 64


def kernels(scale: float) -> list[Kernel]:
    """The kernels of a drawing with its backward pass, in their order."""
    scene, sums = SCENES[scale], 6 + CHANNELS
    pixels = scale**2 / 16  # of the drawing, per Gaussian
    evaluations = 64 * scene.quarters
    return [
        Kernel("gsr_prepare", 4 * (5 + CHANNELS) + 36, 150, registers=32),
        Kernel("scan", 4 + 16),
        Kernel("gsr_emit_pairs", 32 + 16 + 6 * scene.tiles, 60 + 60 * scene.tiles, registers=32),
        Kernel("sort", scene.tiles * (8 + 2 + 2 * 20)),  # two passes over 16-bit tiles and 64-bit indices
        Kernel("gsr_draw_3", scene.tiles * (44 + 4 * CHANNELS) + 4 * CHANNELS * pixels,
               evaluations * (13 + CHANNELS) + 110 * scene.tiles, registers=56, shared_bytes=4608),
        Kernel("gsr_sum_moments_3", 32 + 4 * CHANNELS + 4 * sums + 4 * CHANNELS * pixels,
               32 * scene.warp_steps * (58 + 4 * CHANNELS), 32 * 5 * sums, registers=48),
        Kernel("gsr_apply_chain_rule_3", 4 * sums + 32 + 12 + 4 * (5 + CHANNELS), 60, registers=32),
    ]  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a network does, counted while it runs in float32."""

    flops: float  # of matrix products and convolutions
    bytes: float  # the outputs of its layers, written and read once; weights are few beside them

    def floor_ms(self, precision: str, gpu: Gpu = H100) -> float:
        """The time that memory or arithmetic alone take, whichever is longer; for fp32, tf32 or bf16."""
        flops = {"fp32": gpu.flops, "tf32": gpu.tf32_flops, "bf16": gpu.bf16_flops}[precision]
        moved = self.bytes / 2 if precision == "bf16" else self.bytes
        return 1e3 * max(moved / gpu.bytes_per_s, self.flops / flops)

    def enlarged(self, factor: float) -> Work:
        """That of a picture of so many times the pixels."""
        return Work(factor * self.flops, factor * self.bytes)


def count_work(run: Callable[[], object], module: nn.Module) -> Work:
    from torch import Tensor
    from torch.utils.flop_counter import FlopCounterMode

    moved = 0.0

    def add(_part: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal moved
        if isinstance(output, Tensor):
            moved += 2 * output.nbytes

    hooks = [part.register_forward_hook(add) for part in module.modules() if not list(part.children())]
    try:
        with FlopCounterMode(display=False) as counter:
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return Work(counter.get_total_flops(), moved)


_FIT_KERNELS = 160  # short ones of a step: footprints, loss, chain rule, Adam
_SHORT_KERNEL_US = 2.5  # of a CUDA graph, each waiting for the one before


def fit_step_ms(gaussians: int) -> float:
    """The predicted time of a step of a fit: drawing and its backward pass, and many short kernels."""
    drawing = sum(one.predicted_ms(gaussians) for one in kernels(4.0))
    return drawing + _FIT_KERNELS * _SHORT_KERNEL_US / 1e3
