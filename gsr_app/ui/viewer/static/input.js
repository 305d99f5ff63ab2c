/* Hands on the stage: wheel, drag, pinch, double click, keys. Turns events into verbs of the viewer. */

import { pressKey } from "./keys.js";

const WHEEL_STEP = 0.0016;

export function listen(viewer, stage, canvas) {
  const pointers = new Map();
  let pinch = null;
  let moved = 0;

  // Whole device pixels: pans are whole, so that steps of a drag add up to the drag.
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: Math.round((event.clientX - box.left) * viewer.dpr), y: Math.round((event.clientY - box.top) * viewer.dpr) };
  };

  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    stage.focus({ preventScroll: true });
    const point = at(event);
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point);
    moved = 0;
    viewer.pointTo(point.x, point.y);
    if (pointers.size === 1 && viewer.drawing) viewer.beginRegion(point.x, point.y);
    if (pointers.size === 2) pinch = spread();
    stage.classList.toggle("is-dragging", !viewer.drawing);
  });

  canvas.addEventListener("pointermove", (event) => {
    const point = at(event);
    const last = pointers.get(event.pointerId);
    if (!last) return viewer.pointTo(point.x, point.y);
    pointers.set(event.pointerId, point);
    if (viewer.drawing) return viewer.growRegion(point.x, point.y);
    if (pointers.size === 2) {
      const now = spread();
      viewer.pan(now.x - pinch.x, now.y - pinch.y);
      viewer.zoomAt(now.x, now.y, (viewer.view.zoom * now.distance) / pinch.distance);
      pinch = now;
    } else if (pointers.size === 1) {
      moved += Math.abs(point.x - last.x) + Math.abs(point.y - last.y);
      viewer.pan(point.x - last.x, point.y - last.y);
      viewer.pointTo(point.x, point.y);
    }
  });

  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    stage.classList.remove("is-dragging");
    if (viewer.drawing) viewer.endRegion();
    else if (event.type === "pointerup" && moved < 4 && !pointers.size) {
      const point = at(event);
      viewer.click(point.x, point.y);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  // The keys are the stage's while it has the focus; a hand over it is enough, unless the focus is in use elsewhere.
  canvas.addEventListener("pointerenter", () => document.activeElement === document.body && stage.focus({ preventScroll: true }));
  canvas.addEventListener("pointerleave", () => pointers.size || viewer.pointTo(null));

  canvas.addEventListener("dblclick", (event) => {
    event.preventDefault();
    const point = at(event);
    if (viewer.view.zoom < 0.999) viewer.zoomAt(point.x, point.y, 1);
    else if (viewer.view.zoom < 7.99) viewer.zoomAt(point.x, point.y, 8);
    else viewer.fit();
  });

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const point = at(event);
      const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
      const amount = Math.max(-600, Math.min(600, event.deltaY * lines));
      // Trackpads pinch with ctrl held and send small steps.
      viewer.zoomAt(point.x, point.y, viewer.view.zoom * Math.exp(-amount * WHEEL_STEP * (event.ctrlKey ? 5 : 1)));
    },
    { passive: false },
  );

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
