/* Hands on the player: wheel, drag, pinch, double click, the divider, keys. */

import { focusUnderHand } from "./dom.js";
import { Pointers } from "./pointers.js";

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
  x: (player) => player.choose(player.against?.spec.id, player.first?.spec.id),
  f: (player) => player.fit(),
  0: (player) => player.oneToOne(),
  "+": (player) => player.zoomStep(1),
  "=": (player) => player.zoomStep(1),
  "-": (player) => player.zoomStep(-1),
};

export function handle(player) {
  const { canvas, stage, divider } = player;
  const pointers = new Pointers(player, canvas);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    stage.focus({ preventScroll: true });
    pointers.press(event);
  });
  canvas.addEventListener("pointermove", (event) => pointers.down.has(event.pointerId) && pointers.move(event));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.down.delete(event.pointerId));
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = pointers.at(event);
    if (player.view.zoom < 0.999) player.zoomAt(x, y, 1);
    else if (player.view.zoom < 3.99) player.zoomAt(x, y, 4);
    else player.fit();
  });

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

  focusUnderHand(stage, canvas);
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
