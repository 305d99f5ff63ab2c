"""Estimates of how long a run takes, from earlier runs on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError
from gsr_app.core.types import Timing

_RUNS = 7  # per method: only recent runs tell how fast the machine is now
# The stages whose time grows with the input; that of all others grows with the output.
_OF_INPUT = {"read", "encode", "decode"}


class Estimates:
    """Milliseconds per megapixel, of input and of output, per method: the median of the last warm runs."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._runs: dict[str, list[list[float]]] = {}
        if path is not None and path.is_file():
            try:
                self._runs = {
                    str(k): [[float(a), float(b)] for a, b in v] for k, v in json.loads(path.read_text()).items()
                }
            except (ValueError, TypeError, AttributeError):
                self._runs = {}  # a damaged file: start anew

    def learn(self, method: str, timing: Timing, input_pixels: int, output_pixels: int) -> None:
        if timing.cold or not input_pixels or not output_pixels:
            return
        of_input = sum(ms for stage, ms in timing.stages_ms.items() if stage in _OF_INPUT)
        of_output = timing.total_ms - of_input
        with self._lock:
            runs = self._runs.setdefault(method, [])
            runs.append([of_input / input_pixels * 1e6, of_output / output_pixels * 1e6])
            del runs[:-_RUNS]
            self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(self._runs))
        except GsrError:
            self._path = None  # not writable: only for this process

    def expected_ms(self, method: str, input_pixels: int, output_pixels: int) -> float | None:
        with self._lock:
            runs = self._runs.get(method)
            if not runs:
                return None
            return median(a for a, _ in runs) * input_pixels / 1e6 + median(b for _, b in runs) * output_pixels / 1e6

    def expected_total_ms(
        self, methods: Mapping[str, object] | list[str], input_pixels: int, output_pixels: int
    ) -> tuple[float, int]:
        """(ms of those that are known, how many are not)."""
        each = [self.expected_ms(method, input_pixels, output_pixels) for method in methods]
        return sum(ms for ms in each if ms is not None), sum(ms is None for ms in each)
