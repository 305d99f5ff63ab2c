"""What axe-core finds wrong with a page for people who cannot see it or use a mouse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# Every element that takes the focus from the keyboard, with the contrast of its ring and what is behind the ring.
_CONTRASTS = """() => {
  const channels = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v <= 10.31475 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
  const behind = (node) => {
    if (!node) return [255, 255, 255];
    const colour = channels(getComputedStyle(node).backgroundColor);
    return (colour[3] ?? 1) === 1 ? colour : over(colour, behind(node.parentElement));
  };
  const contrast = (one, two) => {
    const [a, b] = [light(one), light(two)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const ring = (node, pseudo) => {
    const style = getComputedStyle(node, pseudo);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return 0;
    const below = behind(parseFloat(style.outlineOffset) < 0 ? node : node.parentElement);
    return contrast(over(channels(style.outlineColor), below), below);
  };
  const stay = document.head.appendChild(document.createElement("style"));
  stay.textContent = "* { transition: none !important; animation: none !important; }";
  const [rings, placeholders] = [[], []];
  for (const node of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")) {
    if (node.disabled || node.type === "hidden" || !node.checkVisibility({ visibilityProperty: true })) continue;
    const name = `${node.tagName} ${node.id || node.className} ${node.getAttribute("aria-label") ?? node.textContent.trim().slice(0, 30)}`;
    if (node.placeholder) {
      const below = behind(node);
      placeholders.push([contrast(over(channels(getComputedStyle(node, "::placeholder").color), below), below), name]);
    }
    node.focus();
    if (document.activeElement !== node || !node.matches(":focus-visible")) continue;
    const card = node.closest(".gsr-card, label");
    const best = Math.max(ring(node), ring(node, "::before"), card ? ring(card) : 0);
    rings.push([best, name]);
  }
  stay.remove();
  return [rings, placeholders];
}"""


Contrasts = list[tuple[float, str]]  # with the names of the controls


def control_contrasts(page: Any) -> tuple[Contrasts, Contrasts]:
    """The contrasts of the rings around all visible controls while each has the focus, 0 without a ring; and those of
    the texts in empty fields."""
    page.keyboard.press("Tab")  # from then on the browser shows the focus
    rings, placeholders = page.evaluate(_CONTRASTS)
    return [tuple(one) for one in rings], [tuple(one) for one in placeholders]


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
