/* The panel for touching the Gaussians: sliders over the picture, and the numbers of the one that was clicked. */

import { el } from "./dom.js";
import { colorOf } from "./inside.js";
import { describe } from "./overlay.js";
import { gaussianAt } from "./readout.js";
import { AT_REST } from "./touch.js";

const percent = (value) => `${Math.round(100 * value)} %`;

// What a slider is called, what it changes, its range, how its value reads.
const SLIDERS = [
  ["extent", "sigma", 0.2, 2, (value) => `×${value.toFixed(2)}`, "How far every Gaussian reaches"],
  ["strongest", "opacity", 0, 1, (value) => (value ? `from ${percent(value)}` : "all"), "Only Gaussians at least so strong"],
  ["largest", "size", 0, 1, (value) => (value ? `from ${percent(value)}` : "all"), "Only Gaussians at least so large"],
  ["tint", "tint", 0, 1, percent, "Each Gaussian in a colour of its own"],
  ["explode", "explode", 0, 1, percent, "The large ones above, the small ones below"],
];

const toHex = (rgb) => `#${rgb.map((c) => Math.round(255 * Math.min(1, Math.max(0, c))).toString(16).padStart(2, "0")).join("")}`;
const toRgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

export class TouchPanel {
  constructor(viewer) {
    this.viewer = viewer;
    const touch = (values) => viewer.live.setTouch(values);
    this.sliders = SLIDERS.map(([label, name, min, max, text, title]) => {
      const input = el("input", { type: "range", min, max, step: 0.01, "aria-label": title, oninput: () => touch({ [name]: Number(input.value) }) });
      const output = el("output", {});
      return { name, text, input, output, node: el("label", { title }, el("span", {}, label), input, output) };
    });
    this.colour = el("input", { type: "color", value: "#c08040", "aria-label": "The colour to keep", oninput: () => this.#keepColour(true) });
    this.byColour = el("input", { type: "checkbox", onchange: () => this.#keepColour(this.byColour.checked) });
    this.colourRow = el("label", { title: "Only Gaussians of about this colour" }, el("span", {}, "colour"), this.byColour, this.colour);
    this.alone = el("input", { type: "checkbox", onchange: () => this.#isolate() });
    this.numbers = el("p", { className: "gsr-figures" });
    this.aloneRow = el("label", {}, el("span", {}, "this one alone"), this.alone);
    this.node = el(
      "div",
      { className: "gsr-touch", role: "group", "aria-label": "Touch the Gaussians", hidden: true },
      ...this.sliders.map(({ node }) => node),
      this.colourRow,
      this.numbers,
      this.aloneRow,
      el(
        "div",
        { className: "gsr-touchfoot" },
        el("button", { type: "button", className: "gsr-plain", onclick: () => this.#rest() }, "as it is"),
        el("button", { type: "button", className: "gsr-plain", onclick: () => this.toggle() }, "close"),
      ),
    );
    for (const kind of ["pointerdown", "wheel", "dblclick"]) this.node.addEventListener(kind, (event) => event.stopPropagation());
  }

  #rest() {
    this.viewer.picked = null;
    this.viewer.live.setTouch(AT_REST);
  }

  #keepColour(on) {
    this.viewer.live.setTouch({ color: on ? toRgb(this.colour.value) : null });
  }

  #isolate() {
    const { picked, live } = this.viewer;
    live.setTouch({ only: this.alone.checked && picked ? picked.index : -1, of: picked?.pane.field ?? null });
  }

  /** Open, or close and leave everything as it was. */
  toggle() {
    const { live } = this.viewer;
    if (!live.isOpen && !live.painter) return;
    live.isOpen = !live.isOpen;
    this.#rest();
  }

  /** Take the Gaussian under the pointer in hand: its numbers, its colour, and alone if one was alone before. */
  pick() {
    const { live } = this.viewer;
    if (!live.isOpen) return;
    const picked = (this.viewer.picked = gaussianAt(this.viewer));
    if (picked && !live.touch.color) {
      const color = colorOf(picked.pane.field, picked.index).map((c) => Math.max(0, c));
      this.colour.value = toHex(color.map((c) => c / Math.max(...color, 1e-6)));
    }
    if (this.alone.checked) this.#isolate();
  }

  update() {
    const { live, picked } = this.viewer;
    this.node.hidden = !live.isOpen;
    if (this.node.hidden) return;
    for (const { name, text, input, output } of this.sliders) {
      input.value = live.touch[name];
      output.textContent = text(live.touch[name]);
    }
    this.byColour.checked = Boolean(live.touch.color);
    this.alone.checked = live.touch.only >= 0;
    this.aloneRow.hidden = !picked;
    this.numbers.textContent = picked ? describe(picked.pane.field, picked.index) : "Click a Gaussian for its numbers.";
  }
}
