/* What the Compare tab adds to the viewer: the first screen, the button over a new picture, and a blind test.
 *
 * Runs inside the component's script, with `viewer`, `modules`, `trigger` and `props` (and `el`, `Blind` of the modules). */

const FIRST = "first"; // the key of the first screen's picture
const WIPE_MS = 6000; // there and back

const press = (selector) => document.querySelector(selector)?.click();
const button = (text, onclick, primary = false) => el("button", { type: "button", className: primary ? "gsr-primary" : "gsr-secondary", onclick }, text);

// ---- the first screen: a wipe that moves until the first touch

const welcome = el(
  "div",
  { className: "gsr-welcome" },
  el("p", {}, "Enlarge any picture to any size. See what each method really does."),
  el(
    "div",
    {},
    button("Try your picture", () => press("#picture input[type=file]"), true),
    button("Zoom into the Gaussians", () => zoomIn()),
    button("Judge blind", () => judge()),
    button("Try an example", () => trigger("example")),
  ),
);
viewer.stage.append(welcome);

let isMoving = !matchMedia("(prefers-reduced-motion: reduce)").matches;
const stopMoving = () => (isMoving = false);
for (const kind of ["pointerdown", "wheel", "keydown"]) viewer.stage.addEventListener(kind, stopMoving, { capture: true, passive: true });

function move(now) {
  if (!isMoving || viewer.scene.source?.key !== FIRST) return;
  if (viewer.mode === "wipe" && viewer.stage.checkVisibility()) viewer.setWipe(0.5 + 0.32 * Math.sin((2 * Math.PI * now) / WIPE_MS));
  requestAnimationFrame(move);
}

function showFirst() {
  viewer.isIntroduction = true;
  viewer.setScene(props.first.scene);
  viewer.setMode("wipe");
  viewer.setActive(0);
  viewer.draw(); // the size of the stage is known then
  // The picture covers the stage.
  const { view } = viewer;
  view.set(view.frame.width / 2, view.frame.height / 2, Math.max(view.pane.w / view.frame.width, view.pane.h / view.frame.height));
  requestAnimationFrame(move);
}

function zoomIn() {
  stopMoving();
  viewer.setMode("grid");
  viewer.showPane("bicubic", false);
  viewer.setOverlay("ellipses");
  const { frame, zoom } = viewer.view;
  const target = 3 * zoom;
  const started = performance.now();
  const step = (now) => {
    const t = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : Math.min(1, Math.max(0, now - started) / 900);
    viewer.look(frame.width * 0.44, frame.height * 0.24, zoom * (target / zoom) ** (t * (2 - t)));
    if (t < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

// ---- a new picture: one button that enlarges it

const enlarge = el("button", { type: "button", className: "gsr-primary gsr-enlarge", hidden: true, onclick: () => press("#run") });
viewer.stage.append(enlarge);

// ---- blind: the results of this scene as A, B, …; the names come back after the vote

let hiddenScene = null;
let blind = null;
const blindBar = el("div", { className: "gsr-blindbar", hidden: true });
viewer.stage.before(blindBar);

function judge() {
  stopMoving();
  hiddenScene = viewer.scene;
  const { source, run } = hiddenScene;
  blind = new Blind(viewer, { id: run || source.key, pages: [{ title: source.name, scene: hiddenScene }] });
  blind.voted = () => reveal();
  blindBar.replaceChildren(blind.node, button("Cancel", () => reveal()));
  blindBar.hidden = false;
  viewer.blind = true;
  viewer.setMode("grid");
  viewer.setScene(blind.hide(0));
}

function reveal() {
  if (!hiddenScene) return;
  const scene = hiddenScene;
  const vote = blind.votes.at(-1);
  hiddenScene = null;
  viewer.blind = false;
  viewer.setScene(scene);
  const name = (id) => scene.panes.find((spec) => spec.id === id)?.name;
  blindBar.replaceChildren(el("span", { role: "status" }, vote ? (vote.best ? `You chose ${name(vote.best)}.` : "You could not tell them apart.") : ""), button("Close", () => (blindBar.hidden = true)));
  blindBar.hidden = !vote;
}

const judgeButton = el("button", { type: "button", className: "gsr-plain", title: "Hide the names, and choose the best", onclick: () => judge() }, "Judge blind");
viewer.dock.tools.prepend(judgeButton);

/** Before a scene of the server is shown. */
function leaveBlind() {
  hiddenScene = null;
  viewer.blind = false;
  blindBar.hidden = true;
}

// ---- after every change

function refresh() {
  const { scene } = viewer;
  const isFirst = scene.source?.key === FIRST && !viewer.blind;
  welcome.hidden = !isFirst;
  const isNew = Boolean(scene.source && !scene.run && !isFirst && !viewer.blind);
  enlarge.hidden = !isNew;
  const scale = document.querySelector("#scaletext input, #scaletext textarea")?.value.trim();
  enlarge.textContent = /^[\d.,]+$/.test(scale ?? "") ? `Enlarge ×${scale}` : "Enlarge";
  judgeButton.hidden = viewer.blind || scene.running || scene.panes.filter((spec) => spec.kind === "method" && spec.url).length < 2;
}
