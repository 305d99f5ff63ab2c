"""The command line: `gsr COMMAND …` or `python -m gsr_app COMMAND …`.

A command is a module with `add_arguments(parser)` and `run(arguments) -> exit code`. It is imported when it is
called, so that help and a typo answer at once. Exit codes: 0 success, 1 something failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from gsr_app.core import settings
from gsr_app.core.errors import GsrError, InvalidArgument, InvalidScale, UnknownName, first_line, nearest

# command: (module, what it does)
COMMANDS = {
    "app": ("gsr_app.ui.serve", "open the app in the browser"),
    "upscale": ("gsr_app.harness.upscale", "make images larger (or smaller), one or a whole folder"),
    "video": (
        "gsr_app.harness.video",
        "make a video larger; sound and times are kept, and a killed run continues",
    ),
    "compare": ("gsr_app.harness.compare", "compare several methods side by side in one HTML file"),
    "export": (
        "gsr_app.harness.export",
        "write an offline page (of a field, or one that enlarges pictures), or a network as ONNX or for the Hub",
    ),
    "fit": ("gsr_app.harness.fit", "turn one image into Gaussians by optimization, with live progress"),
    "render": ("gsr_app.harness.render", "draw a field file at any size, or any part of it"),
    "models": ("gsr_app.harness.models", "list the methods: licence, scales, whether their weights are here"),
    "verify": ("gsr_app.harness.verify", "check that weights are the published ones and give what they should"),
    "eval": ("gsr_app.harness.evaluate", "score methods on datasets by a published protocol"),
    "bench": ("gsr_app.harness.bench", "measure speed and memory: splat, model, end-to-end, waits, memory, app"),
    "pack": ("gsr_app.harness.pack", "put pictures, or what a teacher makes of them, into one file for train"),
    "train": ("gsr_app.harness.train", "train a network from a recipe on a folder of pictures"),
    "completion": ("gsr_app.harness.completion", "print the script that completes commands in bash, zsh or fish"),
    "doctor": ("gsr_app.harness.doctor", "show what this machine runs on, and why not something faster"),
}

# They only print: who closes the pipe has seen enough. Of the others work was cut off.
_LISTINGS = frozenset({"models", "doctor", "completion"})
_CUT_OFF = 141  # as the shell has it of a program that SIGPIPE ended; Windows has no such signal


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: `2>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal's encoding does not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words else ""
    if command in {"--version", "-V"}:
        from gsr_app.harness.version import describe_version

        print(describe_version())
        return 0
    if command not in COMMANDS:
        asked = command in {"-h", "--help", "help"}
        if command and not asked:
            near = nearest(command, COMMANDS)
            print(f"gsr: unknown command {command!r}." + (f" Did you mean {near!r}?" if near else ""), file=sys.stderr)
        print(_overview(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    module_name, summary = COMMANDS[command]
    try:
        module = importlib.import_module(module_name)
        parser = argparse.ArgumentParser(prog=f"gsr {command}", description=summary[0].upper() + summary[1:] + ".")
        module.add_arguments(parser)
        parsed = parser.parse_args(words[1:])
        settings.check()
        return int(module.run(parsed))
    except SystemExit as end:  # argparse: help is 0, a wrong call is 2
        return end.code if isinstance(end.code, int) else 2
    except GsrError as error:
        print_error(error)
        return 2 if isinstance(error, InvalidScale | InvalidArgument | UnknownName) else 1
    except KeyboardInterrupt:
        print("gsr: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `gsr models | head`
        for stream in (sys.stdout, sys.stderr):  # what is left in them is written at exit, and either may be the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 0 if command in _LISTINGS else _CUT_OFF
    except MemoryError as error:  # numpy's says for what
        print_error(GsrError(f"Out of memory: {first_line(error)}.", hint="Choose a smaller size, or free memory."))
        return 1
    except OSError as error:  # a full disk, a read-only folder: the text of the system, and which file
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        print_error(GsrError(f"{what}.", hint="Check the path, its permissions and the room on the disk."))
        return 1


def print_error(error: GsrError) -> None:
    print(f"gsr: {error}", file=sys.stderr)
    if error.hint:
        print(f"     {error.hint}", file=sys.stderr)


def _overview() -> str:
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: gsr COMMAND …        (or python -m gsr_app COMMAND …)",
            "",
            "Super-resolve an image at any scale and judge methods side by side.",
            "",
            *lines,
            "",
            "gsr COMMAND --help explains a command; gsr --version prints the versions.",
        ]
    )
