"""HTML with a script of ours, the base of the app's own components."""

from __future__ import annotations

from typing import Any, ClassVar

import gradio as gr


class ScriptedHTML(gr.HTML):
    """`gr.HTML` whose events are named.

    `gr.HTML` answers to every name that its script quotes with a function that adds an event. The description of a
    component asks for many names, got such functions for some, and was then copied piece by piece for each visit.
    """

    custom_events: ClassVar[tuple[str, ...]] = ()

    def __init__(self, value: Any = None, **options: Any) -> None:
        options.setdefault("apply_default_css", False)
        super().__init__(value, **options)

    def __getattr__(self, name: str) -> Any:
        if name in self.custom_events:
            return super().__getattr__(name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def get_block_name(self) -> str:
        return "html"  # the page has no components of the names of the classes
