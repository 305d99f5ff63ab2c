/* Dropping picture files on the stage: where they are dropped says what they are.
 *
 * Runs inside the component's script, with its `viewer` and `el`. */

const inputIn = (selector) => document.querySelector(`${selector} input[type=file]`);

/** Give files to a file input, as if they had been chosen there. */
function give(input, files) {
  const chosen = new DataTransfer();
  for (const file of files) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function takePictures([first, ...rest]) {
  give(inputIn("#picture"), [first]);
  if (rest.length) give(inputIn("#morepictures"), rest);
}

const zone = (text, take) => {
  const node = el("div", {}, text);
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    node.classList.add("is-over");
  });
  node.addEventListener("dragleave", () => node.classList.remove("is-over"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    node.classList.remove("is-over");
    zones.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
  });
  return node;
};
const zones = el(
  "div",
  { className: "gsr-drop", hidden: true },
  zone("Pictures to enlarge", takePictures),
  zone("Results made elsewhere", (files) => give(inputIn("#results"), files)),
);
viewer.stage.append(zones);
viewer.stage.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  zones.hidden = false;
});
viewer.stage.addEventListener("dragleave", (event) => {
  if (!viewer.stage.contains(event.relatedTarget)) zones.hidden = true;
});
