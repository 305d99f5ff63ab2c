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


def test_a_component_has_only_the_events_that_it_names() -> None:
    with gr.Blocks():
        component = FileList(text="Add", title="", named=True, most=3)
        component.edit(lambda: None)
        assert '"button"' in str(component.js_on_load)
        with pytest.raises(AttributeError, match="FileList has no attribute 'button'"):
            _ = component.button
