/* The state of the viewer and the verbs that change it. */

import { COLOURINGS, OVERLAYS } from "./overlay.js";
import { MAX_PANES } from "./panes.js";
import { gaussianAt, spotOf } from "./readout.js";
import { regionAround, regionBetween } from "./regions.js";
import { PLAIN } from "./tone.js";
import { Viewport } from "./viewport.js";

const BLINK_MS = 600;
const TAP_CSS = 12; // a press that draws less is no drag
const MODES = ["grid", "wipe", "blink", "difference", "loupe"];
const EMPTY_SCENE = { panes: [], scale: { x: 1, y: 1 }, source: null, frame: null };

export class ViewerState extends Viewport {
  scene = EMPTY_SCENE;
  panes = new Map(); // id -> Pane
  hidden = new Set(); // ids of panes that are not shown
  mode = "grid";
  activeId = null;
  baseId = null;
  blinkAuto = true;
  held = false;
  phase = false;
  gain = 8;
  colourScale = "heat";
  smooth = false;
  tone = PLAIN; // how the pictures are shown
  grid = true;
  trueZoom = true;
  minimapOn = true;
  overlay = "off";
  colouring = "plain";
  hovered = null; // {pane, index}: the Gaussian under the pointer
  selected = null; // the one that was clicked
  minusPixels = false; // whether live panes show their difference to the pixels
  regions = [];
  region = null;
  draft = null;
  pick = null; // who gets the rectangle that is being drawn, where it is no new region
  album = null; // several pictures that are compared, of which the scene is one
  blind = false; // while names and figures are hidden
  isRefused = false; // whether a request was refused since the results that are shown
  isIntroduction = false; // while the stage shows what the app can do: without figures

  get allPanes() {
    return this.scene.panes.map((spec) => this.panes.get(spec.id)).filter(Boolean);
  }

  get chosen() {
    return this.allPanes.filter((pane) => !this.hidden.has(pane.spec.id));
  }

  get shown() {
    return this.chosen.slice(0, MAX_PANES);
  }

  get active() {
    return this.shown.find((pane) => pane.spec.id === this.activeId) ?? this.shown[0] ?? null;
  }

  /** The base, against which panes are compared: the chosen pane, or the reference, or the first that is not active. */
  get base() {
    const { shown, active } = this;
    const others = shown.filter((pane) => pane !== active);
    const chosen = shown.find((pane) => pane.spec.id === this.baseId);
    if (chosen && (chosen !== active || this.mode === "difference")) return chosen;
    return others.find((pane) => pane.spec.kind === "reference") ?? others[0] ?? active;
  }

  get reference() {
    return this.allPanes.find((pane) => pane.spec.kind === "reference") ?? null;
  }

  /** The pane whose Gaussians are counted: the one under the pointer, else the first with a field. */
  get overlaid() {
    const under = this.cellAt(this.pointer)?.pane;
    return under?.field ? under : (this.shown.find((pane) => pane.field) ?? null);
  }

  /** Of the picture on the stage, or of each that is compared. */
  get scenes() {
    return this.album?.isOpen ? this.album.pages.map(({ scene }) => scene) : [this.scene];
  }

  get finishedScenes() {
    return this.scenes.filter((scene) => scene.run && !scene.running);
  }

  /** What a report, a figure or a table is made of: finished runs with their regions. */
  get savedPages() {
    return this.album?.isOpen ? this.album.savedPages : [{ run: this.scene.run, regions: this.regions }];
  }

  get showsBase() {
    return this.held !== (this.blinkAuto && this.phase);
  }

  /** The input, while a pane waits for its picture. */
  standIn(pane) {
    const isComing = !pane.picture && !pane.isLive && !pane.problem && ["waiting", "running", "done"].includes(pane.spec.state);
    return isComing ? (this.allPanes.find((one) => one.spec.kind === "input" && one.picture) ?? null) : null;
  }

  /** The input, where a pane has a picture of a part only. */
  inputAround(pane) {
    const { place } = pane;
    const { width, height } = this.view.frame;
    const isPart = pane.picture && (place.width < 0.99 * width || place.height < 0.99 * height);
    return isPart ? (this.allPanes.find((one) => one.spec.kind === "input" && one !== pane && one.picture) ?? null) : null;
  }

  nameOf(pane) {
    return pane.spec.name;
  }

  /** Whether a pane shows its field rather than its picture. */
  usesTrueZoom(pane) {
    return this.live.isAdjusted ? pane.isLive : this.wantsField && this.canTrueZoom(pane);
  }

  /** Beyond the resolution of the result a field has more detail than its picture. */
  get wantsField() {
    return this.trueZoom && (this.view.zoom > 1.001 || !this.shown.some((pane) => pane.picture));
  }

  canTrueZoom(pane) {
    const isField = (one) => Boolean(one?.spec.field?.live || one?.isLive);
    if (this.mode !== "difference") return isField(pane);
    // Two fields are compared at the current zoom, a field and a picture at the resolution of the picture.
    return isField(pane) && isField(this.base) && this.shown.filter(isField).length > 1;
  }

  /** Whether a pane and the base are both drawn for the same rectangle. */
  comparesFrames(pane) {
    if (!pane || !this.base || !this.usesTrueZoom(pane)) return false;
    if (pane.isLive && this.base.isLive) return true;
    const [a, b] = [pane.zoomer.frame, this.base.zoomer.frame];
    return Boolean(a && b && a.key === b.key);
  }

  // ---- verbs

  toggle(name) {
    const key = name === "minimap" ? "minimapOn" : name;
    this.set({ [key]: !this[key] });
  }

  setMode(mode) {
    if (!MODES.includes(mode)) return;
    this.mode = mode;
    this.held = this.phase = false;
    clearInterval(this.blinkTimer);
    if (mode === "blink") this.blinkTimer = setInterval(() => this.set({ phase: !this.phase }), BLINK_MS);
    this.changed();
  }

  setActive(index) {
    const pane = this.shown[index];
    if (pane) this.set({ activeId: pane.spec.id, phase: false });
  }

  setBase(index) {
    const pane = this.shown[index];
    if (pane) this.set({ baseId: pane.spec.id });
  }

  setBaseId(id) {
    this.set({ baseId: id });
  }

  setGain(gain) {
    this.set({ gain: Math.min(64, Math.max(1, gain)) });
  }

  setOverlay(overlay) {
    this.hovered = null;
    this.set({ overlay });
    if (overlay !== "off") for (const pane of this.shown) pane.loadField();
  }

  cycleOverlay() {
    this.setOverlay(OVERLAYS[(OVERLAYS.indexOf(this.overlay) + 1) % OVERLAYS.length]);
  }

  cycleColouring() {
    this.set({ colouring: COLOURINGS[(COLOURINGS.indexOf(this.colouring) + 1) % COLOURINGS.length] });
  }

  showPane(id, show) {
    if (show) {
      this.hidden.delete(id);
      // Where there is no room for all, it takes the place of the last.
      const others = this.chosen.filter((pane) => pane.spec.id !== id);
      for (const pane of others.slice(MAX_PANES - 1)) this.hidden.add(pane.spec.id);
    } else if (this.shown.length > 1) this.hidden.add(id);
    this.changed();
  }

  hold(on) {
    if (this.mode === "blink" && this.held !== on) this.set({ held: on });
  }

  toggleAuto() {
    this.set({ blinkAuto: !this.blinkAuto, phase: false });
  }

  pointTo(x, y) {
    this.pointer = x === null ? null : { x, y };
    this.hovered = this.overlay === "off" ? null : gaussianAt(this);
    this.changed();
  }

  click(x, y) {
    const cell = this.cellAt({ x, y });
    if (cell && this.mode !== "wipe") this.activeId = cell.pane.spec.id;
    this.adjustPanel.select();
    this.changed();
  }

  /** A request was refused: the results that are shown are of the one before, and say so. */
  refuse() {
    if (this.scene.run && !this.scene.running) this.set({ isRefused: true });
  }

  // ---- regions

  startRegion() {
    if (this.shown.length) this.set({ drawingRegion: !this.drawingRegion, draft: null, pick: null });
  }

  /** The next press or drag picks a rectangle: `pick` gets it. A press takes `side` source pixels, a drag at most `most`. */
  pickRegion({ pick, side, most }) {
    if (this.shown.length) this.set({ drawingRegion: true, draft: null, pick: { pick, side, most } });
  }

  beginRegion(x, y) {
    const cell = this.cellAt({ x, y });
    if (cell) this.corner = { rect: cell.rect, ...this.view.toFrame(cell.rect, x, y) };
  }

  growRegion(x, y) {
    if (!this.corner) return;
    const end = this.view.toFrame(this.corner.rect, x, y);
    const { scale, detail, source } = this.scene;
    const within = (!this.pick && detail) || { x: 0, y: 0, width: source.width, height: source.height };
    this.set({ draft: regionBetween(this.corner, end, scale, within, this.pick?.most) });
  }

  endRegion() {
    const { draft, pick, corner } = this;
    this.corner = null;
    this.set({ drawingRegion: false, draft: null, pick: null });
    if (pick && corner) pick.pick(this.#isDragged(draft) ? draft : regionAround(corner, pick.side, this.scene.scale, this.scene.source));
    else if (draft) this.addRegion(draft);
  }

  #isDragged(draft) {
    const { scale } = this.scene;
    return draft && Math.max(draft.width * scale.x, draft.height * scale.y) * this.view.zoom > TAP_CSS * this.dpr;
  }

  addRegion({ x, y, width, height, name }) {
    const taken = new Set(this.regions.map((region) => region.name));
    let n = this.regions.length + 1;
    while (taken.has(`region ${n}`)) n++;
    this.region = { x, y, width, height, name: String(name || `region ${n}`).slice(0, 24) };
    this.regions = [...this.regions, this.region];
    this.changed();
  }

  renameRegion(region, name) {
    region.name = name.trim() || region.name;
    this.changed();
  }

  removeRegion(region) {
    this.regions = this.regions.filter((other) => other !== region);
    this.region = this.regions.at(-1) ?? null;
    this.changed();
  }

  nextRegion() {
    this.set({ region: this.regions[(this.regions.indexOf(this.region) + 1) % this.regions.length] });
  }

  showRegion({ x, y, width, height }) {
    const { scale } = this.scene;
    const { w, h } = this.view.pane;
    const zoom = 0.8 * Math.min(w / (width * scale.x), h / (height * scale.y));
    this.look((x + width / 2) * scale.x, (y + height / 2) * scale.y, zoom);
  }

  spot() {
    return spotOf(this);
  }
}
