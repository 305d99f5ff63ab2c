/* What the Compare tab adds to the viewer: the first screen, a blind test, and what is kept over a reload.
 *
 * Runs inside the component's script, with its `viewer`, `query`, `trigger`, `props` and `album`, and `el`, `copyText` and `Blind` of the modules. */

const FIRST = "first"; // the key of the first screen's picture
const WIPE_MS = 6000; // there and back
const WIPES = 5; // then it rests: without a graphics card a moving picture takes a whole core

const press = (selector) => document.querySelector(selector)?.click();
const button = (text, onclick, primary = false) => el("button", { type: "button", className: primary ? "gsr-primary" : "gsr-secondary", onclick }, text);

// ---- the first screen: a wipe that moves for half a minute or until the first touch

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
let isTouched = false;
let movingSince = 0; // ms

function stopMoving() {
  isMoving = false;
  isTouched = true;
}

for (const kind of ["pointerdown", "wheel", "keydown"]) viewer.stage.addEventListener(kind, stopMoving, { capture: true, passive: true });

function move(now) {
  if (!isMoving || viewer.scene.source?.key !== FIRST) return;
  const wipes = Math.min((now - movingSince) / WIPE_MS, WIPES);
  if (viewer.mode === "wipe" && viewer.stage.checkVisibility()) viewer.setWipe(0.5 + 0.32 * Math.sin(2 * Math.PI * wipes));
  if (wipes < WIPES) requestAnimationFrame(move);
}

/** The first picture covers the stage, of any size, until somebody has touched it. */
function cover() {
  if (isTouched || !viewer.isIntroduction || viewer.blind || !viewer.stage.clientWidth) return;
  viewer.draw(); // the size of the stage is known then
  const { view } = viewer;
  viewer.look(view.frame.width / 2, view.frame.height / 2, Math.max(view.pane.w / view.frame.width, view.pane.h / view.frame.height));
}
new ResizeObserver(cover).observe(viewer.stage);

function showFirst() {
  viewer.isIntroduction = true;
  viewer.setScene(props.first.scene);
  viewer.setMode("wipe");
  viewer.setActive(0);
  isTouched = false;
  cover();
  movingSince = performance.now();
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
    if (viewer.scene.source?.key !== FIRST) return;
    const t = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : Math.min(1, Math.max(0, now - started) / 900);
    viewer.look(frame.width * 0.44, frame.height * 0.24, zoom * (target / zoom) ** (t * (2 - t)));
    if (t < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

// ---- blind: the results of this scene as A, B, …; the names come back after the vote

let judged = null; // the pages that are judged
let blind = null;
const blindBar = el("div", { className: "gsr-blindbar", hidden: true });
viewer.stage.before(blindBar);

const canJudge = (scene) => !scene.running && scene.panes.filter((spec) => spec.kind === "method" && spec.url).length > 1;

function judge() {
  stopMoving();
  album.keepRegions();
  const { scene } = viewer;
  const all = album.isOpen ? album.pages : [{ title: scene.source.name, scene }];
  judged = { before: scene, numbers: all.map((_, i) => i).filter((i) => canJudge(all[i].scene)) };
  const pages = judged.numbers.map((i) => all[i]);
  blind = new Blind(viewer, { id: pages.map((page) => page.scene.run || page.scene.source.key).join(" "), pages }, (i) => showBlind(judged.numbers[i]));
  blind.voted = (isLast) => isLast && reveal();
  blindBar.replaceChildren(blind.node, button("Cancel", () => reveal()));
  blindBar.hidden = false;
  viewer.blind = true;
  viewer.setMode("grid");
  blindBar.scrollIntoView({ block: "nearest" }); // on a phone the button is below the pictures
  showBlind(judged.numbers.includes(album.number) ? album.number : judged.numbers[0]);
}

function showBlind(number) {
  if (!album.isOpen) return viewer.setScene(blind.hide(0));
  album.disguise = (i) => (judged.numbers.includes(i) ? blind.hide(judged.numbers.indexOf(i)) : album.pages[i].scene);
  album.open(number, true);
}

function reveal() {
  if (!judged) return;
  const { before } = judged;
  const { votes, names } = blind;
  endBlind();
  if (album.isOpen) album.open(album.number, true);
  else viewer.setScene(before);
  const chosen = (best) => (best ? names.get(best) : "");
  let told = "";
  if (votes.length === 1) told = votes[0].best ? `You chose ${chosen(votes[0].best)}.` : "You could not tell them apart.";
  else if (votes.length) told = `You chose ${[...counts(votes.map(({ best }) => chosen(best) || "none"))].map(([name, n]) => `${name} ${n}×`).join(", ")}.`;
  const save = votes.length && button("Save votes", () => blind.export());
  blindBar.replaceChildren(el("span", { role: "status" }, told), ...(save ? [save] : []), button("Close", () => (blindBar.hidden = true)));
  blindBar.hidden = !votes.length;
}

function counts(words) {
  const found = new Map();
  for (const word of words) found.set(word, (found.get(word) ?? 0) + 1);
  return [...found].sort(([, a], [, b]) => b - a);
}

function endBlind() {
  judged = null;
  viewer.blind = false;
  album.disguise = null;
}

const judgeButton = el("button", { type: "button", className: "gsr-plain", title: "Hide the names, and choose the best", onclick: () => judge() }, "Judge blind");
viewer.dock.tools.prepend(judgeButton);

/** Before a scene of the server is shown. */
function leaveBlind() {
  endBlind();
  blindBar.hidden = true;
}

// ---- nothing lost: what the page shows is kept for this tab, and in a link on request

const KEPT = "gsr-compare";
const typedScale = () => document.querySelector("#scaletext input, #scaletext textarea")?.value.trim() ?? "";
const settings = () => ({
  methods: [...document.querySelectorAll("#methods .gsr-card:has(input:checked)")].map((card) => card.dataset.method),
  scale: typedScale(),
});
const place = () => [viewer.view.cx / viewer.scene.scale.x, viewer.view.cy / viewer.scene.scale.y, viewer.view.zoom * viewer.scene.scale.x];
const round = (value) => Number(value.toPrecision(6));

function keep() {
  const { scene, mode, view } = viewer;
  if (!scene.source || viewer.isIntroduction || viewer.blind || scene.running) return;
  const kept = { ...settings(), picture: scene.source.key, run: scene.run, mode, view: view.fitted ? null : place().map(round) };
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // Without storage nothing is kept.
  }
}

function link() {
  const { scene, mode, region, view } = viewer;
  const parameters = new URLSearchParams();
  const { methods, scale } = settings();
  const stem = scene.source.name.replace(/\.\w+$/, "");
  if (document.querySelector(`[aria-label="Example: ${CSS.escape(stem)}"]`)) parameters.set("example", stem);
  else parameters.set("picture", scene.source.key);
  if (scene.run) parameters.set("run", scene.run);
  parameters.set("method", methods.join());
  parameters.set("scale", scale);
  parameters.set("mode", mode);
  if (!view.fitted) parameters.set("view", place().map(round).join());
  if (region) parameters.set("region", [region.x, region.y, region.width, region.height].join());
  return `${location.origin}${location.pathname}?${parameters}`;
}

const linkButton = el("button", { type: "button", className: "gsr-plain", title: "A link to this picture, these methods, and this view", onclick: async () => {
  if (!(await copyText(link()))) return;
  linkButton.textContent = "Link copied";
  setTimeout(() => (linkButton.textContent = "Copy link"), 2000);
} }, "Copy link");
viewer.dock.tools.prepend(linkButton);

/** What a link or an earlier load of this page names, asked for once. */
function recall() {
  const list = (text) => text?.split(",").filter(Boolean) ?? [];
  let wanted = { picture: query.get("picture"), run: query.get("run"), methods: list(query.get("method")), scale: query.get("scale"), mode: query.get("mode"), view: query.get("view") && list(query.get("view")).map(Number) };
  if (!wanted.picture && !wanted.run) {
    if (query.get("example")) return null;
    try {
      wanted = JSON.parse(sessionStorage.getItem(KEPT));
    } catch {
      wanted = null;
    }
  }
  if (wanted?.picture || wanted?.run) trigger("recall", wanted);
  return wanted;
}

/** The mode and the view of what was recalled, once its scene is there. */
function restore() {
  const { scene } = viewer;
  if (!recalled || !scene.source || viewer.isIntroduction) return;
  const { picture, run, mode, view } = recalled;
  if (picture && scene.source.key !== picture) recalled = null; // another was chosen meanwhile
  if (!recalled || scene.run !== (run ?? "")) return;
  recalled = null;
  if (mode) viewer.setMode(mode);
  viewer.draw(); // the size of the stage is known then
  if (view?.length === 3 && view.every(Number.isFinite)) viewer.look(view[0] * scene.scale.x, view[1] * scene.scale.y, view[2] / scene.scale.x);
}

let recalled = recall();
addEventListener("pagehide", keep);

// ---- after every change

function refresh() {
  restore();
  keep();
  followView();
  const { scene } = viewer;
  const isFirst = scene.source?.key === FIRST && !viewer.blind;
  welcome.hidden = !isFirst;
  showNext(isFirst);
  judgeButton.hidden = viewer.blind || !canJudge(scene) || album.isRunning;
}
