"""Server and page agree on the contract: nothing is read that is not sent, nothing is sent that is not read.

`contract.SCRIPT` watches for the first in every browser test; the second is tested here, with everything that a scene
and a player's state can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsr_app.core.types import Timing
from gsr_app.viewer.contract import (
    PaneError,
    PaneField,
    PaneMetrics,
    PaneProgress,
    Region,
    Scene,
    as_json,
)
from gsr_app.viewer.player.contract import Clip, Download, PlayerPane, PlayerProgress, PlayerState, Scores
from tests.browser.conftest import wait_for
from tests.browser.contract import SCRIPT, names_below
from tests.browser.scenes import noise, page_with, pane, player_page, save, scene_of

pytestmark = pytest.mark.browser

SOURCE = (24, 32)
ONLY_DOWNLOADED = {"Source.name"}  # in the JSON of the figures, not on the screen


def full_scene() -> dict[str, Any]:
    picture = noise(96, 128, 1)
    timing = Timing({"read": 1.0, "render": 2.0}, 10**6, "fake", "cpu", repeats=3, cold=True)
    return scene_of(
        [
            pane(
                "a", picture, SOURCE, field=PaneField("f", 768), timing=timing, bits=16, megapixels_per_second=4.0,
                metrics=PaneMetrics("basicsr: Y", 30.0, 0.9), done="made up", weights_id="w", licence="MIT",
                warnings=("old",), download_url="data:,", download_name="a.png",
            ),
            pane("b", picture, SOURCE, url=None, state="failed", error=PaneError("Out of memory.", "Try less.")),
            pane("c", picture, SOURCE, url=None, state="running", progress=PaneProgress("encode", 0.5)),
            pane("d", picture, SOURCE, url=None, state="waiting", progress=PaneProgress(ahead=2)),
            pane("e", picture, SOURCE, kind="reference", hidden=True),
        ],
        SOURCE, 4.0, regions=(Region(2, 2, 8, 8, "eye"),), run="r",
    )  # fmt: skip


def states() -> list[PlayerState]:
    panes = (
        PlayerPane("result", "Swift", "#2f6f5e", 0, 0, 64, 32, 2),
        PlayerPane("source", "In", "#c9b28a", 0, 32, 64, 32, 1),
    )
    clip = Clip("data:video/mp4;base64,", panes, {"x": 2.0, "y": 2.0}, (0.0, 0.04), 0.08)
    return [
        PlayerState("r", "waiting", ahead=2),
        PlayerState("r", "running", progress=PlayerProgress(0.5, "picture 1"), clip=clip),
        PlayerState("r", "failed", error=PaneError("Out of memory.", "Try less.")),
        PlayerState(
            "r", "done", clip=clip, scores=Scores((30.0, 31.0), (None, 0.5)), width=64, height=32, done="swift",
            trouble="no sound", notes=("note",), download=Download("data:,", "a.mp4"),
        ),
    ]  # fmt: skip


def test_the_viewer_reads_every_field_of_a_scene(new_page: Callable[..., Any], tmp_path: Path) -> None:
    page = new_page()
    services = "{report: async () => ({url: '#'}), planReport: async () => ({bytes: 9, fields: {a: 1}}), fieldUrl: async () => ({url: 'data:,'})}"
    page.goto(save(tmp_path / "page.html", page_with(full_scene(), services)))
    wait_for(page, "viewer.panes.get('a').picture")
    page.locator(".gsr-canvas").hover(position={"x": 250, "y": 150})
    wait_for(page, "!viewer.request && viewer.spot()")
    page.get_by_role("button", name="report").click()
    page.get_by_role("button", name="make the report").click()
    page.evaluate(
        "() => { const { viewer } = document.querySelector('.gsr-viewer'); viewer.dock.csv(','); viewer.setScene(viewer.scene); }"
    )
    assert names_below(Scene) - set(page.evaluate("() => [...contractReads]")) == ONLY_DOWNLOADED


def test_the_player_reads_every_field_of_its_states(new_page: Callable[..., Any], tmp_path: Path) -> None:
    page = new_page()
    page.goto(save(tmp_path / "page.html", player_page(as_json(PlayerState()))))
    page.wait_for_function("() => document.querySelector('.gsr-player')?.player")
    for state in states():
        page.evaluate("(state) => document.querySelector('.gsr-player').player.setState(state)", as_json(state))
        # Without a video the panes are not drawn by themselves.
        page.evaluate(
            """() => {
              const player = document.querySelector('.gsr-player').player;
              const video = new OffscreenCanvas(64, 64);
              video.getContext('2d');
              Object.assign(player.playback, { video, index: 0, times: [0, 0.04], end: 0.08 });
              for (const score of ['psnr', 'flicker']) {
                player.score = score;
                player.draw();
              }
              Object.assign(player.playback, { video: null });
            }"""
        )
    assert names_below(PlayerState) - set(page.evaluate("() => [...contractReads]")) == set()


@pytest.mark.parametrize("name", ["nmae", "Url"])
def test_reading_what_is_not_sent_fails(browser: Any, tmp_path: Path, name: str) -> None:
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(SCRIPT)
    page.goto(save(tmp_path / "page.html", page_with(full_scene())))
    wait_for(page, "viewer.panes.get('a')?.picture")
    assert not problems
    with page.expect_event("pageerror"):
        page.evaluate(
            f"() => {{ try {{ document.querySelector('.gsr-viewer').viewer.active.spec.{name}; }} catch {{}} }}"
        )
    page.close()
    assert problems == [f"PaneSpec.{name} is read, and not sent"]
