/* The panel that adjusts how Gaussians are drawn: sliders over the picture, and the numbers of the selected one. */

import { DEFAULT_ADJUSTMENTS } from "./adjustments.js";
import { el, labelledSlider } from "./dom.js";
import { colorOf } from "./fieldqueries.js";
import { describe } from "./overlay.js";
import { gaussianAt } from "./readout.js";

const percent = (value) => `${Math.round(100 * value)} %`;

// Label, name of the adjustment, range, value as text, title.
const SLIDERS = [
  ["extent", "sigma", 0.2, 2, (value) => `×${value.toFixed(2)}`, "How far every Gaussian reaches"],
  ["strongest", "opacity", 0, 1, (value) => (value ? `from ${percent(value)}` : "all"), "Hide weaker Gaussians"],
  ["largest", "size", 0, 1, (value) => (value ? `from ${percent(value)}` : "all"), "Hide smaller Gaussians"],
  ["tint", "tint", 0, 1, percent, "Give each Gaussian a random colour"],
  ["explode", "explode", 0, 1, percent, "Move large Gaussians up and small ones down"],
];

const toHex = (rgb) => `#${rgb.map((c) => Math.round(255 * Math.min(1, Math.max(0, c))).toString(16).padStart(2, "0")).join("")}`;
const toRgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

export class AdjustPanel {
  constructor(viewer) {
    this.viewer = viewer;
    const adjust = (values) => viewer.live.setAdjustments(values);
    this.sliders = SLIDERS.map(([label, name, min, max, text, title]) => ({ name, ...labelledSlider(label, { min, max, step: 0.01, title }, text, (value) => adjust({ [name]: value })) }));
    this.colour = el("input", { type: "color", value: "#c08040", "aria-label": "Colour to show", oninput: () => this.#filterColour(true) });
    this.byColour = el("input", { type: "checkbox", onchange: () => this.#filterColour(this.byColour.checked) });
    this.colourRow = el("label", { title: "Hide Gaussians of other colours" }, el("span", {}, "colour"), this.byColour, this.colour);
    this.only = el("input", { type: "checkbox", onchange: () => this.#showOnly() });
    this.numbers = el("p", { className: "gsr-figures" });
    this.onlyRow = el("label", {}, el("span", {}, "only this one"), this.only);
    this.node = el(
      "div",
      { className: "gsr-adjust", role: "group", "aria-label": "Adjust the Gaussians", hidden: true },
      ...this.sliders.map(({ node }) => node),
      this.colourRow,
      this.numbers,
      this.onlyRow,
      el(
        "div",
        { className: "gsr-adjustfoot" },
        el("button", { type: "button", className: "gsr-plain", onclick: () => this.#reset() }, "Reset"),
        el("button", { type: "button", className: "gsr-plain", onclick: () => this.toggle() }, "Close"),
      ),
    );
    for (const kind of ["pointerdown", "wheel", "dblclick"]) this.node.addEventListener(kind, (event) => event.stopPropagation());
  }

  #reset() {
    this.viewer.selected = null;
    this.viewer.live.setAdjustments(DEFAULT_ADJUSTMENTS);
  }

  #filterColour(on) {
    this.viewer.live.setAdjustments({ color: on ? toRgb(this.colour.value) : null });
  }

  #showOnly() {
    const { selected, live } = this.viewer;
    live.setAdjustments({ only: this.only.checked && selected ? selected.index : -1, of: selected?.pane.field ?? null });
  }

  /** Open, or close and reset every adjustment. */
  toggle() {
    const { live } = this.viewer;
    if (!live.isOpen && !live.gpuPainter) return;
    live.isOpen = !live.isOpen;
    this.#reset();
  }

  /** Select the Gaussian under the pointer: show its numbers and colour; it replaces the one shown alone, if any. */
  select() {
    const { live } = this.viewer;
    if (!live.isOpen) return;
    const selected = (this.viewer.selected = gaussianAt(this.viewer));
    if (selected && !live.adjustments.color) {
      const color = colorOf(selected.pane.field, selected.index).map((c) => Math.max(0, c));
      this.colour.value = toHex(color.map((c) => c / Math.max(...color, 1e-6)));
    }
    if (this.only.checked) this.#showOnly();
  }

  update() {
    const { live, selected } = this.viewer;
    this.node.hidden = !live.isOpen;
    if (this.node.hidden) return;
    for (const { name, show } of this.sliders) show(live.adjustments[name]);
    this.byColour.checked = Boolean(live.adjustments.color);
    this.only.checked = live.adjustments.only >= 0;
    this.onlyRow.hidden = !selected;
    this.numbers.textContent = selected ? describe(selected.pane.field, selected.index) : "Click a Gaussian for its numbers.";
  }
}
