/* Before a report is made: which fields it shall carry for true zoom offline, and how large it will be. */

import { dot, el } from "./dom.js";
import { bytes } from "./format.js";

const EAGER_BYTES = 30e6; // fields are carried unasked up to here

export class ReportDialog {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = el("dialog", { className: "gsr-help gsr-reportdialog", "aria-label": "Report" });
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
  }

  /** Ask, make, hand over. `say` hears where it stands. */
  async open(say) {
    const { scene, regions, services } = this.viewer;
    if (!scene.panes.some((spec) => spec.field?.id)) return this.#make([], say);
    say("measuring …");
    const plan = await services.planReport(scene.run, regions);
    say("");
    const ids = Object.keys(plan.fields);
    const all = ids.reduce((sum, id) => sum + plan.fields[id], 0);
    const total = el("p", {});
    const boxes = ids.map((id) => el("input", { type: "checkbox", value: id, checked: all <= EAGER_BYTES, onchange: () => count() }));
    const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const count = () => (total.textContent = `The report will have ${bytes(chosen().reduce((sum, id) => sum + plan.fields[id], plan.bytes))}.`);
    const rows = ids.map((id, k) => {
      const spec = scene.panes.find((one) => one.id === id);
      return el("label", {}, boxes[k], dot(spec.colour), `${spec.name}, ${spec.field.count.toLocaleString("en-US")} Gaussians`, el("span", { className: "gsr-quiet" }, ` + ${bytes(plan.fields[id])}`));
    });
    const make = () => {
      this.node.close();
      this.#make(chosen(), say);
    };
    this.node.replaceChildren(
      el("h3", {}, "Report"),
      el("p", {}, "Carry these fields, to zoom into them without a network:"),
      ...rows,
      total,
      el("button", { type: "button", onclick: make }, "make the report"),
      " ",
      el("button", { type: "button", onclick: () => this.node.close() }, "cancel"),
    );
    count();
    this.node.showModal();
  }

  async #make(carry, say) {
    say("making the report …");
    try {
      const { scene, regions, services } = this.viewer;
      const { url } = await services.report(scene.run, regions, carry);
      el("a", { href: url, download: "gsr-report.html" }).click();
      say("");
    } catch (error) {
      say(String(error.message ?? error), 6000);
    }
  }
}
