"""Memory over many runs of many sessions: it comes back to where it was."""

from __future__ import annotations

import gc
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

import httpx

from gsr_app.ui.engine import Engine
from gsr_app.ui.state import Limits, create_app_state
from tests.servers import serve

SESSIONS, RUNS = 100, 500


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def new_sessions() -> list[str]:
    return [uuid.uuid4().hex for _ in range(SESSIONS)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
def test_memory_returns_after_500_runs_of_100_sessions(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    with serve(create_app_state(Engine("cpu"), Limits(1_000_000, 4_000_000))) as url, ThreadPoolExecutor(4) as pool:
        (name,) = httpx.post(f"{url}gradio_api/upload", files={"files": ("a.png", path.read_bytes())}).json()
        picture: dict[str, Any] = {"path": name, "meta": {"_type": "gradio.FileData"}}

        def run(session: str) -> None:
            body = {"data": [picture, "swift", "3"], "session_hash": session}
            event = httpx.post(f"{url}gradio_api/call/upscale", json=body, timeout=300).json()["event_id"]
            answer = httpx.get(f"{url}gradio_api/call/upscale/{event}", timeout=300)
            assert "event: complete" in answer.text

        # What is kept for the last sessions is full after these: they are more than the app keeps.
        for _ in range(3):
            list(pool.map(run, new_sessions()))
        before, after = resident_mib(), list[float]()
        for _ in range(RUNS // SESSIONS):
            list(pool.map(run, new_sessions()))
            after.append(resident_mib())
    rounds = ", ".join(f"{one:.0f}" for one in after)
    print(f"\n{RUNS} runs, {SESSIONS} new sessions in each round: {before:.0f} MiB before, {rounds} after the rounds")
    assert after[-1] < 1.10 * before
