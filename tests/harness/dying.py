"""A worker that takes its process down. In a module of its own, so that new processes import nothing else."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiesOnce:
    """Squares numbers; takes its process down the first time it meets `on`."""

    marker: str
    on: int
    always: bool = False

    def __call__(self, job: int) -> int:
        if job == self.on and (self.always or not os.path.exists(self.marker)):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return job * job
