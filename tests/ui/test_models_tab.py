"""The Models tab: what may be done, by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.fake_engine import FakeEngine
from tests.real_files import write_broken_weights
from tests.servers import serve

gr = pytest.importorskip("gradio")

from gsr_app.models.registry import catalogue  # noqa: E402
from gsr_app.ui import present  # noqa: E402
from gsr_app.ui.engine import Engine  # noqa: E402
from gsr_app.ui.files import Files  # noqa: E402
from gsr_app.ui.state import AppState, create_app_state  # noqa: E402
from gsr_app.ui.tabs.models import keep, perform, rows  # noqa: E402


def app(folder: Path, may_manage: bool) -> AppState:
    return AppState(FakeEngine(), Files(folder), may_manage=may_manage)


def test_fetching_reports_progress_and_then_success(tmp_path: Path) -> None:
    *_, last = perform(app(tmp_path, True), "fetch", "away")
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
        next(perform(app(tmp_path, may_manage), action, method))


def test_visitors_of_a_public_app_see_no_buttons(tmp_path: Path) -> None:
    assert all(not row["actions"] for row in rows(app(tmp_path, False)))


def test_every_published_score_of_the_catalogue_has_a_text() -> None:
    for method in catalogue().values():
        for score in method.published:
            text = present.score_text(score)
            assert str(score["dataset"]) in text
            assert any(character.isdigit() for character in text)


def test_own_weights_are_kept_and_the_upload_is_removed(tmp_path: Path) -> None:
    upload = tmp_path / "mine.pth"
    upload.write_bytes(b"x" * 3000)
    line = next(row for row in keep(app(tmp_path / "files", True), "away", [str(upload)]) if row["id"] == "away")
    assert line["said"].startswith("kept 3")
    assert not upload.exists()


def test_errors_about_own_weights_do_not_name_folders_of_the_server(tmp_path: Path) -> None:
    upload = tmp_path / "mine.pth"
    upload.touch()
    line = next(row for row in keep(app(tmp_path / "files", True), "away", [str(upload)]) if row["id"] == "away")
    assert line["said"] == "mine.pth is empty."
    assert not upload.exists()


@pytest.mark.parametrize("change", ["integers", "not finite", "itself", "numbers as keys"])
def test_own_weights_that_cannot_be_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GSR_WEIGHTS_DIR", raising=False)
    words = write_broken_weights(tmp_path / "mine.pth", "rt4ksr-x2", change)
    state = AppState(Engine("cpu"), Files(tmp_path / "files"), may_manage=True)
    line = next(row for row in keep(state, "rt4ksr-x2", [str(tmp_path / "mine.pth")]) if row["id"] == "rt4ksr-x2")
    assert words in line["said"]
    assert str(tmp_path) not in line["said"]


def test_a_public_app_takes_no_weights(tmp_path: Path) -> None:
    upload = tmp_path / "mine.pth"
    upload.write_bytes(b"x")
    with pytest.raises(gr.Error, match="cannot be done here"):
        keep(app(tmp_path / "files", False), "away", [str(upload)])
    with pytest.raises(gr.Error, match="Choose the method"):
        keep(app(tmp_path / "files", True), "../away", [str(upload)])


def test_files_of_the_server_cannot_be_given_as_own_weights(tmp_path: Path) -> None:
    """Over HTTP: what was not uploaded is neither read nor removed."""
    import json
    import urllib.request

    theirs = tmp_path / "theirs.pth"
    theirs.write_bytes(b"x" * 3000)
    with serve(create_app_state(FakeEngine(), may_manage=True)) as url:
        for path in (str(theirs), f"file://{theirs}", f"../../../..{theirs}"):
            files = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
            request = urllib.request.Request(
                f"{url}gradio_api/call/keep",
                data=json.dumps({"data": ["away", files]}).encode(),
                headers={"Content-Type": "application/json"},
            )
            event = json.load(urllib.request.urlopen(request))["event_id"]
            answer = urllib.request.urlopen(f"{url}gradio_api/call/keep/{event}").read().decode()
            assert "event: error" in answer
            assert "kept" not in answer
    assert theirs.exists()
