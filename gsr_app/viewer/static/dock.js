/* The table below the pictures: one row per method with times and metrics, and the region crops beside it. */

import { copyText, dot, download, el } from "./dom.js";
import { FigureDialog } from "./figuredialog.js";
import { bytes, count, milliseconds, plainDb, psnr, rate, totalMs } from "./format.js";
import { RegionStrip } from "./regions.js";
import { saveButtons, savesAllBits } from "./saving.js";
import { ReportDialog } from "./reportdialog.js";

const STAGES = ["read", "encode", "start", "fit", "decode", "bin", "render", "resize", "write"];
const NARROW_PX = 800;
const STAGE_NAMES = { bin: "sort", render: "draw", fit: "optimise" };

// Columns: header, value of a pane, text of the value, sign of the better direction (0: none).
const COLUMNS = [
  ["total", totalMs, milliseconds, 0],
  ["MP/s", (s) => s.megapixels_per_second, rate, 0],
  ["memory", (s) => s.timing?.peak_bytes, bytes, 0],
  ["Gaussians", (s) => s.field?.count, count, 0],
  ["PSNR-Y", (s) => s.metrics?.psnr_y, psnr, 1],
  ["SSIM-Y", (s) => s.metrics?.ssim_y, (v) => v.toFixed(4), 1],
  ["PSNR-RGB", (s) => s.metrics?.psnr_rgb, psnr, 1],
  ["SSIM-RGB", (s) => s.metrics?.ssim_rgb, (v) => v.toFixed(4), 1],
  ["FLIP", (s) => s.metrics?.flip, (v) => v.toFixed(4), -1],
];

const FLIP_NOTE = "How visible the difference to the reference is when both are shown in turn (0 to 1, lower is better), inside the same border";

export class Dock {
  constructor(viewer) {
    this.viewer = viewer;
    this.regions = new RegionStrip(viewer);
    this.table = el("div", { className: "gsr-tablebox" });
    const tool = (text, title, onclick) => el("button", { type: "button", className: "gsr-plain", title, onclick }, text);
    this.tools = el(
      "div",
      { className: "gsr-docktools" },
      tool("Copy", "Copy the table as text", (event) => this.#copy(event.target)),
      tool("CSV", "Download the table", () => download("gsr.csv", "text/csv", this.csv(","))),
      tool("JSON", "Download everything that was measured", () => download("gsr.json", "application/json", this.json())),
    );
    if (viewer.services.report) {
      this.report = tool("Report", "One HTML file with these pictures, regions and figures, for reading offline", () => this.#report());
      this.dialog = new ReportDialog(viewer);
      this.figures = new FigureDialog(viewer);
      this.figure = tool("Figure", "The regions as a figure for a paper, and the scores as a table", () => this.figures.open());
      this.tools.append(this.report, this.figure, this.dialog.node, this.figures.node);
    }
    this.fold = tool("Hide table", "Fold or unfold", () => this.#toggleFold());
    this.tools.append(this.fold);
    this.body = el("div", { className: "gsr-dockbody" }, this.table, this.regions.node);
    this.node = el("div", { className: "gsr-dock" }, this.tools, this.body);
    // Beside a rail it is narrower than the screen; a container query in the style sheet would not pass through Gradio.
    new ResizeObserver(() => this.node.classList.toggle("is-narrow", this.node.clientWidth < NARROW_PX)).observe(this.node);
    this.key = "";
    this.isReporting = false;
  }

  #toggleFold() {
    const folded = this.node.classList.toggle("is-folded");
    this.fold.textContent = folded ? "Show table" : "Hide table";
  }

  async #report() {
    const setStatus = (text, ms) => {
      this.isReporting = Boolean(text);
      this.report.textContent = text || "Report";
      this.#allowSaving();
      if (ms) setTimeout(setStatus, ms, "");
    };
    await this.dialog.open(setStatus).catch((error) => setStatus(String(error.message ?? error), 6000));
  }

  // The server knows the results of runs that are finished.
  #allowSaving() {
    if (!this.report) return;
    this.figure.disabled = !this.viewer.finishedScenes.length;
    this.report.disabled = this.figure.disabled || this.isReporting;
  }

  async #copy(button) {
    if (!(await copyText(this.csv("\t")))) return;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  update() {
    const { viewer } = this;
    this.regions.update();
    this.#allowSaving();
    const specs = viewer.allPanes.map((pane) => pane.spec);
    this.node.hidden = !specs.some((spec) => spec.kind === "method") || viewer.blind || viewer.isIntroduction;
    const key = JSON.stringify([specs, [...viewer.hidden], viewer.active?.spec.id]);
    if (key === this.key) return;
    this.key = key;
    const runs = viewer.allPanes.filter((pane) => pane.spec.kind === "method");
    const columns = COLUMNS.filter(([, of]) => runs.some(({ spec }) => of(spec) !== null && of(spec) !== undefined));
    const longest = Math.max(1, ...runs.map(({ spec }) => totalMs(spec) ?? 0));
    const best = columns.map(([, of, , sign]) => {
      const values = runs.map(({ spec }) => of(spec)).filter((v) => v !== null && v !== undefined);
      return sign && values.length > 1 ? Math.max(...values.map((v) => v * sign)) * sign : null;
    });
    const said = (name) => runs.map(({ spec }) => spec.metrics?.[name]).find(Boolean) ?? "";
    const [convention, withoutFlip] = ["convention", "without_flip"].map(said);
    const head = el("tr", {}, el("th", { scope: "col" }, "method"), el("th", { scope: "col", className: "gsr-barcell" }, "time"),
      ...columns.map(([name]) => el("th", { scope: "col", title: name === "FLIP" ? FLIP_NOTE : /-(Y|RGB)$/.test(name) ? convention : "" }, name)));
    const rows = viewer.allPanes.map((pane) => this.#row(pane, columns, best, longest));
    const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
    const { detail } = viewer.scene;
    const notes = [detail && el("p", { className: "gsr-quiet" }, "Times are of the detail alone."), convention && el("p", { className: "gsr-quiet" }, [`Metrics: ${convention}.`, withoutFlip].join(" ").trim()), legend(runs.map(({ spec }) => spec))].filter(Boolean);
    this.table.replaceChildren(table, ...notes);
  }

  #row(pane, columns, best, longest) {
    const { viewer } = this;
    const { spec } = pane;
    const box = el("input", {
      type: "checkbox",
      checked: !viewer.hidden.has(spec.id),
      "aria-label": `Show ${spec.name}`,
      onchange: (event) => viewer.showPane(spec.id, event.target.checked),
    });
    const name = el("th", { scope: "row" }, el("label", {}, box, dot(spec.colour), el("span", { title: rowNote(spec) }, spec.name)),
      spec.download_url && el("a", { href: spec.download_url, download: spec.download_name ?? "", title: `Save this picture as PNG, with ${savesAllBits(spec) ? "all bits" : "8 bits per channel"}` }, "Save"),
      ...(spec.download_url ? saveButtons(pane) : []),
      ...(spec.warnings ?? []).map((warning) => el("small", { className: "gsr-warning" }, warning.replace(`${spec.name}: `, ""))));
    const cells = columns.map(([label, of, text], i) => {
      const value = of(spec);
      const missing = spec.kind !== "method" ? "" : spec.state === "running" ? "…" : "–";
      const shown = value === null || value === undefined ? missing : text(value);
      return el("td", { className: best[i] !== null && value === best[i] ? "is-best" : "", "data-label": label }, shown);
    });
    return el("tr", { "data-pane": spec.id, "data-state": spec.state }, name, el("td", { className: "gsr-barcell" }, stageBar(spec, longest)), ...cells);
  }

  csv(separator) {
    const quote = (value) => (/[",\n\t]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const head = ["method", "scale", "state", ...STAGES.map((s) => `${s}_ms`), "total_ms", "mp_per_s", "peak_bytes", "gaussians", "psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "flip", "convention", "backend", "device", "cold", "repeats", "made"];
    const { scale } = this.viewer.scene;
    const rows = this.viewer.allPanes
      .filter(({ spec }) => spec.kind === "method")
      .map(({ spec: s }) => [
        s.id, scale.x === scale.y ? scale.x : `${scale.y}x${scale.x}`, s.state,
        ...STAGES.map((stage) => s.timing?.stages_ms[stage]),
        totalMs(s), s.megapixels_per_second, s.timing?.peak_bytes, s.field?.count,
        plainDb(s.metrics?.psnr_y), s.metrics?.ssim_y, plainDb(s.metrics?.psnr_rgb), s.metrics?.ssim_rgb, s.metrics?.flip, s.metrics?.convention,
        s.timing?.backend, s.timing?.device, s.timing?.cold, s.timing?.repeats, s.elsewhere ? "elsewhere" : s.here ? "in the browser" : "here",
      ]);
    return [head, ...rows].map((row) => row.map((v) => quote(String(v ?? ""))).join(separator)).join("\n") + "\n";
  }

  json() {
    const { scene, regions } = this.viewer;
    const panes = scene.panes.map(({ url, download_url, ...rest }) => rest);
    return JSON.stringify({ ...scene, panes, regions }, null, 2);
  }
}

function rowNote(spec) {
  const { timing } = spec;
  return [
    spec.done,
    timing && `${timing.backend} on ${timing.device}${timing.cold ? ", first run: loading included" : ""}${timing.repeats > 1 ? `, median of ${timing.repeats}` : ""}`,
    spec.weights_id && `weights ${spec.weights_id}`,
    spec.licence,
  ]
    .filter(Boolean)
    .join("\n");
}

/** What the colours of the bars mean. */
function legend(specs) {
  const stages = STAGES.filter((stage) => specs.some((spec) => spec.timing?.stages_ms[stage] > 0));
  return stages.length && el("p", { className: "gsr-quiet gsr-legend" }, ...stages.map((stage) => el("span", {}, el("i", { className: `gsr-stage-${stage}` }), STAGE_NAMES[stage] ?? stage)));
}

function stageBar(spec, longest) {
  if (spec.state === "failed") return el("span", { className: "gsr-failed", title: spec.error.hint }, spec.error.message);
  if (spec.elsewhere && spec.state === "done") return el("span", { className: "gsr-quiet" }, "made elsewhere");
  if (!spec.timing) return spec.state === "running" ? el("progress", { max: 1, value: spec.progress?.fraction ?? null }) : "";
  const stages = STAGES.filter((stage) => spec.timing.stages_ms[stage] > 0);
  const label = stages.map((s) => `${STAGE_NAMES[s] ?? s} ${milliseconds(spec.timing.stages_ms[s])}`).join(", ");
  const parts = stages.map((stage) =>
    el("i", { className: `gsr-stage-${stage}`, style: { width: `${(100 * spec.timing.stages_ms[stage]) / longest}%` } }),
  );
  return el("div", { className: "gsr-stagebar", role: "img", title: label, "aria-label": label }, ...parts);
}
