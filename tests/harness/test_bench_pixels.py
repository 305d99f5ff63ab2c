"""Multiply-adds against closed forms and published figures; the row of a network of one scale."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from gsr_app.core.types import Scale
from gsr_app.harness import bench_model
from gsr_app.harness.bench_pixels import count_macs
from gsr_app.models import registry
from gsr_app.models.registry import build


def test_the_count_of_a_plain_network_is_its_closed_form() -> None:
    taps = 9 * (12 * 24 + 5 * 24 * 24 + 24 * 48)  # head, four blocks and tail, upsampler, on the halved grid
    assert count_macs(build("rt4ksr-x2").fuse(), torch.empty(1, 3, 1080, 1920)) == 540 * 960 * taps


@pytest.mark.parametrize(
    ("arch", "published_g"), [pytest.param("rgt-x4", 251.07, marks=pytest.mark.slow), ("rgt-s-x4", 193.08)]
)
def test_the_count_of_rgt_is_the_published_one(arch: str, published_g: float) -> None:
    assert count_macs(build(arch), torch.empty(1, 3, 128, 128)) / 1e9 == pytest.approx(published_g, rel=1e-3)


def test_a_network_at_its_own_scale_is_compared_with_bicubic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    bench_model.add_arguments(parser)
    words = ("--method", "rt4ksr-x3", "--size", "40x30", "--scale", "3", "--repeats", "1", "--json")
    assert bench_model.run(parser.parse_args([*words, "--out", str(tmp_path)])) == 0
    out, told = capsys.readouterr()
    (kept,) = tmp_path.iterdir()
    assert str(kept) in told
    printed = json.loads(out)
    (row,) = printed if isinstance(printed, list) else printed["detail"]
    assert row["macs"] == 15 * 20 * 9 * (12 * 24 + 5 * 24 * 24 + 24 * 108)
    assert row["bicubic_ms"] > 0
    assert row["frames_per_s"] == pytest.approx(1e3 / row["total_ms"])
    assert row["times_training_form"] > 0
    measured = {one["metric"]: one["median"] for one in printed["measures"]}
    assert measured["bicubic units"] == pytest.approx(row["total_ms"] / row["bicubic_ms"])


@pytest.mark.parametrize(
    ("method", "cases"),
    [
        ("rt4ksr-x2", [((1080, 1920), Scale(2, 2))]),
        ("rt4ksr-x3", [((720, 1280), Scale(3, 3))]),
        ("rgt-s-x2", [((48, 48), Scale(2, 2)), ((96, 96), Scale(2, 2))]),
        ("swift", [((48, 48), Scale(4, 4)), ((96, 96), Scale(4, 4))]),
    ],
)
def test_without_words_a_network_is_measured_at_what_it_was_made_for(
    method: str, cases: list[tuple[tuple[int, int], Scale]]
) -> None:
    parser = argparse.ArgumentParser()
    bench_model.add_arguments(parser)
    assert bench_model._cases(registry.method(method), parser.parse_args([])) == cases
