/* The parts of the page around the viewer: welcome, progress, badge of the engine, about. */

import { el } from "./dom.js";
import { ENGINE_NAMES } from "./encoder.js";

/** Opens pictures: dropped, pasted, chosen or photographed. */
export class Welcome {
  constructor(open, showExample) {
    this.open = open;
    this.input = this.#input();
    const camera = this.#input("environment");
    const photograph = el("label", { className: "gsr-camera gsr-button" }, "Take a photo", camera);
    this.node = el(
      "div",
      { className: "gsr-welcome" },
      el("h1", {}, "Enlarge a picture"),
      el("p", {}, "It is encoded as Gaussians in this browser and drawn at any size. No picture leaves this device."),
      el("div", { className: "gsr-choices" }, el("label", { className: "gsr-button gsr-primary" }, "Choose a picture", this.input), photograph, el("button", { type: "button", className: "gsr-button", onclick: showExample }, "Show an example")),
      el("p", { className: "gsr-quiet" }, "Or drop a picture here, or paste one."),
    );
  }

  #input(capture) {
    const input = el("input", { type: "file", accept: "image/*", className: "gsr-file", onchange: () => (this.open([...input.files]), (input.value = "")) });
    if (capture) input.setAttribute("capture", capture);
    return input;
  }

  /** Another control that opens a picture. */
  chooser(text) {
    return el("label", { className: "gsr-plainbutton", title: "Open a picture (Ctrl+O)" }, text, this.#input());
  }

  choose() {
    this.input.click();
  }

  listen(root) {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (isOver) => root.classList.toggle("is-over", isOver);
    document.addEventListener("dragover", (event) => hasFiles(event) && (event.preventDefault(), mark(true)));
    document.addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(false);
      this.open([...event.dataTransfer.files]);
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length) this.open(files);
    });
  }
}

/** What is encoded, and a button that stops it. */
export class Progress {
  constructor(pause) {
    this.text = el("span", { className: "gsr-figures" });
    this.bar = el("progress", { max: 1, value: 0, "aria-label": "Encoding" });
    this.isPaused = false;
    this.button = el("button", { type: "button", className: "gsr-plainbutton", onclick: () => pause((this.isPaused = !this.isPaused)) }, "Stop");
    this.node = el("div", { className: "gsr-progress", role: "status", hidden: true }, this.text, this.bar, this.button);
  }

  note(text) {
    this.isPaused = false;
    this.node.hidden = !text;
    this.text.textContent = text;
    this.bar.hidden = this.button.hidden = true;
  }

  /** Any work that can be stopped. */
  tell(text, fraction) {
    this.note(text);
    this.bar.hidden = this.button.hidden = false;
    this.bar.value = fraction;
  }

  show(tiler) {
    if (!tiler) return this.note("");
    const { done, total } = tiler.progress;
    this.isPaused = tiler.paused;
    this.node.hidden = done >= total;
    this.bar.hidden = this.button.hidden = false;
    this.bar.value = total ? done / total : 0;
    const what = tiler.field.holdsAll ? "parts" : "parts in view";
    this.text.textContent = this.isPaused ? `stopped, ${done} of ${total} ${what} encoded` : `encoding ${what}: ${done} of ${total}`;
    this.button.textContent = this.isPaused ? "Continue" : "Stop";
  }
}

/** The engine that runs; its title says why nothing faster. */
export class EngineBadge {
  constructor() {
    this.node = el("button", { type: "button", className: "gsr-badge gsr-engine", onclick: () => this.#explain() }, "starting …");
    this.bubble = el("div", { className: "gsr-bubble", role: "status", hidden: true });
    this.node.addEventListener("blur", () => (this.bubble.hidden = true));
  }

  /** `note`: what else the title says. */
  show(encoder, note = "") {
    this.node.textContent = `Swift · ${ENGINE_NAMES[encoder.kind]}`;
    this.node.title = [encoder.title, note].filter(Boolean).join(" ");
    this.node.dataset.state = "on";
  }

  fail(reason) {
    this.node.textContent = "Swift cannot run";
    this.node.title = reason;
    this.node.dataset.state = "failed";
  }

  // Touch screens show no titles.
  #explain() {
    this.node.after(this.bubble);
    this.bubble.textContent = this.node.title;
    this.bubble.hidden = !this.bubble.hidden;
  }
}

export function aboutDialog({ version, licence }) {
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = el(
    "dialog",
    { className: "gsr-help gsr-about-page", "aria-label": "About this page" },
    el("h3", {}, "About this page"),
    el("p", {}, "Swift, a small network, encodes a picture as Gaussians: four for every pixel. They are drawn at any size, so the picture can be magnified without limit and saved at any scale."),
    el("p", {}, "Everything runs in this browser. The page sends and loads nothing, and works without a network."),
    el("p", {}, "Wipe, blink and difference compare with bicubic and nearest-neighbour enlargement. Press ? for the keys."),
    el("p", {}, "The app has more methods, video, 16-bit colours, transparency and folders of pictures: ", el("code", {}, "pip install gsr-app"), ", then ", el("code", {}, "gsr app"), "."),
    el("p", { className: "gsr-quiet" }, `GSR ${version}. Code: Apache-2.0. Weights: ${licence}.`),
    close,
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
