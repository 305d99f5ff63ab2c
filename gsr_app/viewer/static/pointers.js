/* Mouse, touch and wheel on a viewport: drag, pinch, zoom, click. Positions are whole device pixels, so that the steps
 * of a drag add up to it. */

const WHEEL_STEP = 0.0016;
const CLICK_PX = 4; // a press that moves less is a click

export function listenToPointers(viewport) {
  const { stage, canvas } = viewport;
  const down = new Map(); // pointer id -> its last position
  let pinch = null;
  let moved = 0;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const { dpr } = viewport;
    return { x: Math.round((event.clientX - box.left) * dpr), y: Math.round((event.clientY - box.top) * dpr) };
  };
  const spread = () => {
    const [a, b] = [...down.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    const point = at(event);
    stage.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, point);
    if (down.size === 2) pinch = spread();
    moved = down.size > 1 ? Infinity : 0; // a pinch is no click
    viewport.pointTo(point.x, point.y);
    if (down.size === 1 && viewport.drawingRegion) viewport.beginRegion(point.x, point.y);
    stage.classList.toggle("is-dragging", !viewport.drawingRegion);
  });

  canvas.addEventListener("pointermove", (event) => {
    const point = at(event);
    const last = down.get(event.pointerId);
    if (!last) return viewport.pointTo(point.x, point.y);
    if (viewport.drawingRegion) return viewport.growRegion(point.x, point.y);
    down.set(event.pointerId, point);
    if (down.size === 2) {
      const now = spread();
      viewport.pan(now.x - pinch.x, now.y - pinch.y);
      viewport.zoomAt(now.x, now.y, (viewport.view.zoom * now.distance) / pinch.distance);
      pinch = now;
    } else if (down.size === 1) {
      viewport.pan(point.x - last.x, point.y - last.y);
      moved += Math.abs(point.x - last.x) + Math.abs(point.y - last.y);
      viewport.pointTo(point.x, point.y);
    }
  });

  const release = (event) => {
    if (!down.delete(event.pointerId)) return;
    stage.classList.remove("is-dragging");
    if (viewport.drawingRegion) viewport.endRegion();
    else if (event.type === "pointerup" && moved < CLICK_PX && !down.size) {
      const point = at(event);
      viewport.click(point.x, point.y);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => down.size || viewport.pointTo(null));

  canvas.addEventListener("dblclick", (event) => {
    event.preventDefault();
    const point = at(event);
    const { view, closeZoom } = viewport;
    if (view.zoom < 0.999) viewport.zoomAt(point.x, point.y, 1);
    else if (view.zoom < closeZoom - 0.01) viewport.zoomAt(point.x, point.y, closeZoom);
    else viewport.fit();
  });

  const zoomByWheel = (event) => {
    event.preventDefault();
    const { x, y } = at(event);
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const amount = Math.max(-600, Math.min(600, event.deltaY * lines));
    // Trackpads pinch with ctrl held and send small steps.
    viewport.zoomAt(x, y, viewport.view.zoom * Math.exp(-amount * WHEEL_STEP * (event.ctrlKey ? 5 : 1)));
  };
  canvas.addEventListener("wheel", zoomByWheel, { passive: false });
}
