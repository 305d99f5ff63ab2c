"""Damaged files go through the program in a process of their own, with limits of time and of memory for each.

The process prints a line when it begins a file and one when it has ended it. When it dies, the file that it was at is
the cause, and another process continues after that one.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gsr_app.core.errors import GsrError
from tests.broken.damage import Damage, write_damaged

ROOT = Path(__file__).resolve().parents[2]
_MOST_S = 10.0  # of processor time, for one file
_MOST_WALL_S = 90.0  # a process that does nothing for this long is stuck, also on a machine with much else to do
_MOST_MIB = 600  # more than before the file, in resident memory
_MOST_MAPPED_MIB = 4096  # and in addresses: what is reserved beyond this fails
GOOD = ("read", "refused")


@dataclass(frozen=True)
class Outcome:
    """What a damaged file led to: "read", "refused", or what must not happen."""

    name: str
    kind: str
    cpu_s: float = 0.0
    mib: float = 0.0
    detail: str = ""


def try_damaged(
    target: str,  # a function of `targets`
    seeds: Sequence[tuple[str, bytes]],
    damages: Sequence[Damage],
    folder: Path,
    *,
    count: int,
    read: int,  # at least
    refused: int,  # at least
) -> None:
    """Damage the seeds and judge what the program does with them. `GSR_FUZZ_SEED` chooses other damage."""
    broken = folder / "broken"
    broken.mkdir()
    write_damaged(broken, seeds, damages, count, int(os.environ.get("GSR_FUZZ_SEED", "20240607")))
    check(run_damaged(target, broken), count=count, read=read, refused=refused)


def run_damaged(target: str, folder: Path) -> list[Outcome]:
    """The outcome of each file of a folder."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(list(folder.iterdir())):
        done = subprocess.run(
            [sys.executable, "-m", "tests.broken.worker", target, str(folder), str(len(outcomes))],
            cwd=ROOT,
            env=os.environ | {"GSR_MAX_PIXELS": "1e6", "GRADIO_TEMP_DIR": str(folder.parent / "uploads")},
            capture_output=True,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
        outcomes += [Outcome(**line) for line in lines if "kind" in line]
        told = done.stderr.decode(errors="replace")[-3000:]
        begun = [line["begun"] for line in lines if "begun" in line]
        if begun and begun[-1] not in {one.name for one in outcomes}:
            outcomes.append(Outcome(begun[-1], f"ended with {done.returncode}", detail=told))
        elif done.returncode or told:
            outcomes.append(Outcome("", f"ended with {done.returncode} and wrote to the terminal", detail=told))
            break
    return outcomes


def check(outcomes: Sequence[Outcome], *, count: int, read: int, refused: int) -> None:
    """Each file must have been read or refused, within the limits; print the figures."""
    found = {kind: sum(one.kind == kind for one in outcomes) for kind in {one.kind for one in outcomes}}
    slowest, largest = max(outcomes, key=lambda one: one.cpu_s), max(outcomes, key=lambda one: one.mib)
    print(f"\n{found}; slowest {slowest.cpu_s:.1f} s ({slowest.name}), largest {largest.mib:.0f} MiB ({largest.name})")
    bad = [one for one in outcomes if one.kind not in GOOD]
    assert not bad, "\n".join(f"{one.name}: {one.kind}\n{one.detail}" for one in bad[:20])
    assert len(outcomes) == count
    assert slowest.cpu_s < _MOST_S, slowest
    assert largest.mib < _MOST_MIB, largest
    assert found.get("read", 0) >= read, "the damage should not always be fatal, or it tests little"
    assert found.get("refused", 0) >= refused


# ---- in the worker ----------------------------------------------------------------------------------------------


def _try(work: Callable[[Path], None], path: Path) -> Outcome:
    _reset_peak()
    before, began = _memory_mib("VmRSS"), time.process_time()
    kind, detail = "read", ""
    try:
        work(path)
    except GsrError as error:
        kind, detail = "refused", f"{error} | {error.hint}"
        if not str(error) or not error.hint or not (str(error) + error.hint).isprintable():
            kind = "refused without a line and a hint"
    except BaseException:
        kind, detail = "traceback", traceback.format_exc()[-3000:]
    return Outcome(path.name, kind, time.process_time() - began, _memory_mib("VmHWM") - before, detail)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory_mib(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    target, folder, start = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    from tests.broken import targets

    work: Callable[[Path], None] = getattr(targets, target)(folder.parent)
    most = int(_memory_mib("VmSize") + _MOST_MAPPED_MIB) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for path in sorted(folder.iterdir())[start:]:
        faulthandler.dump_traceback_later(_MOST_WALL_S, exit=True)
        print(json.dumps({"begun": path.name}), flush=True)
        print(json.dumps(asdict(_try(work, path))), flush=True)
        faulthandler.cancel_dump_traceback_later()
    # Threads of a server or a decoder must not keep a process that has done its work.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
