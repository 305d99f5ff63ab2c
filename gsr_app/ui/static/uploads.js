/* What Gradio's inputs do not do with files: HEIC photographs, folders, and several pictures where one is expected.
 *
 * Where the browser can decode HEIC, it is uploaded as a PNG of 8 bits, and its new name says so. Elsewhere it goes to the
 * server as it is, which decodes it or says what it is. */

const HEIC = /\.hei[cf]$/i;
const isHeic = (file) => HEIC.test(file.name) || /^image\/hei[cf]/.test(file.type);
const inputOf = (node) => node.closest?.("#picture, #fitpicture, #reference, #batchfiles")?.querySelector("input[type=file]");

// Gradio's names for its upload button, which shows another text, and for a plot without data, which can have none.
new MutationObserver(() => {
  for (const node of document.querySelectorAll(":is(.upload-container, .empty)[aria-label]")) node.removeAttribute("aria-label");
}).observe(document.body, { childList: true, subtree: true });

let isOwnEvent = false;

async function convert(file) {
  if (!isHeic(file)) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    const png = await canvas.convertToBlob({ type: "image/png" });
    return new File([png], file.name.replace(HEIC, " (8 bits, from HEIC).png"), { type: "image/png" });
  } catch {
    return new File([file], file.name, { type: "image/heic" });
  }
}

async function upload(input, files) {
  const converted = new DataTransfer();
  for (const file of files) converted.items.add(await convert(file));
  input.files = converted.files;
  isOwnEvent = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  isOwnEvent = false;
}

function take(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function intercept(event, input, files) {
  const found = [...(files ?? [])];
  if (!input || isOwnEvent) return;
  if (found.length > 1 && !input.multiple) {
    take(event);
    openBatch(found);
  } else if (found.some(isHeic)) {
    take(event);
    upload(input, found);
  }
}

/** Several pictures in place of one: they are a batch. */
async function openBatch(files) {
  [...document.querySelectorAll("#gsr-tabs [role=tab]")].find((tab) => tab.textContent.trim() === "Batch")?.click();
  for (let tries = 0; tries < 100; tries++) {
    const input = document.querySelector("#batchfiles input[type=file]");
    if (input) return upload(input, files);
    await new Promise((done) => setTimeout(done, 50));
  }
}

// ---- folders

const PICTURE = /\.(avif|bmp|dib|hei[cf]|jp2|jpe?g|jxl|p[bgnp]m|png|tiff?|webp)$/i;

/** The pictures of a folder and its subfolders, without hidden ones. */
async function picturesIn(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return PICTURE.test(entry.name) ? [await new Promise((done, fail) => entry.file(done, fail))] : [];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail)); // about a hundred at a time
    if (!entries.length) return found;
    for (const one of entries) found.push(...(await picturesIn(one)));
  }
}

async function takeFolders(entries, files) {
  const found = [];
  for (const [i, entry] of entries.entries()) found.push(...(entry?.isDirectory ? await picturesIn(entry) : [files[i]]));
  openBatch(found);
}

function drop(event) {
  const input = inputOf(event.target);
  const { items, files } = event.dataTransfer ?? {};
  const entries = [...(items ?? [])].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (!input || !entries.some((entry) => entry?.isDirectory)) return intercept(event, input, files);
  take(event);
  takeFolders(entries, [...files]);
}

document.addEventListener("change", (event) => event.target.type === "file" && intercept(event, inputOf(event.target), event.target.files), true);
document.addEventListener("drop", drop, true);
// The dialog of the system offers only what is accepted.
document.addEventListener("click", (event) => {
  if (event.target.type === "file" && event.target.accept === "image/*") event.target.accept = "image/*,.heic,.heif";
}, true);
