/* Swift for a page that has a viewer of its own: a picture's Gaussians and its enlargement, made in this browser. */

import { ENGINE_NAMES, Encoder } from "./encoder.js";
import { EngineBadge, Progress } from "./pageparts.js";
import { savePicture } from "./savepicture.js";
import { Source } from "./source.js";
import { Tiler } from "./tiler.js";

const TIMED_SIDE = 96; // pixels, of the tile by which the speed is measured

export class BrowserSwift {
  /** From the bytes of a weights file. */
  static async open(weights) {
    const swift = new BrowserSwift();
    swift.encoder = await Encoder.open(weights);
    swift.badge = new EngineBadge();
    swift.badge.show(swift.encoder);
    swift.progress = new Progress(() => swift.stop());
    return swift;
  }

  stop = () => {}; // what the button beside the progress does

  get engineName() {
    return ENGINE_NAMES[this.encoder.kind];
  }

  /** Milliseconds per pixel of a picture: the second tile is timed, as the first compiles. */
  async measure() {
    const rgb = Float32Array.from({ length: 3 * TIMED_SIDE ** 2 }, (_, k) => (k % 97) / 97);
    const encode = (side) => this.encoder.encode(rgb.subarray(0, 3 * side ** 2), side, side, { x: 0, y: 0, width: side, height: side });
    await encode(TIMED_SIDE / 4);
    const started = performance.now();
    await encode(TIMED_SIDE);
    return (performance.now() - started) / TIMED_SIDE ** 2 / this.encoder.parallel;
  }

  /** Enlarge the picture at a URL to `size` {width, height, scale}. `changed` is called with {stage, fraction}, and with
   * nothing when Gaussians have been added. The result is {tiler, blob, stages_ms}; an error says why there is none. */
  async enlarge(url, name, size, painter, { changed = () => {}, signal } = {}) {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`The picture could not be fetched (${answer.status}).`);
    const source = await Source.open(await answer.blob(), name);
    let fail = () => {};
    const failure = new Promise((_, reject) => (fail = reject));
    const tiler = new Tiler(this.encoder, source, { changed: () => changed(), failed: fail });
    try {
      return await Promise.race([failure, this.#work(tiler, size, painter, changed, signal)]);
    } catch (error) {
      tiler.close();
      source.close();
      throw error;
    }
  }

  async #work(tiler, size, painter, changed, signal) {
    const started = performance.now();
    const { width, height } = tiler.source;
    if (tiler.field.holdsAll) {
      const { progress } = tiler;
      const told = setInterval(() => changed({ stage: "encode", fraction: tiler.progress.done / progress.total }), 200);
      const stop = () => tiler.close();
      signal?.addEventListener("abort", stop);
      await tiler.need({ x: 0, y: 0, width, height }).finally(() => (clearInterval(told), signal?.removeEventListener("abort", stop)));
    }
    const encoded = performance.now();
    const blob = await savePicture(tiler, painter, size, { progress: (fraction) => changed({ stage: "render", fraction }), signal });
    // The parts of a large picture are encoded while it is drawn.
    const stages_ms = tiler.field.holdsAll ? { encode: encoded - started, render: performance.now() - encoded } : { encode: performance.now() - started };
    return { tiler, blob, stages_ms };
  }
}
