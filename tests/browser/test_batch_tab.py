"""Many pictures in the Batch tab: chosen, dropped as a folder, made, stopped, and taken away as one file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.app import Held
from tests.browser.conftest import wait_for
from tests.browser.fake_engine import FOREVER_S, QUICK_S, FakeEngine
from tests.browser.scenes import noise
from tests.browser.test_sizes import SIZES, boxes, open_settings

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(new_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    def visit(size: str) -> Any:
        width, height = SIZES[size]
        page = new_page(
            viewport={"width": width, "height": height}, has_touch=size != "desktop", is_mobile=size == "phone",
            accept_downloads=True,
        )  # fmt: skip
        page.goto(address)
        page.get_by_role("tab", name="Batch").click()
        page.get_by_text("Many pictures at once").wait_for()
        return page

    return visit


def png(seed: int, name: str) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(noise(20, 30, seed)).save(buffer, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}


def choose_method(page: Any, name: str) -> None:
    open_settings(page, wanted=True, rail="#batchrail")
    page.locator("#batchmethod input").click()
    page.get_by_role("option", name=name, exact=True).click()
    open_settings(page, wanted=False, rail="#batchrail")


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_pictures_are_made_one_by_one_with_their_states_in_sight(
    tab: Any, size: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    page = tab(size)
    height = SIZES[size][1]
    wrong = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures", exact=True).click()
    chooser.value.set_files([png(1, "a.png"), png(2, "b.png"), wrong])
    page.get_by_text("3 pictures, 1 cannot be used").wait_for()
    choose_method(page, "Slow")
    page.locator("#batchrun").click()
    page.locator(".gsr-batch tr[data-state=running] progress").wait_for()
    page.get_by_text("0 of 3 done, 1 failed", exact=True).wait_for()
    (stop,) = boxes(page, "#batchstop")
    assert 0 <= stop["top"] < stop["bottom"] <= height
    monkeypatch.setattr(engine, "slow_s", QUICK_S)
    link = page.get_by_role("link", name="Download all")
    link.wait_for()
    assert page.locator(".gsr-batch tbody tr").evaluate_all("(all) => all.map((one) => one.dataset.state)") == [
        "done",
        "done",
        "failed",
    ]
    # Everything can be read without scrolling sideways, and the links can be pressed.
    for wide, high in [SIZES["tablet"], SIZES[size]] if size == "desktop" else [SIZES[size]]:
        page.set_viewport_size({"width": wide, "height": high})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= wide
        shown = boxes(page, ".gsr-batch :is(th[scope=row], td, a)")
        assert all(box["left"] >= 0 and box["right"] <= wide + 0.5 for box in shown)
    least = 44 if page.evaluate("() => matchMedia('(pointer: coarse)').matches") else 14
    assert all(box["height"] >= least for box in boxes(page, ".gsr-batch a"))
    alert = page.locator(".gsr-batch .is-wrong")
    assert "notes.txt is not an image." in alert.inner_text()
    assert boxes(page, ".gsr-batch .is-wrong")[0]["bottom"] < height
    # Another scale does not take the results away.
    open_settings(page, wanted=True, rail="#batchrail")
    page.locator("#batchscale").locator("input, textarea").fill("30")
    page.locator("#batchforecast", has_text="1.1 MP of results").wait_for()
    open_settings(page, wanted=False, rail="#batchrail")
    # All of it is there again when the page is loaded again.
    if size == "desktop":
        page.reload()
        page.get_by_role("tab", name="Batch").click()
        link.wait_for()
        page.wait_for_function("() => document.querySelector('#batchscale :is(input, textarea)').value === '30'")
        assert page.locator("#batchmethod input").input_value() == "Slow"
        assert page.locator("#batchfiles td.filename").count() == 3
        page.get_by_text("Finished: 2 of 3 done, 1 failed").wait_for()
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "gsr_slow_x4.zip"
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        assert archive.namelist() == ["a_slow_x4.png", "b_slow_x4.png"]
        with Image.open(archive.open("b_slow_x4.png")) as made:
            assert made.size == (120, 80)


def test_a_dropped_folder_is_a_batch_that_can_be_stopped(
    tab: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    page = tab("desktop")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#picture input[type=file]").wait_for(state="attached")
    # What a browser gives for a folder with two pictures, a text, a hidden folder and a subfolder.
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(30, 20);
          canvas.getContext("2d").fillRect(0, 0, 9, 9);
          const blob = await canvas.convertToBlob();
          const file = (name) => ({ name, isFile: true, file: (done) => done(new File([blob], name, { type: blob.type })) });
          const folder = (name, ...entries) => ({ name, isDirectory: true, createReader: () => ({ readEntries: (done) => done(entries.splice(0, 2)) }) });
          const root = folder("photos", file("a.png"), file("notes.txt"), folder(".thumbs", file("hidden.png")), folder("more", file("b.png"), file("c.PNG")));
          const event = new Event("drop", { bubbles: true, cancelable: true });
          event.dataTransfer = { files: [new File([], "photos")], items: [{ kind: "file", webkitGetAsEntry: () => root }] };
          document.querySelector("#picture input[type=file]").dispatchEvent(event);
        }"""
    )
    page.get_by_text("3 pictures", exact=True).wait_for()
    names = page.locator(".gsr-batch th[scope=row]").all_inner_texts()
    assert names == ["a.png", "b.png", "c.PNG"]
    choose_method(page, "Slow")
    page.locator("#batchrun").click()
    page.locator(".gsr-batch tr[data-state=running]").wait_for()
    page.locator("#batchstop").click()
    page.get_by_text("Finished: 0 of 3 done, 3 stopped").wait_for()
    page.locator("#batchrun").wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add pictures").click()
    chooser.value.set_files([png(4, "d.png")])
    page.get_by_text("4 pictures", exact=True).wait_for()
    # A list before its run is kept, too; what was being made when the page was left is stopped.
    page.locator("#batchrun").click()
    page.locator(".gsr-batch tr[data-state=running]").wait_for()
    page.on("dialog", lambda asked: asked.accept())
    page.reload()
    page.get_by_role("tab", name="Batch").click()
    page.get_by_text("Finished: 0 of 4 done, 4 stopped").wait_for()
    page.get_by_role("button", name="Remove this file").last.click()
    page.get_by_text("3 pictures", exact=True).wait_for()
    # A tab that is duplicated begins with the same list, and goes on by itself.
    with page.expect_popup() as opened:
        page.evaluate("() => { window.open(location.href); }")
    other = opened.value
    other.get_by_role("tab", name="Batch").click()
    other.get_by_text("3 pictures", exact=True).wait_for()
    other.get_by_role("button", name="Remove this file").last.click()
    other.get_by_text("2 pictures", exact=True).wait_for()
    other.close()
    page.reload()
    page.get_by_role("tab", name="Batch").click()
    page.get_by_text("3 pictures", exact=True).wait_for()


def test_the_list_of_a_batch_stays_when_its_pictures_are_changed_while_it_runs(
    tab: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    page = tab("desktop")
    page.locator("#batchfiles input[type=file]").set_input_files([png(1, "a.png"), png(2, "b.png"), png(3, "c.png")])
    page.get_by_text("3 pictures", exact=True).wait_for()
    choose_method(page, "Slow")
    page.evaluate(
        "() => { window.said = new Set(); const node = document.querySelector('.gsr-batch [role=status]');"
        " new MutationObserver(() => said.add(node.textContent)).observe(node, { childList: true }); }"
    )
    page.locator("#batchrun").click()
    page.locator(".gsr-batch tr[data-state=running]").wait_for()
    page.get_by_role("button", name="Remove this file").last.click()
    page.get_by_text("0.019 MP of results").wait_for()
    monkeypatch.setattr(engine, "slow_s", QUICK_S)
    page.get_by_text("Finished: 3 of 3 done").wait_for()
    assert page.locator("#batchfiles td.filename").count() == 2
    assert not [text for text in page.evaluate("() => [...said]") if "done" not in text]
    page.locator("#batchscale").locator("input, textarea").fill("30")
    page.locator("#batchforecast", has_text="1.1 MP of results").wait_for()
    assert page.get_by_role("link", name="Download all").is_visible()


_DROP_THREE = """async () => {
  const canvas = new OffscreenCanvas(30, 20);
  canvas.getContext("2d").fillRect(0, 0, 9, 9);
  const blob = await canvas.convertToBlob();
  const data = new DataTransfer();
  for (const name of ["new1.png", "new2.png", "new3.png"]) data.items.add(new File([blob], name, { type: "image/png" }));
  const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data });
  document.querySelector("#picture input[type=file]").dispatchEvent(event);
}"""


def test_pictures_that_are_dropped_before_a_reload_is_answered_stay(tab: Any) -> None:
    page = tab("desktop")
    page.locator("#batchfiles input[type=file]").set_input_files([png(1, "old1.png"), png(2, "old2.png")])
    page.get_by_text("2 pictures", exact=True).wait_for()
    page.wait_for_function("() => sessionStorage.getItem('gsr-batch')")
    held = Held(page, "batch_recall")
    page.reload()
    wait_for(page, "viewer.canvas.width > 0")
    page.evaluate(_DROP_THREE)  # on the Compare tab; the list of the Batch tab asks what it had as it opens
    held.wait()
    page.get_by_text("3 pictures", exact=True).wait_for()
    held.release()
    page.locator("#batchscale").locator("input, textarea").fill("3")  # looked at after the answer
    page.locator("#batchforecast", has_text="90 × 60").or_(
        page.locator(".gsr-batch td", has_text="90 × 60").first
    ).first.wait_for()
    assert page.locator(".gsr-batch th[scope=row]").all_inner_texts() == ["new1.png", "new2.png", "new3.png"]
