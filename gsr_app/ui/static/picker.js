/* The methods as cards with checkboxes: `props.cards` describes them, `props.value` has the ids of the selected ones. */

const root = element.querySelector(".gsr-picker");
const MAX_METHODS = 6;

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function card(method, selected) {
  const label = make("label", "gsr-card");
  label.dataset.state = method.state;
  label.dataset.method = method.id;
  label.title = [method.facts, method.note, method.reason].filter(Boolean).join("\n");
  const box = make("input", "");
  box.type = "checkbox";
  box.checked = selected.includes(method.id);
  box.disabled = !box.checked && (method.state === "offline" || selected.length >= MAX_METHODS);
  box.addEventListener("change", () => {
    const rest = (props.value ?? []).filter((id) => id !== method.id);
    props.value = box.checked ? [...rest, method.id] : rest;
    show();
    trigger("change");
  });
  const dot = make("i", "gsr-dot");
  dot.style.background = method.colour;
  const words = make("span", "gsr-cardwords");
  const facts = make("span", "gsr-cardfacts");
  // Each fact stays on one line where it fits one.
  const parts = (method.state === "offline" && method.reason ? method.reason : method.facts).split(" · ");
  parts.forEach((part, i) => facts.append(make("span", "", i + 1 < parts.length ? `${part} ·` : part), " "));
  words.append(make("span", "gsr-cardtitle", method.title), facts);
  label.append(box, dot, words, make("span", "gsr-cardstatus", method.status));
  return label;
}

function show() {
  const cards = props.cards ?? [];
  const selected = props.value ?? [];
  const listed = cards.filter((method) => method.state === "here" || selected.includes(method.id));
  const rest = cards.filter((method) => !listed.includes(method));
  const open = root.querySelector("details")?.open ?? false;
  const focused = document.activeElement?.closest?.(".gsr-card")?.dataset.method;
  const nodes = listed.map((method) => card(method, selected));
  if (rest.length) {
    const more = make("details", "gsr-more");
    more.open = open;
    more.append(make("summary", "", `${rest.length} more, not installed yet`), ...rest.map((method) => card(method, selected)));
    nodes.push(more);
  }
  root.replaceChildren(...nodes);
  if (focused) root.querySelector(`[data-method="${CSS.escape(focused)}"] input`)?.focus();
}

watch(["value", "cards"], show);
show();
