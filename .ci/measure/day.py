"""Runs the parts one after the other, each in a process of its own with a limit, and writes the report after each."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import training

HERE = Path(__file__).resolve().parent
RESERVE_S = 12  # for the last report, and for copying what was trained
KERNELS = "regex:gsr_draw_3|gsr_sum_moments_3"  # the two hottest


@dataclass(frozen=True)
class Part:
    name: str
    limit_s: float
    command: list[str]
    needs_gpu: bool = False
    needs: str = ""  # a program


def list_parts(device: str, work: Path, data: Path | None) -> list[Part]:
    """What is run, most important first; the training comes last and gets the time that is left."""

    def script(name: str, *words: str) -> list[str]:
        return [
            sys.executable,
            str(HERE / f"{name}.py"),
            *words,
            "--device",
            device,
            "--json",
            str(work / f"{name}.json"),
        ]

    load = [sys.executable, str(HERE / "load.py"), "--device", device]
    small = [*load, "--small"]
    tests = ["tests/ext/test_cuda_gpu.py", "tests/ops/test_nvrtc.py"]
    profile = ["ncu", "--clock-control", "none", "--kernel-name", KERNELS, "--launch-count", "4", "--csv"]
    sections = [word for name in ("SpeedOfLight", "Occupancy", "LaunchStats") for word in ("--section", name)]
    return [
        Part("tests", 75, [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *tests], needs_gpu=True),
        Part("compilers", 60, [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider",
                               "tests/ext/test_cuda_compile.py"], needs_gpu=True, needs="nvcc"),
        Part("load", 20, small),
        Part("memcheck", 30, ["compute-sanitizer", "--tool", "memcheck", *small], True, "compute-sanitizer"),
        Part("racecheck", 30, ["compute-sanitizer", "--tool", "racecheck", *small], True, "compute-sanitizer"),
        Part("drawing", 45, script("drawing")),
        Part("ncu", 40, [*profile, *sections, *load], True, "ncu"),
        Part("agreement", 40, script("agreement")),
        Part("methods", 110, script("methods")),
        Part("training", 0, training.command(device, work, data)),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--seconds", type=float, default=520, help="for everything (default: %(default)s)")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + args.seconds
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, (args.out / "log.txt").open("w") as log:
        work = Path(folder)
        for part in list_parts(args.device, work, args.data):
            left = end - time.monotonic() - RESERVE_S
            results[part.name] = run(part, left, args.device, work, log)
            report.write(args.out, results, device=args.device)
        log.write(training.collect(work, args.out))
    print((args.out / "report.md").read_text())
    return 1 if any(one["status"] == "failed" for one in results.values()) else 0


def run(part: Part, left_s: float, device: str, work: Path, log: Any) -> dict[str, Any]:
    """Its status, how long it took, the end of its output, and what it found."""
    reason = ""
    if part.needs_gpu and device != "cuda":
        reason = report.NOT_RUN
    elif part.needs and shutil.which(part.needs) is None:
        reason = f"{report.NOT_RUN}: {part.needs} is not installed"
    elif left_s < 5:
        reason = "no time left"
    if reason:
        return {"status": reason, "seconds": 0.0, "output": "", "found": {}}
    print(f"== {part.name}", flush=True)
    limit_s = min(part.limit_s or left_s, left_s)
    environment = {**os.environ, "GSR_PART_SECONDS": f"{limit_s:.0f}"}
    output, began = work / f"{part.name}.log", time.monotonic()
    with output.open("w") as file:
        process = Copy(part.command, file, environment) if is_copy_enough(part, device) else subprocess.Popen(
            part.command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )  # fmt: skip
        try:
            status = "passed" if process.wait(limit_s) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "stopped at its limit"
        finally:
            stop(process)
    seconds, text = time.monotonic() - began, output.read_text(errors="replace")
    log.write(f"== {part.name}: {status} after {seconds:.1f} s\n{text}\n")
    log.flush()
    print("\n".join(text.splitlines()[-6:]), f"\n== {part.name}: {status} after {seconds:.1f} s", flush=True)
    found = work / f"{part.name}.json"
    data = json.loads(found.read_text()) if found.is_file() else {}
    return {"status": status, "seconds": round(seconds, 1), "output": text[-4000:], "found": data} | (
        {"csv": text} if part.name == "ncu" else {}
    )


def is_copy_enough(part: Part, device: str) -> bool:
    """On a CPU, where most of a tiny run would be importing torch. What has begun to use a GPU must not be copied."""
    return device == "cpu" and part.command[0] == sys.executable and part.command[1].endswith(".py")


class Copy:
    """A script that runs in a copy of this process; with the methods of `Popen` that are used."""

    def __init__(self, command: list[str], output: Any, environment: dict[str, str]) -> None:
        import torch  # noqa: F401  once for all copies

        sys.stdout.flush()
        process: Any = multiprocessing.get_context("fork").Process(
            target=run_here, args=(command[1:], output.fileno(), environment)
        )
        process.start()
        self.process, self.pid, self.args = process, process.pid, command

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.process.exitcode


def run_here(words: list[str], output: int, environment: dict[str, str]) -> None:
    os.setsid()
    os.dup2(output, 1), os.dup2(output, 2)
    os.environ.update(environment)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


def stop(process: subprocess.Popen[bytes] | Copy) -> None:
    """End a part and all that it started: first asked, so that a training saves its state."""
    for sign, wait_s in ((signal.SIGINT, 8), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sign)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    sys.exit(main())
