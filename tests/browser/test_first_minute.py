"""The first minute in the app: the first screen, a picture, its result, and what stays after a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gsr_app.ui.first import PICTURES
from tests.browser.accessibility import control_contrasts, serious_violations
from tests.browser.app import Held, choose, remove_picture, run_to_end, upload
from tests.browser.conftest import state_of, wait_for
from tests.browser.fake_engine import FOREVER_S, QUICK_S, FakeEngine
from tests.browser.scenes import noise

pytestmark = pytest.mark.browser


SLOW_S = QUICK_S


def wide_picture() -> np.ndarray:
    """Smooth gradients. The fake engine's Swift differs from the other methods in every eighth pixel alone."""
    y, x = np.mgrid[:225, :300]
    return np.stack([x * 255 // 300, y * 255 // 225, np.full_like(x, 128)], -1).astype(np.uint8)


def test_the_first_screen_shows_what_the_app_does_until_it_is_touched(
    app: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 300_000
    page = app(reduced_motion="no-preference")
    assert "Enlarge any picture to any size." in page.locator(".gsr-welcome").inner_text()
    for name in ("Try your picture", "Zoom into the Gaussians", "Judge blind"):
        assert page.get_by_role("button", name=name, exact=True).first.is_visible()
    wait_for(page, "viewer.shown.every((p) => p.picture) && viewer.active.isLive")
    before = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.wipe")
    wait_for(page, "Math.abs(viewer.wipe - argument) > 0.02", before)
    page.mouse.click(800, 300)
    stopped = page.evaluate(
        "() => new Promise((done) => { const { viewer } = document.querySelector('.gsr-viewer');"
        " const at = viewer.wipe; setTimeout(() => done([at, viewer.wipe]), 400); })"
    )
    assert stopped[0] == stopped[1]
    page.get_by_role("button", name="Zoom into the Gaussians").click()
    wait_for(page, "viewer.inView.shown === 'ellipses' && viewer.inView.count > 50 && viewer.view.zoom > 4")

    # Another picture takes the stage, with one button that enlarges it.
    upload(page, wide_picture())
    page.get_by_role("button", name="Enlarge ×4").wait_for()
    assert not page.locator(".gsr-welcome").is_visible()
    assert state_of(page)["mode"] == "grid"
    choose(page, "bicubic", "swift", "slow")
    page.evaluate(
        "() => { window.told = []; const node = document.querySelector('.gsr-announcer');"
        " new MutationObserver(() => told.push(node.textContent)).observe(node, { childList: true }); }"
    )
    monkeypatch.setattr(engine, "slow_s", FOREVER_S)
    page.get_by_role("button", name="Enlarge ×4").click()
    # While a method runs, the browser's own enlargement stands there.
    wait_for(page, "viewer.panes.get('slow')?.spec.state === 'running' && viewer.standIn(viewer.panes.get('slow'))")
    assert page.locator(".gsr-message.is-preview progress").first.is_visible()
    monkeypatch.setattr(engine, "slow_s", QUICK_S)
    wait_for(page, "!viewer.scene.running && viewer.scene.run && viewer.allPanes.every((p) => p.picture)")
    told = page.evaluate("() => told")
    assert told[0].startswith("Started: ")
    assert "Slow finished after" in told[-1]
    assert told[-1].endswith("All are over.")
    # An overview of 1200 pixels in panes of half the width shows no difference: it opens on a detail.
    wait_for(page, "viewer.view.zoom === 1")
    left, right, top, bottom = page.evaluate(
        "() => { const { cx, cy, pane, frame } = document.querySelector('.gsr-viewer').viewer.view;"
        " return [cx - pane.w / 2, frame.width - cx - pane.w / 2, cy - pane.h / 2, frame.height - cy - pane.h / 2]; }"
    )
    assert min(left, right, top, bottom) >= -1, "no room beside a picture that fills the pane"


def test_the_first_screens_wipe_rests_after_half_a_minute(new_page: Callable[..., Any], address: str) -> None:
    page = new_page(viewport={"width": 500, "height": 400}, reduced_motion="no-preference")
    page.clock.install()
    page.goto(address)
    wait_for(page, "viewer.isIntroduction && Math.abs(viewer.wipe - 0.5) > 0.1")
    page.clock.fast_forward(30_000)
    wait_for(page, "Math.abs(viewer.wipe - 0.5) < 1e-9")
    page.clock.fast_forward(1500)  # a quarter of the way there and back
    wait_for(page, "Math.abs(viewer.wipe - 0.5) < 1e-9")


def test_the_first_screen_stands_still_where_less_motion_is_wanted(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    wait_for(page, "viewer.shown.every((p) => p.picture)")
    page.wait_for_timeout(300)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.wipe") == 0.5
    page.locator(".gsr-welcome").get_by_role("button", name="Judge blind").click()
    page.get_by_role("button", name="A is best").click()
    assert page.locator(".gsr-blindbar").inner_text().startswith("You chose ")
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.blind") is False


def test_a_reload_and_a_link_keep_picture_settings_results_and_view(app_page: Any, app: Any, address: str) -> None:
    page = app_page
    upload(page, noise(40, 60, 3), "mine.png")
    choose(page, "slow", "bicubic")  # others than at the start
    page.locator("#scaletext input").fill("2.5")
    page.locator("#forecast").get_by_text("150 × 100").wait_for()
    run_to_end(page)
    page.evaluate(
        "() => { const { viewer } = document.querySelector('.gsr-viewer'); viewer.setMode('wipe'); viewer.look(60, 40, 6); }"
    )
    wait_for(page, "!viewer.request")
    view = "() => { const { viewer } = document.querySelector('.gsr-viewer'); return [viewer.view.cx, viewer.view.cy, viewer.view.zoom]; }"
    before = page.evaluate(view)
    run = page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.run")
    link = page.evaluate(
        "() => new Promise((done) => { navigator.clipboard.writeText = async (text) => done(text);"
        " [...document.querySelectorAll('button')].find((b) => b.textContent === 'Copy link').click(); })"
    )

    def check(page: Any) -> None:
        wait_for(page, "viewer.scene.run === argument && viewer.mode === 'wipe' && viewer.view.zoom > 5", run)
        assert page.evaluate(view) == pytest.approx(before, rel=1e-3)
        page.locator("#facts b", has_text="mine.png").wait_for()
        assert page.locator("#scaletext input").input_value() == "2.5"
        chosen = page.locator("#methods .gsr-card:has(input:checked)")
        assert sorted(chosen.evaluate_all("(all) => all.map((one) => one.dataset.method)")) == ["bicubic", "slow"]

    page.reload()
    check(page)
    page.goto("about:blank")
    page.go_back()
    check(page)
    check(app(link.removeprefix(address)))
    assert "2.5" in link
    page.locator("#scaletext input").fill("4")


def test_what_is_chosen_before_a_reload_is_answered_stays(app_page: Any) -> None:
    page = app_page
    upload(page, noise(40, 60, 4), "old.png")
    choose(page, "bicubic")
    page.locator("#scaletext input").fill("2")
    page.evaluate("() => document.querySelector('.gsr-viewer').viewer.look(30, 20, 6)")
    held = Held(page, "recall")
    page.reload()
    wait_for(page, "viewer.canvas.width > 0")
    held.wait()
    choose(page, "slow")
    page.locator("#scaletext input").fill("3")
    upload(page, noise(50, 50, 9), "new.png")
    page.get_by_role("button", name="Enlarge ×3").wait_for()
    held.release()
    page.locator("#facts b", has_text="new.png").wait_for()
    assert page.locator("#scaletext input").input_value() == "3"
    chosen = page.locator("#methods .gsr-card:has(input:checked)")
    assert chosen.evaluate_all("(all) => all.map((one) => one.dataset.method)") == ["slow"]
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.view.fitted")
    run_to_end(page)
    assert page.evaluate("() => document.querySelector('.gsr-viewer').viewer.scene.source.name") == "new.png"
    page.locator("#scaletext input").fill("4")


def test_no_tab_has_a_serious_violation_of_accessibility(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    problems: dict[str, list[str]] = {}

    def check(state: str) -> None:
        problems[state] = serious_violations(page)

    check("start")
    upload(page, noise(40, 60, 3))
    choose(page, "bicubic", "swift")
    run_to_end(page)
    check("done")
    page.keyboard.press("Control+k")
    check("all actions")
    page.keyboard.press("Escape")
    for tab in ("Batch", "Video", "Fit", "Models", "Plots"):  # the plots make the page larger
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        check(tab)
    assert not any(problems.values()), problems
    assert page.locator("h1").count() == 1
    page.get_by_role("tab", name="Compare").click()


def test_the_focus_and_the_texts_of_empty_fields_are_seen_in_both_themes(app_page: Any) -> None:
    page = app_page
    if page.evaluate("() => !document.querySelector('.gsr-viewer').viewer.scene.run"):
        upload(page, noise(40, 60, 4))
        choose(page, "bicubic", "swift")
        run_to_end(page)
    page.get_by_role("button", name="Advanced").click()
    weak: dict[str, list[tuple[float, str]]] = {}
    seen = fields = 0
    for tab in ("Compare", "Batch", "Video", "Fit", "Models", "Plots"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        for theme in ("light", "dark"):
            page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
            rings, placeholders = control_contrasts(page)
            weak[f"{tab}, {theme}"] = [one for one in rings if one[0] < 3] + [
                one for one in placeholders if one[0] < 4.5
            ]
            seen += len(rings)
            fields += len(placeholders)
        page.evaluate("() => document.body.classList.remove('dark')")
    assert seen > 200
    assert fields >= 8
    assert not any(weak.values()), {where: found for where, found in weak.items() if found}
    page.get_by_role("tab", name="Compare").click()


def test_every_button_of_every_tab_is_in_the_list_of_actions(app_page: Any) -> None:
    page = app_page
    remove_picture(page)
    screen = page.context.new_cdp_session(page)
    screen.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    dialog = page.get_by_role("dialog", name="All actions")
    for tab in ("Compare", "Video", "Fit", "Plots", "Models"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        buttons = page.evaluate(
            "() => [...document.querySelectorAll('button')].filter((n) => n.offsetParent && !n.disabled && !n.closest('.gsr-bar'))"
            ".map((n) => (n.getAttribute('aria-label') || n.innerText).trim().split('\\n')[0]).filter((text) => /[a-z]/i.test(text))"
        )
        page.get_by_role("button", name="Actions", exact=True).click()
        names = dialog.get_by_role("option").all_inner_texts()
        assert dialog.get_by_role("option").first.bounding_box()["height"] >= 43.5
        missing = [text for text in buttons if text != "Actions" and not any(text in name for name in names)]
        assert not missing, tab
        assert len(names) >= len(set(buttons)) - 1 >= 5
        page.keyboard.press("Escape")
    # An action leads back: its tab is opened by its name.
    page.keyboard.press("Control+k")
    dialog.get_by_role("combobox").fill("open compare")
    page.keyboard.press("Enter")
    page.locator("#run").wait_for()
    screen.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
