"""Texts of the app, estimates, and the JSON of scenes."""

from __future__ import annotations

from pathlib import Path

from gsr_app.core.types import Scale, Timing
from gsr_app.harness import models
from gsr_app.models.registry import catalogue
from gsr_app.models.weights import Availability
from gsr_app.ui import present
from gsr_app.ui.engine import Engine
from gsr_app.ui.estimate import Estimates
from gsr_app.viewer import bundle, contract
from gsr_app.viewer.contract import PaneSpec, Scene, as_json


def test_every_method_of_the_catalogue_has_a_card() -> None:
    for method in catalogue().values():
        card = present.method_card(method, Availability(True))
        assert card["title"]
        assert method.code_licence in card["facts"]
        assert card["status"] == "Ready"


def test_a_card_says_what_is_missing() -> None:
    method = next(iter(catalogue().values()))
    assert present.method_card(method, Availability(False, 98_400_000))["status"] == "98 MB"
    card = present.method_card(method, Availability(False, reason="set to stay offline"))
    assert (card["state"], card["reason"]) == ("offline", "set to stay offline")


def test_the_forecast_is_a_range_that_holds_what_such_runs_take() -> None:
    estimates = Estimates()
    assert "not measured" in present.forecast((300, 451), Scale(4, 4), ["swift"], estimates)
    for ms in (200.0, 300.0):
        estimates.learn("swift", Timing({"encode": 100.0, "render": ms}), 100_000, 1_600_000)
    found = estimates.expected_ms("swift", 200_000, 6_400_000)
    assert found is not None
    # Twice the input, four times the output.
    assert found[0] < 100 * 2 + 200 * 4 < 100 * 2 + 300 * 4 < found[1]
    text = present.forecast((300, 451), Scale(4, 4), ["swift", "bicubic"], estimates)
    assert text.startswith("→ 1804 × 1200, 2.2 MP · ")
    assert " to " in text
    assert "for 1 method, 1 not measured for this size" in text
    assert text.endswith("the first time longer")


def test_small_pictures_have_megapixels_too() -> None:
    assert [present.megapixels(count) for count in (19_200, 307_200, 2_164_800)] == ["0.019 MP", "0.3 MP", "2.2 MP"]


def test_a_run_of_another_size_promises_no_time() -> None:
    estimates = Estimates()
    estimates.learn("swift", Timing({"encode": 1.0, "render": 1.0}), 100 * 100, 400 * 400)
    assert estimates.expected_ms("swift", 3000 * 2000, 12000 * 8000) is None
    near, far = (estimates.expected_ms("swift", side * side, 16 * side * side) for side in (110, 400))
    assert near is not None
    assert far is not None
    assert far[1] / far[0] > near[1] / near[0], "the range widens with the distance to what was measured"


def test_the_first_run_of_a_method_is_announced_as_longer_until_it_has_run() -> None:
    estimates = Estimates()
    assert estimates.expected(["swift", "bicubic"], 1000, 1000).first == 2
    estimates.learn("swift", Timing({"encode": 5.0}, cold=True), 1000, 1000)
    assert estimates.expected(["swift", "bicubic"], 1000, 1000).first == 1


def test_estimates_ignore_first_runs_and_old_runs() -> None:
    estimates = Estimates()
    estimates.learn("swift", Timing({"encode": 9e9}, cold=True), 100, 100)
    assert estimates.expected_ms("swift", 100, 100) is None
    for ms in [1e6] * 7 + [10.0] * 7:
        estimates.learn("swift", Timing({"encode": ms}), 1_000_000, 1_000_000)
    found = estimates.expected_ms("swift", 1_000_000, 1_000_000)
    assert found is not None
    assert found[0] < 10 < found[1] < 20


def test_estimates_survive_a_restart_and_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    first = Estimates(path)
    first.learn("swift", Timing({"encode": 10.0}), 1_000_000, 1_000_000)
    expected = first.expected_ms("swift", 1_000_000, 1_000_000)
    assert expected is not None
    assert Estimates(path).expected_ms("swift", 1_000_000, 1_000_000) == expected
    for text in ("{broken", '{"swift": [[10.0, 0.0]]}'):
        path.write_text(text)
        assert Estimates(path).expected_ms("swift", 1_000_000, 1_000_000) is None


def test_the_largest_scale_is_within_the_limits_of_pixels_and_of_scales() -> None:
    assert present.largest_scale((400, 600), 30_000_000) == 11.1
    assert present.largest_scale((40, 60), 30_000_000) == 64
    assert present.largest_scale((4000, 6000), 20_000_000) == 0


def test_a_scene_is_json_whatever_the_numbers() -> None:
    import json

    import numpy as np

    metrics = contract.PaneMetrics("c", float("inf"), np.float64("nan"))
    scene = as_json(Scene((PaneSpec("a", "A", "#000", metrics=metrics, span=(1.0, 2.0)),), scale={"x": 1.0, "y": 1.0}))
    assert json.loads(bundle.embed(scene))["panes"][0]["metrics"] == {
        "convention": "c",
        "psnr_y": 999.0,
        "ssim_y": None,
        "psnr_rgb": None,
        "ssim_rgb": None,
        "flip": None,
        "without_flip": "",
    }


def test_embedded_text_cannot_end_the_script() -> None:
    assert "</script" not in bundle.embed({"name": "</script><script>alert(1)</script>"})


def test_modules_come_after_what_they_import() -> None:
    import re

    seen: set[str] = set()
    for name, source in bundle.modules():
        assert set(re.findall(r'from "\./([\w-]+\.js)"', source)) <= seen, name
        seen.add(name)
        assert len(source.splitlines()) <= 300, f"{name} is too long"
    assert "viewer.js" in seen


def test_nothing_is_fetched_from_elsewhere() -> None:
    for _, source in bundle.modules():
        assert "http://" not in source
        assert "https://" not in source
    assert "url(" not in bundle.css()


def test_what_no_program_can_fetch_is_not_offered_for_download() -> None:
    by_hand = [method for method in catalogue().values() if method.page]
    assert "ciaosr-edsr" in {method.id for method in by_hand}
    for method in by_hand:
        missing = Engine("cpu").availability(method)
        if missing.here:
            continue  # somebody has put it there
        row = present.model_row(method, missing, may_manage=True)
        assert (row["state"], row["actions"]) == ("offline", [("add", "Add files")])
        assert {file["link"] for file in row["files"]} == {method.page}
        assert models.presence_text(method) == "by hand"
