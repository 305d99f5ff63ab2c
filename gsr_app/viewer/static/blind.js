/* Blind test: names, colours and figures are hidden, and the order is shuffled for every picture. Votes are kept in the
 * browser until they are exported. */

import { download, el } from "./dom.js";

const LETTERS = "ABCDEF";
const COLOURS = ["#8fa7b8", "#b89f8f", "#9fb88f", "#ab8fb8", "#b8b38f", "#8fb8b1"];

function shuffled(items) {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = crypto.getRandomValues(new Uint32Array(1))[0] % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Blind {
  constructor(viewer, report, open) {
    this.viewer = viewer;
    this.open = open; // shows another page
    this.report = report; // {id, pages: [{title, scene}]}; the id is kept, and names the votes
    this.key = `gsr-votes-${report.id}`;
    this.orders = new Map(); // page -> ids in the order shown
    this.node = el("div", { className: "gsr-blind", hidden: true });
  }

  get votes() {
    if (this.unsaved) return this.unsaved;
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      return [];
    }
  }

  /** The names by the ids of all that were shown. */
  get names() {
    return new Map(this.votes.flatMap((vote) => Object.entries(vote.names ?? {})));
  }

  #save(votes) {
    try {
      localStorage.setItem(this.key, JSON.stringify(votes));
      this.unsaved = null;
    } catch {
      this.unsaved = votes; // without storage, or room in it, they are kept as long as the page is open
    }
  }

  /** The scene without anything that identifies a method. */
  hide(page) {
    const { scene } = this.report.pages[page];
    const methods = scene.panes.filter((spec) => spec.kind === "method" && spec.url);
    if (!this.orders.has(page)) this.orders.set(page, shuffled(methods.map((spec) => spec.id)));
    const order = this.orders.get(page);
    const panes = order.map((id, i) => {
      const { url, span, origin, alpha } = methods.find((spec) => spec.id === id);
      const plain = { field: null, timing: null, metrics: null, warnings: [], download_url: null, done: "", weights_id: "", licence: "" };
      return { ...plain, id: LETTERS[i], name: LETTERS[i], colour: COLOURS[i], kind: "method", state: "done", url, span, origin, alpha };
    });
    const reference = scene.panes.find((spec) => spec.kind === "reference");
    this.#show(page, order);
    return { ...scene, panes: reference ? [...panes, { ...reference, download_url: null }] : panes, source: { ...scene.source, key: `blind-${page}` } };
  }

  #show(page, order) {
    const vote = this.votes.find((vote) => vote.page === page);
    const buttons = order.map((id, i) =>
      el("button", { type: "button", "aria-pressed": String(vote?.best === id), onclick: () => this.#vote(page, order, id) }, `${LETTERS[i]} is best`),
    );
    const done = this.votes.length;
    this.node.hidden = false;
    this.node.replaceChildren(
      el("span", {}, "Which is best?"),
      ...buttons,
      el("button", { type: "button", "aria-pressed": String(vote?.best === ""), onclick: () => this.#vote(page, order, "") }, "Cannot tell"),
      el("span", { className: "gsr-quiet" }, `${done} of ${this.report.pages.length} judged`),
      el("button", { type: "button", disabled: !done, onclick: () => this.export() }, "Export votes"),
    );
  }

  #vote(page, order, best) {
    const { title, scene } = this.report.pages[page];
    const names = Object.fromEntries(order.map((id) => [id, scene.panes.find((spec) => spec.id === id).name]));
    const rest = this.votes.filter((vote) => vote.page !== page);
    this.#save([...rest, { page, image: title, shown: order, names, best, at: new Date().toISOString() }]);
    this.#show(page, order);
    // On to the next picture that has no vote yet.
    const judged = new Set(this.votes.map((vote) => vote.page));
    const next = this.report.pages.map((_, i) => (page + i) % this.report.pages.length).find((i) => !judged.has(i));
    if (next !== undefined) this.open(next);
    this.voted?.(next === undefined);
  }

  /** An id of this person in this browser, the same in every report: several votes of one person are not several people. */
  get #rater() {
    const key = "gsr-rater";
    try {
      if (!localStorage.getItem(key)) localStorage.setItem(key, newId());
      return localStorage.getItem(key);
    } catch {
      return (this.unsavedRater ??= newId());
    }
  }

  export() {
    const data = { format: "gsr-votes", version: 2, report: this.report.id, rater: this.#rater, votes: this.votes };
    download(`votes-${this.report.id.slice(0, 8)}.json`, "application/json", JSON.stringify(data, null, 2));
  }
}
