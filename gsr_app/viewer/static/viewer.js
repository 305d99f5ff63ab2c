/* The viewer: builds its parts inside one element, receives scenes, and draws after changes.
 *
 *   const viewer = new Viewer(element, {
 *     renderView: async (fieldId, {x, y, width, height}, [w, h]) => ({url, ms}),   // source pixels; screen pixels
 *     fieldUrl: async (fieldId) => ({url, bytes}),                                 // bytes: the size of the download, if known
 *     notify: (state, viewer) => {},                                               // after every change
 *   });
 *   viewer.setScene(scene);
 *
 * contract.py describes the scene; tests/browser/contract.py checks that both sides agree on its fields. */

import { DEFAULT_ADJUSTMENTS } from "./adjustments.js";
import { AdjustPanel } from "./adjustpanel.js";
import { Announcer } from "./announcer.js";
import { Bar, Foot, helpDialog, Tags } from "./chrome.js";
import { mostDifferent } from "./detail.js";
import { Dock } from "./dock.js";
import { el, takeFocus } from "./dom.js";
import { pressKey } from "./keys.js";
import { Live } from "./live.js";
import { Minimap } from "./minimap.js";
import { palette } from "./palette.js";
import { MAX_PANES, Pane } from "./panes.js";
import { Stage } from "./stage.js";
import { ViewerState } from "./state.js";
import { TonePanel } from "./tonepanel.js";

const STANDALONE = {
  renderView: async () => {
    throw new Error("There is no server to draw the field.");
  },
  fieldUrl: async () => {
    throw new Error("The Gaussians are not part of this page.");
  },
  notify: () => {},
};

const asStopped = (scene) => {
  const stopped = (state) => (state === "running" || state === "waiting" ? "cancelled" : state);
  return { ...scene, running: false, panes: scene.panes.map((spec) => ({ ...spec, state: stopped(spec.state) })) };
};

export class Viewer extends ViewerState {
  constructor(element, services = {}) {
    super("Pictures. Press question mark for the keys.");
    this.element = element;
    this.services = { ...STANDALONE, ...services };
    this.live = new Live(() => this.changed());
    this.bar = new Bar(this);
    this.tags = new Tags(this);
    this.foot = new Foot(this);
    this.adjustPanel = new AdjustPanel(this);
    this.tonePanel = new TonePanel(this);
    this.minimap = new Minimap(this);
    this.dock = new Dock(this);
    this.help = helpDialog();
    this.announcer = new Announcer();
    palette();
    element.classList.add("gsr-viewer");
    element.replaceChildren(this.bar.node, this.stage, this.foot.node, this.dock.node, this.help, this.announcer.node);
    element.viewer = this;
    this.painter = new Stage(this, this.canvas);
    this.stage.addEventListener("keyup", (event) => event.key === " " && this.hold(false));
    this.stage.addEventListener("blur", () => this.hold(false));
    this.open(this.tags.node, this.divider, this.minimap.node, this.adjustPanel.node, this.tonePanel.node, this.empty);
  }

  /** Show a scene; pictures that are already loaded stay. */
  setScene(scene) {
    if (!scene?.panes) return;
    if (scene.running && this.stopped?.includes(scene.run)) scene = asStopped(scene);
    const before = this.scene;
    this.scene = scene;
    this.isRefused = false;
    this.announcer.tell(before, scene);
    if (scene.running && scene.run !== before.run) {
      takeFocus(this.stage);
      this.opensOnDetail = this.view.fitted && !scene.detail;
      this.opensOnPart = Boolean(scene.detail);
      this.partSize = "";
    }
    const sameSource = ["key", "width", "height"].every((name) => before.source && before.source[name] === scene.source?.[name]);
    if (!sameSource) {
      this.regions = [];
      this.region = null;
      if (before.source) this.#resetOverlays();
    }
    const isFirstRun = Boolean(scene.run && !before.run); // until then the input alone was shown
    const ids = new Set(scene.panes.map((spec) => spec.id));
    for (const [id, pane] of this.panes) {
      if (ids.has(id) && sameSource) continue;
      pane.close();
      if (this.selected?.pane === pane) this.selected = null;
      this.panes.delete(id);
    }
    for (const spec of scene.panes) {
      let pane = this.panes.get(spec.id);
      const isNew = !pane;
      if (isNew) {
        pane = new Pane(spec, this.services, this.live, () => this.changed());
        this.panes.set(spec.id, pane);
      }
      if (isNew || isFirstRun) {
        if (spec.hidden || this.chosen.length > MAX_PANES) this.hidden.add(spec.id);
        else this.hidden.delete(spec.id);
      }
      pane.update(spec, scene.scale);
      if (this.overlay !== "off") pane.loadField();
    }
    if (scene.frame && (!sameSource || before.frame?.width !== scene.frame.width || before.frame?.height !== scene.frame.height)) {
      this.view.setFrame(scene.frame.width, scene.frame.height, sameSource);
    }
    if (scene.regions && !this.regions.length) for (const region of scene.regions) this.addRegion(region);
    this.changed();
  }

  // The Gaussians of one picture say nothing about those of the next.
  #resetOverlays() {
    this.live.isOpen = false;
    this.live.setAdjustments(DEFAULT_ADJUSTMENTS);
    Object.assign(this, { overlay: "off", hovered: null, selected: null, minusPixels: false });
  }

  /** Show the current run as stopped, and ignore what else it sends. */
  stop() {
    if (!this.scene.running && !this.album?.isOpen) return;
    this.stopped = this.album?.isOpen ? this.album.runs : [this.scene.run];
    this.setScene(this.scene);
  }

  pressKey(event) {
    return pressKey(this, event);
  }

  // Once all results are there: an overview where they look alike becomes the place where they differ most.
  #openOnDetail() {
    if (!this.opensOnDetail || this.scene.running) return;
    const methods = this.shown.filter((pane) => pane.spec.kind === "method");
    if (methods.some((pane) => pane.spec.url && (!pane.picture || pane.arrived !== null))) return;
    this.opensOnDetail = false;
    const [one, other] = methods.filter((pane) => pane.picture);
    if (!other || !this.view.fitted || this.view.fitZoom > 0.999) return;
    const place = mostDifferent(one.picture, other.picture);
    const { width, height } = this.view.frame;
    if (place) this.view.setInside(place.x * width, place.y * height, 1);
  }

  // A part fills the stage as soon as it is begun, also when the stage changes its size while it is made.
  #openOnPart() {
    const size = [this.view.pane.w, this.view.pane.h].join();
    if (!this.opensOnPart || !this.cells.length || size === this.partSize) return;
    this.partSize = size;
    this.opensOnPart = this.scene.running;
    this.showRegion(this.scene.detail);
  }

  draw() {
    if (!this.canvas.width) return;
    this.#openOnDetail();
    this.setCells(this.painter.cells());
    this.#openOnPart();
    if (this.cells.length) this.live.choosePanes(this, this.cells[0].rect);
    this.painter.draw();
    this.inView = this.painter.inView;
    this.#requestFrames();
    this.bar.update();
    this.tags.update(this.cells);
    this.foot.update();
    this.minimap.draw();
    this.adjustPanel.update();
    this.tonePanel.update();
    this.dock.update();
    this.empty.hidden = this.shown.length > 0;
    this.showDivider(this.mode === "wipe" && this.shown.length > 1);
    this.stage.classList.toggle("is-drawing", this.drawingRegion);
    this.element.classList.toggle("is-refused", this.isRefused);
    this.#publish();
  }

  #requestFrames() {
    const wanted = new Map(this.cells.map(({ pane, rect }) => [pane, rect]));
    if (this.mode === "wipe" && this.base) wanted.set(this.base, this.cells[0].rect);
    for (const [pane, rect] of wanted) if (this.usesTrueZoom(pane) && !pane.isLive) pane.zoomer.request(this.view, rect, this.scene.scale);
  }

  // The state, as an attribute of the element for tests, and for the service that is notified of it.
  #publish() {
    const { view, mode, active, base } = this;
    const state = {
      mode,
      zoom: view.zoom,
      cx: view.cx,
      cy: view.cy,
      active: active?.spec.id ?? null,
      base: base?.spec.id ?? null,
      overlay: this.overlay,
      picking: Boolean(this.pick),
      loaded: this.allPanes.filter((pane) => pane.picture && pane.loaded === pane.spec.url).map((pane) => pane.spec.id),
      drawn: this.shown.filter((pane) => this.usesTrueZoom(pane) && (pane.isLive ? pane.drawings.view?.step === 1 : pane.zoomer.current)).map((pane) => pane.spec.id),
      live: this.shown.filter((pane) => pane.isLive).map((pane) => pane.spec.id),
      fields: this.shown.filter((pane) => pane.field).map((pane) => pane.spec.id),
    };
    const text = JSON.stringify(state);
    if (text === this.element.dataset.state) return;
    this.element.dataset.state = text;
    this.services.notify(state, this);
  }

  toggleHelp() {
    if (this.help.open) this.help.close();
    else this.help.showModal();
  }

  escape() {
    if (this.help.open) this.help.close();
    this.set({ drawingRegion: false, draft: null, pick: null });
  }

  close() {
    this.observer.disconnect();
    clearInterval(this.blinkTimer);
    for (const pane of this.panes.values()) pane.close();
    this.live.close();
    this.painter.flipMaps.close();
  }
}
