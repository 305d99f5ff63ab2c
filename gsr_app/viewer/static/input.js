/* Hands on the stage: wheel, drag, pinch, double click, keys. Turns events into verbs of the viewer. */

import { focusUnderHand } from "./dom.js";
import { pressKey } from "./keys.js";
import { Pointers } from "./pointers.js";

export function listen(viewer, stage, canvas) {
  const pointers = new Pointers(viewer, canvas);
  let moved = 0;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    stage.focus({ preventScroll: true });
    const point = pointers.at(event);
    pointers.press(event);
    moved = pointers.down.size > 1 ? Infinity : 0; // a pinch is no click
    viewer.pointTo(point.x, point.y);
    if (pointers.down.size === 1 && viewer.drawing) viewer.beginRegion(point.x, point.y);
    stage.classList.toggle("is-dragging", !viewer.drawing);
  });

  canvas.addEventListener("pointermove", (event) => {
    const point = pointers.at(event);
    if (!pointers.down.has(event.pointerId)) return viewer.pointTo(point.x, point.y);
    if (viewer.drawing) return viewer.growRegion(point.x, point.y);
    moved += pointers.move(event);
    if (pointers.down.size === 1) viewer.pointTo(point.x, point.y);
  });

  const release = (event) => {
    if (!pointers.down.delete(event.pointerId)) return;
    stage.classList.remove("is-dragging");
    if (viewer.drawing) viewer.endRegion();
    else if (event.type === "pointerup" && moved < 4 && !pointers.down.size) {
      const point = pointers.at(event);
      viewer.click(point.x, point.y);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  focusUnderHand(stage, canvas);
  canvas.addEventListener("pointerleave", () => pointers.down.size || viewer.pointTo(null));

  canvas.addEventListener("dblclick", (event) => {
    event.preventDefault();
    const point = pointers.at(event);
    if (viewer.view.zoom < 0.999) viewer.zoomAt(point.x, point.y, 1);
    else if (viewer.view.zoom < 7.99) viewer.zoomAt(point.x, point.y, 8);
    else viewer.fit();
  });

  stage.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, [role=slider]") && event.key !== "Escape") return;
    if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
    if (pressKey(viewer, event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  });
  stage.addEventListener("keyup", (event) => event.key === " " && viewer.hold(false));
  stage.addEventListener("blur", () => viewer.hold(false));
}
