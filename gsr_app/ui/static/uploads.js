/* Lets HEIC photographs through Gradio's picture inputs, which take only what the browser calls an image.
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

function intercept(event, input, files) {
  const found = [...(files ?? [])];
  if (!input || isOwnEvent || !found.some(isHeic)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  upload(input, found);
}

document.addEventListener("change", (event) => event.target.type === "file" && intercept(event, inputOf(event.target), event.target.files), true);
document.addEventListener("drop", (event) => intercept(event, inputOf(event.target), event.dataTransfer?.files), true);
// The dialog of the system offers only what is accepted.
document.addEventListener("click", (event) => {
  if (event.target.type === "file" && event.target.accept === "image/*") event.target.accept = "image/*,.heic,.heif";
}, true);
