"""Programs in processes of their own, each of which has imported torch already: that takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Program:
    """A function in a process of its own, to be watched and killed like one of `subprocess.Popen`."""

    def __init__(
        self, run: Callable[..., Any], *arguments: object, environment: Mapping[str, str] | None = None
    ) -> None:
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["torch"])
        self._folder = TemporaryDirectory()
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        self._out.touch()
        variables = dict(os.environ if environment is None else environment)
        place = (os.getcwd(), variables, str(self._out), str(self._err))
        self._process = server.Process(target=_begin, args=(place, run, arguments))
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def complained(self) -> str:
        """What it has printed as errors so far."""
        return self._err.read_text() if self._err.exists() else ""

    @property
    def code(self) -> int | None:
        """Its exit code, that of a signal negative; None while it runs."""
        return self._process.exitcode

    def wait_for(self, condition: Callable[[], object], limit_s: float = 120) -> None:
        """Until something holds that it does; it must not end before."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert self.code is None, f"it ended before: {self.complained}"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def end(self, limit_s: float = 300) -> int:
        """Its exit code, when it has ended."""
        self._process.join(limit_s)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"The process took longer than {limit_s} s.")
        return self._process.exitcode


def start_gsr(*words: object, environment: Mapping[str, str] | None = None) -> Program:
    """The command `gsr` with these words."""
    return Program(_gsr, [str(word) for word in words], environment=environment)


def start_python(code: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Program:
    """Python's `-c`, with arguments from `sys.argv[1]` on."""
    return Program(_code, code, [str(argument) for argument in arguments], environment=environment)


def run_python(code: str, environment: Mapping[str, str], limit_s: float = 300) -> str:
    """What the code prints; an error in it is an `AssertionError` with its traceback."""
    program = start_python(code, environment=environment)
    assert program.end(limit_s) == 0, program.complained
    return program.said


def _begin(place: tuple[str, dict[str, str], str, str], run: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    folder, environment, out, err = place
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    run(*arguments)


def _gsr(words: list[str]) -> None:
    from gsr_app.harness.cli import main

    sys.argv = ["gsr", *words]
    sys.exit(main(words))


def _code(code: str, arguments: list[str]) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
