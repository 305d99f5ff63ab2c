/* Several pictures that are compared: a strip of small pictures, of which one is on the stage.
 *
 * A page is {title, thumbnail, scene}. One whose run has not begun has a scene without a source, and cannot be opened. */

import { el } from "./dom.js";

/** What is the same in all that a run sends; nothing of a preview. */
const runOf = (value) => (value?.pages ? value.id : value?.run);

export class Album {
  constructor(viewer) {
    this.viewer = viewer;
    this.left = null; // the run that another picture has taken the stage from
    this.disguise = null; // for a blind test: the scene of a page without anything that identifies a method
    this.node = el("nav", { className: "gsr-filmstrip", "aria-label": "Pictures" });
    this.node.addEventListener("keydown", (event) => this.#press(event));
    viewer.album = this;
    viewer.stage.before(this.node);
    this.#clear();
  }

  get isOpen() {
    return this.pages.length > 1;
  }

  /** What a report, a figure or a table is made of: the pages that are finished, with their regions. */
  get savedPages() {
    this.keepRegions();
    const { finishedScenes } = this.viewer;
    const pages = this.pages.map(({ scene }, i) => ({ scene, regions: this.regions.get(i) ?? scene.regions }));
    return pages.filter(({ scene }) => finishedScenes.includes(scene)).map(({ scene, regions }) => ({ run: scene.run, regions }));
  }

  get runs() {
    return this.pages.map(({ scene }) => scene.run).filter(Boolean);
  }

  /** Whether a value arrives too late: the preview of a picture after its first results, or what a run sends after another
   * picture has been put on the stage. */
  isLate(value) {
    const run = runOf(value);
    if (run) return run === this.left;
    if (!value?.source) return false;
    const scenes = this.pages.length ? this.pages.map(({ scene }) => scene) : [this.viewer.scene];
    return scenes.some(({ run, source }) => run && source?.key === value.source.key);
  }

  /** Show an album of the server, {id, number, pages}; or a scene alone. */
  take(value) {
    if (this.isLate(value)) return;
    if (!runOf(value)) this.left = this.id || this.viewer.scene.run || this.left;
    if (!value?.pages) {
      this.#clear();
      return this.viewer.setScene(value);
    }
    if (value.id !== this.id) this.#clear();
    const { number } = this;
    Object.assign(this, { id: value.id, pages: value.pages });
    if (this.isFollowing) this.number = value.number;
    this.#draw();
    this.#show(this.number !== number);
  }

  #clear() {
    Object.assign(this, { id: null, pages: [], number: 0, isFollowing: true, regions: new Map() });
    this.#draw();
  }

  /** `isOther`: what the page shows differs from before, though it is the same page. */
  open(number, isOther = number !== this.number) {
    if (!this.#canOpen(number)) return;
    this.keepRegions();
    this.number = number;
    this.isFollowing = false;
    this.#draw();
    this.#show(isOther);
  }

  /** The next page that can be opened, or the one before. */
  step(by) {
    for (let i = this.number + by; i >= 0 && i < this.pages.length; i += by) {
      if (this.#canOpen(i)) return this.open(i);
    }
  }

  /** Whether a page still runs, as far as it has not been stopped. */
  get isRunning() {
    return this.pages.some(({ scene }) => this.#runs(scene));
  }

  #runs(scene) {
    return scene.running && !this.viewer.stopped?.includes(scene.run);
  }

  #canOpen(number) {
    return Boolean(this.pages[number]?.scene.source);
  }

  /** Before another page is shown, or before a blind test. */
  keepRegions() {
    if (this.pages.length && !this.viewer.blind) this.regions.set(this.number, this.viewer.regions);
  }

  #show(isOther) {
    const { viewer, number } = this;
    if (isOther) Object.assign(viewer, { regions: [], region: null });
    const scene = this.disguise ? this.disguise(number) : this.pages[number].scene;
    const regions = this.regions.get(number);
    viewer.setScene(regions && isOther ? { ...scene, regions } : scene);
  }

  #press(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    this.step(by);
    this.node.children[this.number]?.focus();
  }

  #draw() {
    this.node.hidden = !this.isOpen;
    const key = JSON.stringify([this.number, this.pages.map(({ title, thumbnail, scene }, i) => [title, thumbnail, this.#runs(scene), this.#canOpen(i)])]);
    if (key === this.key) return;
    this.key = key;
    const hadFocus = this.node.contains(document.activeElement);
    this.node.replaceChildren(
      ...this.pages.map(({ title, thumbnail, scene }, i) =>
        el(
          "button",
          { type: "button", title, disabled: !this.#canOpen(i), "aria-pressed": String(i === this.number), "data-running": String(this.#runs(scene)), onclick: () => this.open(i) },
          thumbnail && el("img", { src: thumbnail, alt: "", draggable: false }),
          el("span", {}, title),
        ),
      ),
    );
    const button = this.node.children[this.number];
    if (hadFocus) button?.focus();
    if (button) this.node.scrollLeft = button.offsetLeft - (this.node.clientWidth - button.offsetWidth) / 2;
  }
}
