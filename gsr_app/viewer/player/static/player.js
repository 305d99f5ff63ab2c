/* The player: shows the states of a run as the server sends them, and plays their file.
 *
 *   const player = new Player(element, { baseUrl: document.baseURI });
 *   player.setState(state);
 *
 * The states are described in player/contract.py. */

import { PlayerBar, tagsOf, Transport } from "./controls.js";
import { el, takeFocus } from "./dom.js";
import { Playback } from "./playback.js";
import { Painter } from "./painter.js";
import { pressKey } from "./playerkeys.js";
import { Viewport } from "./viewport.js";

export class Player extends Viewport {
  state = { state: "empty" };
  panes = [];
  mode = "side";
  firstId = "result";
  baseId = "source";
  gain = 4;
  score = "psnr";
  closeZoom = 4;

  constructor(element, { baseUrl = document.baseURI } = {}) {
    super("Video. Space plays, arrows step, G W D S choose how panes are shown.");
    this.element = element;
    this.baseUrl = baseUrl;
    this.playback = new Playback(
      () => this.draw(),
      (problem) => {
        if (problem) this.problem = problem;
        this.changed();
      },
    );
    this.bar = new PlayerBar(this);
    this.transport = new Transport(this);
    this.tags = el("div", { className: "gsr-tags" });
    this.message = el("div", { className: "gsr-message gsr-videomessage" });
    this.status = el("div", { className: "gsr-foot gsr-status", "aria-live": "polite" });
    element.classList.add("gsr-viewer", "gsr-player");
    element.replaceChildren(this.bar.node, this.stage, this.transport.node, this.status);
    element.player = this;
    this.painter = new Painter(this.canvas);
    this.open(this.tags, this.divider, this.empty, this.message);
  }

  pressKey(event) {
    return pressKey(this, event);
  }

  get scores() {
    return this.state.scores ?? null;
  }

  get first() {
    return this.panes.find((pane) => pane.spec.id === this.firstId) ?? this.panes[0] ?? null;
  }

  get against() {
    return this.panes.find((pane) => pane.spec.id === this.baseId && pane !== this.first) ?? this.panes.find((pane) => pane !== this.first) ?? null;
  }

  /** Whether the server still makes the video. */
  get isBusy() {
    return this.state.state === "running" || this.state.state === "waiting";
  }

  /** Show a state; a longer file of the same run continues where the shorter one is. */
  setState(state) {
    if (!state?.state) return;
    const before = this.state;
    this.state = state;
    const { clip } = state;
    if (state.run !== before.run) {
      takeFocus(this.stage);
      this.playback.clear();
      this.panes = [];
      this.problem = null;
    }
    if (clip && clip.url !== before.clip?.url) {
      const first = !this.panes.length;
      this.panes = clip.panes.map((spec) => ({ spec, span: spanOf(spec, clip.scale) }));
      const [result] = this.panes;
      if (first) {
        this.view.setFrame(result.span.width, result.span.height);
        this.baseId = this.panes.some((pane) => pane.spec.id === "reference") ? "reference" : "source";
      }
      this.playback.load(new URL(clip.url, this.baseUrl).href, clip.times, clip.end);
    }
    this.changed();
  }

  // ---- verbs

  setMode(mode) {
    this.set({ mode });
  }

  choose(first, base) {
    if (first) this.firstId = first;
    if (base) this.baseId = base;
    this.changed();
  }

  // ---- drawing

  draw() {
    if (!this.canvas.width) return;
    const shown = this.mode === "side" ? this.panes : this.first ? [this.first] : [];
    this.setCells(this.painter.layout(shown, this.mode, this.view.frame));
    const video = this.playback.index >= 0 ? this.playback.video : null;
    const pair = this.mode === "wipe" || this.mode === "difference" ? this.against : null;
    this.painter.draw(video, { cells: this.cells, base: pair, mode: this.mode, view: this.view, wipe: this.wipe, gain: this.gain });
    this.tags.replaceChildren(...(video ? tagsOf(this.cells, this.dpr, { mode: this.mode, base: pair, wipe: this.wipe }) : []));
    this.bar.update();
    this.transport.update();
    this.showDivider(video && this.mode === "wipe" && pair);
    this.#showMessages(video);
    this.#publish(video);
  }

  #showMessages(video) {
    const { state, clip, progress, error, ahead, width, height, notes, trouble, download, done } = this.state;
    const queued = ahead ? `${ahead} before this one` : "";
    const [message, status] = {
      waiting: [queued || "waiting", queued],
      running: ["the first pictures are being made", `${Number.isFinite(progress?.fraction) ? `${Math.round(progress.fraction * 100)} %  ·  ` : ""}${progress?.text ?? ""}`],
      cancelled: ["stopped", clip ? "stopped; the pictures so far can be played" : "stopped"],
      failed: [el("strong", {}, error?.message), error?.message],
      done: [this.problem ?? "loading", [done, `${width} × ${height}`, trouble, ...(notes ?? [])].filter(Boolean).join("  ·  ")],
    }[state] ?? ["", ""];
    this.empty.hidden = state !== "empty";
    this.message.hidden = Boolean(video) || state === "empty";
    this.message.replaceChildren(
      el("div", {}, message, state === "failed" && error.hint && el("p", {}, error.hint), this.isBusy && el("progress", { max: 1, value: progress?.fraction })),
    );
    const key = JSON.stringify([state, status, download]);
    if (key === this.statusKey) return;
    this.statusKey = key;
    const link = download && el("a", { href: new URL(download.url, this.baseUrl).href, download: download.name }, `Download ${download.name}`);
    this.status.replaceChildren(...[link, el("span", { title: status }, status)].filter(Boolean));
  }

  // The state, as an attribute of the element, for tests.
  #publish(video) {
    const { index, playing, count } = this.playback;
    const { zoom, cx, cy } = this.view;
    const text = JSON.stringify({ state: this.state.state, mode: this.mode, index, count, playing, shown: Boolean(video), zoom, cx, cy, wipe: this.wipe });
    if (text !== this.element.dataset.state) this.element.dataset.state = text;
  }
}

/** How many pixels of the result a pane covers; a fraction at the right and bottom edges may be cut off. */
function spanOf(spec, scale) {
  const by = spec.id === "source" ? scale : { x: 1, y: 1 };
  return { width: spec.width * spec.shrunk * by.x, height: spec.height * spec.shrunk * by.y };
}
