from __future__ import annotations

import json

import pytest

from gsr_app.harness import bench_splat
from gsr_app.harness.cli import main


def test_the_bench_times_forward_and_backward_in_matmul_units(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_splat, "QUICK_SCALES", ((8, 3.0),))
    assert main(["bench", "splat", "--quick", "--json", "--device", "cpu"]) == 0
    text = json.dumps(json.loads(capsys.readouterr().out))
    assert "1024 Gaussians x3" in text
    for metric in ("forward", "forward+backward", "forward in matmul units", "forward pairs"):
        assert f'"{metric}"' in text
