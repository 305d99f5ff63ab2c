"""The player in Chromium: every picture carries its number, in the result and in the input alike."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av")

from gsr_app.io.video import VideoInfo
from gsr_app.io.video.color import Coding
from gsr_app.ui.playerfile import PlayerFile
from gsr_app.viewer.contract import as_json
from gsr_app.viewer.player.contract import Clip, PlayerPane, PlayerState, Scores
from tests.browser.scenes import player_page, save

pytestmark = pytest.mark.browser

SCALE, COUNT, BITS = 2, 40, 6
TIMES = [number * 40 + (13 if number % 3 == 1 else 0) for number in range(COUNT)]  # milliseconds, not quite even


def numbered(number: int, height: int, width: int, shade: int) -> np.ndarray:
    """The number in six bars, dark or bright, on the shade of the pane."""
    picture = np.full((height, width, 3), shade, np.uint8)
    for bit in range(BITS):
        left = width * bit // BITS
        picture[height // 4 : height // 2, left : left + width // BITS] = 235 if number >> bit & 1 else 20
    return picture


def state_with(folder: Path, count: int = COUNT, *, state: Any = "done", scores: bool = False) -> dict[str, Any]:
    info = VideoInfo(folder / "none", (48, 96), Fraction(1, 1000), Coding())
    player = PlayerFile(Fraction(1, 1000), Fraction(25), info)
    for number in range(count):
        panes = {"result": numbered(number, 96, 192, 90), "source": numbered(number, 48, 96, 160)}
        player.append(panes, TIMES[number], 40)
    path = folder / f"player-{count}.mp4"
    player.publish(path)
    url = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    names = {"result": ("Swift", "#2f6f5e"), "source": ("Input", "#c9b28a")}
    panes = tuple(PlayerPane(p.id, *names[p.id], p.x, p.y, p.width, p.height, p.shrunk) for p in player.places)
    player.close()
    clip = Clip(url, panes, {"x": SCALE, "y": SCALE}, tuple(player.times_s), player.end_s)
    psnr = tuple(30.0 + n % 7 for n in range(count))
    figures = Scores(psnr, (None, *[0.5] * (count - 1))) if scores else None
    told = PlayerState("a", state, clip=clip, scores=figures, width=192, height=96, done="swift at x2; H.264")
    return as_json(told)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return state_with(tmp_path_factory.mktemp("clip"), scores=True)


@pytest.fixture
def open_player(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def visit(state: dict[str, Any], **options: Any) -> Any:
        page = new_page(**options)
        page.goto(save(tmp_path / "page.html", player_page(state)))
        wait_for(page, "player.playback.index >= 0")
        return page

    return visit


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(
        f"() => {{ const player = document.querySelector('.gsr-player')?.player; return player && ({condition}); }}"
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def seek(page: Any, index: int) -> None:
    page.evaluate(f"() => document.querySelector('.gsr-player').player.playback.seek({index})")
    wait_for(page, f"player.playback.index === {index}")


def state_of(page: Any) -> dict[str, Any]:
    return json.loads(page.locator(".gsr-player").get_attribute("data-state") or "{}")


def shown(page: Any) -> tuple[np.ndarray, dict[str, Any], list[dict[str, Any]]]:
    """What the stage's canvas holds, the state it was drawn in, and the rectangles of its panes, read together."""
    url, state, cells = page.evaluate(
        """() => {
          const player = document.querySelector('.gsr-player').player;
          const cells = player.cells.map(({ pane, rect }) => {
            const origin = player.view.origin(rect);
            return { id: pane.spec.id, rect, x: origin.x, y: origin.y, w: pane.span.width * player.view.zoom, h: pane.span.height * player.view.zoom };
          });
          return [player.canvas.toDataURL('image/png'), { index: player.playback.index, zoom: player.view.zoom }, cells];
        }"""
    )
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    return np.asarray(image).astype(int), state, cells


def number_in(pixels: np.ndarray, cell: dict[str, Any]) -> int:
    y = round(cell["y"] + cell["h"] * 0.375)
    values = [pixels[y, round(cell["x"] + cell["w"] * (bit + 0.5) / BITS)].mean() > 128 for bit in range(BITS)]
    return sum(int(value) << bit for bit, value in enumerate(values))


def assert_same_frame(page: Any, index: int | None = None) -> int:
    for _ in range(100):
        pixels, state, cells = shown(page)
        numbers = [number_in(pixels, cell) for cell in cells]
        wanted = [state["index"] + step for step in (-1, 0, 1)] if index is None else [index]
        if numbers[0] == numbers[-1] and numbers[0] in wanted:
            break
        page.wait_for_timeout(100 if index is not None else 20)  # the decoder may still be on its way to the frame
    assert len(numbers) == 2
    assert numbers[0] == numbers[1], numbers
    assert abs(numbers[0] - state["index"]) <= 1
    if index is not None:
        assert numbers[0] == state["index"] == index
    return numbers[0]


def test_both_panes_show_the_same_frame_after_seeking_and_stepping(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    assert_same_frame(page, 0)
    for index in (17, 3, 39, 22):
        seek(page, index)
        assert_same_frame(page, index)
    stage = page.locator(".gsr-stage")
    stage.focus()
    for key, index in (("ArrowRight", 23), ("ArrowRight", 24), ("ArrowLeft", 23), ("Home", 0), ("End", 39)):
        stage.press(key)
        wait_for(page, f"player.playback.index === {index}")
        assert_same_frame(page, index)


def test_both_panes_show_the_same_frame_while_playing(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    page.locator(".gsr-stage").press(" ")
    seen = []
    for _ in range(6):
        last = seen[-1] if seen else 0
        wait_for(page, f"player.playback.playing && player.playback.index !== {last}")
        seen.append(assert_same_frame(page))
    assert len(set(seen)) > 2
    page.locator(".gsr-stage").press(" ")
    wait_for(page, "!player.playback.playing")
    assert_same_frame(page)


def test_the_wipe_shows_one_pane_left_and_the_other_right(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    page.get_by_role("button", name="Wipe").click()
    wait_for(page, "player.mode === 'wipe'")
    divider = page.locator(".gsr-divider")
    box, stage = divider.bounding_box(), page.locator(".gsr-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.3, stage["y"] + 200)
    page.mouse.up()
    wait_for(page, "Math.abs(player.wipe - 0.3) < 0.01")
    pixels, _, (cell,) = shown(page)
    y = round(cell["y"] + cell["h"] * 0.8)
    middle = pixels.shape[1] * 0.3
    assert abs(pixels[y, round(middle - 20)].mean() - 90) < 4
    assert abs(pixels[y, round(middle + 20)].mean() - 160) < 4
    divider.focus()
    divider.press("End")
    wait_for(page, "player.wipe === 1")
    pixels, _, (cell,) = shown(page)
    assert abs(pixels[y, round(cell["x"] + cell["w"] * 0.9)].mean() - 90) < 4


def test_zoom_is_shared_and_keeps_what_is_under_the_pointer(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    _, before, cells = shown(page)
    x, y = cells[1]["rect"]["x"] + 100, cells[1]["rect"]["y"] + cells[1]["rect"]["h"] // 2
    stage = page.locator(".gsr-stage").bounding_box()
    under = ((x - cells[1]["x"]) / before["zoom"], (y - cells[1]["y"]) / before["zoom"])
    page.mouse.move(stage["x"] + x, stage["y"] + y)
    page.mouse.wheel(0, -500)
    wait_for(page, f"player.view.zoom > {before['zoom']} * 1.5")
    _, after, zoomed = shown(page)
    for cell in zoomed:  # the same part of both
        assert cell["x"] - cell["rect"]["x"] == zoomed[0]["x"] - zoomed[0]["rect"]["x"]
        assert cell["w"] == pytest.approx(192 * after["zoom"])
    now = ((x - zoomed[1]["x"]) / after["zoom"], (y - zoomed[1]["y"]) / after["zoom"])
    assert np.allclose(now, under, atol=1.0)
    page.get_by_role("button", name="Fit (F)").click()
    wait_for(page, f"Math.abs(player.view.zoom - {before['zoom']}) < 1e-6")


def test_on_a_phone_every_control_is_in_sight_and_two_fingers_zoom(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for control in page.locator(".gsr-player :is(button, select)").all():
        box = control.bounding_box()
        if box is None:  # not shown in this mode, or not on a phone
            continue
        assert box["height"] >= 44
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    before = state_of(page)
    touches = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 40), ("touchEnd", None)):
        fingers = [] if apart is None else [{"x": 195 + side * apart, "y": 130, "id": side + 1} for side in (-1, 1)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    wait_for(page, f"player.view.zoom > {1.8 * before['zoom']}")


def test_the_difference_is_dark_where_both_agree(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    page.get_by_role("button", name="Difference").click()
    page.get_by_label("Difference gain").select_option("1")
    wait_for(page, "player.mode === 'difference' && player.gain === 1")
    pixels, _, (cell,) = shown(page)
    bars = pixels[round(cell["y"] + cell["h"] * 0.375), round(cell["x"] + cell["w"] / 12)]
    ground = pixels[round(cell["y"] + cell["h"] * 0.8), round(cell["x"] + cell["w"] / 2)]
    assert bars.max() < 8
    assert np.abs(ground - 70).max() < 8
    page.get_by_label("Difference gain").select_option("2")
    wait_for(page, "player.gain === 2")
    pixels, _, _ = shown(page)
    assert np.abs(pixels[round(cell["y"] + cell["h"] * 0.8), round(cell["x"] + cell["w"] / 2)] - 140).max() < 16


def test_a_longer_file_of_a_run_continues_at_the_same_frame(
    open_player: Any, whole: dict[str, Any], tmp_path: Path
) -> None:
    page = open_player(state_with(tmp_path, 12, state="running"))
    seek(page, 7)
    page.evaluate("(state) => document.querySelector('.gsr-player').player.setState(state)", whole)
    wait_for(page, f"player.playback.count === {COUNT} && player.playback.index === 7")
    assert_same_frame(page, 7)


def test_a_step_while_a_longer_file_is_loaded_is_not_undone(
    open_player: Any, whole: dict[str, Any], tmp_path: Path
) -> None:
    page = open_player(state_with(tmp_path, 12, state="running"))
    seek(page, 3)
    page.evaluate(
        "(state) => { const { player } = document.querySelector('.gsr-player');"
        " player.setState(state); player.playback.step(1); player.playback.step(1); }",
        whole,
    )
    wait_for(page, f"player.playback.count === {COUNT} && player.playback.index === 5")
    assert_same_frame(page, 5)


def test_scores_follow_the_picture(open_player: Any, whole: dict[str, Any]) -> None:
    page = open_player(whole)
    seek(page, 5)
    assert page.locator(".gsr-scores-row .gsr-figures").inner_text().startswith("35.00 dB")
    page.get_by_label("Score", exact=True).select_option("flicker")
    wait_for(page, "player.score === 'flicker'")
    assert page.locator(".gsr-scores-row .gsr-figures").inner_text().startswith("0.500")


def test_texts_of_a_file_are_never_markup(open_player: Any, whole: dict[str, Any]) -> None:
    bad = "<img src=x onerror=document.title='bad'>"
    page = open_player({**whole, "notes": [bad], "done": bad})
    assert page.locator(".gsr-player img").count() == 0
    assert bad in page.locator(".gsr-status").inner_text()
