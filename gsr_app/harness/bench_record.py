"""The results of a benchmark: measured figures with their spread, and the conditions they were taken under.

Times mean little without the machine, so each run also carries ratios to work of known size done in the same run: the
`matmul unit` (a 1024x1024x1024 float32 product with the same threads) and, for networks, the EDSR-encoder unit.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app import __version__
from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.folders import CHECKOUT
from gsr_app.harness.inputs import read_text

FOLDER = CHECKOUT / "assets" / "bench" if CHECKOUT else Path("bench")


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: the median of `n` and the distance between the quartiles."""

    case: str  # what was run: "swift 256x256 x4"
    metric: str  # what was measured of it: "warm", "encode", "peak"
    median: float
    iqr: float
    n: int
    unit: str  # ms, MiB, ratio, 1/s

    @classmethod
    def of(cls, case: str, metric: str, values: Sequence[float], unit: str) -> Measure:
        """From the values themselves."""
        return cls(case, metric, statistics.median(values), quartile_distance(values), len(values), unit)


def quartile_distance(values: Sequence[float]) -> float:
    """Between the upper and the lower quartile; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return upper - lower


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a figure depends on besides the code."""

    cpu: str
    cores: int
    threads: int
    device: str
    backend: str
    torch: str
    python: str
    gsr: str
    revision: str
    date: str  # 2026-11-27
    matmul_unit_ms: float

    @property
    def slug(self) -> str:
        """For file names: cpu-2t-torch2.13.0."""
        device = re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-")[:40]
        return f"{device}-{self.threads}t-torch{self.torch.split('+')[0]}"


def add_common_arguments(parser: argparse.ArgumentParser, *, quick: str) -> None:
    """The arguments that all benchmarks have; `quick` says what a quick run leaves out."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--quick", action="store_true", help=f"{quick}; writes a CSV only where --out is given")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--out", type=Path, help=f"folder for the CSV (default: {FOLDER})")


def read_size(text: str) -> tuple[int, int]:
    """(height, width) of "640x480", width first."""
    match = re.fullmatch(r"(\d+)[x×](\d+)", text.strip().lower())
    if match is None or not int(match[1]) or not int(match[2]):
        raise InvalidArgument(f"Cannot read the size {text!r}.", hint="Write width x height in pixels, such as 96x96.")
    return int(match[2]), int(match[1])


def read_conditions(device_name: str = "auto") -> Conditions:
    """The conditions of this process."""
    import torch

    from gsr_app.engine import devices, runners

    device = devices.choose_device(device_name)
    return Conditions(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device="cpu" if device.type == "cpu" else devices.describe(device),
        backend=runners.backend("field", device),
        torch=torch.__version__,
        python=platform.python_version(),
        gsr=__version__,
        revision=_git_revision(),
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        matmul_unit_ms=round(measure_matmul_unit(), 2),
    )


def measure_matmul_unit(repeats: int = 7) -> float:
    """The speed of the machine: milliseconds of a 1024x1024x1024 float32 matrix product with torch's threads."""
    import torch

    a = torch.rand(1024, 1024)
    return statistics.median(time_ms(lambda: a @ a, repeats))


def time_ms(work: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` runs, after one that does not count."""
    return time_in_turns_ms([work], repeats)[0]


def time_in_turns_ms(works: Sequence[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Milliseconds of each of `repeats` runs of each work, taken in turns, after a round that does not count."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append((time.perf_counter() - start) * 1e3)
    return [taken[1:] for taken in times]


def publish(
    name: str,
    measures: Sequence[Measure],
    conditions: Conditions,
    arguments: argparse.Namespace,
    *,
    detail: Sequence[Any] = (),
    has_table: bool = True,  # False: the benchmark has printed its own
) -> None:
    """Print a run, as one JSON document or a table, and write its CSV; those that are kept are of whole runs."""
    if arguments.out or not arguments.quick:
        path = (arguments.out or FOLDER) / f"{name}-{conditions.slug}.csv"
        write_csv(path, measures, conditions)
        print(path, file=sys.stderr)
    if arguments.json:
        document = {
            "bench": name,
            "conditions": dataclasses.asdict(conditions),
            "measures": [dataclasses.asdict(measure) for measure in measures],
            "detail": list(detail),
        }
        print(json.dumps(document, indent=1))
    elif has_table:
        print(render(name, measures, conditions))


def render(name: str, measures: Sequence[Measure], conditions: Conditions) -> str:
    """A table for people."""
    rows = [("CASE", "METRIC", "MEDIAN", "IQR", "N")]
    rows += [(m.case, m.metric, f"{shorten(m.median)} {m.unit}", shorten(m.iqr), str(m.n)) for m in measures]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"bench {name}: {conditions.cpu}, {conditions.threads} thread(s), {conditions.device}, "
        f"drawing by {conditions.backend}, torch {conditions.torch}, matmul unit {conditions.matmul_unit_ms:.1f} ms"
    ]
    for case, metric, *figures in rows:
        numbers = "  ".join(text.rjust(width) for text, width in zip(figures, widths[2:], strict=True))
        lines.append(f"{case:<{widths[0]}}  {metric:<{widths[1]}}  {numbers}")
    return "\n".join(lines)


def shorten(value: float) -> str:
    """Four digits, without exponents: 0.1706, 15.68, 11,290,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def write_csv(path: Path, measures: Sequence[Measure], conditions: Conditions) -> None:
    """One line per figure; the conditions stand in comment lines above."""
    text = io.StringIO()
    for key, value in dataclasses.asdict(conditions).items():
        text.write(f"# {key}: {value}\n")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([field.name for field in dataclasses.fields(Measure)])
    for one in measures:
        lines.writerow([one.case, one.metric, f"{one.median:.6g}", f"{one.iqr:.4g}", one.n, one.unit])
    write_whole(path, text.getvalue())


def read_csv(path: Path) -> tuple[dict[str, str], list[Measure]]:
    """What `write_csv` wrote: the conditions as texts, and the figures."""
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise GsrError(f"Cannot read {path}: {error.strerror}.") from None
    comments = [line[2:].partition(": ") for line in lines if line.startswith("# ")]
    conditions = {key: value for key, _, value in comments}
    measures: list[Measure] = []
    try:
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            numbers = float(row["median"]), float(row["iqr"]), int(row["n"])
            measures.append(Measure(row["case"], row["metric"], *numbers, row["unit"]))
    except (KeyError, TypeError, ValueError):
        measures = []
    if not measures:
        raise GsrError(f"{path} is not a CSV of a benchmark.", hint="Give files that `gsr bench` wrote.")
    return conditions, measures


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_revision() -> str:
    """The revision of this copy, with a plus when it was changed; empty outside a repository."""
    if CHECKOUT is None:  # the environment may lie in another repository
        return ""
    try:
        found = [
            subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return found[0].strip() + ("+" if found[1].strip() else "")
