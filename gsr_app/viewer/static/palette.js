/* The command palette (Ctrl K): a dialog that finds an action of the page by words of its name. */

import { pageActions, viewerActions } from "./actions.js";
import { el } from "./dom.js";

/** The actions whose names have all the words; those that begin with the text come first. */
export function matching(actions, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = actions.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  const rank = ({ name }) => (name.toLowerCase().startsWith(words.join(" ")) ? 0 : name.toLowerCase().split(/\W+/).some((part) => part.startsWith(words[0])) ? 1 : 2);
  return words.length ? found.sort((one, other) => rank(one) - rank(other)) : found;
}

class Palette {
  constructor() {
    this.actions = [];
    this.shown = [];
    this.at = 0;
    this.input = el("input", {
      type: "text", role: "combobox", placeholder: "What do you want to do?", "aria-label": "Find an action", "aria-expanded": "true", "aria-controls": "gsr-palettelist",
      "aria-autocomplete": "list", autocomplete: "off", spellcheck: false, oninput: () => this.#find(), onkeydown: (event) => this.#press(event),
    });
    this.list = el("ul", { id: "gsr-palettelist", role: "listbox", "aria-label": "Actions" });
    this.count = el("p", { className: "gsr-quiet", role: "status" });
    this.close = el("button", { type: "button", onclick: () => this.node.close() }, "Close");
    this.node = el("dialog", { className: "gsr-help gsr-palette", "aria-label": "All actions" }, el("div", { className: "gsr-palettehead" }, this.input, this.close), this.list, this.count);
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      if (this.node.open) this.node.close();
      else this.open();
    }, true);
  }

  open() {
    if (document.querySelector("dialog[open]")) return;
    const viewers = [...document.querySelectorAll(".gsr-viewer")].filter((node) => node.viewer && node.checkVisibility());
    const actions = [...viewers.flatMap((node) => viewerActions(node.viewer)), ...pageActions(document)];
    this.actions = actions.filter(({ name }, i) => actions.findIndex((one) => one.name === name) === i);
    this.input.value = "";
    // Gradio applies rules for phones and touch screens inside its own element only.
    (document.querySelector(".gradio-container .contain") ?? document.body).append(this.node);
    this.node.showModal();
    this.input.focus();
    this.#find();
  }

  #find() {
    this.shown = matching(this.actions, this.input.value);
    const items = this.shown.map((action, i) =>
      el("li", { id: `gsr-palette-${i}`, role: "option", onclick: () => this.#run(action), onpointermove: () => this.at !== i && this.#mark(i, false) },
        el("span", {}, action.name), action.keys && el("span", { className: "gsr-palettekeys" }, ...action.keys.split(" ").map((key) => el("kbd", {}, key)))),
    );
    this.list.replaceChildren(...items);
    this.count.textContent = items.length === 1 ? "1 action" : `${items.length} actions`;
    this.#mark(0);
  }

  #mark(i, scrolls = true) {
    this.at = i;
    [...this.list.children].forEach((item, k) => item.setAttribute("aria-selected", String(k === i)));
    const item = this.list.children[i];
    if (scrolls) item?.scrollIntoView({ block: "nearest" });
    if (item) this.input.setAttribute("aria-activedescendant", item.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #press(event) {
    const last = this.shown.length - 1;
    const to = { ArrowDown: this.at === last ? 0 : this.at + 1, ArrowUp: this.at === 0 ? last : this.at - 1, PageDown: Math.min(last, this.at + 8), PageUp: Math.max(0, this.at - 8) }[event.key];
    if (to !== undefined) this.#mark(Math.max(0, to));
    else if (event.key === "Enter" && this.shown[this.at]) this.#run(this.shown[this.at]);
    else return;
    event.preventDefault();
  }

  #run(action) {
    this.node.close();
    action.run();
  }
}

/** The palette of this page, made at the first call: several viewers of a page share it. */
export function palette() {
  return (globalThis.gsrPalette ??= new Palette());
}
