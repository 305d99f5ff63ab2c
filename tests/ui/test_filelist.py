"""The lists of pictures and results in the Compare tab: which files they take."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

from gsr_app.core.errors import InvalidArgument  # noqa: E402
from gsr_app.ui.albums import requests_of  # noqa: E402
from gsr_app.ui.filelist import FileList, ListedFile  # noqa: E402
from gsr_app.viewer.comparison import CompareRequest  # noqa: E402


@pytest.fixture
def uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = tmp_path / "uploads" / hashlib.sha256(b"x").hexdigest() / "cat_Mine.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


def test_only_files_that_a_page_has_uploaded_are_taken(uploaded: Path, tmp_path: Path) -> None:
    files = FileList(text="Add", title="Add", named=True, most=2)
    (one,) = files.preprocess([{"path": str(uploaded), "name": " Mine ", "own": True}])
    assert one == ListedFile(uploaded, "Mine", is_own_name=True)
    assert files.postprocess([one]) == [{"path": str(uploaded), "name": "Mine", "own": True}]
    assert files.preprocess(None) == files.preprocess(["x"]) == []
    (tmp_path / "secret.png").write_bytes(b"x")
    strange: list[Any] = [str(tmp_path / "secret.png"), "/etc/passwd", 3, None, f"{uploaded}/../../../secret.png"]
    for path in strange:
        with pytest.raises(gr.Error, match="not uploaded files"):
            files.preprocess([{"path": path}])
    uploaded.unlink()
    with pytest.raises(gr.Error, match=r"cat_Mine\.png is not kept here any more"):
        files.preprocess([{"path": str(uploaded)}])


def test_each_picture_gets_what_was_made_of_it() -> None:
    asked = CompareRequest("in/cat.png", ("bicubic",), "4")
    others = [ListedFile(Path("in/dog.png"))]
    results = [
        ListedFile(Path("dog_A.png")),
        ListedFile(Path("cat_GT.png")),
        ListedFile(Path("cat_A.png"), "Best", True),
    ]
    cat, dog = requests_of(asked, others, results)
    assert (cat.image, [result.name for result in cat.results], cat.reference) == ("in/cat.png", ["Best"], "cat_GT.png")
    assert (dog.image, [result.name for result in dog.results], dog.reference) == ("in/dog.png", ["A"], None)
    (alone,) = requests_of(CompareRequest(None, ("bicubic",), "4"), [], results[2:])
    assert (alone.image, alone.methods, len(alone.results)) == (None, (), 1)
    with pytest.raises(InvalidArgument, match="its own reference"):
        requests_of(CompareRequest("in/cat.png", ("bicubic",), "4", round_trip=True), others, results)
    with pytest.raises(InvalidArgument, match="belongs to one picture"):
        requests_of(CompareRequest("in/cat.png", ("bicubic",), "4", reference="hr.png"), others, [])
