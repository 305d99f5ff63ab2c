/* Runs the network with WebGPU.
 *
 * A workgroup of 8x8 threads computes 16x16 pixels of up to 5 groups of outputs. For every group of inputs it loads the
 * pixels into workgroup memory once; each thread then multiplies 4 of them by each 4x4 matrix that it reads. Bias-free
 * convolution, skip and ReLU are one dispatch. Arithmetic in float16 is not used: with it the numbers of a Gaussian are
 * up to 6e-3 off, three times what is allowed.
 *
 * The shipped network has 286 kMAC per pixel, 18.8 GMAC or 37.5 GFLOP for 256x256 pixels. A GPU of 2.2 TFLOP/s, such as an
 * integrated Iris Xe, would take 17 ms at its peak, and 43 ms at 40 % of it. */

import { groupsOf, packMatrices, padded } from "./network.js";

const SIDE = 16; // pixels of a workgroup
const MAX_OUTPUTS = 5; // groups per thread, 4 pixels each: 20 accumulators

const shader = ({ inputs, outputs, dilation, relu, skip }, perThread) => {
  const patch = SIDE + 2 * dilation;
  const pixels = [0, 1, 2, 3];
  const each = (count, text) => Array.from({ length: count }, (_, k) => text(k)).join("\n");
  return `
struct Size { width: u32, height: u32, stride: u32, plane: u32, border: u32 };
@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<mat4x4f>;
@group(0) @binding(3) var<storage, read_write> target_: array<vec4f>;
${skip ? "@group(0) @binding(4) var<storage, read> skip: array<vec4f>;" : ""}
var<workgroup> pixels: array<vec4f, ${patch * patch}>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) at: vec3u, @builtin(local_invocation_index) index: u32) {
  let corner = group.xy * ${SIDE}u;
  let first = group.z * ${perThread}u;
  ${pixels.map((p) => each(perThread, (k) => `var s${p}_${k} = vec4f();`)).join("\n")}
  for (var i = 0u; i < ${groupsOf(inputs)}u; i++) {
    workgroupBarrier();
    for (var k = index; k < ${patch * patch}u; k += 64u) {
      let x = min(corner.x + k % ${patch}u + size.border - ${dilation}u, size.stride - 1u);
      let y = min(corner.y + k / ${patch}u + size.border - ${dilation}u, size.height + 2u * size.border - 1u);
      pixels[k] = source[i * size.plane + y * size.stride + x];
    }
    workgroupBarrier();
    for (var t = 0u; t < 9u; t++) {
      let from_ = (at.y + t / 3u * ${dilation}u) * ${patch}u + at.x + t % 3u * ${dilation}u;
      ${each(4, (p) => `let v${p} = pixels[from_ + ${(p >> 1) * 8 * patch + (p & 1) * 8}u];`)}
      let w = (i * 9u + t) * ${Math.ceil(groupsOf(outputs) / perThread) * perThread}u + first;
      ${each(perThread, (k) => `let m${k} = weights[w + ${k}u];\n${pixels.map((p) => `s${p}_${k} += m${k} * v${p};`).join("\n")}`)}
    }
  }
  ${each(4, (p) => `{
    let x = corner.x + at.x + ${(p & 1) * 8}u;
    let y = corner.y + at.y + ${(p >> 1) * 8}u;
    if (x < size.width && y < size.height) {
      let place = first * size.plane + (y + size.border) * size.stride + x + size.border;
      ${each(perThread, (k) => store(`s${p}_${k}`, k, groupsOf(outputs), skip, relu))}
    }
  }`)}
}`;
};

function store(sum, k, groups, skip, relu) {
  const total = skip ? `${sum} + skip[place + ${k}u * size.plane]` : sum;
  return `if (first + ${k}u < ${groups}u) { target_[place + ${k}u * size.plane] = ${relu ? `max(${total}, vec4f())` : total}; }`;
}

export class GpuEngine {
  /** Throws, with the reason, where WebGPU does not work or is software. */
  static async open(network, { software = false } = {}) {
    if (!navigator.gpu) throw new Error("This browser has no WebGPU.");
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("WebGPU has no adapter.");
    const { info } = adapter;
    const isSoftware = info?.isFallbackAdapter || adapter.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${info?.architecture} ${info?.description} ${info?.device}`);
    if (isSoftware && !software) throw new Error("WebGPU runs in software.");
    return new GpuEngine(network, await adapter.requestDevice(), [info?.vendor, info?.architecture].filter(Boolean).join(" "));
  }

  constructor(network, device, name) {
    Object.assign(this, { network, device, name, isLost: false, size: "" });
    device.lost.then(() => (this.isLost = true));
    this.uniforms = device.createBuffer({ size: 32, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const pipelines = new Map(); // one for all layers of a kind
    this.steps = network.layers.map((layer) => {
      const groups = groupsOf(layer.outputs);
      const perThread = Math.ceil(groups / Math.ceil(groups / MAX_OUTPUTS));
      const slices = Math.ceil(groups / perThread);
      const code = shader(layer, perThread);
      if (!pipelines.has(code)) {
        const module = device.createShaderModule({ code });
        pipelines.set(code, device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } }));
      }
      const weights = this.#buffer(packMatrices(layer, 0, slices * perThread));
      return { layer, weights, slices, pipeline: pipelines.get(code) };
    });
  }

  #buffer(values) {
    const buffer = this.device.createBuffer({ size: values.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }

  // Buffers for tiles of a size; new ones are zero.
  #layOut(width, height) {
    if (this.size === `${width},${height}`) return;
    this.size = `${width},${height}`;
    this.#freeBuffers();
    const { device, network } = this;
    const stride = width + 2 * network.border;
    this.plane = stride * (height + 2 * network.border);
    device.queue.writeBuffer(this.uniforms, 0, Uint32Array.of(width, height, stride, this.plane, network.border));
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    this.buffers = Object.fromEntries(network.buffers().map(([name, groups]) => [name, device.createBuffer({ size: 16 * groups * this.plane, usage })]));
    this.readable = device.createBuffer({ size: this.buffers.output.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    this.bound = this.steps.map(({ layer, weights, pipeline }) => {
      const buffers = [this.uniforms, this.buffers[layer.from], weights, this.buffers[layer.to]];
      if (layer.skip) buffers.push(this.buffers[layer.skip]);
      const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
      return device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    });
  }

  #freeBuffers() {
    for (const buffer of [...Object.values(this.buffers ?? {}), this.readable]) buffer?.destroy();
  }

  /** The output for a tile of pixels [h][w][3]: {data, group, sub, row, column}, the steps between its numbers. */
  async run(rgb, width, height) {
    const { device, network, steps } = this;
    const { border } = network;
    this.#layOut(width, height);
    device.queue.writeBuffer(this.buffers.input, 0, padded(rgb, width, height, border));
    const commands = device.createCommandEncoder();
    const pass = commands.beginComputePass();
    steps.forEach(({ pipeline, slices }, k) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, this.bound[k]);
      pass.dispatchWorkgroups(Math.ceil(width / SIDE), Math.ceil(height / SIDE), slices);
    });
    pass.end();
    commands.copyBufferToBuffer(this.buffers.output, 0, this.readable, 0, this.readable.size);
    device.queue.submit([commands.finish()]);
    await this.readable.mapAsync(GPUMapMode.READ);
    const all = new Float32Array(this.readable.getMappedRange());
    const stride = width + 2 * border;
    const data = all.slice(4 * (border * stride + border));
    this.readable.unmap();
    return { data, group: 4 * this.plane, sub: 1, row: 4 * stride, column: 4 };
  }

  close() {
    this.#freeBuffers();
    this.device.destroy();
  }
}
