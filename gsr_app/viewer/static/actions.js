/* Everything that can be done now, as {name, keys, run}: with the pictures of a viewer, and by the controls of the page. */

import { SCALES } from "./difference.js";
import { KEYS } from "./keys.js";
import { OVERLAYS } from "./overlay.js";
import { COLOURS } from "./tone.js";

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** What the keys of a viewer do, and what only its controls do. */
export function viewerActions(viewer) {
  const panes = viewer.shown;
  if (!panes.length) return KEYS.filter(([key]) => key === "?").map(([keys, text, act]) => ({ name: capital(text), keys, run: () => act(viewer) }));
  const hasField = panes.some((pane) => pane.spec.field?.id || pane.field);
  const actions = KEYS.filter(([, , act, needsField]) => act && (hasField || !needsField)).map(([keys, text, act]) => ({ name: capital(text), keys, run: () => act(viewer) }));
  const add = (name, run, keys = "") => actions.push({ name, keys, run });
  add("Zoom in", () => viewer.zoomStep(1), "+");
  add("Zoom out", () => viewer.zoomStep(-1), "−");
  add("Difference gain up", () => viewer.setGain(2 * viewer.gain), "]");
  add("Difference gain down", () => viewer.setGain(viewer.gain / 2), "[");
  panes.forEach((pane, i) => {
    add(`Choose ${viewer.nameOf(pane)}`, () => viewer.setActive(i), String(i + 1));
    if (panes.length > 1) add(`Compare against ${viewer.nameOf(pane)}`, () => viewer.setBase(i), `⇧ ${i + 1}`);
  });
  for (const pane of viewer.blind ? [] : viewer.allPanes) {
    const isShown = panes.includes(pane);
    add(`${isShown ? "Hide" : "Show"} ${viewer.nameOf(pane)}`, () => viewer.showPane(pane.spec.id, !isShown));
  }
  for (const scale of SCALES) {
    add(`Difference: ${scale}`, () => {
      viewer.setMode("difference");
      viewer.set({ colourScale: scale });
    });
  }
  for (const [colours, text] of COLOURS) add(`Colours: ${text}`, () => viewer.set({ tone: { ...viewer.tone, colours } }));
  if (hasField) for (const overlay of OVERLAYS) add(`Gaussians: ${overlay}`, () => viewer.setOverlay(overlay));
  if (viewer.album?.isOpen) {
    add("Next picture", () => viewer.album.step(1), ".");
    add("Picture before", () => viewer.album.step(-1), ",");
  }
  for (const region of viewer.regions) add(`Zoom to ${region.name}`, () => viewer.showRegion(region));
  return actions;
}

const CONTROLS = "button, summary, select, textarea, [role=tab], input:not([type=file]):not([type=hidden]), a[download]";

/** The controls of the page that can be used now: buttons are pressed, fields get the focus. One with `data-action` is
 * listed where there is no room for it, too. */
export function pageActions(root) {
  const actions = [];
  for (const node of root.querySelectorAll(CONTROLS)) {
    if (node.disabled || node.closest(".gsr-palette, .gsr-allactions, .gsr-viewer .gsr-bar, .gsr-tablebox label, [inert]") || !(node.dataset.action !== undefined || node.checkVisibility({ visibilityProperty: true }))) continue;
    const name = nameOf(node);
    if (name && !actions.some((one) => one.name === name)) actions.push({ name, keys: "", run: () => use(node) });
  }
  return actions;
}

function nameOf(node) {
  const row = node.closest("tr")?.querySelector("th label span, th span")?.textContent;
  const text = labelOf(node);
  if (!/\p{L}|\d/u.test(text)) return "";
  if (node.role === "tab" || node.getAttribute("role") === "tab") return `Open ${text}`;
  if (node.type === "checkbox" || node.type === "radio") return `${node.checked ? "Clear" : "Choose"}: ${text}`;
  if (isField(node)) return `${text} …`;
  return row && !text.includes(row) ? `${text}: ${row}` : text;
}

function labelOf(node) {
  const words = node.getAttribute("aria-label") || node.labels?.[0]?.innerText || (isField(node) ? node.placeholder : node.innerText) || node.title || "";
  return words.trim().split("\n")[0].slice(0, 80);
}

const isField = (node) => node.matches("select, textarea, input:not([type=checkbox]):not([type=radio])");

function use(node) {
  node.scrollIntoView({ block: "nearest" });
  if (isField(node)) node.focus();
  else node.click();
}
