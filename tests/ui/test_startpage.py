"""The page as it is sent, and the one file of Gradio's scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

import gradio
from starlette.responses import HTMLResponse, Response
from starlette.testclient import TestClient

from gsr_app.ui.pack import make_pack
from gsr_app.ui.startpage import StartPage, types_at_start

FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend"
CONFIG = {
    "components": [
        {"id": 1, "type": "tabs"}, {"id": 2, "type": "tabitem"}, {"id": 3, "type": "button"},
        {"id": 4, "type": "tabitem"}, {"id": 5, "type": "plot"}, {"id": 7, "type": "video"},
        {"id": 6, "type": "html", "props": {"value": "</head>"}},
    ],
    "layout": {"id": 0, "children": [
        {"id": 6},
        {"id": 1, "children": [{"id": 2, "children": [{"id": 3}]}, {"id": 4, "children": [{"id": 5}, {"id": 7}]}]},
    ]},
}  # fmt: skip
SPLASH = "<div id=splash></div>"


def page_of(config: dict[str, Any]) -> str:
    """Gradio's own page with a description of components, as Gradio writes it."""
    text = json.dumps(config).replace("<", "\\u003c")
    page = (FRONTEND / "index.html").read_text(encoding="utf-8")
    return re.sub(r"window\.gradio_config = \{\{[^}]*\}\}", lambda _: f"window.gradio_config = {text}", page)


def answers(inner: Response, *paths: str, accepts: str = "gzip") -> list[Any]:
    """What the middleware answers to requests, one after the other, when Gradio's answer is always the same."""
    client = TestClient(StartPage(inner, SPLASH))
    return [client.get(path, headers={"accept-encoding": accepts}) for path in paths]


def test_most_components_of_closed_tabs_are_not_needed_at_the_start() -> None:
    assert types_at_start(CONFIG) == {"html", "tabs", "tabitem", "button", "plot"}


def test_the_first_screen_comes_before_the_description_and_the_pack_before_the_module() -> None:
    (page,) = answers(HTMLResponse(page_of(CONFIG)), "/")
    assert page.headers["content-encoding"] == "gzip"
    assert int(page.headers["content-length"]) < len(page.content)
    order = ["</head>", "<body", SPLASH, "window.gradio_config = ", "gsr-pack-", '<script type="module"', "<gradio-app"]
    places = [page.text.index(one) for one in order]
    assert places == sorted(places)
    assert len(page.text) > len(page_of(CONFIG))
    for accepts, coding in (("identity", None), ("gzip, deflate, br, zstd", "br")):
        (other,) = answers(HTMLResponse(page_of(CONFIG)), "/", accepts=accepts)
        assert other.headers.get("content-encoding") == coding
        assert other.text == page.text


def test_the_pack_holds_the_chunks_of_the_page_and_may_be_kept() -> None:
    inner = HTMLResponse(page_of(CONFIG))
    name = re.search(r"\./(gsr-pack-\w+\.js)", answers(inner, "/")[0].text)
    assert name
    _, pack = answers(inner, "/", f"/{name[1]}")
    assert "immutable" in pack.headers["cache-control"]
    data = json.JSONDecoder().raw_decode(pack.text, pack.text.index("styles } = ") + len("styles } = "))[0]
    names = set(data["scripts"]) | set(data["styles"])
    assert len(names) > 20
    assert all((FRONTEND / "assets" / one).is_file() for one in names)
    # Each imports only what is in the pack, but for the entry and what is loaded later; none by an address of its own.
    text = (FRONTEND / "index.html").read_text(encoding="utf-8")
    for source in data["scripts"].values():
        static = re.findall(r'\bfrom["\'`]gradio/([\w.-]+)["\'`]', source)
        assert all(one in data["scripts"] or one in text for one in static)
        assert not re.search(r'\b(?:from|import)\(?["\'`]\./', source)
        assert "import.meta" not in source
    # The clock of a status draws ten times a second, not every frame.
    assert (
        sum(bool(re.search(r"setTimeout\(\(\)=>\{[^{}]*/1e3\)[^{}]*\},100\)", one)) for one in data["scripts"].values())
        == 1
    )
    plot = make_pack({"plot"}, FRONTEND)
    assert plot is not None
    assert plot.name != name[1]


@pytest.mark.parametrize(
    "page",
    [
        page_of({"auth_required": True, **CONFIG}),
        "<html><body>another page</body></html>",
        page_of(CONFIG).replace("</head>", ""),
    ],
)
def test_a_page_of_another_form_stays_as_it_is(page: str) -> None:
    assert answers(HTMLResponse(page), "/")[0].text == page


def test_other_answers_pass_unchanged() -> None:
    page = page_of(CONFIG)
    assert answers(HTMLResponse(page), "/config")[0].text == page
    assert answers(Response(page, media_type="application/json"), "/")[0].text == page
    assert answers(HTMLResponse(page, status_code=500), "/")[0].text == page


def test_there_is_no_pack_of_files_that_are_not_as_expected(tmp_path: Path) -> None:
    assert make_pack({"button"}, tmp_path) is None
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script type="module" crossorigin src="./assets/index-1.js"></script>')
    (tmp_path / "assets" / "index-1.js").write_text("import(`./core-2.js`)")
    (tmp_path / "assets" / "core-2.js").write_text("other")
    assert make_pack({"button"}, tmp_path) is None
