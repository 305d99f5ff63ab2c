"""The benchmarks: one document form, honest verdicts, pages made from what was kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gsr_app.core.errors import GsrError
from gsr_app.harness import bench, bench_compare, cli
from gsr_app.harness.bench_record import Conditions, Measure, read_csv, write_csv

CONDITIONS = Conditions(
    "A CPU, 3 GHz", 2, 2, "cpu", "cpu avx2", "2.13.0+cpu", "3.11.7", "0.1.0", "abc1234", "2026-11-27", 20.0
)


def check(value: Any, schema: Any, at: str = "document") -> None:
    """A value against a small schema: a type, a list of one schema, or a dictionary with exactly these keys."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), at
        assert set(value) == set(schema), at
        for key, inner in schema.items():
            check(value[key], inner, f"{at}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), at
        for i, one in enumerate(value):
            check(one, schema[0], f"{at}[{i}]")
    else:
        assert isinstance(value, schema), f"{at}: {value!r}"


DOCUMENT = {
    "bench": str,
    "conditions": {
        **dict.fromkeys(("cpu", "device", "backend", "torch", "python", "gsr", "revision", "date"), str),
        **dict.fromkeys(("cores", "threads"), int),
        "matmul_unit_ms": float,
    },
    "measures": [
        {
            "case": str,
            "metric": str,
            "median": (int, float),
            "iqr": (int, float),
            "n": int,
            "unit": str,
        }
    ],
    "detail": [object],
}


@pytest.mark.parametrize("name", [name for name in bench.BENCHES if name != "app"])
def test_a_quick_run_prints_one_document_of_the_common_form(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--methods", "bicubic"] if name == "end-to-end" else []
    words += ["--method", "bicubic"] if name == "memory" else []
    assert cli.main(["bench", name, "--quick", "--json", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    check(document, DOCUMENT)
    assert document["bench"] == name
    assert document["measures"]
    differences = ("lists", "rows")  # of two drawings, in which what else the machine does may be the larger part
    ratios = [one for one in document["measures"] if one["unit"] == "ratio"]
    assert all(one["median"] > 0 for one in ratios if not one["metric"].startswith(differences))


@pytest.mark.slow
def test_the_app_is_measured_through_its_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "app", "--quick", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    check(document, DOCUMENT)
    assert {one["metric"] for one in document["measures"]} >= {"requests", "latency"}


def test_a_csv_gives_back_what_was_written(tmp_path: Path) -> None:
    measures = [Measure.of("one, two", "warm", [1.0, 2.0, 4.0], "ms"), Measure("x", "peak", 3.5, 0.0, 1, "MiB")]
    write_csv(tmp_path / "a.csv", measures, CONDITIONS)
    conditions, found = read_csv(tmp_path / "a.csv")
    assert found == measures
    assert conditions["cpu"] == "A CPU, 3 GHz"
    assert measures[0] == Measure("one, two", "warm", 2.0, 1.5, 3, "ms")


def verdict(old: tuple[float, float], new: tuple[float, float], unit: str = "ms", pace: float = 1.0) -> str:
    one, two = (Measure("case", "metric", median, iqr, 9, unit) for median, iqr in (old, new))
    return bench_compare.compare([one], [two], unit_ratio=pace)[0].verdict


def test_a_verdict_needs_more_than_the_noise() -> None:
    assert verdict((100, 1), (120, 1)) == "worse"
    assert verdict((100, 1), (80, 1)) == "better"
    assert verdict((100, 1), (104, 1)) == "same"  # under five per cent
    assert verdict((100, 30), (120, 30)) == "same"  # within the spread of both
    assert verdict((10, 0.1), (12, 0.1), unit="1/s") == "better"


def test_a_slower_machine_is_not_a_slower_program() -> None:
    assert verdict((100, 1), (200, 2), pace=2.0) == "same"
    assert verdict((100, 1), (100, 1), pace=0.5) == "worse"  # as long as before, on a machine twice as fast
    assert verdict((10, 0.1), (5, 0.1), unit="1/s", pace=2.0) == "same"
    assert verdict((10, 0.1), (15, 0.1), unit="MiB", pace=2.0) == "worse"  # memory has no pace


def test_the_comparison_names_what_came_and_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "old.csv", [Measure("a", "t", 10, 0, 5, "ms"), Measure("b", "t", 1, 0, 5, "ms")], CONDITIONS)
    write_csv(tmp_path / "new.csv", [Measure("a", "t", 20, 0, 5, "ms"), Measure("c", "t", 1, 0, 5, "ms")], CONDITIONS)
    assert cli.main(["bench", "--compare", str(tmp_path / "old.csv"), str(tmp_path / "new.csv")]) == 1
    printed = capsys.readouterr().out
    for word in ("x2.00  worse", "gone", "new", "1 of 3 figures became worse"):
        assert word in printed
    assert cli.main(["bench", "--warn", "--compare", str(tmp_path / "old.csv"), str(tmp_path / "new.csv")]) == 0
    warned = capsys.readouterr().out
    assert "x2.00  worse" in warned
    assert "gone" not in warned
    assert "1 of 1 figures became worse" in warned


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("name,value\na,1\n")
    with pytest.raises(GsrError, match="not a CSV of a benchmark"):
        read_csv(tmp_path / "other.csv")


def test_no_name_lists_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench"]) == 2
    assert "end-to-end" in capsys.readouterr().err


@pytest.mark.browser
def test_the_page_holds_every_result(tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="needs kaleido (drawing)")
    from gsr_app.harness import bench_page

    write_csv(tmp_path / "model-cpu.csv", [Measure("swift 48x48", "encode", 12.5, 0.5, 9, "ms")], CONDITIONS)
    page = bench_page.write(tmp_path).read_text()
    assert "| swift 48x48 | encode | 12.5 ms | 0.5 | 9 |" in page
    assert "![model-cpu](model-cpu.svg)" in page
    assert "<svg" in (tmp_path / "model-cpu.svg").read_text()[:200]


@pytest.mark.parametrize(("words", "code", "says"), [
    (("--method", "nope"), 2, "'nope'"),
    (("--scale", "banana"), 1, "banana"),
])  # fmt: skip
def test_where_no_memory_could_be_measured_nothing_is_written(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "memory", *words, "--device", "cpu", "--out", str(tmp_path)]) == code
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
