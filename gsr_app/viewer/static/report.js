/* A report: the viewer over several pictures, the methods and versions, and a blind test. */

import { Album } from "./album.js";
import { Blind } from "./blind.js";
import { download, el, followTheme } from "./dom.js";
import { palette } from "./palette.js";
import { Viewer } from "./viewer.js";

export function showReport(root, report) {
  followTheme();
  for (const { scene } of report.pages) {
    for (const spec of scene.panes) {
      if (!spec.url) continue;
      spec.url = objectUrl(spec.url);
      if (spec.download_url === "#url") spec.download_url = spec.url;
    }
  }
  const stage = el("div", { className: "gsr-reportstage" });
  const viewer = new Viewer(stage, {
    // Only fields that the file includes.
    fieldUrl: async (id) => ({ url: report.fields[id] }),
  });
  const album = new Album(viewer);
  const blind = new Blind(viewer, report, (i) => album.open(i));
  const judge = el("button", { type: "button", "aria-pressed": "false", onclick: () => setBlind(!viewer.blind) }, "Judge blind");
  const all = el("button", { type: "button", className: "gsr-allactions", "aria-haspopup": "dialog", title: "Find an action by its name (Ctrl K)", onclick: () => palette().open() }, "Actions");
  judge.hidden = report.pages.every(({ scene }) => scene.panes.filter((spec) => spec.kind === "method").length < 2);

  const setBlind = (on) => {
    album.keepRegions();
    viewer.blind = on;
    album.disguise = on ? (i) => blind.hide(i) : null;
    judge.setAttribute("aria-pressed", String(on));
    blind.node.hidden = !on;
    about.hidden = on;
    album.open(album.number, true);
  };

  const rows = report.methods.map((method) =>
    el("tr", {}, ...["title", "done", "weights", "licence", "paper"].map((name) => el("td", {}, method[name] ?? ""))),
  );
  const head = el("tr", {}, ...["method", "what was done", "weights", "licence", "paper"].map((name) => el("th", { scope: "col" }, name)));
  const figure = report.figure && el("figure", {}, el("img", { src: report.figure.png, alt: "Crops of the regions, one column per method" }),
    el("figcaption", {}, "Region crops at equal zoom. ", save("PNG", report.figure.png, "figure.png"), " ", report.figure.pdf && save("PDF", report.figure.pdf, "figure.pdf")));
  const about = el(
    "section",
    { className: "gsr-about" },
    figure,
    el("h2", {}, "Made with"),
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)),
    el("p", { className: "gsr-quiet" }, report.machine),
    el("p", { className: "gsr-quiet" }, report.versions),
  );
  root.replaceChildren(
    el("header", { className: "gsr-reporthead" }, el("h1", {}, report.title), judge, all),
    blind.node,
    stage,
    about,
  );
  album.take({ id: report.id, number: 0, pages: report.pages });
  return viewer;
}

/** A short address of the picture in a data URL: the viewer compares and keeps the addresses of its panes. */
function objectUrl(url) {
  const [head, text] = url.split(",");
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = letters.charCodeAt(k);
  return URL.createObjectURL(new Blob([bytes], { type: head.slice("data:".length).split(";")[0] }));
}

function save(text, url, name) {
  const link = el("a", { href: url, download: name }, text);
  link.addEventListener("click", async (event) => {
    event.preventDefault(); // some browsers do not save data: links of this size
    download(name, "", await fetch(url).then((answer) => answer.blob()));
  });
  return link;
}
