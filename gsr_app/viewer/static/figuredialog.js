/* The dialog that saves the regions as a figure for a paper (PDF), and the scores as a table. */

import { copyText, download, el } from "./dom.js";

const WIDTHS = [
  ["column", "One column, 3.5 in"],
  ["page", "Two columns, 7.16 in"],
];
const TABLES = [
  ["tex", "LaTeX", "text/x-tex"],
  ["md", "Markdown", "text/markdown"],
  ["csv", "CSV", "text/csv"],
];

export class FigureDialog {
  constructor(viewer) {
    this.viewer = viewer;
    this.width = "page";
    this.node = el("dialog", { className: "gsr-help gsr-reportdialog", "aria-label": "Figure" });
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    this.status = el("p", { role: "status", className: "gsr-quiet" });
  }

  open() {
    const { regions } = this.viewer;
    const widths = WIDTHS.map(([id, text]) =>
      el("label", {}, el("input", { type: "radio", name: "figure-width", value: id, checked: id === this.width, onchange: () => (this.width = id) }), text),
    );
    const save = el("button", { type: "button", disabled: !regions.length, onclick: () => this.#try(() => this.#figure()) }, "Save PDF");
    const tables = TABLES.map(([form, name, type]) => el("button", { type: "button", onclick: () => this.#try(() => this.#table(form, type)) }, name));
    const copy = el("button", { type: "button", onclick: () => this.#try(() => this.#copyLatex()) }, "Copy LaTeX");
    this.status.textContent = "";
    this.node.replaceChildren(
      el("h3", {}, "Figure for a paper"),
      el("p", {}, regions.length ? "An overview with boxes, and the crops of every region with their own scores. Text is 7 pt." : "A figure shows regions: draw one over the picture first (R)."),
      ...(regions.length ? widths : []),
      save,
      el("h3", { className: "gsr-second" }, "Table of scores and times"),
      el("div", { className: "gsr-buttons" }, ...tables, copy),
      this.status,
      el("button", { type: "button", onclick: () => this.node.close() }, "Close"),
    );
    this.node.showModal();
  }

  async #try(work) {
    this.status.textContent = "…";
    try {
      this.status.textContent = (await work()) ?? "";
    } catch (error) {
      this.status.textContent = String(error.message ?? error);
    }
  }

  async #figure() {
    const { services, savedPages } = this.viewer;
    const { url } = await services.figure(savedPages, this.width);
    el("a", { href: url, download: "figure.pdf" }).click();
  }

  async #table(form, type) {
    const { services, savedPages } = this.viewer;
    download(`table.${form}`, type, (await services.table(savedPages, form)).text);
  }

  async #copyLatex() {
    const { services, savedPages } = this.viewer;
    return (await copyText((await services.table(savedPages, "tex")).text)) ? "Copied" : "The browser does not allow copying.";
  }
}
