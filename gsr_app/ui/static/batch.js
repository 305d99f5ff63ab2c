/* The list of a batch: a line per picture with its state, and the files to save. `props.value` is a Batch. */

const root = element.querySelector(".gsr-batch");
const STAGES = { render: "draw" };
const WORDS = { waiting: "waiting", running: "starting", done: "done", failed: "failed", cancelled: "stopped" };

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return node;
}

function saveLink(text, url, name, className = "") {
  const link = make("a", className, text);
  link.href = new URL(url, document.baseURI).href;
  link.download = name;
  return link;
}

const bytes = (count) => (count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`);

function stateCell(row) {
  const { state, progress, error } = row;
  if (state === "failed") return make("td", "is-wrong", make("b", "", error.message), error.hint && make("span", "", ` ${error.hint}`));
  if (state === "running") {
    const bar = make("progress", "");
    bar.max = 1;
    if (progress?.fraction !== null && progress?.fraction !== undefined) bar.value = progress.fraction;
    bar.setAttribute("aria-label", `Progress of ${row.name}`);
    return make("td", "", make("span", "", progress?.stage ? `${STAGES[progress.stage] ?? progress.stage} ${Math.round(100 * (progress.fraction ?? 0))} %` : WORDS.running), bar);
  }
  const took = row.seconds === null ? "" : row.seconds < 10 ? `${row.seconds.toFixed(1)} s` : `${Math.round(row.seconds)} s`;
  const ahead = state === "waiting" && progress?.ahead ? ` · ${progress.ahead} ahead` : "";
  return make("td", "", make("span", "", `${WORDS[state]}${ahead}${took && ` in ${took}`}`), ...row.notes.map((note) => make("small", "", note)));
}

function line(row) {
  const name = make("th", "", row.name);
  name.scope = "row";
  const size = (width, height) => (width ? `${width} × ${height}` : "");
  const sizes = make("td", "gsr-batchsize", size(row.width, row.height), row.out_width ? ` → ${size(row.out_width, row.out_height)}` : "");
  const save = make("td", "gsr-batchsave", row.url && saveLink("Save", row.url, row.download_name));
  if (row.url) save.firstChild.setAttribute("aria-label", `Save ${row.download_name}`);
  const node = make("tr", "", name, sizes, stateCell(row), save);
  node.dataset.state = row.state;
  return node;
}

function summary({ rows, running, run }) {
  const count = (state) => rows.filter((row) => row.state === state).length;
  const [done, failed, stopped] = [count("done"), count("failed"), count("cancelled")];
  if (!run) return `${rows.length} ${rows.length === 1 ? "picture" : "pictures"}${failed ? `, ${failed} cannot be used` : ""}`;
  const parts = [`${done} of ${rows.length} done`, failed && `${failed} failed`, stopped && `${stopped} stopped`];
  return `${running ? "" : "Finished: "}${parts.filter(Boolean).join(", ")}`;
}

const status = make("p", "");
status.setAttribute("role", "status");
const total = make("progress", "");
total.setAttribute("aria-label", "Progress of the batch");
const zip = make("div", "gsr-batchzip");
const body = make("tbody", "");
const head = make("tr", "", ...["picture", "size", "state", "file"].map((text) => {
  const cell = make("th", "", text);
  cell.scope = "col";
  return cell;
}));
const table = make("table", "", make("thead", "", head), body);
function chooser(text, className) {
  const button = make("button", className, text);
  button.type = "button";
  button.addEventListener("click", () => document.querySelector("#batchfiles input[type=file]")?.click());
  return button;
}

const choose = chooser("Choose pictures", "gsr-primary");
const more = chooser("Add pictures", "");
const empty = make("div", "gsr-batchempty", make("h2", "", "Many pictures at once"), make("p", "", "Drop pictures or a whole folder, choose one method and one scale, and press Run. Each result can be saved as soon as it is made, and all of them as one ZIP file."), choose);
root.append(make("div", "gsr-batchhead", status, total, more, zip), table, empty);

/** Lines that are as before stay, so that a list of hundreds can be scrolled while it runs. */
function show() {
  const value = props.value ?? { rows: [] };
  const { rows, running } = value;
  rows.forEach((row, i) => {
    const key = JSON.stringify(row);
    const before = body.children[i];
    if (before?.dataset.key === key) return;
    const node = line(row);
    node.dataset.key = key;
    if (before) before.replaceWith(node);
    else body.append(node);
  });
  while (body.children.length > rows.length) body.lastChild.remove();
  empty.hidden = rows.length > 0;
  table.hidden = status.hidden = !rows.length;
  if (rows.length && status.textContent !== summary(value)) status.textContent = summary(value);
  total.hidden = !running;
  more.hidden = running || !rows.length;
  total.max = Math.max(1, rows.length);
  total.value = rows.reduce((sum, row) => sum + (row.state === "running" ? (row.progress?.fraction ?? 0) : Number(row.state !== "waiting")), 0);
  zip.replaceChildren(...(value.zip_url ? [saveLink(`Download all (ZIP, ${bytes(value.zip_bytes)})`, value.zip_url, value.zip_name, "gsr-primary")] : []));
}

// ---- nothing lost: the list is there again when this tab is loaded again, as long as the server keeps it

const KEPT = "gsr-batch";

function stored(key) {
  try {
    if (key) sessionStorage.setItem(KEPT, key);
    return sessionStorage.getItem(KEPT);
  } catch {
    return null; // without storage nothing is kept
  }
}

document.addEventListener("gsr-leaving", (event) => props.value?.running && event.preventDefault());
watch("value", () => {
  stored(props.value?.key);
  show();
});
show();
if (!props.value?.rows.length && stored()) trigger("recall", { key: stored() });
