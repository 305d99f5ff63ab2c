/* The FLIP error maps of the pairs of pictures that are compared, computed in a worker and kept while they are shown. */

import { heat } from "./difference.js";
import { startFlipWorker } from "./flip.js";
import { Picture } from "./picture.js";

export const MAX_PIXELS = 16e6;
const FAILED = "FLIP could not be computed";

export class FlipMaps {
  constructor(changed) {
    this.changed = changed;
    this.maps = new Map(); // picture -> {base, share, picture, mean, problem}
    this.worker = null;
    this.waiting = [];
  }

  /** {picture, mean} of a pair once it is known, else {share} or {problem}. Asking for it starts the computation. */
  of(picture, base) {
    const known = this.maps.get(picture);
    if (known?.base === base) return known;
    const map = { base, share: 0, picture: null, mean: null, problem: "" };
    this.maps.set(picture, map);
    if (picture.width !== base.width || picture.height !== base.height) map.problem = "FLIP needs pictures of one size";
    else if (picture.width * picture.height > MAX_PIXELS) map.problem = `FLIP is shown up to ${MAX_PIXELS / 1e6} megapixels`;
    else this.waiting.push({ one: picture, map });
    this.#next();
    return map;
  }

  /** Forget the maps of pictures that are gone. */
  keep(pictures) {
    for (const picture of this.maps.keys()) if (!pictures.has(picture)) this.maps.delete(picture);
    this.waiting = this.waiting.filter(({ one, map }) => this.maps.get(one) === map);
  }

  #next() {
    if (this.worker || !this.waiting.length) return;
    const { one, map } = this.waiting.shift();
    const { width, height } = one;
    let pixels = null;
    try {
      pixels = [one, map.base].map((picture) => picture.read(0, 0, width, height).data);
    } catch {
      map.problem = FAILED; // a picture was closed before the next drawing
      return this.#next();
    }
    const [a, b] = pixels;
    this.worker = startFlipWorker();
    this.worker.onerror = () => this.#end(map, { problem: FAILED });
    this.worker.onmessage = ({ data: { share, errors } }) => {
      if (errors) this.#end(map, { picture: drawn(errors, width, height), mean: errors.reduce((sum, error) => sum + error, 0) / errors.length });
      else Object.assign(map, { share });
      this.changed();
    };
    this.worker.postMessage({ one: a, two: b, width, height }, [a.buffer, b.buffer]);
  }

  #end(map, found) {
    Object.assign(map, found);
    this.close();
    this.changed();
    this.#next();
  }

  close() {
    this.worker?.terminate();
    this.worker = null;
  }
}

function drawn(errors, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  errors.forEach((error, i) => image.data.set([...heat(error), 255], 4 * i));
  context.putImageData(image, 0, 0);
  return new Picture(canvas, false);
}
