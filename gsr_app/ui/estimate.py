"""Estimates of how long a run takes, from earlier runs on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError
from gsr_app.core.types import Timing

_NEAR = 30.0  # times as many pixels, or as few: beyond that a run says nothing
_MARGIN, _PER_RATIO = 1.25, 0.35
_RUNS = 7  # per method: only recent runs tell how fast the machine is now
# The stages whose time grows with the input; that of all others grows with the output.
_OF_INPUT = {"read", "encode", "decode"}


@dataclass(frozen=True)
class _Run:
    ms_per_input_mp: float
    ms_per_output_mp: float
    input_pixels: float
    output_pixels: float

    def ms(self, input_pixels: int, output_pixels: int) -> float:
        return self.ms_per_input_mp * input_pixels / 1e6 + self.ms_per_output_mp * output_pixels / 1e6

    def ratio_to(self, input_pixels: int, output_pixels: int) -> float:
        """How different the sizes are: the larger of both ratios, at least 1."""
        ratios = (input_pixels / self.input_pixels, output_pixels / self.output_pixels)
        return max(max(ratio, 1 / ratio) for ratio in ratios)


@dataclass(frozen=True)
class Expected:
    """How long a run takes: between two times, as far as runs of such sizes were measured here."""

    low_ms: float = 0.0
    high_ms: float = 0.0
    unmeasured: int = 0  # methods without a run of about that size
    first: int = 0  # methods that have not run since the start of the app: they are loaded first


class Estimates:
    """The last warm runs of each method: milliseconds per megapixel of input and of output, and the sizes."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._runs: dict[str, list[_Run]] = {}
        self._loaded: set[str] = set()  # methods that have run in this process
        if path is not None and path.is_file():
            try:
                stored = json.loads(path.read_text()).items()
                self._runs = {str(k): [_Run(*map(float, run)) for run in v] for k, v in stored}
            except (ValueError, TypeError, AttributeError):
                self._runs = {}  # a damaged file, or one of an earlier version: start anew

    def learn(self, method: str, timing: Timing, input_pixels: int, output_pixels: int) -> None:
        self._loaded.add(method)
        if timing.cold or not input_pixels or not output_pixels:
            return
        of_input = sum(ms for stage, ms in timing.stages_ms.items() if stage in _OF_INPUT)
        of_output = timing.total_ms - of_input
        with self._lock:
            runs = self._runs.setdefault(method, [])
            runs.append(
                _Run(of_input / input_pixels * 1e6, of_output / output_pixels * 1e6, input_pixels, output_pixels)
            )
            del runs[:-_RUNS]
            self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write_whole(
                self._path, json.dumps({method: [astuple(run) for run in v] for method, v in self._runs.items()})
            )
        except GsrError:
            self._path = None  # not writable: only for this process

    def expected_ms(self, method: str, input_pixels: int, output_pixels: int) -> tuple[float, float] | None:
        """(low, high), or None where no run was of about that size."""
        with self._lock:
            runs = list(self._runs.get(method, ()))
        near = [run for run in runs if run.ratio_to(input_pixels, output_pixels) <= _NEAR]
        if not near:
            return None
        each = [run.ms(input_pixels, output_pixels) for run in near]
        # A time per pixel is not quite constant: the further from the measured sizes, the wider the range.
        ratio = min(run.ratio_to(input_pixels, output_pixels) for run in near)
        margin = _MARGIN * ratio**_PER_RATIO
        return min(each) / margin, max(each) * margin

    def expected(self, methods: Iterable[str], input_pixels: int, output_pixels: int) -> Expected:
        each = {method: self.expected_ms(method, input_pixels, output_pixels) for method in methods}
        known = [times for times in each.values() if times is not None]
        return Expected(
            sum(low for low, _ in known), sum(high for _, high in known), len(each) - len(known),
            len(set(each) - self._loaded),
        )  # fmt: skip
