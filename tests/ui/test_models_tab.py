"""The Models tab: what may be done, by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.fake_engine import FakeEngine

gr = pytest.importorskip("gradio")

from gsr_app.models.registry import catalogue  # noqa: E402
from gsr_app.ui import present  # noqa: E402
from gsr_app.ui.compare import House  # noqa: E402
from gsr_app.ui.files import Files  # noqa: E402
from gsr_app.ui.tabs.models import perform, rows  # noqa: E402


def house(folder: Path, may_manage: bool) -> House:
    return House(FakeEngine(), Files(folder), may_manage=may_manage)


def test_fetching_tells_how_far_it_is_and_then_that_it_is_done(tmp_path: Path) -> None:
    *_, last = perform(house(tmp_path, True), "fetch", "away")
    line = next(row for row in last if row["id"] == "away")
    assert (line["said"], line["busy"]) == ("fetched", None)


@pytest.mark.parametrize(
    ("may_manage", "action", "method"),
    [
        (False, "fetch", "away"),
        (True, "format", "away"),
        (True, "fetch", "../x"),
        (True, None, None),
        (True, "remove", 3),
    ],
)
def test_what_may_not_be_done_is_refused(may_manage: bool, action: object, method: object, tmp_path: Path) -> None:
    with pytest.raises(gr.Error):
        next(perform(house(tmp_path, may_manage), action, method))


def test_visitors_of_a_public_app_see_no_buttons(tmp_path: Path) -> None:
    assert all(not row["actions"] for row in rows(house(tmp_path, False)))


def test_every_published_score_of_the_catalogue_can_be_said() -> None:
    for method in catalogue().values():
        for score in method.published:
            text = present.score_text(score)
            assert str(score["dataset"]) in text
            assert any(character.isdigit() for character in text)
