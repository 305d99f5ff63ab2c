/* A page that enlarges pictures in the browser: nothing is sent anywhere.
 *
 *   showPage(root, {weights: "base64", version: "1.0", picture: {name, url}});
 *
 * `picture`, if any, is shown at first. */

import { Bicubic } from "./bicubic.js";
import { el, followTheme } from "./dom.js";
import { Encoder } from "./encoder.js";
import { drawExample } from "./example.js";
import { aboutDialog, EngineBadge, Progress, Welcome } from "./pageparts.js";
import { SaveDialog } from "./savedialog.js";
import { Source } from "./source.js";
import { Tiler } from "./tiler.js";
import { Viewer } from "./viewer.js";

const MAX_ZOOM = 1024;
const PANES = [
  ["swift", "Swift", "#1f9d8a"],
  ["bicubic", "Bicubic", "#c07f2f"],
  ["nearest", "Nearest", "#7d8790"],
];

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

export function showPage(root, data) {
  return new Page(root, data);
}

export class Page {
  constructor(root, data) {
    this.data = data;
    this.source = this.tiler = null;
    this.isOpening = 0;
    this.lacking = this.warning = "";
    this.viewer = new Viewer(el("div", { className: "gsr-pagestage" }), {
      pictureOf: () => this.source.picture,
      enlargerOf: ({ id }) => (id === "bicubic" ? this.bicubic : null),
      fieldUrl: async () => ({ field: this.tiler.field }),
      notify: () => this.#look(),
    });
    this.viewer.view.maxZoom = MAX_ZOOM;
    this.welcome = new Welcome((files) => this.#openFirst(files), async () => this.open(await drawExample(), "example.png"));
    this.badge = new EngineBadge();
    this.progress = new Progress((isPaused) => this.tiler?.pause(isPaused));
    this.saving = new SaveDialog(this);
    this.about = aboutDialog(data);
    this.alert = el("div", { className: "gsr-pagealert", role: "alert", hidden: true });
    this.title = el("span", { className: "gsr-pagetitle" });
    this.save = el("button", { type: "button", className: "gsr-primary", title: "Save the enlarged picture as PNG (Ctrl+S)", disabled: true, onclick: () => this.saving.open() }, "Save");
    this.head = el(
      "header",
      { className: "gsr-pagehead" },
      el("strong", {}, "GSR"),
      this.title,
      this.progress.node,
      this.badge.node,
      this.welcome.chooser("Open"),
      this.save,
      el("button", { type: "button", className: "gsr-plainbutton", title: "About this page", "aria-label": "About this page", onclick: () => this.about.showModal() }, el("span", { className: "gsr-aboutword" }, "About"), el("span", { className: "gsr-abouticon" }, "ⓘ")),
    );
    root.classList.add("gsr-page", "is-empty");
    this.root = root;
    root.replaceChildren(this.head, this.alert, this.viewer.element, this.saving.node, this.about);
    root.page = this;
    followTheme();
    this.viewer.setEmpty(this.welcome.node);
    this.viewer.setMode("wipe");
    this.viewer.changed();
    this.welcome.listen(root);
    document.addEventListener("keydown", (event) => this.#pressKey(event));
    this.#start();
  }

  async #start() {
    try {
      this.encoder = await Encoder.open(bytesOf(this.data.weights).buffer, { only: this.data.engine ?? "" });
      this.#showEngine();
    } catch (error) {
      this.badge.fail(String(error.message ?? error));
      this.lacking = `This browser cannot compute Gaussians: ${error.message ?? error} Pictures are enlarged without them.`;
      this.#warn(this.warning);
    }
    if (this.encoder && this.source) this.#showPanes(); // opened meanwhile, without Swift
    const { picture } = this.data;
    if (picture && !this.isOpening) await this.open(new Blob([bytesOf(picture.data)]), picture.name);
  }

  /** Say what is wrong with this picture, and what the browser lacks. */
  #warn(text) {
    this.warning = text;
    this.alert.textContent = [this.lacking, text].filter(Boolean).join(" ");
    this.alert.hidden = !this.alert.textContent;
  }

  #openFirst(files) {
    if (files[0]) this.open(files[0], files[0].name || "picture");
  }

  /** Show a picture, in place of the one before. */
  async open(blob, name) {
    const number = ++this.isOpening;
    this.#warn("");
    this.progress.note(`opening ${name} …`);
    let source = null;
    try {
      source = await Source.open(blob, name);
      await source.flatten();
    } catch (error) {
      if (number === this.isOpening) this.#warn(String(error.message ?? error));
      source?.close();
      source = null;
    }
    if (number !== this.isOpening) return source?.close();
    this.progress.note("");
    if (source) this.#show(source);
  }

  #show(source) {
    const { viewer } = this;
    this.root.classList.remove("is-empty");
    viewer.setScene({ panes: [], scale: { x: 1, y: 1 }, source: null, frame: null });
    this.tiler?.close();
    this.source?.close();
    this.source = source;
    this.key = String(this.isOpening);
    this.bicubic = new Bicubic(source);
    this.tiler = null;
    Object.assign(viewer, { activeId: null, baseId: "bicubic" });
    this.title.textContent = `${source.name} · ${source.width} × ${source.height}`;
    if (source.notes.length) this.#warn(source.notes.join(" "));
    this.#showPanes();
  }

  // With Swift once there is an encoder. Of a picture that is shown already, zoom and place stay.
  #showPanes() {
    const { viewer, source, key } = this;
    const { width, height } = source;
    if (this.encoder) this.tiler = new Tiler(this.encoder, source, { changed: () => this.#update(), failed: (error) => this.#fail(error) });
    const spec = ([id, label, colour]) => ({
      id, name: label, colour, kind: "method", state: "done", url: "source", span: [height, width], alpha: false, bits: 8,
      field: id === "swift" && this.tiler ? { id: `field ${key}`, count: 0, live: false } : null,
    });
    const panes = PANES.filter(([id]) => this.tiler || id !== "swift").map(spec);
    viewer.setScene({ panes, scale: { x: 1, y: 1 }, source: { key, name: source.name, width, height }, frame: { width, height } });
    this.save.disabled = !this.tiler;
    this.saving.refresh();
    this.#look();
    this.#update();
  }

  // The part of the source that the screen shows, where its Gaussians are of use.
  #look() {
    if (!this.tiler) return;
    this.tiler.follow(this.viewer);
    this.#showProgress();
  }

  #update() {
    this.viewer.live.refresh();
    this.#showProgress();
    this.#showEngine();
  }

  #showEngine() {
    if (!this.encoder) return;
    const { live } = this.viewer;
    this.badge.show(this.encoder, live.painter && live.unavailable ? `${live.unavailable} The processor draws them.` : "");
  }

  #showProgress() {
    this.progress.show(this.tiler);
  }

  #fail(error) {
    this.progress.note("");
    this.badge.fail(String(error.message ?? error));
    this.#warn(`Encoding stopped: ${error.message ?? error} Open the picture again to retry.`);
  }

  #pressKey(event) {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === "s" && this.tiler) {
      event.preventDefault();
      this.saving.open();
    } else if (isCommand && event.key === "o") {
      event.preventDefault();
      this.welcome.choose();
    }
  }
}
