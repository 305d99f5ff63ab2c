/* The panel of tone: the histogram of what is in view, and how the pictures are shown. */

import { el, labelledSlider, select } from "./dom.js";
import { drawHistogram, histogramOf, summaryOf } from "./histogram.js";
import { signed } from "./format.js";
import { COLOURS, falseColour, isPlain, PLAIN } from "./tone.js";

const SETTLE_MS = 150; // the histogram is counted when the view has come to rest
const [WIDTH, HEIGHT] = [256, 64];

const stops = (value) => `${signed(Number(value.toFixed(1)))} EV`;

// Label, name, range, step, value as text, title.
const SLIDERS = [
  ["exposure", "exposure", -4, 6, 0.1, stops, "Brighter or darker, in stops of light"],
  ["gamma", "gamma", 0.3, 3, 0.05, (value) => value.toFixed(2), "Lift or lower the middle between black and white"],
];

export class TonePanel {
  constructor(viewer) {
    this.viewer = viewer;
    this.isOpen = false;
    this.counted = []; // what the histogram shows
    this.sliders = SLIDERS.map(([label, name, min, max, step, text, title]) => ({ name, ...labelledSlider(label, { min, max, step, title }, text, (value) => this.#set({ [name]: value })) }));
    this.colours = select("Colours", (colours) => this.#set({ colours }));
    this.title = el("p", { className: "gsr-tonetitle" });
    this.canvas = el("canvas", { width: WIDTH, height: HEIGHT, role: "img", title: "Areas: red, green and blue. Lines: the brightness of each picture, in its colour." });
    this.figures = el("p", { className: "gsr-figures" });
    this.scale = el("div", { className: "gsr-tonescale", "aria-hidden": "true" }, el("span", {}, "0"), el("i", { style: { background: gradient() } }), el("span", {}, "255"));
    this.node = el(
      "div",
      { className: "gsr-adjust gsr-tone", role: "group", "aria-label": "Tone", hidden: true },
      this.title,
      this.canvas,
      this.figures,
      ...this.sliders.map(({ node }) => node),
      el("label", {}, el("span", {}, "colours"), this.colours.node),
      this.scale,
      el(
        "div",
        { className: "gsr-adjustfoot" },
        el("button", { type: "button", className: "gsr-plain", onclick: () => viewer.set({ tone: PLAIN }) }, "Reset"),
        el("button", { type: "button", className: "gsr-plain", onclick: () => this.toggle() }, "Close"),
      ),
    );
    for (const kind of ["pointerdown", "wheel", "dblclick"]) this.node.addEventListener(kind, (event) => event.stopPropagation());
  }

  #set(values) {
    this.viewer.set({ tone: { ...this.viewer.tone, ...values } });
  }

  /** Open or close. The tone stays; the button of the bar says which. */
  toggle() {
    this.isOpen = !this.isOpen;
    this.viewer.changed();
  }

  update() {
    const { viewer } = this;
    const { tone, active } = viewer;
    this.node.hidden = !this.isOpen || !active;
    if (this.node.hidden) return;
    for (const { name, show } of this.sliders) show(tone[name]);
    this.colours.fill(COLOURS, tone.colours);
    this.scale.hidden = tone.colours !== "luma";
    const wanted = [active, viewer.blind, ...viewer.shown.map((pane) => pane.picture), ...Object.values(viewer.view.visible())];
    if (wanted.length === this.counted.length && wanted.every((one, i) => one === this.counted[i])) return;
    this.counted = wanted;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#count(), SETTLE_MS);
  }

  #count() {
    const { viewer } = this;
    const { active } = viewer;
    if (!active?.picture || !this.isOpen) return;
    const part = pixelsInView(active, viewer.view.visible());
    const histogram = histogramOf(active.picture, part);
    if (!histogram.count) return;
    const others = viewer.shown.filter((pane) => pane.picture && pane !== active);
    const lines = [active, ...others].map((pane) => ({
      histogram: pane === active ? histogram : histogramOf(pane.picture, pixelsInView(pane, viewer.view.visible())),
      colour: pane.spec.colour,
    }));
    drawHistogram(this.canvas.getContext("2d"), histogram, lines.filter((line) => line.histogram.count));
    const { mean, dark, bright } = summaryOf(histogram);
    const share = (part) => `${(100 * part).toFixed(part && part < 0.01 ? 2 : 1)} %`;
    this.title.textContent = `${viewer.nameOf(active)}: ${part.width} × ${part.height} pixels in view`;
    this.figures.textContent = `mean ${mean.toFixed(1)}  at 0 ${share(dark)}  at 255 ${share(bright)}`;
    this.canvas.setAttribute("aria-label", `Histogram: ${this.figures.textContent}`);
  }

  /** What the button of the bar says. */
  get summary() {
    const { tone } = this.viewer;
    if (isPlain(tone)) return "Tone";
    const parts = [tone.exposure && stops(tone.exposure), tone.gamma !== 1 && `γ ${tone.gamma.toFixed(2)}`, tone.colours !== "plain" && tone.colours];
    return `Tone: ${parts.filter(Boolean).join(", ")}`;
  }
}

/** The pixels of a pane's picture under a rectangle of the frame. */
function pixelsInView({ picture, place }, { u, v, width, height }) {
  const [kx, ky] = [picture.width / place.width, picture.height / place.height];
  const x = Math.min(picture.width - 1, Math.max(0, Math.floor((u - place.u) * kx)));
  const y = Math.min(picture.height - 1, Math.max(0, Math.floor((v - place.v) * ky)));
  return {
    x,
    y,
    width: Math.max(1, Math.min(picture.width - x, Math.ceil(width * kx))),
    height: Math.max(1, Math.min(picture.height - y, Math.ceil(height * ky))),
  };
}

const gradient = () => `linear-gradient(90deg, ${Array.from({ length: 9 }, (_, i) => `rgb(${falseColour(Math.round((255 * i) / 8)).join(" ")})`).join(", ")})`;
