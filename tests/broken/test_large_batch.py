"""A batch of ten thousand files: memory stays flat, and a batch that was killed in the middle goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.files import png_of

ROOT = Path(__file__).resolve().parents[2]
COUNT = 10_000


def resident_mib(process_id: int) -> float:
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * 4096 / 2**20
    except (OSError, IndexError):  # it has ended
        return 0.0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
def test_ten_thousand_files_take_no_more_memory_than_a_few_and_resume_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        (tmp_path / "in" / f"{number:05}.png").write_bytes(png_of(pixels))
    (tmp_path / "in" / "05000.png").write_bytes(b"not a picture")
    out = tmp_path / "out"
    words = [sys.executable, "-m", "gsr_app", "upscale", str(tmp_path / "in"), "-o", str(out), "--method", "bicubic",
             "--scale", "2", "--json"]  # fmt: skip

    def done() -> int:
        return len(os.listdir(out)) if out.is_dir() else 0

    def run(until: int) -> tuple[subprocess.Popen[str], list[float]]:
        """Run up to a number of outputs; the memory after every thousand of them."""
        with (tmp_path / "said.json").open("w") as said:
            process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=subprocess.DEVNULL, text=True)
        sizes, after = list[float](), done() // 1000 * 1000 + 1000
        while process.poll() is None and done() < until:
            if done() >= after:
                sizes.append(resident_mib(process.pid))
                after += 1000
            time.sleep(0.05)
        return process, sizes

    first, before = run(COUNT // 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix == ".png"}
    second, after = run(2 * COUNT)
    assert second.wait() == 1, "one of the files is no picture"
    print(f"\n{len(kept)} files before the kill; memory in MiB after each thousand: {before}, then {after}")
    said = json.loads((tmp_path / "said.json").read_text())
    assert (said["done"] + said["skipped"], said["failed"]) == (COUNT - 1, 1)
    assert said["skipped"] >= len(kept) - 1, "the last one may have been half written"
    (failed,) = (one for one in said["results"] if one["status"] == "failed")
    assert Path(failed["input"]).name == "05000.png"
    outputs = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(outputs) == COUNT - 1, "one output for each picture, and nothing else"
    assert all(outputs[name] == changed for name, changed in kept.items()), "finished files are not made again"
    for sizes in (before, after):
        assert sizes[-1] < 1.1 * sizes[0] + 20
