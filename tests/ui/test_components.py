"""The app's own components in Gradio's description of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("gradio")

import gradio as gr

from gsr_app.ui.filelist import FileList
from gsr_app.ui.layout import build
from gsr_app.ui.state import create_app_state
from tests.browser.fake_engine import FakeEngine


def functions_in(value: object, path: str = "") -> Iterator[str]:
    if callable(value):
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from functions_in(child, f"{path}/{name}")


def test_the_description_of_the_page_has_no_functions() -> None:
    """Each visit copies the description, and a function in it leads to a copy of the whole app."""
    page = build(create_app_state(FakeEngine()))
    assert len(page.blocks) > 100
    assert not list(functions_in(page.get_config_file()["components"]))


def test_an_event_whose_answers_are_awaited_in_turn_has_no_other() -> None:
    """Gradio triggers such an event again when an answer was waited for; two of one event would never end."""
    page = build(create_app_state(FakeEngine()))
    found = [
        (tuple(target), one) for one in page.get_config_file().get("dependencies", []) for target in one["targets"]
    ]
    waits = {event for event, one in found if one["trigger_mode"] == "always_last" and one["backend_fn"]}
    waits = {(block, name) for block, name in waits if block is not None}
    assert len(waits) > 10
    events = [event for event, _ in found]
    assert [event for event in waits if events.count(event) > 1] == []


def test_a_component_has_only_the_events_that_it_names() -> None:
    with gr.Blocks():
        component = FileList(text="Add", title="", named=True, most=3)
        component.edit(lambda: None)
        assert '"button"' in str(component.js_on_load)
        with pytest.raises(AttributeError, match="FileList has no attribute 'button'"):
            _ = component.button
