"""The plots hold the numbers that were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("plotly")

from gsr_app.core.types import Timing
from gsr_app.ui import plots
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.contract import PaneField, PaneMetrics, PaneSpec, Scene, Source
from tests.browser.fake_engine import lattice_field


def scene(scale: float, total_ms: float, psnr: float | None = None, *, cold: bool = False) -> Scene:
    timing = Timing({"encode": total_ms}, cold=cold)
    metrics = PaneMetrics("c", psnr) if psnr else None
    pane = PaneSpec("swift", "Swift", "#2f6f5e", state="done", timing=timing, metrics=metrics)
    failed = PaneSpec("broken", "Broken", "#000000", state="failed")
    return Scene((pane, failed), Source("k", "cat.png", 10, 10), scale={"x": scale, "y": scale})


def history(*scenes: Scene) -> list[plots.Run]:
    store: BoundedStore[tuple[plots.Run, ...]] = BoundedStore(2)
    for one in scenes:
        plots.add_runs(store, "a", one)
    assert store.find("b") is None
    return list(store.get("a"))


def test_time_over_scale_is_in_seconds_and_leaves_first_runs_out() -> None:
    figure = plots.time_over_scale(history(scene(4, 900), scene(2, 300), scene(3, 5000, cold=True)))
    (line,) = figure.data
    assert list(line.x) == [2, 4]
    assert list(line.y) == [0.3, 0.9]


def test_runs_with_a_cached_field_are_a_line_of_their_own() -> None:
    whole = scene(4, 900)
    kept = replace(whole.panes[0], timing=Timing({"render": 20.0}), field=PaneField("f", 3))
    lines = plots.time_over_scale(history(whole, replace(whole, panes=(kept,)))).data
    assert {line.name: list(line.y) for line in lines} == {"Swift": [0.9], "Swift, draw only": [0.02]}


def test_several_runs_of_a_scale_are_one_point_with_their_spread() -> None:
    figure = plots.time_over_scale(history(*(scene(4, ms) for ms in (900, 1500, 1000)), scene(2, 300)))
    (line,) = figure.data
    assert (list(line.x), list(line.y)) == ([2, 4], [0.3, 1.0])
    assert list(line.error_y.arrayminus) == pytest.approx([0, 0.1])
    assert list(line.error_y.array) == pytest.approx([0, 0.5])
    assert list(line.text) == ["cat.png<br>1 run", "cat.png<br>median of 3, 0.9 to 1.5 s"]


@pytest.mark.parametrize("spread", [1, 1.02, 5, 300, 40_000])
def test_a_logarithmic_axis_has_a_few_round_numbers(spread: float) -> None:
    axis = plots.time_over_scale(history(scene(2, 130), scene(4, 130 * spread))).layout.yaxis
    assert 1 <= len(axis.tickvals) <= 8
    assert all(
        float(text) == pytest.approx(value, rel=0.01) for text, value in zip(axis.ticktext, axis.tickvals, strict=True)
    )
    assert all(len(text.replace(".", "").strip("0")) <= 2 for text in axis.ticktext), "round numbers"
    low, high = axis.range
    assert 10**low < 0.13 <= 0.13 * spread < 10**high


def test_quality_needs_a_reference() -> None:
    figure = plots.quality_over_time(history(scene(4, 900, 31.5), scene(2, 300)))
    (points,) = figure.data
    assert (list(points.x), list(points.y)) == ([0.9], [31.5])


def test_a_plot_without_data_shows_what_it_needs() -> None:
    first = history(scene(4, 900, cold=True))
    drawn = [plots.time_over_scale(first), plots.quality_over_time(first), *plots.field_spread([])]
    for figure, words in zip(drawn, ("run again", "round trip", "Gaussians", "Gaussians"), strict=True):
        assert words in figure.layout.annotations[0].text
        assert figure.layout.xaxis.visible is False


def test_the_distribution_of_a_field_sums_to_100_percent() -> None:
    pane = PaneSpec("swift", "Swift", "#2f6f5e")
    sizes, strengths = plots.field_spread([(pane, lattice_field(20, 30))])
    (line,) = sizes.data
    assert np.sum(line.y) == pytest.approx(100)
    assert float(np.sum(np.asarray(line.x)[np.asarray(line.y) > 0])) == pytest.approx(0.3 + 0.6, abs=0.02)
    assert np.sum(strengths.data[0].y) == pytest.approx(100)
