"""Python code in processes of its own, each of which has imported torch already: that takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory


def run_python(code: str, environment: Mapping[str, str], limit_s: float = 300) -> str:
    """What the code prints; an error in it is an `AssertionError` with its traceback."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["torch"])
    with TemporaryDirectory() as folder:
        out, failed = Path(folder) / "out", Path(folder) / "failed"
        process = server.Process(target=_run, args=(code, dict(environment), str(out), str(failed)))
        process.start()
        process.join(limit_s)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"The code took longer than {limit_s} s.")
        assert not failed.exists(), failed.read_text()
        assert process.exitcode == 0, f"The process ended with {process.exitcode}."
        return out.read_text()


def _run(code: str, environment: dict[str, str], out: str, failed: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    try:
        with open(out, "w") as file, redirect_stdout(file):
            exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
    except BaseException:
        Path(failed).write_text(traceback.format_exc())
