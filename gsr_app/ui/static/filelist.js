/* Picture files as a list: added by a button or by dropping them, each with a small picture, a name, and a button that removes it.
 *
 * `props.value` is [{path, name, own}]; own: the name was typed. The server fills in the other names. */

const root = element.querySelector(".gsr-filelist");
const PICTURES = /\.(png|jpe?g|webp|bmp|tiff?|hei[cf]|avif)$/i;

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const fileOf = (path) => path.split(/[\\/]/).pop();
const urlOf = (path) => `gradio_api/file=${path.split("/").map(encodeURIComponent).join("/")}`;

let mine = props.value ?? [];

function change(value) {
  mine = props.value = value;
  show();
  trigger("edit");
}

const isPicture = (file) => !file.name.startsWith(".") && (file.type.startsWith("image/") || PICTURES.test(file.name));

/** The pictures of a folder that was dropped; their results have the folder's name. */
async function filesIn(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail)); // about a hundred at a time
    if (!entries.length) return found.filter(({ file }) => isPicture(file));
    for (const entry of entries) if (entry.isFile) found.push({ file: await new Promise((done, fail) => entry.file(done, fail)), name: folder.name });
  }
}

/** What was dropped, as [{file, name}]: name of a folder, or empty. */
async function dropped({ items, files }) {
  const entries = [...items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  const parts = entries.map((entry, i) => (entry?.isDirectory ? filesIn(entry) : [{ file: files[i], name: "" }]));
  return (await Promise.all(parts)).flat();
}

async function add(chosen) {
  const wanted = chosen.filter(({ file }) => isPicture(file));
  if (!wanted.length) return;
  note.textContent = "uploading …";
  try {
    const sent = await Promise.all(wanted.map(({ file }) => upload(file)));
    const added = sent.map(({ path }, i) => ({ path, name: wanted[i].name, own: wanted[i].name !== "" }));
    const all = [...(props.value ?? []), ...added];
    note.textContent = all.length > props.most ? `Limit: ${props.most} files.` : "";
    change(all.slice(0, props.most));
  } catch (error) {
    note.textContent = String(error.message ?? error);
  }
}

function line(one, i) {
  const rest = () => (props.value ?? []).filter((_, k) => k !== i);
  const picture = make("img", "");
  picture.src = urlOf(one.path);
  picture.alt = "";
  picture.addEventListener("error", () => (picture.style.visibility = "hidden"));
  const remove = make("button", "", "×");
  remove.type = "button";
  remove.title = `Remove ${fileOf(one.path)}`;
  remove.setAttribute("aria-label", remove.title);
  remove.addEventListener("click", () => change(rest()));
  let name = make("span", "gsr-filename", fileOf(one.path));
  if (props.named) {
    name = make("input", "gsr-filename");
    name.value = one.name || fileOf(one.path);
    name.maxLength = 40;
    name.setAttribute("aria-label", `Name of ${fileOf(one.path)}`);
    name.addEventListener("change", () => {
      const typed = name.value.trim();
      change((props.value ?? []).map((other, k) => (k === i ? { ...other, name: typed, own: typed !== "" } : other)));
    });
  }
  name.title = fileOf(one.path);
  return make("li", "", picture, name, remove);
}

const input = make("input", "");
Object.assign(input, { type: "file", multiple: true, accept: "image/*,.heic,.heif", hidden: true });
input.setAttribute("aria-label", props.text);
input.addEventListener("change", () => {
  add([...input.files].map((file) => ({ file, name: "" })));
  input.value = "";
});
const button = make("button", "gsr-add", props.text);
button.type = "button";
button.title = props.title;
button.addEventListener("click", () => input.click());
const list = make("ul", "");
const note = make("div", "gsr-quiet");
note.setAttribute("role", "status");
root.append(list, button, input, note);

for (const kind of ["dragover", "dragenter"]) {
  root.addEventListener(kind, (event) => {
    event.preventDefault();
    root.classList.add("is-over");
  });
}
root.addEventListener("dragleave", () => root.classList.remove("is-over"));
root.addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("is-over");
  dropped(event.dataTransfer).then(add);
});

const paths = (value) => JSON.stringify(value.map(({ path }) => path));
let shown = "";
function show() {
  const value = props.value ?? [];
  if (paths(value) === shown) {
    value.forEach((one, i) => {
      const name = list.children[i].querySelector("input");
      if (name && name !== document.activeElement) name.value = one.name || fileOf(one.path);
    });
    return;
  }
  shown = paths(value);
  list.replaceChildren(...value.map(line));
  list.hidden = !value.length;
  button.hidden = value.length >= props.most;
}

/* The server's answer may be older than the list: it only names the files that nobody has named. */
function receive() {
  const named = new Map((props.value ?? []).map(({ path, name }) => [path, name]));
  mine = mine.map((one) => (one.own ? one : { ...one, name: named.get(one.path) ?? one.name }));
  if (JSON.stringify(props.value) !== JSON.stringify(mine)) props.value = mine;
  show();
}

list.hidden = true;
watch("value", receive);
