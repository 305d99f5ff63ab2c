/* What may be done next with the picture on the stage: enlarge it, or try a detail of a large one first.
 *
 * Runs inside the component's script after compare.js, with its `button` and `press`. */

const LARGE_PX = 250_000; // source pixels: smaller pictures are enlarged whole in moments
const { detail_px: MOST_PX } = props.first; // the longest side of a detail that the server makes
const TAPPED_PX = 256; // the side of a detail that is picked by a tap

const nextText = el("p", { role: "status" });
const enlarge = button("", () => press("#run"), true);
const tryDetail = button("Try a detail first", () => pick());
const another = button("Another detail", () => pick());
const cancelPick = button("Cancel", () => viewer.escape());
const next = el("div", { className: "gsr-next", hidden: true }, nextText, el("div", {}, enlarge, tryDetail, another, cancelPick));
viewer.stage.append(next);

// ---- two runs cannot begin at once: what begins one is offered only while Run can be pressed, and goes with the press

let asked = ""; // what the stage showed when a run was asked for
const shownNow = () => `${viewer.scene.source?.key} ${viewer.scene.run}`;
const canRun = () => asked !== shownNow() && document.querySelector("#run") !== null;

function ask() {
  asked = shownNow();
  refresh();
}

document.addEventListener("click", (event) => event.target.closest?.("#run") && ask(), true);
refused = () => {
  asked = "";
  refresh();
};

// Run is on the page again only when the end of the run before has been answered.
let couldRun = canRun();
new MutationObserver(() => {
  if (couldRun === canRun()) return;
  couldRun = !couldRun;
  refresh();
}).observe(element.closest("#compare"), { childList: true, subtree: true });

document.addEventListener("gsr-scale", () => refresh()); // the scale of the rail has changed

function pick() {
  const begin = (region) => {
    if (!canRun()) return;
    ask();
    trigger("detail", region);
  };
  viewer.pickRegion({ pick: begin, side: TAPPED_PX, most: MOST_PX });
  viewer.stage.focus({ preventScroll: true });
}

/** The text and the buttons for what the stage shows now. */
function showNext(isFirst) {
  const { scene, pick: picking } = viewer;
  const { source, detail, running } = scene;
  const isNew = Boolean(source && !scene.run && !isFirst);
  const isTried = Boolean(detail && !running);
  const isBusy = picking || running || !canRun();
  next.hidden = viewer.blind || isFirst || !(detail || picking || (isNew && !isBusy));
  if (next.hidden) return;
  next.classList.toggle("is-picking", Boolean(picking));
  const where = detail && `Detail of ${detail.width} × ${detail.height} pixels at (${detail.x}, ${detail.y}) of ${source.width} × ${source.height}`;
  nextText.textContent = picking ? "Tap the detail to try, or drag over it" : (where ?? "");
  nextText.hidden = !nextText.textContent;
  const scale = typedScale();
  const times = /^[\d.,]+$/.test(scale) ? ` ×${scale}` : "";
  enlarge.textContent = isTried ? `Enlarge the whole picture${times}` : `Enlarge${times}`;
  enlarge.hidden = Boolean(isBusy);
  tryDetail.hidden = Boolean(isBusy || !isNew || source.width * source.height < LARGE_PX);
  another.hidden = Boolean(isBusy || !isTried);
  cancelPick.hidden = !picking;
}
