/* The keys of the player. */

const KEYS = {
  " ": (player) => player.playback.toggle(),
  ArrowLeft: (player) => player.playback.step(-1),
  ArrowRight: (player) => player.playback.step(1),
  ",": (player) => player.playback.step(-1),
  ".": (player) => player.playback.step(1),
  Home: (player) => player.playback.seek(0),
  End: (player) => player.playback.seek(player.playback.count - 1),
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

/** Acts on a key; true when it did something. */
export function pressKey(player, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !player.playback.count) return false;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  act?.(player);
  return Boolean(act);
}
