/* Hands on the player: wheel, drag, pinch, double click, the divider, keys. */

const WHEEL_STEP = 0.0016;

const KEYS = {
  " ": (player) => player.moments.toggle(),
  ArrowLeft: (player) => player.moments.step(-1),
  ArrowRight: (player) => player.moments.step(1),
  ",": (player) => player.moments.step(-1),
  ".": (player) => player.moments.step(1),
  Home: (player) => player.moments.seek(0),
  End: (player) => player.moments.seek(player.moments.count - 1),
  g: (player) => player.setMode("side"),
  w: (player) => player.setMode("wipe"),
  d: (player) => player.setMode("difference"),
  s: (player) => player.setMode("single"),
  x: (player) => player.choose(player.against?.id, player.first?.id),
  f: (player) => player.fit(),
  0: (player) => player.oneToOne(),
  "+": (player) => player.zoomStep(1),
  "=": (player) => player.zoomStep(1),
  "-": (player) => player.zoomStep(-1),
};

export function handle(player) {
  const { canvas, stage, divider } = player;
  const pointers = new Map();
  let pinch = null;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: Math.round((event.clientX - box.left) * player.dpr), y: Math.round((event.clientY - box.top) * player.dpr) };
  };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    stage.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    if (pointers.size === 2) pinch = spread();
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const point = at(event);
    pointers.set(event.pointerId, point);
    if (pointers.size === 2) {
      const now = spread();
      player.pan(now.x - pinch.x, now.y - pinch.y);
      player.zoomAt(now.x, now.y, (player.view.zoom * now.distance) / pinch.distance);
      pinch = now;
    } else player.pan(point.x - last.x, point.y - last.y);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = at(event);
    if (player.view.zoom < 0.999) player.zoomAt(x, y, 1);
    else if (player.view.zoom < 3.99) player.zoomAt(x, y, 4);
    else player.fit();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = at(event);
      const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
      const amount = Math.max(-600, Math.min(600, event.deltaY * lines));
      player.zoomAt(x, y, player.view.zoom * Math.exp(-amount * WHEEL_STEP * (event.ctrlKey ? 5 : 1)));
    },
    { passive: false },
  );

  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const box = canvas.getBoundingClientRect();
    player.setWipe((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.01, ArrowRight: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    player.setWipe(player.wipe + step * (event.shiftKey ? 10 : 1));
  });

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || !player.moments.count) return;
    event.preventDefault();
    event.stopPropagation();
    act(player);
  });
}
