/* The dialog before a report: which fields it includes for true zoom offline, whether Swift, and how large it becomes. */

import { dot, el } from "./dom.js";
import { bytes } from "./format.js";

const AUTO_BYTES = 30e6; // up to this size all fields are selected

export class ReportDialog {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = el("dialog", { className: "gsr-help gsr-reportdialog", "aria-label": "Report" });
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
  }

  /** Let the user choose, then make the report and download it. `setStatus` shows the progress. */
  async open(setStatus) {
    const { finishedScenes, savedPages, services } = this.viewer;
    setStatus("Measuring …");
    const plan = await services.planReport(savedPages);
    setStatus("");
    const ids = Object.keys(plan.fields);
    const specs = finishedScenes.flatMap((scene) => scene.panes).filter((spec) => spec.field); // not each picture has each field
    const all = ids.reduce((sum, id) => sum + plan.fields[id], 0);
    const total = el("p", {});
    const encoder = el("input", { type: "checkbox", onchange: () => count() });
    const boxes = ids.map((id) => el("input", { type: "checkbox", value: id, checked: all <= AUTO_BYTES, onchange: () => count() }));
    const selected = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const count = () => (total.textContent = `The report will have ${bytes(selected().reduce((sum, id) => sum + plan.fields[id], plan.bytes + (encoder.checked ? plan.encoder : 0)))}.`);
    const rows = ids.map((id, k) => {
      const spec = specs.find((one) => one.id === id);
      return el("label", {}, boxes[k], dot(spec.colour), `${spec.name}, ${spec.field.count.toLocaleString("en-US")} Gaussians`, el("span", { className: "gsr-quiet" }, ` + ${bytes(plan.fields[id])}`));
    });
    const make = () => {
      this.node.close();
      this.#make(savedPages, selected(), encoder.checked, setStatus);
    };
    this.node.replaceChildren(
      el("h3", {}, "Report"),
      ...(rows.length ? [el("p", {}, "Include these fields, to zoom into them offline:"), ...rows] : []),
      el("label", {}, encoder, "Let its reader enlarge other pictures, with Swift", el("span", { className: "gsr-quiet" }, ` + ${bytes(plan.encoder)}`)),
      total,
      el("button", { type: "button", onclick: make }, "Make the report"),
      " ",
      el("button", { type: "button", onclick: () => this.node.close() }, "Cancel"),
    );
    count();
    this.node.showModal();
  }

  async #make(pages, carry, withEncoder, setStatus) {
    setStatus("Making the report …");
    try {
      const { url } = await this.viewer.services.report(pages, carry, withEncoder);
      el("a", { href: url, download: "gsr-report.html" }).click();
      setStatus("");
    } catch (error) {
      setStatus(String(error.message ?? error), 6000);
    }
  }
}
