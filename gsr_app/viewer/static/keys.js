/* The keys, in one table for the handler, the help and the list of all actions: key, text, what it does (null: it needs
 * more than the key), and whether it needs Gaussians. */

export const KEYS = [
  ["1 – 6", "choose a pane", null],
  ["⇧ 1 – 6", "compare against that pane", null],
  ["G", "side by side", (v) => v.setMode("grid")],
  ["W", "wipe", (v) => v.setMode("wipe")],
  ["B", "blink; again: automatic or while Space is held", (v) => (v.mode === "blink" ? v.toggleAuto() : v.setMode("blink"))],
  ["D", "difference", (v) => v.setMode("difference")],
  ["L", "loupe", (v) => v.setMode("loupe")],
  ["Space", "hold to see the pane compared against", null],
  ["+ −", "zoom in, out", null],
  ["0", "fit", (v) => v.fit()],
  ["Z", "one to one", (v) => v.oneToOne()],
  ["← ↑ → ↓", "pan; with ⇧ ten times as far; with Alt move the wipe", null],
  [", .", "of several pictures the one before, the next; also ← → where the whole picture is shown", null],
  ["[ ]", "difference gain down, up", null],
  ["S", "sharp or smooth pixels", (v) => v.toggle("smooth")],
  ["X", "pixel grid (from 8×) and values (from 24×) on or off", (v) => v.toggle("grid")],
  ["P", "live zoom or plain pixels", (v) => v.toggle("trueZoom"), true],
  ["O", "Gaussians: centres, ellipses, density, off", (v) => v.cycleOverlay(), true],
  ["C", "colour the Gaussians by themselves, opacity, size", (v) => v.cycleColouring(), true],
  ["T", "inspect the Gaussians: change how they are drawn", (v) => v.adjustPanel.toggle(), true],
  ["F", "difference between the live field and the pixels", (v) => v.toggle("minusPixels"), true],
  ["H", "histogram, exposure, gamma, false colours", (v) => v.tonePanel.toggle()],
  ["R", "draw a region", (v) => v.startRegion()],
  ["M", "minimap", (v) => v.toggle("minimap")],
  ["Ctrl K", "all actions, by name", null],
  ["?", "the keys", (v) => v.toggleHelp()],
  ["Esc", "close, stop drawing", (v) => v.escape()],
];

const BY_KEY = new Map(KEYS.filter(([, , act]) => act).map(([key, , act]) => [key.toLowerCase(), act]));
BY_KEY.set("escape", BY_KEY.get("esc"));
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** Acts on a key; true when it did something. */
export function pressKey(viewer, event) {
  if (event.ctrlKey || event.metaKey) return false;
  const digit = /^Digit([1-6])$/.exec(event.code);
  if (digit && !event.altKey) {
    if (event.shiftKey) viewer.setBase(Number(digit[1]) - 1);
    else viewer.setActive(Number(digit[1]) - 1);
    return true;
  }
  const arrow = ARROWS[event.key];
  const page = { ",": -1, ".": 1 }[event.key] ?? (arrow && !event.altKey && !event.shiftKey && viewer.view.fitted ? -arrow[0] : 0);
  if (page && viewer.album?.isOpen) viewer.album.step(page);
  else if (arrow && event.altKey) viewer.setWipe(viewer.wipe - arrow[0] * (event.shiftKey ? 0.1 : 0.01));
  else if (arrow) {
    const step = (event.shiftKey ? 240 : 24) * viewer.dpr;
    viewer.pan(arrow[0] * step, arrow[1] * step);
  } else if (event.key === "+" || event.key === "=") viewer.zoomStep(1);
  else if (event.key === "-" || event.key === "_") viewer.zoomStep(-1);
  else if (event.key === "[" || event.key === "]") viewer.setGain(viewer.gain * (event.key === "]" ? 2 : 0.5));
  else if (event.key === " ") viewer.hold(true);
  else {
    const act = event.altKey ? null : BY_KEY.get(event.key.toLowerCase());
    if (!act) return false;
    act(viewer);
  }
  return true;
}
