"""The report: everything as JSON, the tables as CSV, and a page of them all."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsr_app.harness import bench_floor

NOT_RUN = "not run here"
PREDICTED_AT = 2_073_600  # Gaussians, x4
GOALS = (
    ("8.3 M Gaussians to 3840x2160, ms", 4.0, "at most"),
    ("swift 1920x1080 to 3840x2160 in bf16, frames/s", 60.0, "at least"),
    ("a fit of 50,000 Gaussians, steps/s", 1000.0, "at least"),
)
Row = dict[str, Any]


def write(out: Path, results: dict[str, Row], *, device: str) -> None:
    found = {name: one.get("found") or {} for name, one in results.items()}
    drawing, methods = found.get("drawing", {}), found.get("methods", {})
    tables = {
        "splat": [strip(row) for row in drawing.get("rows", [])],
        "kernels": list_kernels(drawing.get("kernels", []), read_ncu(results.get("ncu", {}).get("csv", ""))),
        "methods": methods.get("rows", []) + methods.get("published", []),
    }
    about = {"device": describe(device), "python": platform.python_version()}
    goals = judge(found)
    document = {"about": about, "parts": results, "goals": goals, "kernels": tables["kernels"]}
    (out / "report.json").write_text(json.dumps(document, indent=1))
    for name, rows in tables.items():
        write_csv(out / f"{name}.csv", rows)
    (out / "report.md").write_text(render(about, results, found, goals, tables))


def describe(device: str) -> str:
    if device == "cpu":
        return f"cpu ({platform.processor() or platform.machine()})"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def strip(row: Row) -> Row:
    return {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()}


def list_kernels(profiled: Sequence[Row], counted: dict[str, Row]) -> list[Row]:
    """The predictions, and beside each what was measured."""
    rows: list[Row] = []
    for kernel in bench_floor.kernels(4.0):
        parts = {"scan": ("DeviceScan", "scan"), "sort": ("RadixSort", "sort")}.get(kernel.name, (kernel.name,))
        measured = [one["ms"] for one in profiled if any(part in one["name"] for part in parts)]
        predicted = kernel.predicted_ms(PREDICTED_AT)
        rows.append(
            {
                "kernel": kernel.name,
                "registers": kernel.registers or "",
                "occupancy": "" if kernel.occupancy is None else f"{kernel.occupancy:.0%}",
                "bytes_per_gaussian": f"{kernel.bytes:.0f}",
                "instructions_per_gaussian": f"{kernel.instructions:.0f}",
                "predicted_ms": f"{predicted:.3f}",
                "measured_ms": f"{sum(measured):.3f}" if measured else NOT_RUN,
                **{short: counted.get(kernel.name, {}).get(name, NOT_RUN) for name, short in NCU.items()},
            }
        )
    return rows


NCU = {"Duration": "ncu_duration", "Memory Throughput": "ncu_memory", "Compute (SM) Throughput": "ncu_compute",
       "Achieved Occupancy": "ncu_occupancy"}  # fmt: skip


def read_ncu(text: str) -> dict[str, Row]:
    """ncu's figures by kernel, of its first launch."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    found: dict[str, Row] = {}
    for row in csv.DictReader(lines):
        kernel = found.setdefault(row["Kernel Name"], {})
        if row["Metric Name"] in NCU and row["Metric Name"] not in kernel:
            kernel[row["Metric Name"]] = f"{row['Metric Value']} {row['Metric Unit']}"
    return found


def judge(found: dict[str, Row]) -> list[Row]:
    """The goals and what was reached."""
    drawn = [row["ms"] for row in found.get("drawing", {}).get("rows", [])
             if row["gaussians"] == 8_294_400 and row["work"] == "forward"]  # fmt: skip
    swift = [row["frames_per_s"] for row in found.get("methods", {}).get("rows", []) if "frames_per_s" in row
             and (row["method"], row["input"], row["precision"]) == ("swift", "1920x1080", "bf16")]  # fmt: skip
    fits = [row["steps_per_s"] for row in found.get("agreement", {}).get("rows", []) if row.get("steps_per_s")]
    return [
        {"goal": name, "wanted": f"{kind} {limit:g}", "predicted": guess and f"{guess:.4g}",
         "measured": f"{values[0]:.4g}" if values else NOT_RUN}
        for (name, limit, kind), guess, values in zip(GOALS, predict(found), (drawn, swift, fits), strict=True)
    ]  # fmt: skip


def predict(found: dict[str, Row]) -> tuple[float, float | str, float]:
    """What an H100 is expected to reach of each goal; of swift, what memory or arithmetic alone would allow."""
    drawing = sum(kernel.predicted_ms(4 * PREDICTED_AT) for kernel in bench_floor.kernels(4.0)[:5])
    swift: float | str = ""
    for row in found.get("methods", {}).get("rows", []):
        if row["method"] == "swift" and "flops_per_pixel" in row:
            per_pixel = bench_floor.Work(row["flops_per_pixel"], row["bytes_per_pixel"])
            swift = 1e3 / per_pixel.enlarged(1920 * 1080).floor_ms("bf16")
    return drawing, swift, 1e3 / bench_floor.fit_step_ms(50_000)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["status"]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows or [{names[0]: NOT_RUN}])


def render(
    about: Row, results: dict[str, Row], found: dict[str, Row], goals: list[Row], tables: dict[str, list[Row]]
) -> str:
    parts = [{"part": name, "status": one["status"], "seconds": one["seconds"]} for name, one in results.items()]
    sections = {
        "Parts": parts,
        "Goals": goals,
        "Kernels: predicted for an H100 and measured, 2.07 M Gaussians at x4": tables["kernels"],
        "Drawing": tables["splat"],
        "Agreement with the CPU": [strip(row) for row in found.get("agreement", {}).get("rows", [])],
        "Methods": [strip(row) for row in found.get("methods", {}).get("rows", [])],
        "GSASR's published timing protocol": [strip(row) for row in found.get("methods", {}).get("published", [])],
        "Training": [{"output": line} for line in results.get("training", {}).get("output", "").splitlines()[-12:]],
    }
    lines = [f"# Measurements on {about['device']}", ""]
    for title, rows in sections.items():
        lines += [f"## {title}", "", *tabulate(rows), ""]
    return "\n".join(lines)


def tabulate(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return [NOT_RUN]
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        lines.append("| " + " | ".join(str(row.get(name, "")).replace("|", "/") for name in names) + " |")
    return lines
