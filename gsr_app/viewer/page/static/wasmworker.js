/* The WebAssembly engine in workers, so that the page stays responsive. This module is also the worker's own script. */

import { SwiftNetwork } from "./network.js";
import { hasFusedArithmetic, WasmEngine } from "./wasmengine.js";

const MAX_WORKERS = 4;
const START_MS = 15_000; // a worker that has not started by then never will

export class WorkerEngine {
  /** Throws, with the reason, where WebAssembly does not work. */
  static open(network, weights) {
    hasFusedArithmetic();
    return new WorkerEngine(network, weights, Math.min(MAX_WORKERS, Math.max(1, (navigator.hardwareConcurrency ?? 2) - 1)));
  }

  constructor(network, weights, count) {
    this.parallel = count; // tiles at a time
    this.name = `${count} ${count === 1 ? "thread" : "threads"}`;
    this.weights = weights;
    this.isLost = false;
    this.free = Array.from({ length: count }, () => this.#start());
    this.all = [...this.free];
    this.waiting = [];
    this.here = new WasmEngine(network); // where workers are not allowed
  }

  #start() {
    const worker = new Worker(import.meta.url, { type: "module" });
    worker.ready = new Promise((resolve) => {
      worker.onmessage = () => resolve(true);
      worker.onerror = () => resolve(false);
      setTimeout(resolve, START_MS, false);
    });
    worker.postMessage({ weights: this.weights });
    return worker;
  }

  /** The output for a tile of pixels [h][w][3]: {data, group, sub, row, column}, the steps between its numbers. */
  async run(rgb, width, height) {
    const worker = this.all.length ? (this.free.pop() ?? (await new Promise((next) => this.waiting.push(next)))) : null;
    if (!worker) return this.here.run(rgb, width, height);
    if (!(await worker.ready)) {
      worker.terminate();
      this.all = this.all.filter((one) => one !== worker);
    }
    const isUsable = this.all.includes(worker);
    try {
      return isUsable ? await this.#ask(worker, rgb, width, height) : this.here.run(rgb, width, height);
    } finally {
      const next = this.waiting.shift();
      if (next) next(isUsable ? worker : null);
      else if (isUsable) this.free.push(worker);
    }
  }

  #ask(worker, rgb, width, height) {
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.problem ? reject(new Error(data.problem)) : resolve(data));
      worker.onerror = () => reject(new Error("WebAssembly stopped."));
      worker.postMessage({ rgb, width, height });
    });
  }

  close() {
    for (const worker of this.all) worker.terminate();
    this.all = this.free = [];
  }
}

if (typeof WorkerGlobalScope !== "undefined") {
  let engine = null;
  self.onmessage = ({ data: { weights, rgb, width, height } }) => {
    try {
      if (weights) {
        engine = new WasmEngine(new SwiftNetwork(weights));
        self.postMessage("ready");
      } else {
        const output = engine.run(rgb, width, height);
        self.postMessage(output, [output.data.buffer]);
      }
    } catch (error) {
      self.postMessage({ problem: String(error.message ?? error) });
    }
  };
}
