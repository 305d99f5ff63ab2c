"""The page that enlarges pictures in the browser: from a file on the disk, without a network."""

from __future__ import annotations

import base64
import functools
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app import ops
from gsr_app.core.types import Scale, View
from gsr_app.harness import cli
from gsr_app.models.swift import Swift, SwiftConfig
from gsr_app.ops.resize import resize
from gsr_app.viewer.encoder import pack_encoder
from gsr_app.viewer.page.build import page_html, space_files
from tests.browser.scenes import save
from tests.browser.test_encoder import picture
from tests.files import png_of

pytestmark = pytest.mark.browser

PAGE = "document.querySelector('#page').page"


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Offline; a request of any kind, a script error or a breach of the policy fails the test."""
    context = browser.new_context(viewport={"width": 640, "height": 560}, accept_downloads=True)
    context.set_default_timeout(120_000)
    context.set_offline(True)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda entry: problems.append(entry.text) if entry.type == "error" else None)
    address = save(tmp_path_factory.mktemp("page") / "page.html", page_html())
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "blob:", "data:")) else problems.append(asked.url),
    )
    page.goto(address)
    until(page, f"document.querySelector('#page')?.page && {PAGE}.encoder")
    yield page
    context.close()
    assert not problems, problems


def until(page: Any, condition: str, seconds: float = 120) -> None:
    """Until an expression is true. The page forbids the evaluation of text, which waiting in the page would need."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({condition})"):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def drop(page: Any, data: bytes, name: str) -> None:
    page.evaluate(
        """([data, name]) => {
          const files = new DataTransfer();
          files.items.add(new File([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], name));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(data).decode(), name],
    )


def opened(page: Any, pixels: np.ndarray, name: str) -> None:
    drop(page, png_of(pixels), name)
    until(page, f"{PAGE}.source?.name === '{name}'")


def encoded(page: Any) -> None:
    until(page, f"{PAGE}.tiler.progress.done === {PAGE}.tiler.progress.total && !{PAGE}.tiler.isBusy", 600)


def saved(page: Any, size: str) -> np.ndarray:
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Factor or size").fill(size)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    found = np.asarray(Image.open(download.value.path()))
    page.get_by_role("button", name="Cancel").click()
    return found


def check_drawn(found: np.ndarray, pixels: np.ndarray, scale: Scale) -> None:
    from gsr_app.engine.session import Session

    exact = Session(device="cpu").upscale(pixels, method="swift", scale=scale).image
    error = np.abs(found.astype(int) - exact)
    assert found.shape == exact.shape
    assert error.max() <= 1
    assert error.mean() <= 0.1


def test_a_dropped_picture_is_magnified_and_saved_as_the_command_line_does(page: Any) -> None:
    pixels = picture(131, 97)
    opened(page, pixels, "dropped.png")
    encoded(page)
    page.evaluate(f"() => {PAGE}.viewer.look(48, 60, 32)")
    until(page, "JSON.parse(document.querySelector('.gsr-viewer').dataset.state).drawn.includes('swift')")
    assert "32×" in page.locator(".gsr-bar .gsr-badge").inner_text()
    check_drawn(saved(page, "3"), pixels, Scale(3, 3))
    small = picture(48, 64)
    opened(page, small, "small.png")
    check_drawn(saved(page, "200x100"), small, Scale(100 / 48, 200 / 64))


def test_bicubic_is_that_of_the_engine(page: Any) -> None:
    pixels = picture(48, 64)
    opened(page, pixels, "bicubic.png")
    data = page.evaluate(f"() => Array.from({PAGE}.bicubic.pixels(0, 0, 64, 48, 224, 168))")
    found = np.array(data, np.uint8).reshape(168, 224, 4)[:, :, :3]
    exact = resize(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, scale=3.5).clamp(0, 1)
    error = np.abs(found.astype(int) - (exact[0] * 255).round().permute(1, 2, 0).numpy())
    assert error.max() <= 1
    assert error.mean() < 1e-3


def test_what_cannot_be_opened_or_kept_is_said(page: Any) -> None:
    alert = page.locator(".gsr-pagealert")
    drop(page, b"no picture at all", "notes.txt")
    until(page, "document.querySelector('.gsr-pagealert').textContent.includes('notes.txt is not a picture')")
    huge = bytearray(png_of(np.zeros((1, 1, 3), np.uint8)))
    huge[16:24] = (20_000).to_bytes(4, "big") * 2
    drop(page, bytes(huge), "huge.png")
    until(page, "document.querySelector('.gsr-pagealert').textContent.includes('400 megapixels')")
    assert "opens up to 64" in alert.inner_text()
    clear = np.zeros((12, 16, 4), np.uint8)
    clear[:, 8:] = (250, 20, 30, 255)
    opened(page, clear, "clear.png")
    until(page, "document.querySelector('.gsr-pagealert').textContent.includes('shown and saved on white')")
    found = saved(page, "2")
    assert found[12, 3].tolist() == [255, 255, 255]
    deep = np.arange(192, dtype=np.uint16).reshape(12, 16, 1) * 300
    drop(page, png_of(deep), "deep.png")
    until(page, "document.querySelector('.gsr-pagealert').textContent.includes('16 bits per channel')")


def test_sizes_that_cannot_be_saved_are_refused_in_words(page: Any) -> None:
    opened(page, picture(48, 64), "sizes.png")
    page.get_by_role("button", name="Save", exact=True).click()
    for text, answer in {
        "abc": "Write a factor",
        "0.01": "from 0.25 to 100",
        "1920x": "1920 × 1440",
        "x2.5": "160 × 120",
    }.items():
        page.get_by_label("Factor or size").fill(text)
        until(page, f"document.querySelector('.gsr-savedialog .gsr-figures').textContent.includes('{answer}')")
    page.get_by_role("button", name="Cancel").click()


def peak_bytes(page: Any) -> dict[str, int]:
    """The most memory that a process of each kind of the browser has had so far."""
    processes = page.context.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    peaks: dict[str, int] = {}
    for one in processes:
        status = Path(f"/proc/{one['id']}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
        if found:
            peaks[one["type"]] = max(peaks.get(one["type"], 0), 1024 * int(found[1]))
    return peaks


def test_only_what_is_in_view_is_encoded_of_a_large_picture(page: Any) -> None:
    """4000 x 3000 pixels, flat, and a small network: what counts is which tiles are chosen and what is kept."""
    flat = np.full((3000, 4000, 3), 90, np.uint8)
    opened(page, flat, "large.png")
    assert page.evaluate(f"() => {PAGE}.tiler.progress.total") == 0  # the whole picture is shown: smaller than it is
    page.evaluate(
        f"() => {PAGE}.tiler.encoder.encode = async (rgb, w, h, core) => new Float32Array(32 * core.width * core.height)"
    )
    page.evaluate(f"() => {PAGE}.viewer.set({{ trueZoom: false }})")  # drawing is not what is tested
    slots = page.evaluate(f"() => {PAGE}.tiler.field.slots")
    assert slots * 147456 < 4.3e6
    for x in (0, 1300, 2600):
        page.evaluate(f"(x) => {PAGE}.tiler.look({{ x, y: 1400, width: 700, height: 500 }})", x)
        encoded(page)
    kept = page.evaluate(
        f"() => [{PAGE}.tiler.field.placed.size, {PAGE}.tiler.field.count, {PAGE}.tiler.field.capacity]"
    )
    assert 4 < kept[0] <= slots
    assert kept[1] <= kept[2]
    peaks = peak_bytes(page)
    print({kind: f"{peak / 1e6:.0f} MB" for kind, peak in peaks.items()})
    assert peaks["renderer"] < 1e9
    page.evaluate(f"() => {{ delete {PAGE}.encoder.encode; {PAGE}.viewer.set({{ trueZoom: true }}); }}")


@contextmanager
def encoding_by(page: Any, function: str) -> Iterator[None]:
    """The encoder of the page is a JavaScript function meanwhile."""
    page.evaluate(f"() => {{ {PAGE}.encoder.encode = {function}; }}")
    try:
        yield
    finally:
        page.evaluate(f"() => {{ delete {PAGE}.encoder.encode; }}")


def test_encoding_that_was_stopped_is_said_to_be_stopped_after_a_file_that_is_no_picture(page: Any) -> None:
    opened(page, picture(8, 8), "small.png")
    encoded(page)
    with encoding_by(page, "() => new Promise(() => {})"):
        opened(page, picture(400, 300), "stopped.png")
        progress = page.locator(".gsr-progress")
        progress.get_by_role("button", name="Stop").click()
        drop(page, b"no picture at all", "other.txt")
        until(page, "document.querySelector('.gsr-pagealert').textContent.includes('other.txt')")
        page.evaluate(f"() => {PAGE}.viewer.look(100, 100, 4)")
        progress.get_by_role("button", name="Continue").wait_for()
        assert progress.inner_text().startswith("stopped, ")


def test_each_tile_of_a_large_picture_is_encoded_once_when_it_is_saved(page: Any) -> None:
    """42 tiles, of which 28 fit into memory. Neither the network nor the painter is what is tested."""
    opened(page, np.full((1000, 1200, 3), 90, np.uint8), "tiles.png")
    page.evaluate(
        f"""() => {{
          const page = {PAGE};
          window.encodings = 0;
          page.tiler.field.put = () => {{}};
          page.encoder.encode = async (rgb, w, h, core) => (encodings++, new Float32Array(32 * core.width * core.height));
          window.painter = page.viewer.live.made;
          page.viewer.live.made = {{ pixels: (field, r, w, h) => new Uint8Array(4 * w * h).fill(r.y) }};
        }}"""
    )
    try:
        found = saved(page, "1.5")
        assert found.shape == (1500, 1800, 3)
        # A band sees one row of tiles, or two within 3 source pixels of their border.
        assert found[[282, 283, 292, 293, 570], 0, 0].tolist() == [0, 188, 188, 195, 195]
        assert page.evaluate("encodings") == page.evaluate(f"() => {PAGE}.tiler.field.tileCount") == 42
    finally:
        page.evaluate(f"() => {{ delete {PAGE}.encoder.encode; {PAGE}.viewer.live.made = painter; }}")


def test_a_report_that_carries_the_encoder_opens_a_picture_of_its_reader(new_page: Any, tmp_path: Path) -> None:
    from gsr_app.io.fields import save_field
    from tests.browser.fields import field_of

    save_field(field_of(200), tmp_path / "one.gsr")
    assert cli.main(["export", str(tmp_path / "one.gsr"), "--html", "--encoder"]) == 0
    page = new_page()
    page.goto((tmp_path / "one.html").as_uri())
    page.get_by_role("button", name="Your own picture").wait_for()
    drop(page, png_of(picture(9, 12)), "mine.png")
    until(page, "document.querySelector('.gsr-page')?.page.source?.name === 'mine.png'")
    until(page, "document.querySelector('.gsr-page').page.tiler.field.count === 4 * 9 * 12")
    page.get_by_role("button", name="‹ Report").click()
    assert page.locator(".gsr-reporthead").is_visible()
    assert not page.locator(".gsr-pagehead").is_visible()


HELD_ENGINE = """Object.defineProperty(navigator, "gpu", { value: {
  requestAdapter: () => new Promise((resolve) => (window.answer = () => resolve(null))),
} });"""


def test_a_picture_that_is_opened_before_the_engine_gets_swift_where_it_is(new_page: Any, tmp_path: Path) -> None:
    page = new_page()
    page.add_init_script(HELD_ENGINE)
    page.goto(save(tmp_path / "page.html", page_html(picture=("first.png", png_of(picture(48, 64))))))
    until(page, "window.answer")
    opened(page, picture(9, 12), "mine.png")
    page.evaluate(f"() => {PAGE}.viewer.look(5, 4, 32)")
    place = f"() => {{ const {{ zoom, cx, cy }} = {PAGE}.viewer.view; return [zoom, cx, cy]; }}"
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    before = page.evaluate(place)
    assert before[0] == 32
    page.evaluate("() => answer()")
    until(page, f"{PAGE}.encoder")
    assert page.evaluate(f"() => {PAGE}.isOpening") == 1  # the picture of the page does not take its place
    until(page, f"{PAGE}.tiler?.field.count === 4 * 9 * 12")
    assert page.evaluate(f"() => {PAGE}.viewer.shown.map((pane) => pane.spec.id)") == ["swift", "bicubic", "nearest"]
    assert page.evaluate(place) == before
    assert page.get_by_role("button", name="Save", exact=True).is_enabled()


def test_where_no_engine_runs_both_that_and_what_is_said_of_the_picture_are_read(new_page: Any, tmp_path: Path) -> None:
    page = new_page()
    page.add_init_script(HELD_ENGINE)
    html = page_html().replace("\nconst data = {", '\nconst data = {"engine":"webgpu",')
    page.goto(save(tmp_path / "page.html", html))
    until(page, "window.answer")
    opened(page, np.zeros((12, 16, 4), np.uint8), "clear.png")
    page.evaluate("() => answer()")
    alert = page.locator(".gsr-pagealert", has_text="cannot compute Gaussians")
    alert.wait_for()
    assert "shown and saved on white" in alert.inner_text()
    assert page.locator(".gsr-engine").inner_text() == "Swift cannot run"


NO_WEBGL2 = """() => {
  const real = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind === "webgl2" ? null : real.call(this, kind, ...rest); };
  window.restoreContexts = () => (HTMLCanvasElement.prototype.getContext = real);
  LIVE.made = undefined;
}""".replace("LIVE", f"{PAGE}.viewer.live")


def test_without_webgl2_the_processor_draws_and_saves(page: Any) -> None:
    page.evaluate(NO_WEBGL2)
    try:
        pixels = picture(24, 32)
        opened(page, pixels, "processor.png")
        encoded(page)
        page.evaluate(f"() => {PAGE}.viewer.look(16, 12, 16)")
        until(page, "JSON.parse(document.querySelector('.gsr-viewer').dataset.state).drawn.includes('swift')")
        title = page.locator(".gsr-engine").get_attribute("title")
        assert title.endswith("This browser has no WebGL2. The processor draws them.")
        check_drawn(saved(page, "3"), pixels, Scale(3, 3))
    finally:
        page.evaluate(f"() => {{ restoreContexts(); {PAGE}.viewer.live.made = undefined; }}")


def test_a_picture_dropped_while_the_dialog_is_open_is_saved_whole(page: Any) -> None:
    opened(page, picture(16, 24), "before.png")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Factor or size").fill("2")
    other = picture(20, 30)
    opened(page, other, "after.png")
    until(page, "document.querySelector('.gsr-savedialog .gsr-figures').textContent === '60 × 40 pixels'")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    assert download.value.suggested_filename == "after_60x40.png"
    check_drawn(np.asarray(Image.open(download.value.path())), other, Scale(2, 2))
    page.get_by_role("button", name="Cancel").click()


def test_saving_says_why_where_encoding_has_stopped(page: Any) -> None:
    opened(page, picture(16, 24), "whole.png")
    encoded(page)
    with encoding_by(page, "async () => { throw new Error('The engine is gone.'); }"):
        opened(page, picture(400, 300), "stopped.png")
        page.evaluate(f"() => {PAGE}.viewer.look(100, 100, 4)")
        until(page, "document.querySelector('.gsr-pagealert').textContent.includes('Encoding stopped')")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("button", name="Save PNG").click()
        until(page, "document.querySelector('.gsr-savedialog .gsr-figures').textContent === 'The engine is gone.'")
        page.get_by_role("button", name="Cancel").click()


def test_a_picture_is_saved_again_while_the_saving_that_was_cancelled_waits_for_its_tiles(page: Any) -> None:
    dialog = page.get_by_role("dialog", name="Save the picture")
    bar, save_png = dialog.get_by_role("progressbar"), dialog.get_by_role("button", name="Save PNG")
    opened(page, picture(16, 24), "again.png")
    page.evaluate(
        f"() => {{ window.needs = []; {PAGE}.tiler.need = () => new Promise((resolve) => needs.push(resolve)); }}"
    )
    page.get_by_role("button", name="Save", exact=True).click()
    save_png.click()
    until(page, "needs.length === 1")
    assert bar.is_visible()
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Save", exact=True).click()
    assert not bar.is_visible()
    page.get_by_label("Factor or size").fill("3")
    save_png.click()
    until(page, "needs.length === 2")
    page.evaluate("() => needs[0]()")
    assert bar.is_visible()
    assert save_png.is_disabled()
    with page.expect_download() as download:
        page.evaluate("() => needs[1]()")
    assert download.value.suggested_filename == "again_72x48.png"
    assert not bar.is_visible()
    dialog.get_by_role("button", name="Cancel").click()


def test_ten_pictures_in_a_row_leave_one_field_behind(page: Any) -> None:
    for number in range(10):
        opened(page, picture(9 + number, 12), f"{number}.png")
        until(page, f"{PAGE}.tiler.field.count === 4 * 12 * {9 + number}")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate(f"() => {PAGE}.viewer.live.painter.copies.size") == 1
    assert page.evaluate(f"() => {PAGE}.viewer.panes.size") == 3


def test_the_command_writes_the_page_and_a_static_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png_of(picture(48, 64)))
    assert cli.main(["export", "--page", str(tmp_path / "p.html"), "--image", str(photo)]) == 0
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1.5e6
    assert '"photo.png"' in text
    assert "connect-src 'none'" in text.replace("&#x27;", "'")
    assert cli.main(["export", "--space", str(tmp_path / "space")]) == 0
    assert {path.name for path in (tmp_path / "space").iterdir()} == set(space_files())
    assert "sdk: static" in (tmp_path / "space" / "README.md").read_text(encoding="utf-8").split("---")[1]
    json.loads((tmp_path / "space" / "manifest.webmanifest").read_text(encoding="utf-8"))
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    capsys.readouterr()
    assert cli.main(["export", "--page", str(tmp_path / "q.html"), "--image", str(notes)]) != 0
    assert not (tmp_path / "q.html").exists()
    assert cli.main(["export", "--image", str(photo)]) == 2
    assert cli.main(["export"]) == 2


def test_a_static_space_can_be_installed_and_then_needs_no_network(browser: Any, tmp_path: Path) -> None:
    for name, text in space_files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")  # all files are kept then
    found = context.new_cdp_session(page).send("Page.getAppManifest")
    assert found["errors"] == []
    assert found["url"].endswith("/manifest.webmanifest")
    server.shutdown()
    server.server_close()
    page.reload()
    until(page, f"document.querySelector('#page')?.page && {PAGE}.encoder")
    opened(page, picture(9, 12), "offline.png")
    until(page, f"{PAGE}.tiler.field.count === 4 * 9 * 12")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["webgpu", "webgl2", "wasm"])
def test_tiles_are_joined_without_a_trace_by_every_engine(browser: Any, tmp_path: Path, engine: str) -> None:
    """600 x 450 pixels are 12 tiles. Where a GPU is software the network is a small one, or they would take minutes."""
    torch.manual_seed(3)
    small = Swift(SwiftConfig(channels=24, blocks=1, dilated=(0,))).eval().requires_grad_(False)
    small.tail.weight.normal_(std=0.05)
    weights = None if engine == "wasm" else pack_encoder(small, "float32")
    context = browser.new_context()
    context.set_default_timeout(1_200_000)
    page = context.new_page()
    html = page_html(weights).replace("\nconst data = {", f'\nconst data = {{"engine":"{engine}",')
    page.goto(save(tmp_path / "page.html", html))
    until(page, f"document.querySelector('#page')?.page && {PAGE}.encoder", 600)
    page.evaluate(f"() => {PAGE}.viewer.set({{ trueZoom: false }})")
    pixels = picture(450, 600)
    opened(page, pixels, "tiled.png")
    until(page, f"{PAGE}.tiler.progress.done === 12", 3000)
    assert page.evaluate(f"() => {PAGE}.encoder.kind") == engine
    found = saved(page, "1.5")
    context.close()
    scale = Scale(1.5, 1.5)
    if weights is None:
        return check_drawn(found, pixels, scale)
    lattice = small.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
    exact = ops.render(small.field(lattice, scale), View.whole((450, 600), scale)).clamp(0, 1)
    error = np.abs(found.astype(int) - (255 * exact).round().permute(1, 2, 0).numpy())
    assert error.max() <= 1
    assert error.mean() <= 0.1
