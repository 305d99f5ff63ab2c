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
    document = json.loads(capsys.readouterr().out)
    text = json.dumps(document)
    assert "1024 Gaussians x3" in text
    for metric in ("forward", "forward+backward", "forward in matmul units", "forward pairs"):
        assert f'"{metric}"' in text
    ours = {one["metric"]: one["median"] for one in document["measures"] if one["case"].endswith("1024 Gaussians x3")}
    if "preparation in matmul units" in ours:  # the CPU kernels, whose stages are told apart
        # About 52 pixels lie within an ellipse, at 16 operations each.
        assert 0.5 < ours["operations in matmul units"] * 2 * 1024**3 / (1024 * 52 * 16) < 2
        assert ours["preparation in matmul units"] > 0
