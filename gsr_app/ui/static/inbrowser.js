/* Swift in this browser: the pane that the server leaves to it, and the suggestion to run it here.
 *
 * Runs inside the component's script after compare.js, with its `viewer`, `album`, `props`, `call`, `el`, `button`, `press`, `unzipped`. */

const SPEED = "gsr-browser-speed"; // kept: {ms: per source pixel, isDeclined}
const SLOW_MS = 2500; // a run on the server that takes longer is worth a suggestion,
const WORTH = 0.5; // if this browser takes less than this share of it

let swift = null; // a promise of the scripts, weights and engine
let work = null; // {run, value, patch, result, control}: what this browser makes of a scene, `value`, of the server
let onServer = { run: "", since: 0, isTold: true }; // the run that the server makes

const strip = el("div", { className: "gsr-inbrowser", hidden: true });
viewer.stage.before(strip);

async function openSwift() {
  const { url } = await call("encoder", {});
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`Swift could not be fetched (${answer.status}).`);
  const { modules, weights } = JSON.parse(new TextDecoder().decode(await unzipped(await answer.arrayBuffer())));
  const { BrowserSwift } = await loadModules(modules);
  return BrowserSwift.open(Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)).buffer);
}

/** Fetched once; a failure is tried again by the next run. */
const useSwift = () => (swift ??= openSwift().catch((error) => ((swift = null), Promise.reject(error))));

// ---- a run

filled = (value) => {
  if (work && work.run !== value?.run) close();
  watchServer(value);
  if (!value?.panes?.some((spec) => spec.here)) return value;
  work ??= begin(value);
  work.value = value;
  const { patch } = work;
  return { ...value, running: value.running || patch.state === "running", panes: value.panes.map((spec) => (spec.here ? { ...spec, ...patch } : spec)) };
};

madeHere = (id) => (work?.result && id === work.patch.field?.id ? { field: work.result.tiler.field } : null);

const running = (stage, fraction) => ({ state: "running", progress: { stage, fraction, ahead: 0 } });

function begin(scene) {
  const mine = { run: scene.run, value: scene, patch: running("", 0), result: null, control: new AbortController() };
  const show = (patch) => {
    if (mine !== work) return;
    mine.patch = patch;
    if (!viewer.blind) album.take(filled(mine.value));
  };
  enlargeHere(mine, scene, show).catch((error) => {
    strip.hidden = mine === work || strip.hidden;
    if (mine.control.signal.aborted) show({ state: "cancelled" });
    else show({ state: "failed", error: { message: String(error.message ?? error), hint: "Run it on the server: the switch is under Advanced." } });
  });
  return mine;
}

async function enlargeHere(mine, scene, show) {
  const { source, frame, scale, panes } = scene;
  const { signal } = mine.control;
  const tools = await useSwift();
  signal.throwIfAborted();
  const { badge, progress, encoder } = tools;
  tools.stop = () => mine.control.abort();
  strip.replaceChildren(badge.node, progress.node);
  strip.hidden = false;
  const changed = (step) => {
    badge.show(encoder);
    if (!step) return viewer.live.refresh();
    progress.tell(`${step.stage === "encode" ? "encoding" : "drawing"} ${Math.round(100 * step.fraction)} %`, step.fraction);
    show(running(step.stage, step.fraction));
  };
  const input = panes.find((spec) => spec.kind === "input");
  const result = await tools.enlarge(input.url, source.name, { ...frame, scale }, viewer.live.painter, { changed, signal });
  if (signal.aborted) return result.tiler.close();
  mine.result = result;
  progress.note("");
  viewer.live.refresh(); // its painter was used for something else
  const url = URL.createObjectURL(result.blob);
  const ms = Object.values(result.stages_ms).reduce((sum, one) => sum + one, 0);
  remember({ ms: (result.stages_ms.encode ?? ms) / (source.width * source.height) });
  const factor = scale.x === scale.y ? scale.x : `${scale.y}x${scale.x}`;
  show({
    state: "done", progress: null, url, span: [frame.height / scale.y, frame.width / scale.x], download_url: url,
    download_name: `${source.name.replace(/\.\w+$/, "")}_swift_x${factor}.png`,
    field: { id: `here ${scene.run}`, count: 4 * source.width * source.height, live: false },
    timing: { stages_ms: result.stages_ms, peak_bytes: null, backend: tools.engineName, device: "this browser", repeats: 1, cold: false },
    megapixels_per_second: (frame.width * frame.height) / 1000 / ms,
    done: `encoded and drawn in this browser. ${encoder.title}`, weights_id: encoder.network.id,
    warnings: ["made in this browser: not part of reports and figures"],
  });
}

function close() {
  const { control, result, patch } = work;
  work = null;
  strip.hidden = true;
  control.abort();
  result?.tiler.close();
  result?.tiler.source.close();
  if (patch.url) URL.revokeObjectURL(patch.url);
}

const stopViewer = viewer.stop.bind(viewer);
viewer.stop = () => {
  work?.control.abort();
  stopViewer();
};

/** The parts of a large picture that the screen shows are encoded first. */
function followView() {
  work?.result?.tiler.follow(viewer);
}

// ---- the suggestion

function kept() {
  try {
    return JSON.parse(localStorage.getItem(SPEED)) ?? {};
  } catch {
    return {};
  }
}

function remember(values) {
  try {
    localStorage.setItem(SPEED, JSON.stringify({ ...kept(), ...values }));
  } catch {
    // Without storage it is measured again.
  }
}

/** See how long the server takes for what this browser could do. */
function watchServer(value) {
  const spec = value?.panes?.find((one) => one.id === "swift");
  if (!spec || !value.run || spec.here) return;
  if (value.run !== onServer.run) onServer = { run: value.run, since: performance.now(), isTold: !value.running };
  if (onServer.isTold || spec.state !== "done") return;
  onServer.isTold = true;
  const took = performance.now() - onServer.since;
  const isPossible = spec.bits === 8 && !spec.alpha && !spec.metrics && !value.detail && (spec.timing?.repeats ?? 1) === 1;
  if (isPossible && took > SLOW_MS) suggest(took, value).catch(() => {}); // nothing was promised
}

/** The switch is on the page only while its section is open; Gradio clears it once more when it appears. */
async function switchOn() {
  const find = () => document.querySelector("#inbrowser input");
  if (!find()) press("#more-options .label-wrap");
  for (let [k, held] = [0, 0]; k < 50 && held < 4; k++) {
    held = find()?.checked ? held + 1 : 0;
    if (find()?.checked === false) find().click();
    await new Promise((next) => setTimeout(next, 50));
  }
  strip.replaceChildren(el("span", { role: "status" }, "From the next run on, Swift runs in this browser. The switch is under Advanced."));
  strip.hidden = false;
}

async function suggest(took, { run, source }) {
  const { ms, isDeclined } = kept();
  if (isDeclined) return;
  const rate = ms ?? (await (await useSwift()).measure());
  remember({ ms: rate });
  const expected = rate * source.width * source.height;
  if (expected > WORTH * took || viewer.scene.run !== run) return;
  const seconds = (value) => `${Math.max(0.1, value / 1000).toFixed(value < 9500 ? 1 : 0)}\u00a0s`;
  const answer = (act) => () => ((strip.hidden = true), act());
  strip.replaceChildren(
    el("span", { role: "status" }, `Swift took ${seconds(took)} on the server. This browser would take about ${seconds(expected)}.`),
    button("Run Swift in this browser", answer(switchOn)),
    button("Not now", answer(() => remember({ isDeclined: true }))),
  );
  strip.hidden = false;
}
