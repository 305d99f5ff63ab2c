/* The dialog that saves the enlarged picture: size, progress, download, share sheet. */

import { download, el } from "./dom.js";
import { bytes } from "./format.js";
import { parseSize, savePicture } from "./savepicture.js";

const FACTORS = ["2", "3", "4", "8"];

export class SaveDialog {
  constructor(page) {
    this.page = page;
    this.size = el("input", { type: "text", value: "4", inputMode: "text", "aria-label": "Factor or size", autocomplete: "off", spellcheck: false, oninput: () => this.#check() });
    this.factors = FACTORS.map((factor) => el("button", { type: "button", onclick: () => ((this.size.value = factor), this.#check()) }, `×${factor}`));
    this.text = el("p", { className: "gsr-figures", role: "status" });
    this.bar = el("progress", { max: 1, value: 0, hidden: true, "aria-label": "Saving" });
    this.go = el("button", { type: "button", className: "gsr-primary", onclick: () => this.#save(false) }, "Save PNG");
    this.share = el("button", { type: "button", onclick: () => this.#save(true) }, "Share");
    this.node = el(
      "dialog",
      { className: "gsr-help gsr-savedialog", "aria-label": "Save the picture" },
      el("h3", {}, "Save the picture"),
      el("div", { className: "gsr-factors", role: "group", "aria-label": "Factor" }, ...this.factors),
      el("label", {}, "Factor or size ", this.size),
      el("p", { className: "gsr-quiet" }, "3 · 2.5 · 1920x1080 · 1920x · x1080"),
      this.text,
      this.bar,
      el("div", { className: "gsr-dialogfoot" }, this.go, this.share, el("button", { type: "button", onclick: () => this.node.close() }, "Cancel")),
    );
    this.node.addEventListener("close", () => this.#stop());
    this.node.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the viewer's keys
      if (event.key === "Enter" && event.target === this.size && !this.go.disabled) this.#save(false);
    });
  }

  open() {
    if (this.node.open) return;
    this.share.hidden = !navigator.canShare?.({ files: [new File([], "picture.png", { type: "image/png" })] });
    this.node.showModal();
    this.#check();
  }

  /** Another picture was opened, as by dropping it: the size that is shown is of the one before. */
  refresh() {
    if (this.node.open && this.bar.hidden) this.#check();
  }

  #check() {
    this.factors.forEach((button, k) => button.setAttribute("aria-pressed", String(FACTORS[k] === this.size.value)));
    let size = null;
    try {
      size = parseSize(this.size.value, this.page.source);
      this.text.textContent = `${size.width} × ${size.height} pixels`;
    } catch (error) {
      this.text.textContent = String(error.message ?? error);
    }
    this.go.disabled = this.share.disabled = !size;
  }

  // At once, though what was begun ends only when it has its next tile.
  #stop() {
    this.control?.abort(new Error("Stopped."));
    this.#setRunning(false);
  }

  #setRunning(on) {
    this.bar.hidden = !on;
    for (const node of [this.go, this.share, this.size, ...this.factors]) node.disabled = on;
  }

  async #save(isShared) {
    const { tiler, source, viewer } = this.page;
    const control = (this.control = new AbortController());
    const started = performance.now();
    this.bar.value = 0;
    this.#setRunning(true);
    const progress = (fraction) => {
      this.bar.value = fraction;
      this.text.textContent = `drawing ${Math.round(100 * fraction)} %`;
    };
    try {
      const size = parseSize(this.size.value, source);
      const { width, height } = size;
      const blob = await savePicture(tiler, viewer.live.painter, size, { progress, signal: control.signal });
      control.signal.throwIfAborted();
      const name = `${source.name.replace(/\.[^.]*$/, "")}_${width}x${height}.png`;
      this.text.textContent = `${width} × ${height}, ${bytes(blob.size)}, ${((performance.now() - started) / 1000).toFixed(1)} s`;
      if (isShared) await navigator.share({ files: [new File([blob], name, { type: "image/png" })] });
      else download(name, "image/png", blob);
    } catch (error) {
      if (error.name !== "AbortError" && !control.signal.aborted) this.text.textContent = String(error.message ?? error);
    } finally {
      if (this.control === control) this.#setRunning(false); // else another was begun
      viewer.live.refresh(); // the painter's canvas was used for something else
    }
  }
}
