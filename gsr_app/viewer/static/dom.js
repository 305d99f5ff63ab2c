/* Builds elements. Text is inserted as text: user input is never parsed as HTML. */

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else if (name in node && name !== "list" && name !== "role") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A row of buttons of which one is pressed. `choices` are [value, label, hint]. */
export function segmented(label, choices, onpick) {
  const buttons = choices.map(([value, text, hint]) =>
    el("button", { type: "button", title: hint, "aria-pressed": "false", onclick: () => onpick(value) }, text),
  );
  const node = el("div", { className: "gsr-segments", role: "group", "aria-label": label }, ...buttons);
  const show = (current) =>
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(choices[i][0] === current)));
  return { node, show, buttons };
}

export function select(label, onpick) {
  const node = el("select", { "aria-label": label, title: label, onchange: () => onpick(node.value) });
  let key = "";
  const fill = (choices, current) => {
    const wanted = JSON.stringify(choices);
    if (wanted !== key) node.replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
    key = wanted;
    node.value = current;
  };
  return { node, fill };
}

/** A slider with its name and its value as text; `show` sets both. */
export function labelledSlider(label, { min, max, step, title }, text, oninput) {
  const input = el("input", { type: "range", min, max, step, "aria-label": title, oninput: () => oninput(Number(input.value)) });
  const output = el("output", {});
  const show = (value) => {
    input.value = value;
    output.textContent = text(value);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  return { show, node: el("label", { title }, el("span", {}, label), input, output) };
}

export const dot = (colour) => el("i", { className: "gsr-dot", style: { background: colour }, "aria-hidden": "true" });

/** The button that starts a run is hidden then: move the focus to the stage, so that its keys work at once. */
export function takeFocus(stage) {
  const at = document.activeElement;
  if (!at || at === document.body || (at.tagName === "BUTTON" && at.closest("[id$='rail'], .gsr-empty"))) stage.focus({ preventScroll: true });
}

/** Use the dark colours where the system does. */
export function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.body.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}

export function download(name, type, data) {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { value: text, style: { position: "fixed", opacity: "0" } });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
