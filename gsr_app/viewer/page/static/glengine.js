/* Runs the network with WebGL2: one fragment per pixel, as many groups of outputs at once as the browser has targets and
 * its uniform blocks have room for weights. */

import { groupsOf, packMatrices, padded } from "./network.js";

const POLL_MS = 2;

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;

const fragment = ({ inputs, dilation, relu, skip }, count, first) => {
  const each = (text) => Array.from({ length: count }, (_, k) => text(k)).join("\n");
  return `#version 300 es
precision highp float;
precision highp sampler2DArray;
uniform sampler2DArray source, skip;
layout(std140) uniform Weights { mat4 weights[${groupsOf(inputs) * 9 * count}]; };
${each((k) => `layout(location = ${k}) out vec4 result${k};`)}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  ${each((k) => `vec4 s${k} = ${skip ? `texelFetch(skip, ivec3(at, ${first + k}), 0)` : "vec4(0)"};`)}
  for (int i = 0; i < ${groupsOf(inputs)}; i++) {
    for (int t = 0; t < 9; t++) {
      vec4 v = texelFetch(source, ivec3(at + ivec2(t % 3 - 1, t / 3 - 1) * ${dilation}, i), 0);
      int w = (i * 9 + t) * ${count};
      ${each((k) => `s${k} += weights[w + ${k}] * v;`)}
    }
  }
  ${each((k) => `result${k} = ${relu ? `max(s${k}, vec4(0))` : `s${k}`};`)}
}`;
};

export class GlEngine {
  /** Throws, with the reason, where WebGL2 does not work or is software. */
  static open(network, { software = false } = {}) {
    const canvas = typeof OffscreenCanvas === "undefined" ? document.createElement("canvas") : new OffscreenCanvas(1, 1);
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("This browser has no WebGL2.");
    const name = String(gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
    try {
      if (!software && /swiftshader|llvmpipe|software|basic render/i.test(name)) throw new Error("WebGL2 runs in software.");
      return new GlEngine(network, canvas, gl, name);
    } catch (error) {
      gl.getExtension("WEBGL_lose_context")?.loseContext();
      throw error;
    }
  }

  constructor(network, canvas, gl, name) {
    Object.assign(this, { network, gl, name, isLost: false, size: "", room: [0, 0], arrays: {}, frames: new Map() });
    canvas.addEventListener("webglcontextlost", () => (this.isLost = true));
    const full = gl.getExtension("EXT_color_buffer_float");
    if (!full && !gl.getExtension("EXT_color_buffer_half_float")) throw new Error("WebGL2 cannot draw numbers here.");
    this.kind = full ? gl.RGBA32F : gl.RGBA16F;
    const programs = new Map(); // one for all layers of a kind
    this.steps = network.layers.flatMap((layer) => this.#passesOf(layer, programs));
  }

  #passesOf(layer, programs) {
    const { gl } = this;
    const groups = groupsOf(layer.outputs);
    const room = Math.floor(gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) / (64 * 9 * groupsOf(layer.inputs)));
    const most = Math.min(gl.getParameter(gl.MAX_DRAW_BUFFERS), gl.getParameter(gl.MAX_COLOR_ATTACHMENTS), room);
    if (most < 1) throw new Error("WebGL2 has too little room for weights here.");
    const passes = Math.ceil(groups / most);
    return Array.from({ length: passes }, (_, k) => {
      const [first, last] = [Math.floor((k * groups) / passes), Math.floor(((k + 1) * groups) / passes)];
      const code = fragment(layer, last - first, first);
      if (!programs.has(code)) programs.set(code, this.#program(code));
      const weights = gl.createBuffer();
      gl.bindBuffer(gl.UNIFORM_BUFFER, weights);
      gl.bufferData(gl.UNIFORM_BUFFER, packMatrices(layer, first, last), gl.STATIC_DRAW);
      return { layer, first, last, weights, program: programs.get(code) };
    });
  }

  #program(code) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, code]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "WebGL2 was lost.");
    gl.uniformBlockBinding(program, gl.getUniformBlockIndex(program, "Weights"), 0);
    gl.useProgram(program);
    gl.uniform1i(gl.getUniformLocation(program, "source"), 0);
    gl.uniform1i(gl.getUniformLocation(program, "skip"), 1);
    return program;
  }

  // Textures only grow. Where the size of a tile changes, all are cleared, as a border must be zero.
  #layOut(width, height) {
    const { gl, network } = this;
    if (this.size === `${width},${height}`) return;
    this.size = `${width},${height}`;
    const [wide, high] = [width + 2 * network.border, height + 2 * network.border];
    if (wide > this.room[0] || high > this.room[1]) {
      this.#freeTextures();
      this.room = [Math.max(wide, this.room[0]), Math.max(high, this.room[1])];
      for (const [name, groups] of network.buffers()) {
        this.arrays[name] = gl.createTexture();
        gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.arrays[name]);
        gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, this.kind, ...this.room, groups);
        for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D_ARRAY, way, gl.NEAREST);
      }
    }
    gl.clearColor(0, 0, 0, 0);
    for (const { layer, first, last } of this.steps) {
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.#frame(layer.to, first, last));
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
  }

  #frame(name, first, last) {
    const { gl, frames } = this;
    const key = `${name} ${first} ${last}`;
    if (!frames.has(key)) {
      frames.set(key, gl.createFramebuffer());
      gl.bindFramebuffer(gl.FRAMEBUFFER, frames.get(key));
      const targets = Array.from({ length: last - first }, (_, k) => gl.COLOR_ATTACHMENT0 + k);
      targets.forEach((target, k) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, target, this.arrays[name], 0, first + k));
      gl.drawBuffers(targets);
      if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) throw new Error("WebGL2 cannot draw numbers here.");
    }
    return frames.get(key);
  }

  #freeTextures() {
    const { gl } = this;
    for (const texture of Object.values(this.arrays)) gl.deleteTexture(texture);
    for (const frame of this.frames.values()) gl.deleteFramebuffer(frame);
    this.frames.clear();
  }

  /** The output for a tile of pixels [h][w][3]: {data, group, sub, row, column}, the steps between its numbers. */
  async run(rgb, width, height) {
    const { gl, network, arrays } = this;
    const { border } = network;
    this.#layOut(width, height);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, arrays.input);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, width + 2 * border, height + 2 * border, 1, gl.RGBA, gl.FLOAT, padded(rgb, width, height, border));
    gl.viewport(border, border, width, height);
    for (const { layer, first, last, weights, program } of this.steps) {
      gl.useProgram(program);
      gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, weights);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, arrays[layer.from]);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, arrays[layer.skip ?? layer.from]);
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.#frame(layer.to, first, last));
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
    const data = await this.#read(width, height);
    return { data, group: 4 * width * height, sub: 1, row: 4 * width, column: 4 };
  }

  // Reads without blocking the page: into a buffer, and from there once the GPU is done.
  async #read(width, height) {
    const { gl, network } = this;
    const { border } = network;
    const outputs = this.steps.filter(({ layer }) => layer.to === "output");
    const bytes = 16 * width * height;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, bytes * outputs.at(-1).last, gl.STREAM_READ);
    for (const { first, last } of outputs) {
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.#frame("output", first, last));
      for (let group = first; group < last; group++) {
        gl.readBuffer(gl.COLOR_ATTACHMENT0 + group - first);
        gl.readPixels(border, border, width, height, gl.RGBA, gl.FLOAT, group * bytes);
      }
    }
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (!gl.isContextLost() && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) await new Promise((done) => setTimeout(done, POLL_MS));
    if (gl.isContextLost()) throw new Error("WebGL2 was lost.");
    const data = new Float32Array((bytes * outputs.at(-1).last) / 4);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, data);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.deleteBuffer(buffer);
    gl.deleteSync(fence);
    return data;
  }

  close() {
    this.#freeTextures();
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
