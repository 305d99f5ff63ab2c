"""`bench model`: where a method's time and memory go, at given input sizes and scales.

The speed of a network does not depend on its weights: a method whose weights are missing is measured with random
ones, and the table says so. Beside milliseconds there is a figure that is comparable between machines: the time in
units of one forward pass of the EDSR-baseline encoder (1.2 M parameters) on the same input in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import STAGES, Scale, Timing, View
from gsr_app.harness import bench_record
from gsr_app.harness.bench_record import Measure
from gsr_app.models import registry
from gsr_app.models.weights import default_method

if TYPE_CHECKING:
    import torch

    from gsr_app.engine.networks import Loaded

_UNIT_SIDE = 256

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Row:
    """One method at one size and scale."""

    method: str
    weights: str  # "found" or "random"
    size: tuple[int, int]  # (height, width) of the input
    scale: str
    timing: Timing
    edsr_encoder_ms: float
    iqr_ms: dict[str, float] = dataclasses.field(default_factory=dict[str, float])  # by stage: inter-quartile range
    macs: int | None = None  # multiply-adds of one picture; pixel networks at their own scale
    bicubic_ms: float | None = None  # for comparison, on the same device and picture
    times_training_form: float | None = None  # how much faster than before its layers were fused

    @property
    def frames_per_s(self) -> float:
        return 1e3 / self.timing.total_ms

    @property
    def networks_ms(self) -> float:
        """Encoder and decoder together."""
        return sum(self.timing.stages_ms.get(stage, 0.0) for stage in ("encode", "decode"))

    def measures(self) -> list[Measure]:
        """The row as figures of the benchmarks' common form."""
        case = f"{self.method} {self.size[1]}x{self.size[0]} x{self.scale}"
        timing, n = self.timing, self.timing.repeats
        found = [
            Measure(case, stage, value, self.iqr_ms.get(stage, 0.0), n, "ms")
            for stage, value in timing.stages_ms.items()
        ]
        found.append(Measure(case, "EDSR-encoder units", self.networks_ms / self.edsr_encoder_ms, 0.0, n, "ratio"))
        if self.bicubic_ms is not None:
            found.append(Measure(case, "bicubic units", timing.total_ms / self.bicubic_ms, 0.0, n, "ratio"))
        if self.times_training_form is not None:
            found.append(Measure(case, "times the training form", self.times_training_form, 0.0, n, "ratio"))
        if timing.peak_bytes is not None:
            found.append(Measure(case, "peak", timing.peak_bytes / 2**20, 0.0, n, "MiB"))
        return found

    def plain(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        return {
            "input": list(fields.pop("size")),
            **fields.pop("timing"),
            **fields,
            "total_ms": self.timing.total_ms,
            "networks_in_edsr_encoders": self.networks_ms / self.edsr_encoder_ms,
            "frames_per_s": self.frames_per_s,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", nargs="+", metavar="ID", help="methods of the catalogue (default: the app's)")
    parser.add_argument(
        "--size", nargs="+", metavar="WxH", help="input sizes (default: 48x48 and 96x96; RT4KSR: what makes 4K)"
    )
    parser.add_argument(
        "--scale", nargs="+", metavar="S", help="scales, such as 2 or 3.7 (default: a network's own, or 4)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs per row after a first that does not count")
    parser.add_argument(
        "--published", action="store_true", help="GSASR's protocol: 720x720 results of x2 to x12, untiled"
    )
    bench_record.add_common_arguments(parser, quick="the first size and scale, two repeats")
    parser.add_argument("--tile", type=int, help="side of a tile's core; default: by free memory")
    parser.add_argument("--weights", metavar="PATH", help="look for weights there first")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")


def run(arguments: argparse.Namespace) -> int:
    if arguments.repeats < 1:
        raise InvalidArgument(f"repeats must be 1 or more, found {arguments.repeats}.")
    if arguments.quick:
        arguments.repeats = min(arguments.repeats, 2)
    rows: list[Row] = []
    for method in [registry.method(one) for one in arguments.method or [default_method()]]:
        for size, scale in _cases(method, arguments):
            rows.append(measure(method, size, scale, arguments))
            if not arguments.json:
                _print(rows)
    conditions = bench_record.read_conditions(arguments.device)
    measures = [measure for row in rows for measure in row.measures()]
    plain = [row.plain() for row in rows]
    bench_record.publish("model", measures, conditions, arguments, detail=plain, has_table=False)
    return 0


def _cases(method: registry.Method, arguments: argparse.Namespace) -> list[tuple[tuple[int, int], Scale]]:
    """Which sizes and scales; the last of the published ones, or the first of others, where it must be quick."""
    if arguments.published:
        cases = [((720 // scale, 720 // scale), Scale(scale, scale)) for scale in (2, 3, 4, 6, 8, 12)]
        return cases[-1:] if arguments.quick else cases
    native = method.native_scale or 4
    sizes = [(2160 // native, 3840 // native)] if method.family == "RT4KSR" else [(48, 48), (96, 96)]
    if arguments.size:
        sizes = [bench_record.read_size(text) for text in arguments.size]
    scales = [Scale.parse(text) for text in arguments.scale or [str(native)]]
    return [(size, scale) for size in sizes for scale in scales][: 1 if arguments.quick else None]


def measure(method: registry.Method, size: tuple[int, int], scale: Scale, arguments: argparse.Namespace) -> Row:
    """Run a method the way the app does, several times."""
    import torch

    from gsr_app.engine import devices, runners, tiling
    from gsr_app.engine.cache import ByteLru
    from gsr_app.engine.rows import PlaneSink
    from gsr_app.engine.timing import Stopwatch
    from gsr_app.harness import bench_pixels

    if method.kind in {"resize", "video"}:
        raise InvalidArgument(f"{method.id} is of kind {method.kind}; bench model measures networks for single images.")
    device = devices.choose_device(arguments.device)
    dtype = devices.choose_precision(arguments.precision, device)
    loaded, weights = _load(method, device, arguments.weights)
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(1, 3, *size, generator=generator)

    def once() -> Timing:
        watch, sink = Stopwatch(device), PlaneSink(scale.output_size(size)[0])
        job = runners.NetworkRun(
            loaded, scale, 720 if arguments.published else arguments.tile, device, dtype, watch, ByteLru(0), "bench"
        )
        if method.kind == "field":
            field = runners.run_to_end(runners.encode_field(job, lr, "color"))
            runners.run_to_end(runners.draw(field, View.whole(size, scale), watch, sink))
        else:
            runners.run_to_end((runners.pixels if method.kind == "pixels" else runners.continuous)(job, lr, sink))
        return watch.timing(backend=runners.backend(method.kind, device), device=devices.describe(device))

    once()
    timing, spread = _median([once() for _ in range(arguments.repeats)])
    unit_ms = _edsr_encoder_ms(lr.to(device), arguments.repeats)
    row = Row(method.id, weights, size, str(scale), timing, unit_ms, spread)
    if method.native_scale is None or scale != Scale(method.native_scale, method.native_scale):
        return row
    macs = bench_pixels.count_macs(loaded.module, tiling.pad(lr, loaded.arch))
    lr = lr.to(device)
    bicubic_ms = bench_pixels.time_bicubic_ms(lr, scale, arguments.repeats)
    fused = bench_pixels.compare_fused(registry.build(method.arch), loaded.module, lr, loaded.arch, arguments.repeats)
    return dataclasses.replace(row, macs=macs, bicubic_ms=bicubic_ms, times_training_form=fused)


def _load(method: registry.Method, device: torch.device, given: str | None) -> tuple[Loaded, str]:
    from gsr_app.engine import networks, runners
    from gsr_app.models import weights

    if weights.find(method, given) is not None:
        return runners.run_to_end(networks.load(method, device, given))[0], "found"
    arch = registry.architecture(method.arch)
    return networks.Loaded(
        method, arch, networks.prepare(registry.build(method.arch), arch, device), "random"
    ), "random"


def _median(timings: list[Timing]) -> tuple[Timing, dict[str, float]]:
    """The median of each stage, and its inter-quartile range."""
    stages = {stage: [one.stages_ms[stage] for one in timings] for stage in STAGES if stage in timings[0].stages_ms}
    timing = dataclasses.replace(
        timings[0],
        stages_ms={stage: statistics.median(values) for stage, values in stages.items()},
        peak_bytes=max((one.peak_bytes for one in timings if one.peak_bytes is not None), default=None),
        repeats=len(timings),
    )
    return timing, {stage: bench_record.quartile_distance(values) for stage, values in stages.items()}


def _edsr_encoder_ms(lr: torch.Tensor, repeats: int) -> float:
    """The unit: EDSR-baseline without its upsampler, timed on a part of a large input: all pixels cost the same."""
    import torch
    import torch.nn.functional as F

    from gsr_app.engine.timing import synchronize

    part = lr[..., :_UNIT_SIDE, :_UNIT_SIDE]
    weights = torch.randn(33, 64, 64, 3, 3, device=lr.device) * 0.04
    first = torch.randn(64, 3, 3, 3, device=lr.device) * 0.2
    bias = torch.zeros(64, device=lr.device)

    @torch.inference_mode()
    def forward() -> None:
        x = F.conv2d(part, first, bias, padding=1)
        for block in range(16):
            y = F.relu(F.conv2d(x, weights[2 * block], bias, padding=1))
            x = x + F.conv2d(y, weights[2 * block + 1], bias, padding=1)
        F.conv2d(x, weights[32], bias, padding=1)
        synchronize(lr.device)

    return statistics.median(bench_record.time_ms(forward, max(5, repeats))) * lr.numel() / part.numel()


def _print(rows: list[Row]) -> None:
    """The newest row; before the first, what the columns are."""
    row = rows[-1]
    timing = row.timing
    if len(rows) == 1:
        print(f"{timing.device}; drawing by {timing.backend}; median of {timing.repeats}")
        print(f"{'METHOD':<24}{'INPUT':>10}{'SCALE':>7}{'ENCODE':>10}{'DECODE':>10}{'DRAW':>9}{'PEAK':>10}  EDSR UNITS")
    stage = timing.stages_ms
    cells = (f"{stage.get(name, 0):>{width},.0f} ms" for name, width in (("encode", 7), ("decode", 7), ("render", 6)))
    peak = "?" if timing.peak_bytes is None else f"{timing.peak_bytes / 2**20:,.0f} MiB"
    size = f"{row.size[1]}x{row.size[0]}"
    note = " (random weights)" if row.weights == "random" else ""
    units = f"{row.networks_ms / row.edsr_encoder_ms:.3g} x {row.edsr_encoder_ms:.0f} ms{note}"
    print(f"{row.method:<24}{size:>10}{row.scale:>7}{''.join(cells)}{peak:>10}  {units}", flush=True)
    if row.macs is not None and row.bicubic_ms is not None:
        ratio = timing.total_ms / row.bicubic_ms
        form = f", {row.times_training_form:.1f} x as fast as the training form" if row.times_training_form else ""
        print(f"{'':<24}{row.frames_per_s:.2f} frames/s, {row.macs / 1e9:,.1f} GMAC, {ratio:.1f} x bicubic{form}")
