"""Whole journeys of visitors, from what they bring to what they take away."""

from __future__ import annotations

import io
import json
import re
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.types import Scale
from gsr_app.harness.cli import main
from gsr_app.io.fields import load_field
from gsr_app.ui import compare
from tests.browser.app import choose, open_advanced, remove_picture, run_to_end, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.scenes import noise
from tests.browser.test_encoder import picture
from tests.browser.test_page import check_drawn

pytestmark = pytest.mark.browser

SLOW_S = 0.33  # ten of them are longer than the 2.5 seconds after which the browser is suggested

SIZE = {"width": 1440, "height": 900}


def test_a_photograph_on_a_phone_becomes_a_saved_jpeg(new_page: Callable[..., Any], address: str) -> None:
    # Somebody opens the app on a phone, whose system sends pictures to other apps.
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, accept_downloads=True)
    page.add_init_script(
        "navigator.canShare = ({ files }) => files.every((one) => one.type.startsWith('image/'));"
        "navigator.share = async (data) => { window.shared = data; };"
    )
    page.goto(address)
    wait_for(page, "viewer.canvas.width > 0 && viewer.isIntroduction")
    # "Try your picture" opens the camera roll.
    photograph = io.BytesIO()
    Image.fromarray(noise(48, 64, 5)).resize((128, 96)).save(photograph, "JPEG", quality=95)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Try your picture").tap()
    chooser.value.set_files({"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": photograph.getvalue()})
    # The picture fills the stage, and one button enlarges it.
    page.get_by_role("button", name="Enlarge ×4").tap()
    wait_for(page, "viewer.scene.run && !viewer.scene.running && viewer.shown.every((p) => p.picture)")
    # Below the stage the result can be saved as a JPEG.
    with page.expect_download() as download:
        page.locator("[data-pane=bicubic]").get_by_role("button", name="JPEG").tap()
    assert download.value.suggested_filename == "IMG_0001_bicubic_x4.jpg"
    with Image.open(Path(download.value.path())) as saved:
        assert saved.format == "JPEG"
        assert saved.size == (512, 384)
        small = np.asarray(saved.resize((128, 96), Image.Resampling.BOX)).astype(float)
    with Image.open(photograph) as original:
        assert np.abs(small - np.asarray(original)).mean() < 4
    # The same file goes to another app.
    page.locator("[data-pane=bicubic]").get_by_role("button", name="Share").tap()
    page.wait_for_function("() => window.shared")
    kind, name, data = page.evaluate(
        "async () => { const [file] = shared.files; const data = new Uint8Array(await file.arrayBuffer());"
        " return [file instanceof File && file.type, file.name, Array.from(data)]; }"
    )
    assert (kind, name) == ("image/jpeg", "IMG_0001_bicubic_x4.jpg")
    assert bytes(data) == Path(download.value.path()).read_bytes()
    # Where the system takes no pictures there is no such button.
    page.evaluate(
        "() => { navigator.canShare = () => false; const { viewer } = document.querySelector('.gsr-viewer');"
        " viewer.showPane('swift', false); }"
    )
    wait_for(page, "!viewer.request && viewer.shown.length === 1")
    assert page.locator(".gsr-tablebox").get_by_role("button", name="JPEG").count() == 2
    assert page.locator(".gsr-tablebox").get_by_role("button", name="Share").count() == 0


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def open_report(new_page: Callable[..., Any], report: Path) -> Any:
    """A report of three pictures, without a network."""
    reader = new_page(offline=True, accept_downloads=True)
    reader.goto(report.as_uri())
    wait_for(reader, "viewer.album.pages.length === 3 && viewer.allPanes.every((p) => p.picture)")
    assert reader.locator(".gsr-filmstrip img").count() == 3
    return reader


def judge_three(reader: Any, favourites: list[str], hidden: str) -> list[list[str]]:
    """Judge three pictures blind, by what looks best to this reader; the letters that were offered for each.

    hidden: a pattern of what must not be seen meanwhile.
    """
    offered: list[list[str]] = []
    reader.get_by_role("button", name="Judge blind").click()
    for number, favourite in enumerate(favourites):
        wait_for(reader, f"viewer.scene.source.key === 'blind-{number}' && viewer.shown.every((p) => p.picture)")
        seen = " ".join(reader.locator(".gsr-stage, .gsr-bar, .gsr-blind").all_inner_texts())
        assert not re.search(hidden, seen)
        letter = reader.evaluate(
            "([number, name]) => { const url = report.pages[number].scene.panes.find((one) => one.name === name).url;"
            " return document.querySelector('.gsr-viewer').viewer.scene.panes.find((one) => one.url === url).id; }",
            [number, favourite],
        )
        offered.append(reader.locator("button", has_text=re.compile("^. is best$")).all_inner_texts())
        reader.get_by_role("button", name=f"{letter} is best").click()
    reader.get_by_text("3 of 3 judged").wait_for()
    return offered


def export_votes(reader: Any, path: Path) -> Path:
    with reader.expect_download() as download:
        reader.get_by_role("button", name="export votes").click()
    path.write_bytes(Path(download.value.path()).read_bytes())
    return path


def test_five_methods_over_three_pictures_become_a_report_that_is_judged_blind(
    new_page: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A researcher has three photographs, and compares five methods on them by one command.
    methods = {
        "nearest": "Nearest",
        "bicubic": "Bicubic",
        "lanczos3": "Lanczos-3",
        "swift": "Swift",
        "swift-photo": "Swift photo",
    }
    for seed, name in enumerate(("cat", "dog", "owl")):
        Image.fromarray(noise(12, 16, seed)).resize((64, 48), 3).save(tmp_path / f"{name}.png")
    pictures = [str(tmp_path / f"{name}.png") for name in ("cat", "dog", "owl")]
    report = tmp_path / "report.html"
    words = ["--methods", ",".join(methods), "--scale", "2", "--round-trip", "--report", str(report), "--table", "md"]
    assert main(["compare", *pictures, *words]) == 0
    table = (tmp_path / "report_table.md").read_text()
    assert "| Method | cat | dog | owl | mean | Time |" in table
    assert "PSNR in dB / SSIM / FLIP" in table
    # A colleague opens the report on a train, and judges it: five pictures under letters, three times.
    reader = open_report(new_page, report)
    offered = judge_three(reader, ["Lanczos-3", "Bicubic", "Lanczos-3"], "|".join([*methods.values(), "dB"]))
    assert offered == [[f"{letter} is best" for letter in "ABCDE"]] * 3
    votes = export_votes(reader, tmp_path / "votes.json")
    shown = [vote["shown"] for vote in json.loads(votes.read_text())["votes"]]
    assert len(shown) == 3
    assert all(len(one) == 5 for one in shown)
    # The names come back, and the researcher counts the votes.
    capsys.readouterr()
    assert main(["compare", "--tally", str(votes)]) == 0
    told = capsys.readouterr().out
    wins = {"lanczos3": "2.0", "bicubic": "1.0", "nearest": "0.0", "swift": "0.0", "swift-photo": "0.0"}
    for method, count in wins.items():
        assert re.search(rf"^{method} +{count} +3 ", told, re.MULTILINE), told


def test_two_methods_and_two_results_made_elsewhere_are_judged_over_three_pictures(
    app_page: Any, new_page: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A reviewer has three pictures, and what two other programs made of them.
    pictures = {name: Image.fromarray(noise(12, 16, seed)).resize((64, 48), 3) for seed, name in enumerate("abc")}
    theirs = {name: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for name, picture in pictures.items()}
    half = {name: picture.resize((32, 24)) for name, picture in pictures.items()}
    page = app_page
    upload(page, np.asarray(pictures["a"]), "a.png")
    files = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": png(pictures[name])} for name in "bc"]
    page.locator("#morepictures input[type=file]").set_input_files(files)
    page.locator("#morepictures li").nth(1).wait_for()
    files = [
        {"name": f"{name}_x2_{title}.png", "mimeType": "image/png", "buffer": png(made[name])}
        for name in "abc"
        for title, made in (("Theirs", theirs), ("Half", half))
    ]
    page.locator("#results input[type=file]").set_input_files(files)
    names = page.locator("#results input.gsr-filename")
    page.wait_for_function("() => document.querySelectorAll('#results input.gsr-filename')[5]?.value === 'Half'")
    # The names can be changed.
    for i in (1, 3, 5):
        names.nth(i).fill("Small <b>")
        names.nth(i).press("Tab")
        page.wait_for_function(
            "(i) => document.querySelectorAll('#results input.gsr-filename')[i].value.startsWith('Small')", arg=i
        )
    choose(page, "swift", "bicubic")
    page.locator("#scaletext input").fill("2")
    open_advanced(page)
    page.locator("#roundtrip input").check()
    page.locator("#forecast").get_by_text("32 × 24").wait_for()
    # All three run, and a strip of them leads from one to the next.
    page.locator("#run").click()
    wait_for(
        page, "viewer.album.pages.length === 3 && viewer.album.pages.every(({scene}) => scene.source && !scene.running)"
    )
    wait_for(page, "viewer.scene.source.name === 'c.png' && viewer.allPanes.every((p) => p.picture)")
    row = page.locator(".gsr-tablebox tr", has_text="Small <b>")
    assert row.get_by_text("made elsewhere").count() == 1
    assert "scored after a bicubic resize to 64×48" in row.inner_text()
    page.locator(".gsr-stage").focus()
    page.keyboard.press(",")
    wait_for(page, "viewer.scene.source.name === 'b.png' && viewer.allPanes.every((p) => p.picture)")
    page.locator(".gsr-filmstrip [aria-pressed=true]").focus()
    page.keyboard.press("ArrowLeft")
    wait_for(page, "viewer.scene.source.name === 'a.png' && viewer.allPanes.every((p) => p.picture)")
    # On the stage the arrows do the same where the whole picture is shown.
    page.locator(".gsr-stage").focus()
    for key, name in (("0", "a.png"), ("ArrowRight", "b.png"), ("0", "b.png"), ("ArrowLeft", "a.png")):
        page.keyboard.press(key)
        wait_for(page, "viewer.scene.source.name === argument && viewer.allPanes.every((p) => p.picture)", name)
    page.evaluate("() => document.querySelector('.gsr-viewer').viewer.addRegion({x: 4, y: 3, width: 12, height: 10})")
    page.get_by_text("Zoom to region").wait_for()
    # The figure holds the crops bit for bit, with the scores of each.
    page.get_by_role("button", name="Figure", exact=True).click()
    page.get_by_label("One column, 3.5 in").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PDF").click()
    pdf = Path(download.value.path()).read_bytes()
    assert b"/MediaBox [0 0 252.000" in pdf
    streams = [zlib.decompress(part) for part in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]
    assert np.asarray(theirs["a"])[6:26, 8:32].tobytes() in streams
    assert any(b"(Small <b>) Tj" in one and b"(PSNR / SSIM) Tj" in one for one in streams)
    page.get_by_role("dialog", name="Figure").get_by_role("button", name="Close").click()
    # One report of all three pictures.
    page.get_by_role("button", name="Report", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="make the report").click()
    report = tmp_path / "report.html"
    report.write_bytes(Path(download.value.path()).read_bytes())
    # Two raters judge it blind, without a network; each vote leads to the next picture.
    votes: list[str] = []
    for favourites in (["Theirs", "Theirs", "Theirs"], ["Theirs", "Swift", "Swift"]):
        reader = open_report(new_page, report)
        judge_three(reader, favourites, "Theirs|Small|Swift|Bicubic|dB")
        votes.append(str(export_votes(reader, tmp_path / f"{len(votes)}.json")))
    assert len({json.loads(Path(path).read_text())["rater"] for path in votes}) == 2
    # The tally names the results that were made elsewhere, and counts people.
    assert main(["compare", "--tally", *votes]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^Theirs +4\.0 +6 ", told, re.MULTILINE)
    assert re.search(r"^swift +2\.0 +6 ", told, re.MULTILINE)
    assert "Small <b>" in told
    assert "2 raters" in told
    # In the app the same pictures are judged one after the other, too, and the names come back at the end.
    page.get_by_role("button", name="Judge blind").last.click()
    for number in range(3):
        wait_for(page, f"viewer.blind && viewer.scene.source.key === 'blind-{number}'")
        page.get_by_role("button", name="cannot tell").click()
    page.locator(".gsr-blindbar").get_by_text("none 3×").wait_for()
    # All of it is there again when the page is loaded again.
    page.reload()
    wait_for(page, "viewer.album.pages.length === 3 && viewer.scene.run && viewer.allPanes.every((p) => p.picture)")
    page.locator("#scaletext input").fill("4")


def test_results_alone_are_compared_without_a_picture(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    made = {"one": Image.fromarray(noise(48, 64, 1)), "two": Image.fromarray(noise(24, 32, 2))}
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(picture)} for n, picture in made.items()]
    page.locator("#results input[type=file]").set_input_files(files)
    page.wait_for_function("() => document.querySelectorAll('#results input.gsr-filename')[1]?.value === 'two'")
    run_to_end(page)
    # A third is dropped on the stage; its name makes it the reference.
    dropped = page.evaluate_handle(
        "async () => { const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });"
        " canvas.getContext('2d').fillRect(5, 5, 20, 9);"
        " const blob = await new Promise((done) => canvas.toBlob(done)); const data = new DataTransfer();"
        " data.items.add(new File([blob], 'GT.png', { type: 'image/png' })); return data; }"
    )
    page.locator(".gsr-stage").dispatch_event("dragenter", {"dataTransfer": dropped})
    page.locator(".gsr-drop div", has_text="Results made elsewhere").dispatch_event("drop", {"dataTransfer": dropped})
    page.locator("#results li").nth(2).wait_for()
    assert not page.locator(".gsr-drop").is_visible()
    run_to_end(page)
    names = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.panes.map((p) => p.name)")
    assert names == ["one", "two", "Reference"]
    assert page.locator(".gsr-tablebox [data-label=PSNR-Y]").count() == 3
    page.get_by_role("button", name="Remove GT.png").click()
    page.locator("#results li").nth(2).wait_for(state="detached")
    run_to_end(page)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.panes.map((p) => p.name)") == [
        "one",
        "two",
    ]
    assert "made at 32×24, resized to 64×48 on the screen only" in page.locator(".gsr-tablebox").inner_text()
    page.locator("#notice").get_by_text("compared alone").wait_for()
    # A picture of another shape is refused with the sizes, and can be removed.
    files = [{"name": "other.png", "mimeType": "image/png", "buffer": png(Image.new("RGB", (50, 50)))}]
    page.locator("#results input[type=file]").set_input_files(files)
    page.locator("#results li").nth(2).wait_for()
    page.locator("#run").click()
    page.locator("#notice").get_by_text("other.png is 50×50; the results here are 64×48").wait_for()
    for name in ("other.png", "two.png", "one.png"):
        page.get_by_role("button", name=f"Remove {name}").click()
    page.locator("#results li").first.wait_for(state="detached")


def test_a_picture_is_fitted_inspected_saved_as_gaussians_and_opened_again(
    kept_page: Callable[..., Any], real_address: str, tmp_path: Path
) -> None:
    # Somebody who is curious about splatting fits Gaussians to a picture.
    page = kept_page(real_address, SIZE)
    page.get_by_role("tab", name="Fit").click()
    page.locator("#fitrun").wait_for()
    picture = png(Image.fromarray(noise(40, 48, 7)))
    page.locator("#fitpicture input[type=file]").set_input_files(
        {"name": "wall.png", "mimeType": "image/png", "buffer": picture}
    )
    page.locator("#fitpicture img").wait_for()
    page.locator("#fitcount input, #fitcount textarea").fill("300")
    page.locator("#fitseconds input[type=range]").fill("1")
    page.locator("#fitrun").click()
    page.locator("#fitnotice b").wait_for()
    viewer = "document.querySelector('#fitviewer .gsr-viewer').viewer"
    page.wait_for_function(f"() => !{viewer}.scene.running && {viewer}.active?.picture")
    # The Gaussians are shown as ellipses over the picture.
    page.evaluate(f"() => {viewer}.setOverlay('ellipses')")
    page.wait_for_function(f"() => {viewer}.overlay === 'ellipses'")
    # The field is saved as a file, which the command line draws.
    with page.expect_download() as download:
        page.locator("#fitviewer a[download$='.gsr']").first.click()
    saved = tmp_path / "wall.gsr"
    download.value.save_as(saved)
    field = load_field(saved)
    assert field.source_size == (40, 48)
    assert 100 < len(field) <= 300
    assert main(["render", str(saved), "-o", str(tmp_path / "wall.png"), "--scale", "1"]) == 0
    drawn = np.asarray(Image.open(tmp_path / "wall.png")).astype(float)
    # Opened again, it shows the same picture.
    page.get_by_role("button", name="Open .gsr file").click()
    page.locator("#fitfile input[type=file]").set_input_files(str(saved))
    page.wait_for_function(f"() => {viewer}.scene.source?.name === 'wall.gsr' && {viewer}.active?.picture")
    url = page.evaluate(f"() => {viewer}.active.spec.url")
    shown = Image.open(io.BytesIO(page.request.get(urljoin(real_address, url)).body()))
    size = (drawn.shape[1], drawn.shape[0])
    small = np.asarray(shown.convert("RGB").resize(size, Image.Resampling.BOX)).astype(float)
    assert np.abs(small - drawn).mean() < 6


SWITCH = "#inbrowser input"
STRIP = ".gsr-inbrowser"
SILENT_WORKERS = """() => {
  window.Worker = class {
    postMessage({ weights }) { if (weights) setTimeout(() => this.onmessage({ data: "ready" })); }
    terminate() {}
  };
}"""


def test_a_slow_server_leads_to_swift_in_the_browser(app_page: Any) -> None:
    page = app_page
    # Two runs of the server, the first of which takes 3.3 seconds; this browser has been measured before.
    page.evaluate("() => localStorage.setItem('gsr-browser-speed', '{\"ms\": 0.001}')")
    pixels = picture(24, 32)
    upload(page, pixels, "mine.png")
    choose(page, "slow")
    choose(page, "slow", "swift")
    run_to_end(page)
    page.locator(STRIP).get_by_text("This browser would take about 0.1 s").wait_for()
    page.locator(STRIP).get_by_role("button", name="Run Swift in this browser").click()
    page.locator(f"{SWITCH}:checked").wait_for(state="attached")
    choose(page, "swift")
    page.locator("#scaletext input").fill("3")
    page.locator("#forecast").get_by_text("96 × 72").wait_for()
    run_to_end(page)
    # The result is that of the engine, though the server has only sent the picture and the encoder.
    assert page.locator(f"{STRIP} .gsr-engine").inner_text() == "Swift · WebAssembly"
    with page.expect_download() as download:
        page.locator("[data-pane=swift]").get_by_role("link", name="Save").click()
    assert download.value.suggested_filename == "mine_swift_x3.png"
    check_drawn(np.asarray(Image.open(download.value.path())), pixels, Scale(3, 3))
    row = page.locator(".gsr-tablebox tr[data-pane=swift]")
    assert "not part of reports" in row.inner_text()
    # Beyond its resolution the browser draws the field.
    page.evaluate("() => document.querySelector('.gsr-viewer').viewer.look(48, 36, 12)")
    wait_for(page, "JSON.parse(viewer.element.dataset.state).drawn.includes('swift')")
    assert state_of(page)["live"] == ["swift"]
    # What needs the server is made there, and says why.
    page.locator("#roundtrip input").check()
    run_to_end(page)
    assert "made on the server to be scored" in row.inner_text()
    page.locator("#roundtrip input").uncheck()
    page.locator(SWITCH).uncheck()
    page.locator("#scaletext input").fill("4")
    page.evaluate("() => localStorage.removeItem('gsr-browser-speed')")


def test_what_the_server_says_meanwhile_does_not_end_swift_in_the_browser(
    app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview of the picture that arrives after its run has begun, and the refusal of another run."""
    is_begun = threading.Event()
    preview = compare.preview

    def preview_late(*asked: Any) -> Any:
        assert is_begun.wait(60)
        return preview(*asked)

    monkeypatch.setattr(compare, "preview", preview_late)
    page = app()
    encoders: list[Any] = []
    page.route("**/*.json.gz", lambda route: encoders.append(route))
    open_advanced(page)
    page.locator(SWITCH).check()
    choose(page, "swift")
    data = {"name": "mine.png", "mimeType": "image/png", "buffer": png(Image.fromarray(picture(24, 32)))}
    page.locator("#picture input[type=file]").set_input_files(data)
    page.locator("#picture img").wait_for()
    page.locator("#run").click()
    wait_for(page, "viewer.panes.get('swift')?.spec.state === 'running'")
    page.locator("#run").wait_for()
    is_begun.set()
    page.locator("#facts b").wait_for()
    page.locator("#scaletext input").fill("wide")
    page.locator("#forecast .is-wrong").wait_for()
    page.locator("#run").click()
    page.locator("#notice .is-wrong").wait_for()
    encoders[0].continue_()
    wait_for(page, "viewer.panes.get('swift').spec.state === 'done' && viewer.panes.get('swift').picture")


def test_the_browsers_work_can_be_stopped_and_says_what_failed(
    kept_page: Callable[..., Any], real_address: str
) -> None:
    page = kept_page(real_address, SIZE)  # where Swift has not been opened in the browser
    wait_for(page, "viewer.canvas.width > 0")
    page.get_by_role("tab", name="Compare").click()
    upload(page, picture(9, 12), "small.png")
    choose(page, "swift")
    open_advanced(page)
    page.locator(SWITCH).check()
    page.route("**/encoder.json.gz", lambda route: route.abort())
    run = page.locator("#run")
    run.click()
    wait_for(page, "viewer.panes.get('swift')?.failed")
    assert "Run it on the server" in page.locator(".gsr-message").inner_text()
    page.unroute("**/encoder.json.gz")
    # An engine that never answers.
    page.evaluate(SILENT_WORKERS)
    run.click()
    page.locator(STRIP).get_by_role("button", name="Stop").click()
    wait_for(page, "viewer.panes.get('swift').spec.state === 'cancelled' && !viewer.scene.running")
    assert page.locator(STRIP).is_hidden()
