/* The catalogue as a table: the facts, licences and scores of each method, and the actions on its weights. */

const root = element.querySelector(".gsr-models");

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function action(row, id, text) {
  const button = make("button", "gsr-plain", text);
  button.type = "button";
  button.setAttribute("aria-label", `${text} ${row.title}`);
  const request = { action: id, method: row.id };
  button.addEventListener("click", () => (id === "add" ? addFiles(row.title, request, true) : trigger("manage", request)));
  return button;
}

/* Choosing files has to start within the click that asks for it; they are uploaded, then named to the server. */
function addFiles(title, request, multiple) {
  const input = make("input", "");
  input.type = "file";
  input.multiple = multiple;
  input.accept = props.accept;
  input.setAttribute("aria-label", `Files of ${title}`);
  input.hidden = true;
  input.addEventListener("change", async () => {
    const sent = await Promise.all([...input.files].map((file) => upload(file)));
    input.remove();
    trigger("manage", { ...request, files: sent.map((one) => one.path) });
  });
  root.append(input);
  input.click();
}

/* A model file of another author may also be dropped on the table. */
if (props.may_add) {
  for (const kind of ["dragover", "dragenter"]) {
    root.addEventListener(kind, (event) => {
      event.preventDefault();
      root.classList.add("is-over");
    });
  }
  root.addEventListener("dragleave", (event) => root.contains(event.relatedTarget) || root.classList.remove("is-over"));
  root.addEventListener("drop", async (event) => {
    event.preventDefault();
    root.classList.remove("is-over");
    const files = [...event.dataTransfer.files];
    if (!files.length) return;
    const sent = await Promise.all(files.map((file) => upload(file)));
    trigger("manage", { action: "add-model", files: sent.map((one) => one.path) });
  });
}

function link(text, address) {
  const anchor = make("a", "", text);
  anchor.href = address;
  anchor.rel = "noreferrer noopener";
  anchor.target = "_blank";
  return anchor;
}

function file(one) {
  const name = one.link.startsWith("https://") ? link(one.name, one.link) : one.name;
  return make("div", "gsr-quiet", name, one.size && ` ${one.size}`);
}

function scores(row) {
  if (!row.scores.length) return make("span", "", "–");
  const list = make("details", "", make("summary", "", row.scores[0]));
  list.append(...row.scores.slice(1).map((score) => make("div", "", score)), make("div", "gsr-quiet", row.convention));
  return row.scores.length > 1 ? list : make("span", "", row.scores[0]);
}

function setProgress(bar, { fraction }) {
  if (fraction === null) bar.removeAttribute("value");
  else bar.value = fraction;
}

function line(row) {
  const dot = make("i", "gsr-dot");
  dot.style.background = row.colour;
  const name = make("th", "", make("span", "", dot, row.title), make("div", "gsr-quiet", row.note));
  name.scope = "row";
  const state = make("td", "gsr-weights", make("span", `is-${row.state}`, row.status));
  if (row.busy) {
    const bar = make("progress", "");
    bar.max = 1;
    setProgress(bar, row.busy);
    state.append(bar);
  } else state.append(...row.actions.map(([id, text]) => action(row, id, text)));
  if (row.said) state.append(make("div", "", row.said));
  state.append(...row.files.map(file));
  const paper = make("td", "gsr-paper", row.paper);
  if (row.paper_url.startsWith("https://")) paper.replaceChildren(link(row.paper, row.paper_url));
  return make("tr", "", name, make("td", "", row.facts), make("td", "", row.licence), make("td", `gsr-scores${row.scores.length ? "" : " is-empty"}`, scores(row)), paper, state);
}

/* What is on the page is made once. A line is made again when something else than its progress has changed: a press or the
   focus on a button is not lost while the weights of another method are on their way. */
const body = make("tbody", "");
let shown = [];

function show() {
  const rows = props.value ?? [];
  const keys = rows.map((row) => JSON.stringify({ ...row, busy: !!row.busy }));
  if (rows.length !== body.rows.length) body.replaceChildren(...rows.map(line));
  else
    rows.forEach((row, i) => {
      const old = body.rows[i];
      if (keys[i] === shown[i]) {
        if (row.busy) setProgress(old.querySelector("progress"), row.busy);
        return;
      }
      const made = line(row);
      const list = made.querySelector("details");
      if (list) list.open = old.querySelector("details")?.open ?? false;
      old.replaceWith(made);
    });
  shown = keys;
}

function adding() {
  const others = make("button", "gsr-plain", "Add a model file of another author");
  others.type = "button";
  others.title = "Networks that the package spandrel recognizes: .pth or .safetensors. No code in it runs.";
  others.addEventListener("click", () => addFiles("another author", { action: "add-model" }, false));
  const hint = make("span", "gsr-quiet", `or drop it here: ${props.accept.replaceAll(",", ", ")}`);
  return make("div", "gsr-addmodel", others, hint);
}

const heads = ["method", "kind", "licence", "published scores", "paper", "weights"].map((text) => {
  const cell = make("th", "", text);
  cell.scope = "col";
  return cell;
});
root.replaceChildren(...(props.may_add ? [adding()] : []), make("table", "", make("thead", "", make("tr", "", ...heads)), body));
watch("value", show);
show();
