/* What mouse, fingers and wheel do to a view: drag, pinch, zoom. In whole device pixels: the steps of a drag add up to it. */

const WHEEL_STEP = 0.0016;

/** `owner` has dpr, view, pan(dx, dy) and zoomAt(x, y, zoom). */
export class Pointers {
  down = new Map(); // pointer id -> where it was last
  pinch = null;

  constructor(owner, canvas) {
    this.owner = owner;
    this.canvas = canvas;
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = this.at(event);
        const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
        const amount = Math.max(-600, Math.min(600, event.deltaY * lines));
        // Trackpads pinch with ctrl held and send small steps.
        owner.zoomAt(x, y, owner.view.zoom * Math.exp(-amount * WHEEL_STEP * (event.ctrlKey ? 5 : 1)));
      },
      { passive: false },
    );
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { dpr } = this.owner;
    return { x: Math.round((event.clientX - box.left) * dpr), y: Math.round((event.clientY - box.top) * dpr) };
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.at(event));
    if (this.down.size === 2) this.pinch = this.#spread();
  }

  /** Take the view along; returns how far a single pointer has come. */
  move(event) {
    const { owner, down } = this;
    const last = down.get(event.pointerId);
    const point = this.at(event);
    down.set(event.pointerId, point);
    if (down.size === 2) {
      const now = this.#spread();
      owner.pan(now.x - this.pinch.x, now.y - this.pinch.y);
      owner.zoomAt(now.x, now.y, (owner.view.zoom * now.distance) / this.pinch.distance);
      this.pinch = now;
    }
    if (down.size !== 1) return 0;
    owner.pan(point.x - last.x, point.y - last.y);
    return Math.abs(point.x - last.x) + Math.abs(point.y - last.y);
  }

  #spread() {
    const [a, b] = [...this.down.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  }
}
