"""Pages of the browser tests: opened, or kept for the next test, and what their scripts reported."""

from __future__ import annotations

from typing import Any

from tests.browser.contract import SCRIPT

VIEWPORT = {"width": 1000, "height": 700}


class Pages:
    """Pages that note when a script fails or reads what the contract does not have.

    Less motion is wanted there: the first screen, which moves until it is touched, would take a core from the tests.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self._kept: dict[str, Any] = {}
        self._problems: list[str] = []

    def open(self, **options: Any) -> Any:
        """A new page, of a visitor who was never there."""
        context = self._browser.new_context(**{"viewport": VIEWPORT, "reduced_motion": "reduce", **options})
        context.set_default_timeout(90_000)
        self._contexts.append(context)
        page = context.new_page()
        page.add_init_script(SCRIPT)
        page.on("pageerror", lambda error: self._problems.append(str(error)))
        return page

    def keep(self, address: str, viewport: dict[str, int] = VIEWPORT, **options: Any) -> Any:
        """The page that was opened there with these options before, in this size; a new one the first time."""
        key = repr((address, sorted(options.items())))
        if key not in self._kept:
            self._kept[key] = self.open(viewport=viewport, **options)
            self._kept[key].goto(address)
        page = self._kept[key]
        if page.viewport_size != viewport:
            page.set_viewport_size(viewport)
        return page

    def forget(self) -> None:
        """Keep no page any longer: a test has failed, and where it stopped is nothing that another can begin with."""
        self._kept.clear()

    def check(self) -> None:
        """Fails when a script has failed since the last time."""
        problems, self._problems = self._problems, []
        assert not problems, problems

    def close(self) -> None:
        for context in self._contexts:
            context.close()
