"""`bench model`: what it measures, and how it says so."""

from __future__ import annotations

import argparse
import json

import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness import bench_model


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_model.add_arguments(parser)
    return parser.parse_args(words)


def test_a_row_names_stages_memory_and_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--method", "gsasr-edsr-df2k", "--size", "13x12", "96x96", "--scale", "2.5", "--quick", "--json")
    assert bench_model.run(parse(*words)) == 0
    (row,) = json.loads(capsys.readouterr().out)["detail"]
    assert (row["method"], row["input"], row["scale"]) == ("gsasr-edsr-df2k", [12, 13], "2.5")
    assert set(row["stages_ms"]) == {"encode", "decode", "render"}
    assert row["repeats"] == 2
    assert row["weights"] in {"found", "random"}
    networks_ms = row["stages_ms"]["encode"] + row["stages_ms"]["decode"]
    assert row["networks_in_edsr_encoders"] == pytest.approx(networks_ms / row["edsr_encoder_ms"])
    assert row["peak_bytes"] > 1 << 20


def test_a_table_has_a_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_model.run(parse("--method", "gsasr-edsr-df2k", "--size", "12x12", "--repeats", "1", "--quick")) == 0
    _, head, line = capsys.readouterr().out.splitlines()
    assert "ENCODE" in head
    assert line.startswith("gsasr-edsr-df2k")
    assert "12x12" in line


@pytest.mark.parametrize("words", [("--size", "12"), ("--size", "0x4"), ("--repeats", "0")])
def test_what_cannot_be_measured_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        bench_model.run(parse("--method", "gsasr-edsr-df2k", *words))


def test_a_resize_is_not_a_network() -> None:
    with pytest.raises(InvalidArgument, match="resize"):
        bench_model.run(parse("--method", "bicubic"))
