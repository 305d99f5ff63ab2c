"""What axe-core finds wrong with a page for people who cannot see it or use a mouse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def serious_violations(page: Any) -> list[str]:
    """The serious and the critical ones, each with the elements that it is about; skips the test without axe-core."""
    axe = Path(os.environ.get("GSR_AXE", Path.home() / ".cache/gsr-tests/node_modules/axe-core/axe.min.js"))
    if not axe.is_file():
        pytest.skip("needs axe-core: npm install --prefix ~/.cache/gsr-tests axe-core")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe.read_text(encoding="utf-8"))
    return page.evaluate(
        "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
        ".filter((v) => ['serious', 'critical'].includes(v.impact))"
        ".map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join('; ')}`)"
    )
