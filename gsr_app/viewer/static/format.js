/* Numbers as people read them: fixed places, thin units, a real minus. */

export const milliseconds = (ms) =>
  ms === null || ms === undefined ? "–" : ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : seconds(ms / 1000);

export const seconds = (s) =>
  s < 10 ? `${s.toFixed(2)} s` : s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(Math.round(s) / 60)} min ${Math.round(s) % 60} s`;

/** The whole time of a pane: the sum of its stages. */
export const totalMs = (spec) => (spec.timing ? Object.values(spec.timing.stages_ms).reduce((sum, ms) => sum + ms, 0) : null);

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1e6) return `${Math.max(1, Math.round(n / 1e3))} kB`;
  if (n < 1e8) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(2)} GB`;
}

export const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-US"));

export const rate = (r) => (r === null || r === undefined ? "–" : r < 10 ? r.toFixed(2) : r < 100 ? r.toFixed(1) : String(Math.round(r)));

export const percent = (zoom) => `${zoom * 100 < 100 ? (zoom * 100).toFixed(zoom < 0.1 ? 1 : 0) : Math.round(zoom * 100)} %`;

export const times = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}×`;

const INFINITE_DB = 999; // contract.py sends it in place of infinity

/** A PSNR without its unit; of pictures without any difference it is infinite. */
export const psnr = (db) => (db >= INFINITE_DB ? "equal" : db.toFixed(2));

/** For other programs. */
export const plainDb = (db) => (db >= INFINITE_DB ? "inf" : db);

export const decibels = (db) => (db >= INFINITE_DB ? "equal" : `${psnr(db)} dB`);

export const signed = (n) => (n > 0 ? `+${n}` : n < 0 ? `−${-n}` : "0");
