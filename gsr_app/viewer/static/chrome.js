/* The controls around the pictures: the bar above, the tags on them, the line below, the help. */

import { SCALES } from "./difference.js";
import { dot, el, segmented, select } from "./dom.js";
import { decibels, percent, signed, times, totalMs } from "./format.js";
import { KEYS } from "./keys.js";
import { COLOURINGS, OVERLAYS } from "./overlay.js";
import { gaussianNote, sizeNote } from "./readout.js";
import { savesAllBits } from "./saving.js";

const MODES = [
  ["grid", "Grid", "Side by side (G)"],
  ["wipe", "Wipe", "Two pictures, one divider (W)"],
  ["blink", "Blink", "Two pictures in turn (B; hold Space)"],
  ["difference", "Difference", "What differs, amplified (D)"],
  ["loupe", "Loupe", "Magnify the point under the pointer in every picture (L)"],
];

export class Bar {
  constructor(viewer) {
    const button = (text, title, onclick) => el("button", { type: "button", className: "gsr-plain", title, onclick }, text);
    this.viewer = viewer;
    this.modes = segmented("Mode", MODES, (mode) => viewer.setMode(mode));
    const overlays = OVERLAYS.slice(1).map((mode) => [mode, mode[0].toUpperCase() + mode.slice(1), `Gaussians as ${mode} (O)`]);
    this.overlays = segmented("Gaussians", overlays, (mode) => viewer.setOverlay(viewer.overlay === mode ? "off" : mode));
    this.colouring = select("Colour of the Gaussians", (value) => viewer.set({ colouring: value }));
    this.base = select("Compare against", (id) => viewer.setBaseId(id));
    this.gain = el("input", {
      type: "range", min: 0, max: 6, step: 1, "aria-label": "Difference gain", title: "Gain ([ and ])",
      oninput: (event) => viewer.setGain(2 ** Number(event.target.value)),
    });
    this.gainText = el("output", {});
    this.scale = select("Colour scale of the difference", (value) => viewer.set({ colourScale: value }));
    this.auto = button("Auto", "Blink automatically (B)", () => viewer.toggleAuto());
    this.context = el("div", { className: "gsr-context" }, "vs", this.base.node, this.gain, this.gainText, this.scale.node, this.auto);
    this.badge = el("button", { type: "button", className: "gsr-badge", "aria-live": "polite", onclick: () => viewer.toggle("trueZoom") });
    this.minusPixels = button("Field − pixels", "Difference between the live field and the pixels (F)", () => viewer.toggle("minusPixels"));
    this.adjust = button("Inspect", "Adjust how the Gaussians are drawn: scale, hide, tint, isolate (T)", () => viewer.adjustPanel.toggle());
    this.tone = button("Tone", "Histogram, exposure, gamma, false colours (H)", () => viewer.tonePanel.toggle());
    this.crisp = button("Sharp", "Sharp or smooth pixels (S)", () => viewer.toggle("smooth"));
    this.region = button("Region", "Draw a region (R)", () => viewer.startRegion());
    this.percent = el("span", { className: "gsr-percent" });
    this.node = el(
      "div",
      { className: "gsr-bar", role: "toolbar", "aria-label": "Viewer" },
      this.modes.node,
      this.overlays.node,
      this.colouring.node,
      this.context,
      this.badge,
      this.minusPixels,
      el("span", { className: "gsr-spring" }),
      this.adjust,
      this.tone,
      this.region,
      this.crisp,
      el(
        "span",
        { className: "gsr-viewtools" },
        button("Fit", "Whole picture (0)", () => viewer.fit()),
        button("1:1", "One output pixel per screen pixel (Z)", () => viewer.oneToOne()),
        this.percent,
        button("?", "Keys", () => viewer.toggleHelp()),
      ),
    );
  }

  update() {
    const { viewer } = this;
    this.node.classList.toggle("is-introduction", viewer.isIntroduction);
    const { mode, panes } = { mode: viewer.mode, panes: viewer.shown };
    this.modes.show(mode);
    this.modes.buttons.forEach((button) => (button.disabled = !panes.length));
    const withField = panes.some((pane) => pane.spec.field?.id);
    const hasOverlays = withField && mode !== "difference";
    this.overlays.node.hidden = !hasOverlays;
    this.overlays.show(viewer.overlay);
    const colours = hasOverlays && (viewer.overlay === "centres" || viewer.overlay === "ellipses");
    this.colouring.node.hidden = !colours;
    this.colouring.fill(COLOURINGS.map((c) => [c, c === "plain" ? "one colour" : `by ${c}`]), viewer.colouring);
    const against = panes.length > 1 && ["wipe", "blink", "difference"].includes(mode);
    this.context.hidden = !against;
    this.base.fill(panes.map((pane) => [pane.spec.id, viewer.nameOf(pane)]), viewer.base?.spec.id);
    for (const node of [this.gain, this.gainText, this.scale.node]) node.hidden = mode !== "difference";
    this.auto.hidden = mode !== "blink";
    this.auto.setAttribute("aria-pressed", String(viewer.blinkAuto));
    this.gain.value = Math.log2(viewer.gain);
    if (viewer.colourScale === "FLIP") this.gain.hidden = this.gainText.hidden = true; // it has a scale of its own
    this.gainText.textContent = `×${viewer.gain}`;
    this.scale.fill(SCALES.map((s) => [s, s]), viewer.colourScale);
    this.crisp.textContent = viewer.smooth ? "Smooth" : "Sharp";
    this.tone.hidden = this.region.hidden = !panes.length;
    this.tone.textContent = viewer.tonePanel.summary;
    this.tone.setAttribute("aria-pressed", String(viewer.tonePanel.isOpen));
    this.region.setAttribute("aria-pressed", String(viewer.drawingRegion && !viewer.pick));
    this.percent.textContent = panes.length ? percent(viewer.view.zoom) : "";
    this.adjust.hidden = !withField || Boolean(viewer.live.unavailable);
    this.adjust.setAttribute("aria-pressed", String(viewer.live.isOpen));
    this.minusPixels.hidden = mode === "difference" || !panes.some((pane) => pane.isLive && pane.field && pane.picture);
    this.minusPixels.setAttribute("aria-pressed", String(viewer.minusPixels));
    this.#badge(withField);
  }

  #badge(withField) {
    const { viewer } = this;
    const isZoomed = viewer.view.zoom > 1.001 || viewer.live.isAdjusted;
    this.badge.hidden = !withField || !isZoomed || (viewer.mode === "difference" && !viewer.canTrueZoom(viewer.base));
    if (this.badge.hidden) return;
    const pane = viewer.shown.find((p) => p.spec.field && viewer.usesTrueZoom(p));
    const shown = pane?.isLive ? liveBadge(viewer, pane) : pane ? servedBadge(viewer, pane) : { text: "Plain pixels", state: "off" };
    this.badge.title = shown.title ?? "Beyond the resolution of the result the field itself is drawn (P: plain pixels)";
    this.badge.textContent = shown.text;
    this.badge.dataset.state = shown.state;
  }
}

function liveBadge({ view, scene, live }, pane) {
  const text = `Live field · ${times(view.zoom * scene.scale.x)}${live.hasAdjustments ? " · adjusted" : ""}`;
  return { text, state: pane.drawings.view?.step === 1 ? "on" : "busy", title: "The browser draws the Gaussians (P: plain pixels)" };
}

function servedBadge({ scene, live }, { zoomer }) {
  if (zoomer.failed) return { text: "Live zoom failed", state: "failed", title: zoomer.failed };
  const title = `The server draws the field${live.unavailable ? `: ${live.unavailable}` : ""} (P: plain pixels)`;
  if (!zoomer.current) return { text: "Live zoom (server) · drawing …", state: "busy", title };
  return { text: `Live zoom (server) · ${times(zoomer.frame.zoom * scene.scale.x)}`, state: "on", title };
}

/** The tag on each picture, and the message of a pane without one. */
export class Tags {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = el("div", { className: "gsr-tags" });
    this.key = "";
  }

  update(cells) {
    const { viewer } = this;
    const key = JSON.stringify([
      cells.map(({ pane, rect }) => [pane?.spec, pane?.problem, pane?.fieldNote, Boolean(pane?.picture), rect]),
      [viewer.mode, viewer.blind, viewer.isRefused, viewer.dpr, viewer.active?.spec.id, viewer.base?.spec.id],
      cells.map(({ pane }) => [pane?.isOutdated, pane?.arrived, pane && Boolean(viewer.standIn(pane)), pane && flipNote(viewer, pane)]),
    ]);
    if (key === this.key) return;
    this.key = key;
    const nodes = [];
    for (const { pane, rect } of cells) {
      // In a wipe each side has half of the width for its tag.
      const sides = viewer.mode === "wipe" && viewer.base && viewer.base !== pane ? 2 : 1;
      nodes.push(this.#tag(pane, rect, 8, null, sides));
      if (sides > 1) nodes.push(this.#tag(viewer.base, rect, null, 8, sides));
      if (!pane.picture || pane.isOutdated) nodes.push(this.#message(pane, rect));
    }
    if (viewer.isRefused) nodes.push(this.#refusal());
    this.node.replaceChildren(...nodes);
  }

  #refusal() {
    const show = el("button", { type: "button", className: "gsr-secondary", onclick: () => this.viewer.set({ isRefused: false }) }, "Show them");
    const told = el("div", {}, el("strong", {}, "The last request was refused."), el("p", {}, "These are the results of the run before."), show);
    return el("div", { className: "gsr-message is-outdated is-refusal", role: "status" }, told);
  }

  #place(rect, left, right, sides) {
    const { dpr } = this.viewer;
    const box = { top: `${rect.y / dpr + 8}px`, maxWidth: `${rect.w / dpr / sides - 16}px` };
    if (left !== null) box.left = `${rect.x / dpr + left}px`;
    else box.right = `${right}px`;
    return box;
  }

  #tag(pane, rect, left, right, sides) {
    const { viewer } = this;
    const isBase = pane === viewer.base && ["difference", "blink"].includes(viewer.mode);
    const number = viewer.shown.indexOf(pane) + 1;
    return el(
      "div",
      { className: "gsr-tag", style: this.#place(rect, left, right, sides), "data-pane": pane.spec.id, "data-state": pane.spec.state },
      dot(pane.spec.colour),
      el("span", { className: "gsr-tagname" }, viewer.nameOf(pane)),
      el("span", { className: "gsr-figures" }, viewer.blind ? "" : flipNote(viewer, pane) || summary(pane)),
      !viewer.blind && caution(pane.spec),
      isBase && el("span", { className: "gsr-isbase" }, "compared against"),
      el("kbd", {}, number),
    );
  }

  #message(pane, rect) {
    const { dpr } = this.viewer;
    const { spec } = pane;
    const style = { left: `${rect.x / dpr}px`, top: `${rect.y / dpr}px`, width: `${rect.w / dpr}px`, height: `${rect.h / dpr}px` };
    const fraction = pane.arrived ?? spec.progress?.fraction ?? null;
    const body = pane.failed
      ? [el("strong", {}, spec.error.message), el("p", {}, spec.error.hint)]
      : pane.problem
        ? [el("strong", {}, pane.problem)]
        : [
            el("span", { className: "gsr-figures" }, summary(pane) || "…"),
            pane.isOutdated && el("p", {}, "The picture is of the run before."),
            spec.state !== "cancelled" && el("progress", { max: 1, value: fraction, "aria-label": `Progress of ${spec.name}` }),
          ];
    const look = pane.isOutdated ? " is-outdated" : this.viewer.standIn(pane) ? " is-preview" : "";
    return el("div", { className: `gsr-message${look}`, style, role: pane.failed ? "alert" : null }, el("div", {}, ...body.filter(Boolean)));
  }
}

/** What FLIP says of a pane in the difference view; nothing elsewhere. */
function flipNote({ mode, colourScale, base, painter }, pane) {
  if (mode !== "difference" || colourScale !== "FLIP" || pane === base || !pane.picture || !base?.picture) return "";
  const { mean, share, problem } = painter.flipMaps.of(pane.picture, base.picture);
  return problem || (mean === null ? `FLIP ${Math.floor(100 * share)} %` : `FLIP ${mean.toFixed(4)}`);
}

/** That a method was not trained for this scale: beside its figures, which may be the best all the same. */
function caution(spec) {
  const warnings = (spec.warnings ?? []).map((warning) => warning.replace(`${spec.name}: `, ""));
  const found = warnings.find((warning) => warning.startsWith("not trained"));
  return found && el("span", { className: "gsr-caution", title: found }, found.split(":")[0]);
}

/** One line about a pane's state: figures when it is done, stage and per cent while it runs. */
export function summary({ spec, fieldNote, arrived }) {
  if (arrived !== null && arrived !== undefined) return `downloading ${Math.floor(100 * arrived)} %`;
  if (spec.state === "failed") return "failed";
  if (spec.state === "cancelled") return "stopped";
  if (spec.state === "waiting") return spec.progress?.ahead ? `waiting · ${spec.progress.ahead} ahead` : "waiting";
  if (spec.state === "running") {
    const { stage, fraction } = spec.progress ?? {};
    return stage ? `${stage} ${Math.round(100 * (fraction ?? 0))} %` : "starting";
  }
  const parts = [];
  const psnr = spec.metrics?.psnr_y ?? spec.metrics?.psnr_rgb ?? null;
  if (psnr !== null) parts.push(`${decibels(psnr)}${spec.metrics.psnr_y === null ? " RGB" : ""}`);
  if (spec.timing) {
    const ms = totalMs(spec);
    parts.push(ms < 100 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`);
  }
  if (spec.timing?.cold) parts.push("first run");
  // The field was kept from an earlier run: the time covers drawing only.
  else if (spec.field && spec.timing && !("encode" in spec.timing.stages_ms) && !("fit" in spec.timing.stages_ms)) parts.push("draw only");
  if (fieldNote) parts.push(fieldNote);
  return parts.join("  ");
}

const DEPTH = "The screen and these values have 8 bits per channel";

/** The line below the pictures: the position of the pointer and the values there. */
export class Foot {
  constructor(viewer) {
    this.viewer = viewer;
    this.values = el("div", { className: "gsr-values" });
    this.gaussians = el("span", { className: "gsr-count" });
    this.node = el("div", { className: "gsr-foot" }, this.values, this.gaussians);
  }

  update() {
    const { viewer } = this;
    this.values.replaceChildren(...this.#readout());
    this.gaussians.textContent = gaussianNote(viewer);
    // Where there is no room for the names, the dots say which pane a value is of.
    this.node.classList.remove("is-tight");
    this.node.classList.toggle("is-tight", this.values.scrollWidth > this.values.clientWidth + 1);
  }

  #readout() {
    const { viewer } = this;
    const spot = viewer.spot();
    if (!spot) return [el("span", { className: "gsr-quiet" }, viewer.shown.length ? sizeNote(viewer) : "")];
    const nodes = [el("span", { "data-role": "position" }, `x ${spot.x.toFixed(1)}  y ${spot.y.toFixed(1)}`)];
    for (const { pane, value } of spot.values) {
      nodes.push(el("span", { "data-pane": pane.spec.id }, dot(pane.spec.colour), el("span", { className: "gsr-valuename" }, `${viewer.nameOf(pane)} `), el("b", {}, value.join(" "))));
    }
    if (spot.delta) nodes.push(el("span", { "data-role": "delta" }, `Δ ${spot.delta.map(signed).join(" ")}`));
    const deep = spot.values.map(({ pane }) => pane.spec).filter(({ bits }) => bits > 8);
    const title = deep.some((spec) => spec.download_url && savesAllBits(spec)) ? `${DEPTH}; the downloaded picture has all bits.` : `${DEPTH}.`;
    if (deep.length) nodes.push(el("span", { "data-role": "depth", className: "gsr-quiet", title }, `8 of ${Math.max(...deep.map(({ bits }) => bits))} bits`));
    return nodes;
  }
}

export function helpDialog() {
  const rows = KEYS.map(([key, text]) => el("tr", {}, el("td", {}, ...key.split(" ").map((k) => el("kbd", {}, k))), el("td", {}, text)));
  const dialog = el("dialog", { className: "gsr-help", "aria-label": "Keys" });
  const more = "Wheel: zoom at the pointer. Drag: pan. Pinch: zoom. Double click: 1:1, then 8×, then fit.";
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.append(el("h3", {}, "Keys"), el("table", {}, ...rows), el("p", { className: "gsr-quiet" }, more), close);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
