/* The list of methods: cards with a box each. `props.cards` says what there is, `props.value` what is chosen. */

const root = element.querySelector(".gsr-picker");
const MOST = 6;

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function card(one, chosen) {
  const label = make("label", "gsr-card");
  label.dataset.state = one.state;
  label.dataset.method = one.id;
  label.title = [one.facts, one.note, one.reason].filter(Boolean).join("\n");
  const box = make("input", "");
  box.type = "checkbox";
  box.checked = chosen.includes(one.id);
  box.disabled = !box.checked && (one.state === "offline" || chosen.length >= MOST);
  box.addEventListener("change", () => {
    const rest = (props.value ?? []).filter((id) => id !== one.id);
    props.value = box.checked ? [...rest, one.id] : rest;
    show();
    trigger("change");
  });
  const dot = make("i", "gsr-dot");
  dot.style.background = one.colour;
  const words = make("span", "gsr-cardwords");
  words.append(make("span", "gsr-cardtitle", one.title), make("span", "gsr-cardfacts", one.state === "offline" && one.reason ? one.reason : one.facts));
  label.append(box, dot, words, make("span", "gsr-cardstatus", one.status));
  return label;
}

function show() {
  const cards = props.cards ?? [];
  const chosen = props.value ?? [];
  const first = cards.filter((one) => one.state === "here" || chosen.includes(one.id));
  const rest = cards.filter((one) => !first.includes(one));
  const open = root.querySelector("details")?.open ?? false;
  const focused = document.activeElement?.closest?.(".gsr-card")?.dataset.method;
  const nodes = first.map((one) => card(one, chosen));
  if (rest.length) {
    const more = make("details", "gsr-more");
    more.open = open;
    more.append(make("summary", "", `${rest.length} more, not on this machine yet`), ...rest.map((one) => card(one, chosen)));
    nodes.push(more);
  }
  root.replaceChildren(...nodes);
  if (focused) root.querySelector(`[data-method="${CSS.escape(focused)}"] input`)?.focus();
}

watch(["value", "cards"], show);
show();
