/* A report that also enlarges pictures of its reader, with the encoder that it includes. */

import { el } from "./dom.js";
import { Page } from "./page.js";
import { showReport } from "./report.js";

export function showReportAndPage(root, report) {
  const viewer = showReport(root, report);
  const other = el("main", { hidden: true });
  root.after(other);
  let page = null;
  const show = (isPage) => {
    root.hidden = isPage;
    other.hidden = !isPage;
    if (page || !isPage) return;
    page = new Page(other, report.encoder);
    page.head.prepend(el("button", { type: "button", className: "gsr-plainbutton", onclick: () => show(false) }, "‹ Report"));
  };
  const button = el("button", { type: "button", title: "Enlarge a picture of your own, in this browser", onclick: () => show(true) }, "Your own picture");
  root.querySelector(".gsr-reporthead").append(button);
  document.addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
  document.addEventListener("drop", (event) => {
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    const isFirst = !page; // later the page itself opens what is dropped
    show(true);
    if (isFirst) page.open(file, file.name);
  });
  return viewer;
}
