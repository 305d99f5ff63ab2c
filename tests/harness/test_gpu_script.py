"""`.ci/gpu`, which tests, measures and trains where there is a GPU: a tiny run of all of it on a CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

HERE = ROOT / ".ci" / "measure"
NOT_RUN = "not run here"
MISSING_THERE = ("pyvips", "gradio", "av")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"measure_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform == "win32", reason="is a shell script")
def test_a_dry_run_fills_every_table_without_a_gpu_and_without_libraries_for_pictures(tmp_path: Path) -> None:
    blocked, out = tmp_path / "blocked", tmp_path / "out"
    blocked.mkdir()
    for name in MISSING_THERE:
        (blocked / f"{name}.py").write_text("raise ImportError('not installed on that machine')\n")
    environment = {**os.environ, "PYTHONPATH": str(blocked), "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / ".ci" / "gpu"), str(out), "--device", "cpu", "--seconds", "160"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert (out / "log.txt").read_text().count("Error") == 0
    parts = {name: part["status"] for name, part in json.loads((out / "report.json").read_text())["parts"].items()}
    on_a_gpu = ("tests", "compilers", "memcheck", "racecheck", "ncu")
    assert {parts.pop(name) for name in on_a_gpu} == {NOT_RUN}
    assert parts == dict.fromkeys(("load", "drawing", "agreement", "methods", "training"), "passed")
    page = (out / "report.md").read_text()
    tables = page.split("\n## ")[1:]
    assert [table.partition("\n")[0].partition(":")[0] for table in tables] == [
        *("Parts", "Goals", "Kernels", "Drawing", "Agreement with the CPU", "Methods"),
        *("GSASR's published timing protocol", "Training"),
    ]
    assert all(NOT_RUN in tables[index] for index in (0, 1, 2, 5, 6))
    goals = [row.split("|") for row in tables[1].splitlines() if " at " in row]
    assert [float(predicted) > 0 and measured.strip() == NOT_RUN for *_, predicted, measured, _ in goals] == [True] * 3
    (swift,) = [row.split(" | ") for row in tables[5].splitlines() if "| swift | 24x16 | 4 | fp32 | real |" in row]
    assert float(swift[5]) == pytest.approx(2 * 286_200, rel=0.01)  # each weight is a product and a sum per pixel
    assert "step 2/2" in tables[7]
    written = {path.name for path in out.iterdir()}
    assert written == {"report.json", "report.md", "log.txt", "splat.csv", "kernels.csv", "methods.csv",
                       "state.pt", "swift.safetensors"}  # fmt: skip
    assert len(written) <= 8
    assert (out / "state.pt").stat().st_size <= 16 << 20


NCU = """==PROF== Connected to process 7
"ID","Process ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","7","gsr_draw_3","GPU Speed Of Light Throughput","Duration","us","512.5"
"0","7","gsr_draw_3","GPU Speed Of Light Throughput","Memory Throughput","%","31.20"
"1","7","gsr_draw_3","GPU Speed Of Light Throughput","Duration","us","900.0"
"2","7","gsr_sum_moments_3","Occupancy","Achieved Occupancy","%","58.10"
"""


def test_the_figures_of_ncu_stand_beside_the_predictions() -> None:
    report = load("report")
    rows = {
        row["kernel"]: row for row in report.list_kernels([{"name": "gsr_draw_3", "ms": 0.4}], report.read_ncu(NCU))
    }
    assert rows["gsr_draw_3"]["ncu_duration"] == "512.5 us"
    assert rows["gsr_draw_3"]["measured_ms"] == "0.400"
    assert rows["gsr_sum_moments_3"]["ncu_occupancy"] == "58.10 %"
    assert rows["gsr_sum_moments_3"]["measured_ms"] == NOT_RUN
    assert float(rows["gsr_draw_3"]["predicted_ms"]) > float(rows["gsr_prepare"]["predicted_ms"]) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_part_that_takes_too_long_is_ended_and_one_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    day = load("day")
    endless = day.Part("endless", 3.0, ["sh", "-c", "echo began; sleep 60"])
    with (tmp_path / "log.txt").open("w") as log:
        first = day.run(endless, 100.0, "cpu", tmp_path, log)
        second = day.run(day.Part("broken", 5, ["sh", "-c", "echo why; exit 3"]), 100.0, "cpu", tmp_path, log)
        third = day.run(day.Part("late", 5, ["true"]), 1.0, "cpu", tmp_path, log)
    assert (first["status"], second["status"], third["status"]) == ("stopped at its limit", "failed", "no time left")
    assert "began" in first["output"]
    assert "why" in (tmp_path / "log.txt").read_text()
    monkeypatch.delitem(sys.modules, "report", raising=False)
    monkeypatch.delitem(sys.modules, "training", raising=False)
