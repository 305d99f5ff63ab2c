"""The Models tab: what may be done, by whom."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.fake_engine import FakeEngine
from tests.real_files import write_broken_weights

gr = pytest.importorskip("gradio")

from gsr_app.core.types import Progress  # noqa: E402
from gsr_app.models.registry import Method, catalogue  # noqa: E402
from gsr_app.models.weights import Availability  # noqa: E402
from gsr_app.ui import present  # noqa: E402
from gsr_app.ui.engine import Engine  # noqa: E402
from gsr_app.ui.files import Files  # noqa: E402
from gsr_app.ui.state import AppState  # noqa: E402
from gsr_app.ui.tabs.models import perform, rows  # noqa: E402


def app(folder: Path, may_manage: bool) -> AppState:
    return AppState(FakeEngine(), Files(folder), may_manage=may_manage)


def test_fetching_reports_progress_and_then_success(tmp_path: Path) -> None:
    *_, last = perform(app(tmp_path, True), "fetch", "away")
    line = next(row for row in last if row["id"] == "away")
    assert (line["said"], line["busy"]) == ("downloaded", None)


def test_the_last_table_of_each_press_shows_no_task_that_runs(tmp_path: Path) -> None:
    """The tables of two presses may arrive in any order: the one that ended first must not show the other as busy."""
    first, second = threading.Event(), threading.Event()

    class Engine(FakeEngine):
        def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
            assert (first if method.id == "away" else second).wait(60)

    state = AppState(Engine(), Files(tmp_path), may_manage=True)
    one, other = (perform(state, "fetch", method) for method in ("away", "bicubic"))
    for press in (one, other):
        next(press)
    first.set()
    threading.Timer(1.0, second.set).start()
    for last in ([*tables][-1] for tables in (one, other)):
        said = {row["id"]: row["said"] for row in last if row["id"] in {"away", "bicubic"}}
        assert said == {"away": "downloaded", "bicubic": "downloaded"}
        assert all(row["busy"] is None for row in last)


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


def test_a_model_file_that_was_added_can_be_removed_on_ones_own_machine_alone() -> None:
    method = Method("file:theirs", "theirs", "file", "pixels", "MIT", arch="file:theirs")

    def actions(own: bool, may_manage: bool) -> list[tuple[str, str]]:
        return present.model_row(method, Availability(here=True, own=own), may_manage=may_manage)["actions"]

    assert actions(own=True, may_manage=True) == [("remove", "Remove")]
    assert not actions(own=False, may_manage=True)
    assert not actions(own=True, may_manage=False)


def uploaded(name: str, data: bytes, root: Path) -> Path:
    """A file where Gradio puts what a page uploads."""
    path = root / hashlib.sha256(data).hexdigest() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def add(state: AppState, method: str, *paths: object) -> dict[str, Any]:
    """The line of a method after files were added to it."""
    *_, last = perform(state, "add", method, list(paths))
    return next(row for row in last if row["id"] == method)


def test_own_weights_are_kept_and_the_upload_is_removed(tmp_path: Path, uploads: Path) -> None:
    upload = uploaded("mine.pth", b"x" * 3000, uploads)
    assert add(app(tmp_path / "files", True), "away", str(upload))["said"] == "kept 3 kB"
    assert not upload.exists()


def test_errors_about_own_weights_do_not_name_folders_of_the_server(tmp_path: Path, uploads: Path) -> None:
    upload = uploaded("mine.pth", b"", uploads)
    assert add(app(tmp_path / "files", True), "away", str(upload))["said"] == "mine.pth is empty."
    assert not upload.exists()


@pytest.mark.parametrize("change", ["integers", "not finite", "itself", "numbers as keys"])
def test_own_weights_that_cannot_be_used_are_refused(
    tmp_path: Path, uploads: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GSR_WEIGHTS_DIR", raising=False)
    upload = uploaded("mine.pth", b"x", uploads)
    words = write_broken_weights(upload, "rt4ksr-x2", change)
    state = AppState(Engine("cpu"), Files(tmp_path / "files"), may_manage=True)
    line = add(state, "rt4ksr-x2", str(upload))
    assert words in line["said"]
    assert str(tmp_path) not in line["said"]


def test_a_public_app_takes_no_weights(tmp_path: Path, uploads: Path) -> None:
    upload = uploaded("mine.pth", b"x", uploads)
    with pytest.raises(gr.Error, match="cannot be done here"):
        add(app(tmp_path / "files", False), "away", str(upload))
    with pytest.raises(gr.Error, match="not in the catalogue"):
        add(app(tmp_path / "files", True), "../away", str(upload))
    assert upload.exists()


def test_model_files_of_other_authors_are_taken_on_ones_own_machine_alone(tmp_path: Path, uploads: Path) -> None:
    upload = uploaded("theirs.pth", b"x", uploads)
    with pytest.raises(gr.Error):
        next(perform(app(tmp_path / "files", False), "add-model", None, [str(upload)]))
    assert upload.exists()
    (last,) = perform(app(tmp_path / "files", True), "add-model", None, [str(upload)])
    assert next(row for row in last if row["id"] == "away")["said"].startswith("added")
    assert not upload.exists()
    empty = uploaded("empty.pth", b"", uploads)
    with pytest.raises(gr.Error, match=r"^'empty\.pth is empty"):
        next(perform(app(tmp_path / "files", True), "add-model", None, [str(empty)]))


def test_a_model_that_is_added_during_a_download_stays_told_and_leaves_it_as_it_is(
    tmp_path: Path, uploads: Path
) -> None:
    goes_on = threading.Event()

    class Engine(FakeEngine):
        def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
            assert goes_on.wait(60)

        def add_model(self, path: Path) -> str:
            return "swift"

    state = AppState(Engine(), Files(tmp_path / "files"), may_manage=True)
    fetching = perform(state, "fetch", "away")
    next(fetching)
    adding = perform(state, "add-model", None, [str(uploaded("theirs.pth", b"x", uploads))])
    next(adding)
    goes_on.set()
    for last in ([*tables][-1] for tables in (fetching, adding)):
        lines = {row["id"]: row for row in last}
        assert lines["swift"]["said"].startswith("added")
        assert (lines["away"]["said"], lines["away"]["busy"]) == ("downloaded", None)


def test_files_of_the_server_cannot_be_given_as_own_weights(tmp_path: Path, uploads: Path) -> None:
    """What was not uploaded is neither read nor removed."""
    theirs = tmp_path / "theirs.pth"
    theirs.write_bytes(b"x" * 3000)
    upload = uploaded("mine.pth", b"x", uploads)
    (uploads / "results").mkdir()
    (uploads / "results" / "a.png").touch()
    (upload.parent / "link.pth").symlink_to(theirs)
    for paths in (
        [str(theirs)],
        [f"file://{theirs}"],
        [f"{upload.parent}/../../{theirs.name}"],
        [str(upload), str(theirs)],
        [str(uploads / "results" / "a.png")],
        [str(upload.parent / "link.pth")],
        [str(upload) + "\0"],
        [{"path": str(upload)}],
        [],
    ):
        with pytest.raises(gr.Error, match="not uploaded files"):
            add(app(tmp_path / "files", True), "away", *paths)
    assert theirs.exists()
    assert upload.exists()


def test_the_state_of_weights_is_said_in_words_with_links_to_their_files() -> None:
    smfanet, ciaosr, rgt = (catalogue()[name] for name in ("smfanet-x4", "ciaosr-edsr", "rgt-x4"))
    missing = Availability(here=False, download_bytes=smfanet.bytes)
    line = present.model_row(smfanet, missing, may_manage=True)
    assert line["status"] == "Download 0.9 MB"
    assert line["actions"] == [("fetch", "Download"), ("add", "Add files")]
    (file,) = line["files"]
    assert (file["name"], file["size"]) == ("SMFANet_DF2K_100w_x4SR.pth", "0.9 MB")
    assert file["link"].startswith("https://raw.githubusercontent.com/Zheng-MJ/SMFANet/a05e0bb554")
    by_hand = present.model_row(ciaosr, Availability(here=False, reason="no direct download"), may_manage=True)
    assert by_hand["status"] == "Download edsr-ciaosr.pth by hand, then add it"
    assert by_hand["actions"] == [("add", "Add files")]
    assert by_hand["files"][0]["link"] == ciaosr.page
    assert present.weights_text(smfanet, Availability(here=True)) == "Ready"
    assert present.weights_text(smfanet, Availability(here=True, own=True)) == "Ready: your own weights"
    assert present.weights_text(smfanet, Availability(here=False, reason="set to stay offline")) == "Not installed"
    assert rgt.files[0].link == "https://huggingface.co/ViperYX/RGT/blob/main/RGT/RGT_x4.pth"
