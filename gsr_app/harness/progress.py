"""A progress line at the bottom of a terminal: how much is done and how long the rest will take."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class ProgressLine:
    """Redraws itself in a terminal and prints nothing elsewhere. Print other output by its `print`."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total = total
        self.done = 0.0  # units finished, the running one in part
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._start = time.monotonic()
        self._drawn = 0.0

    def update(self, done: float, text: str) -> None:
        """Show that `done` of `total` units are finished, and what is being done."""
        self.done = done
        share, elapsed_s = self.done / self.total if self.total else 1.0, time.monotonic() - self._start
        remaining = f"ETA {clock(elapsed_s / share - elapsed_s)}" if share > 0.001 else ""
        self.show(share, f"{int(self.done)}/{self.total}  {remaining}  {text}")

    def show(self, share: float, text: str) -> None:
        """Show work that is not counted in units, with a text of its own."""
        now = time.monotonic()
        if self._shown and now - self._drawn > 0.05:
            self._drawn = now
            self._write(f"[{('#' * int(share * 20)).ljust(20, '-')}] {text}")

    def print(self, text: str, stream: TextIO | None = None) -> None:
        """Print a line above the progress line."""
        self.clear()
        print(text, file=stream or self._stream, flush=True)

    def clear(self) -> None:
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r" + line[:width].ljust(width) + "\r")
        self._stream.flush()


def clock(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
