/* The bar above the stage and the playback controls below it. */

import { dot, el, segmented, select } from "./dom.js";
import { drawScores } from "./painter.js";

const MODES = [
  ["side", "Side by side", "Every pane at once (G)"],
  ["wipe", "Wipe", "Two panes, one divider (W)"],
  ["difference", "Difference", "Difference of two panes (D)"],
  ["single", "Single", "One pane alone (S)"],
];

export class PlayerBar {
  constructor(player) {
    this.player = player;
    this.modes = segmented("Mode", MODES, (mode) => player.setMode(mode));
    this.first = select("Shown", (id) => player.choose(id, null));
    this.base = select("Against", (id) => player.choose(null, id));
    this.gain = select("Difference gain", (gain) => player.set({ gain: Number(gain) }));
    this.zoom = el("output", { className: "gsr-percent" });
    const zoom = (text, hint, act, kind = "") => el("button", { type: "button", className: `gsr-plain ${kind}`, title: hint, "aria-label": hint, onclick: act }, text);
    this.node = el(
      "div",
      { className: "gsr-bar" },
      this.modes.node,
      (this.context = el("span", { className: "gsr-context" }, this.first.node, (this.against = el("span", {}, "against")), this.base.node, this.gain.node)),
      el("span", { className: "gsr-spring" }),
      zoom("Fit", "Fit (F)", () => player.fit()),
      zoom("1:1", "1:1: one pixel of the result per screen pixel (0)", () => player.oneToOne()),
      zoom("−", "Smaller", () => player.zoomStep(-1), "gsr-zoomstep"),
      this.zoom,
      zoom("+", "Larger", () => player.zoomStep(1), "gsr-zoomstep"),
    );
  }

  update() {
    const { player } = this;
    const { panes, mode } = player;
    this.modes.show(mode);
    const choices = panes.map(({ spec }) => [spec.id, spec.name]);
    const pairs = mode === "wipe" || mode === "difference";
    this.first.fill(choices, player.firstId);
    this.base.fill(choices, player.baseId);
    this.first.node.hidden = mode === "side";
    this.base.node.hidden = this.against.hidden = !pairs;
    this.gain.fill([1, 2, 4, 8, 16].map((gain) => [String(gain), `×${gain}`]), String(player.gain));
    this.gain.node.hidden = mode !== "difference";
    this.context.hidden = !panes.length;
    this.zoom.textContent = panes.length ? `${Math.round(player.view.zoom * 100)} %` : "";
  }
}

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  start: "M4 3h2v10H4zM13 3v10L7 8z",
  previous: "M11 3v10L4 8zM12 3h1v10h-1z",
  play: "M4 2.5v11L13.5 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  next: "M5 3v10l7-5zM3 3h1v10H3z",
};

function icon(name) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("viewBox", "0 0 16 16");
  node.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  node.append(path);
  return node;
}

const clock = (seconds) => {
  const hundredths = Math.round(seconds * 100);
  return `${Math.floor(hundredths / 6000)}:${String(Math.floor(hundredths / 100) % 60).padStart(2, "0")}.${String(hundredths % 100).padStart(2, "0")}`;
};

export class Transport {
  constructor(player) {
    this.player = player;
    const { playback } = player;
    const button = (shape, hint, act) => el("button", { type: "button", title: hint, "aria-label": hint, onclick: act }, icon(shape));
    this.play = button("play", "Play or pause (Space)", () => playback.toggle());
    this.place = el("input", { type: "range", className: "gsr-scrub", min: 0, max: 0, step: 1, value: 0, "aria-label": "Picture" });
    this.place.addEventListener("input", () => {
      playback.pause();
      playback.seek(Number(this.place.value));
    });
    this.time = el("span", { className: "gsr-figures gsr-clock" });
    this.speed = select("Speed", (speed) => playback.setSpeed(Number(speed)));
    this.speed.fill([["0.1", "0.1×"], ["0.25", "0.25×"], ["0.5", "0.5×"], ["1", "1×"], ["2", "2×"]], "1");
    this.curve = el("canvas", { className: "gsr-curve", role: "img", "aria-label": "Score of every picture" });
    this.curve.addEventListener("pointerdown", (event) => {
      const box = this.curve.getBoundingClientRect();
      playback.pause();
      playback.seek(playback.at(((event.clientX - box.left) / box.width) * playback.end));
    });
    this.kind = select("Score", (score) => player.set({ score }));
    this.figures = el("span", { className: "gsr-figures" });
    this.scores = el("div", { className: "gsr-scores-row" }, this.kind.node, this.curve, this.figures);
    this.row = el(
      "div",
      { className: "gsr-transport" },
      button("start", "To the start (Home)", () => playback.seek(0)),
      button("previous", "Previous picture (←)", () => playback.step(-1)),
      this.play,
      button("next", "Next picture (→)", () => playback.step(1)),
      this.place,
      this.time,
      this.speed.node,
    );
    this.node = el("div", { className: "gsr-controls" }, this.row, this.scores);
  }

  update() {
    const { player } = this;
    const { playback, scores } = player;
    const index = Math.max(0, playback.index);
    for (const control of this.row.querySelectorAll("button, input, select")) control.disabled = !playback.count;
    const shape = SHAPES[playback.playing ? "pause" : "play"];
    const path = this.play.querySelector("path");
    if (path.getAttribute("d") !== shape) path.setAttribute("d", shape);
    this.place.max = Math.max(0, playback.count - 1);
    this.place.value = index;
    const now = clock(playback.times[index] ?? 0);
    this.time.textContent = playback.count ? `${now} / ${clock(playback.end)}  ${index + 1}/${playback.count}` : "";
    this.scores.hidden = !scores;
    if (!scores) return;
    this.kind.fill([["psnr", "PSNR-Y"], ["flicker", "Flicker"]], player.score);
    const values = scores[player.score].slice(0, playback.count);
    const value = values[index];
    const mean = values.filter((one) => one !== null);
    const unit = player.score === "psnr" ? " dB" : "";
    const text = (number) => (number === null || number === undefined ? "–" : number.toFixed(player.score === "psnr" ? 2 : 3) + unit);
    this.figures.textContent = `${text(value)}   mean ${text(mean.length ? mean.reduce((a, b) => a + b, 0) / mean.length : null)}`;
    this.figures.title = player.score === "psnr" ? "PSNR of Y (BT.601), whole frame, 8 bit" : "Mean |Δresult − Δreference| of Y between successive pictures, in 8-bit levels";
    const dpr = window.devicePixelRatio || 1;
    const box = this.curve.getBoundingClientRect();
    Object.assign(this.curve, { width: Math.round(box.width * dpr), height: Math.round(box.height * dpr) });
    const style = getComputedStyle(this.node);
    drawScores(this.curve, values, playback.times, playback.end, index, { line: style.getPropertyValue("--gsr-soft"), mark: style.getPropertyValue("--gsr-accent") });
  }
}

/** The tag in the corner of each pane. */
export function tagsOf(cells, dpr, { mode, base, wipe }) {
  const tag = ({ spec }, x, y, right, minus = "") =>
    el(
      "div",
      { className: "gsr-tag", style: { left: right ? "auto" : `${x / dpr + 8}px`, right: right ? "8px" : "auto", top: `${y / dpr + 8}px` } },
      dot(spec.colour),
      minus + spec.name,
      spec.shrunk > 1 && el("span", { className: "gsr-isbase" }, `shown at 1/${spec.shrunk} of its size`),
    );
  const tags = cells.map(({ pane, rect }) => tag(pane, rect.x, rect.y, false));
  if (mode === "wipe" && base && wipe < 0.98) tags.push(tag(base, 0, 0, true));
  if (mode === "difference" && base && cells.length) tags.push(tag(base, 0, 0, true, "− "));
  return tags;
}
