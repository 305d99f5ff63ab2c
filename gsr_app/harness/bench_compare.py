"""`gsr bench --compare OLD.csv NEW.csv`: what became slower, and whether that is more than noise.

Times are first divided by each run's matmul unit, so that a busy or another machine does not count as a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gsr_app.harness.bench_record import Measure, read_csv

Verdict = Literal["same", "better", "worse", "new", "gone"]

# A change counts when it is this much larger than the spread of both runs, and not tiny either. The quartile distance
# of a normal distribution is 1.35 standard deviations.
_SIGMAS, _LEAST_SHARE = 3.0, 0.05
_IQR_PER_SIGMA = 1.35
_MORE_IS_BETTER = {"1/s", "Mpx/s", "1/s (Gaussians)", "1/s (pairs)"}


@dataclass(frozen=True, slots=True)
class Change:
    case: str
    metric: str
    old: float | None
    new: float | None
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old and self.new is not None else None


def compare(old: list[Measure], new: list[Measure], *, unit_ratio: float = 1.0) -> list[Change]:
    """Each figure of either run. `unit_ratio` is how much slower the new run's machine was: new unit over old unit."""
    before = {(one.case, one.metric): one for one in old}
    after = {(one.case, one.metric): one for one in new}
    changes: list[Change] = []
    for key in dict.fromkeys([*before, *after]):
        one, two = before.get(key), after.get(key)
        if one is None or two is None:
            verdict: Verdict = "new" if one is None else "gone"
            changes.append(Change(*key, one and one.median, two and two.median, verdict))
            continue
        pace = unit_ratio if one.unit == "ms" else 1 / unit_ratio if one.unit in _MORE_IS_BETTER else 1.0
        changes.append(Change(*key, one.median, two.median, _judge(one, two, pace)))
    return changes


def _judge(old: Measure, new: Measure, pace: float) -> Verdict:
    difference = new.median / pace - old.median
    sigma = (old.iqr**2 + (new.iqr / pace) ** 2) ** 0.5 / _IQR_PER_SIGMA
    if abs(difference) <= max(_SIGMAS * sigma, _LEAST_SHARE * abs(old.median)):
        return "same"
    return "better" if (difference > 0) == (old.unit in _MORE_IS_BETTER) else "worse"


def run(old_path: Path, new_path: Path, *, only_warns: bool = False) -> int:
    """Print the comparison, or only what became worse; 1 when something did, and it is not a mere warning."""
    (old_conditions, old), (new_conditions, new) = read_csv(old_path), read_csv(new_path)
    units = [float(one.get("matmul_unit_ms", 0) or 0) for one in (old_conditions, new_conditions)]
    ratio = units[1] / units[0] if all(units) else 1.0
    changes = compare(old, new, unit_ratio=ratio)
    print(f"times are relative to the matmul unit: {units[0]:.1f} ms then, {units[1]:.1f} ms now")
    for key in ("cpu", "threads", "device", "backend", "torch"):
        if old_conditions.get(key) != new_conditions.get(key):
            print(f"note: {key} differs: {old_conditions.get(key)} then, {new_conditions.get(key)} now")
    wide = max(len(f"{one.case}  {one.metric}") for one in changes) + 2
    for one in changes:
        if only_warns and one.verdict != "worse":
            continue
        old_text, new_text = ("–" if value is None else f"{value:,.4g}" for value in (one.old, one.new))
        factor = "" if one.ratio is None else f"x{one.ratio:.2f}"
        print(f"{f'{one.case}  {one.metric}':<{wide}}{old_text:>12}{new_text:>12}{factor:>8}  {one.verdict}")
    worse = sum(one.verdict == "worse" for one in changes)
    known = sum(one.verdict not in ("new", "gone") for one in changes) if only_warns else len(changes)
    print(f"{worse} of {known} figures became worse by more than the noise.")
    return 1 if worse and not only_warns else 0
