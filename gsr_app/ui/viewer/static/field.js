/* A field of Gaussians in the browser: reading its file and drawing it with WebGL2 at any zoom. Needs only this file:
 *
 *   const field = await Field.load("picture.gsr");
 *   const painter = new FieldPainter();                  // throws where WebGL2 or float targets are missing
 *   const canvas = painter.draw(field, {x: 0, y: 0, width: 8, height: 6}, 800, 600);   // its top left 800 by 600 pixels
 *
 * Everything is in source pixels, centres at +0.5, y down. A drawing equals `ops.render` to rounding: the sum of
 * color * exp(-q / 2) within the ellipse q <= -2 ln(EPS) and the window, divided by the summed weights if normalised.
 * gsr_app/io/fields.py explains the file; this reads its float16 form, which travels and lies in reports. */

const EPS = 1e-4;
const REACH = Math.sqrt(-2 * Math.log(EPS)); // sigmas
const FAR = 1e9;
const TILT = Math.PI / 65536;
const ROW = 4096; // Gaussians per row of a texture

export const HALF = new Float32Array(65536); // every float16 there is
for (let i = 0; i < 65536; i++) {
  const exponent = (i >> 10) & 31;
  const size = exponent ? (1 + (i & 1023) / 1024) * 2 ** (exponent - 15) : (i & 1023) * 2 ** -24;
  HALF[i] = exponent === 31 ? NaN : i & 32768 ? -size : size;
}

export class Field {
  constructor(buffer) {
    const length = buffer.byteLength > 8 ? Math.min(buffer.byteLength - 8, new DataView(buffer).getUint32(0, true)) : 0;
    const head = length ? new TextDecoder().decode(new Uint8Array(buffer, 8, length)) : "";
    if (!head.startsWith("{") || !head.includes('"gsr-field"')) throw new Error("This is not a field of Gaussians.");
    const header = JSON.parse(head);
    const texts = (this.texts = header.__metadata__);
    if (texts.version !== "1") throw new Error(`The field has format ${texts.version}; this page reads format 1.`);
    const said = (name) => JSON.parse(texts[name]);
    if (said("precision") !== "float16") throw new Error(`The field is stored as ${said("precision")}; this page reads float16.`);
    const [count, { size, columns, rows }] = [said("count"), said("cell")];
    Object.assign(this, { count, columns, rows, cell: size, source: said("source_size") }); // source: [height, width]
    Object.assign(this, { normalize: said("normalize"), window: said("window") ?? [FAR, FAR] });
    const array = (name, Type) => new Type(buffer, 8 + length + header[name].data_offsets[0], header[name].shape.reduce((a, b) => a * b));
    this.starts = array("starts", Uint32Array); // where each cell's Gaussians begin, and the end
    this.mean = array("mean", Float32Array); // [N, 2]
    this.axes = array("axes", Uint16Array); // [N, 2] float16: half axes, the longer first
    this.angle = array("angle", Uint16Array); // [N] the longer one's tilt, in 65536ths of pi
    this.ink = array("color", Uint16Array); // [N, 3] float16
    const channels = header.color.shape[1];
    const one = (_, k) => this.ink[Math.floor(k / 3) * channels + (channels < 3 ? 0 : k % 3)]; // grey is told three times
    if (channels !== 3) this.ink = Uint16Array.from({ length: 3 * count }, one);
    if (this.mean.length !== 2 * count || this.starts.at(-1) !== count) throw new Error("The field is damaged.");
    this.#measure();
  }

  /** From a URL, gzipped or not; `progress` hears the bytes so far. */
  static async load(url, { signal, progress } = {}) {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`The Gaussians could not be fetched (${answer.status}).`);
    let received = 0;
    const transform = (chunk, out) => (progress?.((received += chunk.byteLength)), out.enqueue(chunk));
    const body = await new Response(answer.body.pipeThrough(new TransformStream({ transform }))).arrayBuffer();
    if (new DataView(body).getUint16(0) !== 0x1f8b) return new Field(body);
    return new Field(await new Response(new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  }

  // The box that each cell's Gaussians reach, and the area of their quads.
  #measure() {
    const { starts, mean, axes, angle, window } = this;
    this.boxes = new Float32Array(4 * (starts.length - 1));
    this.areas = new Float32Array(starts.length - 1);
    for (let cell = 0; cell < this.areas.length; cell++) {
      let [x0, y0, x1, y1, area] = [FAR, FAR, -FAR, -FAR, 0];
      for (let i = starts[cell]; i < starts[cell + 1]; i++) {
        const [a, b] = [REACH * HALF[axes[2 * i]], REACH * HALF[axes[2 * i + 1]]];
        const [c, s] = [Math.cos(angle[i] * TILT), Math.sin(angle[i] * TILT)];
        const [hx, hy] = [Math.min(window[0], Math.hypot(a * c, b * s)), Math.min(window[1], Math.hypot(a * s, b * c))];
        [x0, x1] = [Math.min(x0, mean[2 * i] - hx), Math.max(x1, mean[2 * i] + hx)];
        [y0, y1] = [Math.min(y0, mean[2 * i + 1] - hy), Math.max(y1, mean[2 * i + 1] + hy)];
        area += 4 * Math.min(a * b, hx * hy);
      }
      this.boxes.set([x0, y0, x1, y1], 4 * cell);
      this.areas[cell] = area;
    }
  }
}

/** How a drawing may differ from the field: `look`, GLSL given to the painter in place of LOOK, reads `uniforms`. */
const LOOK = "bool look(inout vec2 mean, inout vec2 axes, inout vec3 ink) { return true; }";
export const AS_IT_IS = Object.freeze({ sigma: 1, lift: 0, only: -1, uniforms: () => {} }); // lift: moved by that much at most

// One Gaussian: its centre, its half axes as vectors in pixels, and its form: rows that take pixels to units in which
// the squared length is q log2(e) / 2. Sine and cosine by their series: a GPU's may be 5e-4 off, which a needle shows.
const GAUSSIAN = (look) => `#version 300 es
precision highp float;
uniform highp sampler2D means, halves, inks; uniform highp usampler2D angles;
uniform vec2 origin, scale, size, window;
flat out vec2 centre; flat out vec4 form; flat out vec3 ink;
${look}
bool place(int i, out vec2 wide, out vec2 high) {
  ivec2 cell = ivec2(i & ${ROW - 1}, i >> ${Math.log2(ROW)});
  vec2 mean = texelFetch(means, cell, 0).xy, axes = texelFetch(halves, cell, 0).xy;
  ink = texelFetch(inks, cell, 0).rgb;
  bool is_shown = look(mean, axes, ink);
  float p = float(texelFetch(angles, cell, 0).x) * ${TILT} - ${Math.PI / 2}, z = p * p;
  float c = -p * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0 - z / 39916800.0)))));
  float s = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0 + z / 479001600.0)))));
  centre = (mean - origin) * scale;
  wide = axes.x * vec2(c, s) * scale;
  high = axes.y * vec2(-s, c) * scale;
  form = 0.849321800288 * vec4(vec2(c, s) / scale / axes.x, vec2(-s, c) / scale / axes.y);
  return is_shown;
}
`;
const SPLAT = `void main() {
  int k = gl_VertexID % 6;
  vec2 wide, high;
  bool is_shown = place(gl_VertexID / 6, wide, high);
  vec2 reach = ${REACH} * sqrt(wide * wide + high * high), corner = vec2(k & 1, k > 1 && k < 5) * 2.0 - 1.0;
  // A little wider than the ellipse: corners snap to fractions of a pixel, and no pixel's centre may be lost.
  vec2 at = corner.x * wide * (${REACH} + 0.04 / length(wide)) + corner.y * high * (${REACH} + 0.04 / length(high));
  // Where the window cuts, the box ends between the pixels whose centres are inside it and those that are not.
  vec2 low = max(ceil(centre - window - 0.5), centre - reach - 0.04), far = min(floor(centre + window + 0.5), centre + reach + 0.04);
  if (any(lessThan(window, reach))) at = mix(low, max(low, far), 0.5 + 0.5 * corner) - centre;
  gl_Position = is_shown ? vec4((centre + at) / size * 2.0 - 1.0, 0, 1) : vec4(2, 2, 2, 1);
}`;
const WEIGH = `#version 300 es
precision highp float;
flat in vec2 centre; flat in vec4 form; flat in vec3 ink;
out vec4 total;
void main() {
  vec2 d = gl_FragCoord.xy - centre, p = vec2(dot(form.xy, d), dot(form.zw, d));
  if (dot(p, p) > ${-Math.log2(EPS)}) discard;
  total = vec4(ink, 1) * exp2(-dot(p, p));
}`;
const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;
const SHOW = `#version 300 es
precision highp float;
uniform highp sampler2D totals; uniform float rows, is_normalised;
out vec4 shown;
void main() {
  vec4 t = texelFetch(totals, ivec2(gl_FragCoord.x, rows - gl_FragCoord.y), 0);
  shown = vec4(clamp(is_normalised > 0.0 && t.a > 0.0 ? t.rgb / t.a : t.rgb, 0.0, 1.0), 1);
}`;

export class FieldPainter {
  /** `precision`: "full" sums in 32 bits where the browser can, "half" in 16. `restored` is told of a context regained. */
  constructor({ precision = "full", look = LOOK, restored = () => {} } = {}) {
    this.canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    this.gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!this.gl) throw new Error("This browser has no WebGL2.");
    this.runs = new Int32Array(64); // [first, count, ...] of what is drawn
    this.found = { count: 0, gaussians: 0, pixels: 0 };
    this.#prepare(precision, look);
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => (this.#prepare(precision, look), restored()));
  }

  #prepare(precision, look) {
    const { gl } = this;
    const full = gl.getExtension("EXT_color_buffer_float");
    if (!full && !gl.getExtension("EXT_color_buffer_half_float")) throw new Error("This browser cannot sum colours.");
    this.precision = precision === "full" && full && gl.getExtension("EXT_float_blend") ? "full" : "half";
    this.kept = new Map(); // field -> its Gaussians on the GPU, as textures
    this.place = GAUSSIAN(look); // what a program for `each` begins with
    this.splat = this.program(this.place + SPLAT, WEIGH);
    this.show = this.program(WHOLE, SHOW);
    this.totals = null;
    this.frame = gl.createFramebuffer();
  }

  program(vertex, fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.attachShader(program, shader);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
    const names = Array.from({ length: gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) }, (_, k) => gl.getActiveUniform(program, k).name);
    return { program, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
  }

  /** Draw a rectangle of the source plane into the top left of the canvas; null while the context is lost. */
  draw(field, rect, width, height, touch = AS_IT_IS) {
    const { gl, canvas, show } = this;
    if (gl.isContextLost()) return null;
    this.makeRoom(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    this.each(field, rect, width, height, this.splat, gl.TRIANGLES, 6, touch);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, canvas.height - height, width, height);
    gl.useProgram(show.program);
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, this.totals);
    gl.uniform1i(show.at.totals, 4);
    gl.uniform1f(show.at.rows, canvas.height);
    gl.uniform1f(show.at.is_normalised, field.normalize && touch.only < 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return canvas;
  }

  // Targets only grow: a moving view allocates nothing.
  makeRoom(width, height) {
    const { gl, canvas } = this;
    if (this.totals && width <= canvas.width && height <= canvas.height) return;
    Object.assign(canvas, { width: Math.max(width, canvas.width), height: Math.max(height, canvas.height) });
    gl.deleteTexture(this.totals);
    this.totals = this.#texture(this.precision === "full" ? gl.RGBA32F : gl.RGBA16F, canvas.width, canvas.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.totals, 0);
  }

  /** Draw the Gaussians that may reach a rectangle, run by run, each as so many vertices. */
  each(field, rect, width, height, { program, at }, mode, vertices, touch) {
    const { gl } = this;
    const [sx, sy] = [width / rect.width, height / rect.height];
    gl.useProgram(program);
    gl.uniform2f(at.origin, rect.x, rect.y);
    gl.uniform2f(at.scale, sx, sy);
    gl.uniform2f(at.size, width, height);
    gl.uniform2f(at.window, field.window[0] * sx, field.window[1] * sy);
    touch.uniforms(gl, at, field);
    if (!this.kept.has(field)) this.kept.set(field, this.#upload(field));
    for (const { texture, unit, name } of this.kept.get(field)) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(at[name], unit);
    }
    const { count } = this.cull(field, rect, width, height, touch);
    for (let k = 0; k < count; k += 2) gl.drawArrays(mode, vertices * this.runs[k], vertices * this.runs[k + 1]);
  }

  #upload({ count, mean, axes, ink, angle }) {
    const { gl } = this;
    const rows = Math.floor(count / ROW);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    return [
      ["means", mean, 2, gl.RG32F, gl.RG, gl.FLOAT],
      ["halves", axes, 2, gl.RG16F, gl.RG, gl.HALF_FLOAT],
      ["inks", ink, 3, gl.RGB16F, gl.RGB, gl.HALF_FLOAT],
      ["angles", angle, 1, gl.R16UI, gl.RED_INTEGER, gl.UNSIGNED_SHORT],
    ].map(([name, values, channels, kind, format, type], unit) => {
      const texture = this.#texture(kind, ROW, rows + 1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, format, type, values, 0);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, rows, count % ROW, 1, format, type, values, channels * ROW * rows);
      return { name, texture, unit };
    });
  }

  #texture(kind, width, height) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, kind, width, height);
    for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, way, gl.NEAREST);
    return texture;
  }

  /** Which runs a rectangle needs, in `runs`; how long that list is, how many Gaussians, how many pixels of quads. */
  cull({ starts, boxes, areas }, rect, width, height, touch = AS_IT_IS) {
    const { found } = this;
    const grow = Math.max(0, touch.sigma - 1) / 2;
    const [right, bottom, isAlone] = [rect.x + rect.width, rect.y + rect.height, touch.only >= 0];
    let end = -1;
    found.count = found.gaussians = found.pixels = 0;
    for (let cell = 0; cell < areas.length; cell++) {
      const from = isAlone ? Math.max(starts[cell], touch.only) : starts[cell];
      const n = (isAlone ? Math.min(starts[cell + 1], touch.only + 1) : starts[cell + 1]) - from;
      if (n <= 0) continue;
      const k = 4 * cell;
      const dx = grow * (boxes[k + 2] - boxes[k]);
      const dy = grow * (boxes[k + 3] - boxes[k + 1]) + touch.lift;
      const [x0, y0, x1, y1] = [boxes[k] - dx, boxes[k + 1] - dy, boxes[k + 2] + dx, boxes[k + 3] + dy];
      if (x0 > right || x1 < rect.x || y0 > bottom || y1 < rect.y) continue;
      const seen = (Math.min(x1, right) - Math.max(x0, rect.x)) * (Math.min(y1, bottom) - Math.max(y0, rect.y));
      found.pixels += (areas[cell] * touch.sigma ** 2 * seen) / ((x1 - x0) * (y1 - y0));
      found.gaussians += n;
      if (found.count + 2 > this.runs.length) this.runs = Int32Array.from({ length: 2 * found.count + 64 }, (_, k) => this.runs[k]);
      if (from !== end) this.runs.set([from, 0], (found.count += 2) - 2);
      this.runs[found.count - 1] += n;
      end = from + n;
    }
    found.pixels *= (width / rect.width) * (height / rect.height);
    return found;
  }

  /** Let go of a field's copy on the GPU. */
  drop(field) {
    for (const { texture } of this.kept.get(field) ?? []) this.gl.deleteTexture(texture);
    this.kept.delete(field);
  }

  close = () => this.gl.getExtension("WEBGL_lose_context")?.loseContext();
}
