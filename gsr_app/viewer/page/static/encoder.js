/* Encodes pixels as swift's lattice of Gaussians in the browser: with WebGPU, else WebGL2, else WebAssembly.
 *
 *   const encoder = await Encoder.open(weights);   // the bytes of a weights file
 *   const lattice = await encoder.encode(rgb, width, height, core);
 *
 * A GPU in software is passed over: WebAssembly is faster. What a GPU computes is compared once with WebAssembly. When a
 * GPU is lost, the same engine is opened again, and then the next. */

import { GlEngine } from "./glengine.js";
import { GpuEngine } from "./gpuengine.js";
import { makeLattice } from "./lattice.js";
import { SwiftNetwork } from "./network.js";
import { WasmEngine } from "./wasmengine.js";
import { WorkerEngine } from "./wasmworker.js";

export const ENGINES = ["webgpu", "webgl2", "wasm"];
export const ENGINE_NAMES = { webgpu: "WebGPU", webgl2: "WebGL2", wasm: "WebAssembly" };
const CHECK_SIZE = [13, 10]; // pixels, of the tile by which a GPU is checked
const CHECK_ERROR = { webgpu: 1e-3, webgl2: 2e-2 }; // WebGL2 may compute in float16
const MAX_REOPENED = 2;

export class Encoder {
  /** `only` names the engine to use, software too; an error says why there is none. */
  static async open(weights, { only = "" } = {}) {
    const encoder = new Encoder(weights, only);
    await encoder.#openNext(only ? ENGINES.indexOf(only) : 0);
    return encoder;
  }

  constructor(weights, only) {
    this.weights = weights;
    this.only = only;
    this.network = new SwiftNetwork(weights);
    this.reasons = []; // why the engines before this one were passed over
    this.reopened = 0;
    this.kind = "";
    this.engine = null;
  }

  get parallel() {
    return this.engine?.parallel ?? 1;
  }

  /** What runs, and why nothing faster. */
  get title() {
    return [`${ENGINE_NAMES[this.kind]}${this.engine.name ? ` (${this.engine.name})` : ""} computes the Gaussians in this browser.`, ...this.reasons].join(" ");
  }

  async #openNext(from) {
    for (let at = from; at < ENGINES.length; at++) {
      const kind = ENGINES[at];
      let engine = null;
      try {
        engine = await this.#make(kind);
        await this.#check(kind, engine);
        Object.assign(this, { kind, engine });
        return;
      } catch (error) {
        engine?.close();
        this.reasons.push(String(error.message ?? error));
        if (this.only) break;
      }
    }
    throw new Error(this.reasons.join(" "));
  }

  #make(kind) {
    const options = { software: Boolean(this.only) };
    if (kind === "webgpu") return GpuEngine.open(this.network, options);
    if (kind === "webgl2") return GlEngine.open(this.network, options);
    return WorkerEngine.open(this.network, this.weights);
  }

  // Drivers may compile wrongly.
  async #check(kind, engine) {
    if (kind === "wasm") return;
    let here = null;
    try {
      here = new WasmEngine(this.network);
    } catch {
      return; // nothing to compare with
    }
    const [width, height] = CHECK_SIZE;
    const rgb = Float32Array.from({ length: 3 * width * height }, (_, k) => 0.5 + 0.5 * Math.sin(k * k));
    const core = { x: 0, y: 0, width, height };
    const [one, other] = [await engine.run(rgb, width, height), here.run(rgb, width, height)].map((output) => makeLattice(this.network.config, rgb, width, height, output, core));
    const error = one.reduce((most, value, k) => Math.max(most, Math.abs(value - other[k])), 0);
    if (!(error < CHECK_ERROR[kind])) throw new Error(`${ENGINE_NAMES[kind]} computes wrong numbers here.`);
  }

  /** The lattice [8][2h][2w] of the `core` {x, y, width, height} of a tile of pixels [h][w][3] in 0..1. */
  async encode(rgb, width, height, core) {
    for (;;) {
      const { engine } = this;
      try {
        const output = await engine.run(rgb, width, height);
        return makeLattice(this.network.config, rgb, width, height, output, core);
      } catch (error) {
        await this.#recover(engine, error);
      }
    }
  }

  // One of several tiles that fail together opens the next engine; the others wait for it.
  async #recover(engine, error) {
    if (this.engine !== engine) return;
    if (this.kind === "wasm") throw error;
    this.recovery ??= (async () => {
      const at = ENGINES.indexOf(this.kind);
      this.reasons.push(`${ENGINE_NAMES[this.kind]} was lost: ${error.message ?? error}`);
      engine.close();
      await this.#openNext(engine.isLost && this.reopened++ < MAX_REOPENED ? at : at + 1);
    })().finally(() => (this.recovery = null));
    await this.recovery;
  }

  close() {
    this.engine?.close();
    this.engine = null;
  }
}
