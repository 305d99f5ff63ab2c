/* A result as a file of another format, made by the browser from the picture on the screen (8 bits), saved or shared. */

import { download, el } from "./dom.js";

const QUALITY = 0.95;
const FORMATS = [
  ["JPEG", "image/jpeg", "jpg"],
  ["WebP", "image/webp", "webp"],
];

async function encode(picture, type) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  if (type === "image/jpeg") {
    context.fillStyle = "#ffffff"; // JPEG has no transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.drawImage(picture.bitmap, 0, 0);
  return canvas.convertToBlob({ type, quality: QUALITY });
}

/** Whether the file to save has every bit of a pane's picture: that on the screen has eight. */
export const savesAllBits = ({ bits, url, download_url }) => !(bits > 8) || url !== download_url;

const nameOf = (spec, suffix) => `${(spec.download_name || spec.name).replace(/\.\w+$/, "")}.${suffix}`;

/** Whether the system takes pictures from this browser. */
const canShare = () => Boolean(navigator.share && navigator.canShare?.({ files: [new File(["x"], "x.jpg", { type: "image/jpeg" })] }));

async function share(pane) {
  const blob = await encode(pane.picture, "image/jpeg");
  const file = new File([blob], nameOf(pane.spec, "jpg"), { type: blob.type });
  try {
    await navigator.share({ files: [file] });
  } catch (error) {
    // Too large, or asked too long after the press; AbortError: closed without choosing.
    if (error.name !== "AbortError") download(file.name, blob.type, blob);
  }
}

/** The buttons that save a pane's picture in other formats, and share it where the system can. */
export function saveButtons(pane) {
  const button = (text, title, onclick) => el("button", { type: "button", className: "gsr-plain gsr-save", title, onclick }, text);
  const save = async (type, suffix) => download(nameOf(pane.spec, suffix), type, await encode(pane.picture, type));
  const buttons = FORMATS.map(([text, type, suffix]) => button(text, `Save as ${text}, 8 bits, quality ${100 * QUALITY}`, () => pane.picture && save(type, suffix)));
  return canShare() ? [...buttons, button("Share", "Send it to another app as JPEG", () => pane.picture && share(pane))] : buttons;
}
