"""What a test changes for the whole process is put back before the next one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
_seen: list[tuple[object, ...]] = []


def state() -> tuple[object, ...]:
    return random.random(), float(np.random.random()), float(torch.rand(())), torch.get_num_threads()


def test_a_test_may_change_threads_and_random_states() -> None:
    _seen.append(state())
    torch.set_num_threads(torch.get_num_threads() + 3)
    torch.manual_seed(1234)
    random.seed(1234)


def test_the_next_test_finds_them_as_they_were() -> None:
    if not _seen:  # run alone
        test_a_test_may_change_threads_and_random_states()
        return
    assert state() == _seen[0]


def test_a_test_without_torch_does_not_load_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_a.py").write_text("import sys\ndef test_a():\n    assert 'torch' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_a.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
