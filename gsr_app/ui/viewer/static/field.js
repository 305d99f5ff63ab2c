/* A field of Gaussians in the browser: reading its file, asking it questions, drawing it with WebGL2 at any zoom.
 * Needs nothing but this file:
 *
 *   const field = await Field.load("picture.gsr");
 *   const painter = new FieldPainter();                  // throws where WebGL2 or float targets are missing
 *   const canvas = painter.draw(field, {x: 0, y: 0, width: 8, height: 6}, 800, 600);   // its top left 800 by 600 pixels
 *
 * Everything is in source pixels: centres at +0.5, y down. A drawing equals `ops.render` to rounding: the sum of
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
    let header = {};
    const length = buffer.byteLength > 8 ? new DataView(buffer).getUint32(0, true) : 0;
    try {
      header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    } catch {} // said below
    const texts = header.__metadata__;
    if (texts?.format !== "gsr-field") throw new Error("This is not a field of Gaussians.");
    if (texts.version !== "1") throw new Error(`The field has format ${texts.version}; this page reads format 1.`);
    const [count, source, normalize, window, cell, precision] = ["count", "source_size", "normalize", "window", "cell", "precision"].map((name) => JSON.parse(texts[name]));
    if (precision !== "float16") throw new Error(`The field is stored as ${precision}; this page reads float16.`);
    const array = (name, Type) => new Type(buffer, 8 + length + header[name].data_offsets[0], header[name].shape.reduce((a, b) => a * b));
    Object.assign(this, { texts, count, source, normalize, window: window ?? [FAR, FAR], cell: cell.size, columns: cell.columns, rows: cell.rows });
    this.starts = array("starts", Uint32Array); // where each cell's Gaussians begin, and the end
    this.mean = array("mean", Float32Array); // [N, 2]
    this.axes = array("axes", Uint16Array); // [N, 2] float16: half axes, the longer first
    this.angle = array("angle", Uint16Array); // [N] the longer one's tilt, in 65536ths of pi
    this.ink = array("color", Uint16Array); // [N, 3] float16
    const channels = header.color.shape[1];
    if (channels !== 3) this.ink = Uint16Array.from({ length: 3 * count }, (_, k) => this.ink[Math.floor(k / 3) * channels + (channels < 3 ? 0 : k % 3)]);
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

  // The box that each cell's Gaussians reach and the area of their quads; what is usual in this field.
  #measure() {
    const { starts, mean, window, count } = this;
    this.boxes = new Float32Array(4 * (starts.length - 1));
    this.areas = new Float32Array(starts.length - 1);
    for (let cell = 0; cell < this.areas.length; cell++) {
      let [x0, y0, x1, y1, area] = [FAR, FAR, -FAR, -FAR, 0];
      for (let i = starts[cell]; i < starts[cell + 1]; i++) {
        const [a, b, c, s] = [REACH * HALF[this.axes[2 * i]], REACH * HALF[this.axes[2 * i + 1]], Math.cos(this.angle[i] * TILT), Math.sin(this.angle[i] * TILT)];
        const hx = Math.min(window[0], Math.hypot(a * c, b * s));
        const hy = Math.min(window[1], Math.hypot(a * s, b * c));
        x0 = Math.min(x0, mean[2 * i] - hx);
        y0 = Math.min(y0, mean[2 * i + 1] - hy);
        x1 = Math.max(x1, mean[2 * i] + hx);
        y1 = Math.max(y1, mean[2 * i + 1] + hy);
        area += 4 * Math.min(a * b, hx * hy);
      }
      this.boxes.set([x0, y0, x1, y1], 4 * cell);
      this.areas[cell] = area;
    }
    const sample = Array.from({ length: Math.min(count, 4096) }, (_, k) => Math.floor((k * count) / Math.min(count, 4096)));
    const at = (of, t) => sample.map(of).sort((p, q) => p - q)[Math.floor(t * (sample.length - 1))] ?? 1;
    const longer = (i) => HALF[this.axes[2 * i]];
    this.sizes = [at(longer, 0.02), at(longer, 0.98)];
    this.peak = Math.max(1e-6, at((i) => this.strength(i), 0.98));
  }

  color(i) {
    return [HALF[this.ink[3 * i]], HALF[this.ink[3 * i + 1]], HALF[this.ink[3 * i + 2]]];
  }

  /** Of the strongest channel: an additive Gaussian's opacity lies in its colour. */
  strength(i) {
    return Math.max(...this.color(i).map(Math.abs));
  }

  /** The one-sigma ellipse: half axes in source pixels, tilt in radians. */
  ellipse(i) {
    return { major: HALF[this.axes[2 * i]], minor: HALF[this.axes[2 * i + 1]], angle: this.angle[i] * TILT };
  }
}

/* How the Gaussians are changed for a look at how they make the picture. Nothing of it changes the field. */
export const UNTOUCHED = Object.freeze({
  sigma: 1, // factor
  opacity: 0, // least, of the field's peak
  size: 0, // 0..1: only those larger than this fraction of the range
  tint: 0, // 0..1: each one its own colour
  explode: 0, // source pixels between the largest and the smallest
  color: null, // [r, g, b, least cosine]: only those of about this colour
  only: -1, // index: this one alone
});

// One Gaussian: where it is drawn, its form as rows that take pixels to units of which q log2(e) / 2 is the square, its
// ink. Sine and cosine by their series: GPUs may be 5e-4 off, which a needle shows.
export const GAUSSIAN = `#version 300 es
precision highp float;
uniform highp sampler2D means, halves, inks;
uniform highp usampler2D angles;
uniform vec2 origin, scale, size, window, sizes;
uniform vec4 touch, near;
uniform float least;
flat out vec2 centre;
flat out vec4 form;
flat out vec3 ink;
vec2 turn, wide, high;
float rank;
bool place(int i) {
  ivec2 cell = ivec2(i & ${ROW - 1}, i >> ${Math.log2(ROW)});
  vec2 mean = texelFetch(means, cell, 0).xy, axes = texelFetch(halves, cell, 0).xy;
  vec3 color = texelFetch(inks, cell, 0).rgb;
  float p = float(texelFetch(angles, cell, 0).x) * ${TILT} - ${Math.PI / 2}, z = p * p;
  turn = vec2(-p * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0 - z / 39916800.0))))),
    1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0 + z / 479001600.0))))));
  rank = clamp(log(axes.x / sizes.x) / log(sizes.y / sizes.x), 0.0, 1.0);
  vec2 half_axes = axes * touch.x;
  centre = (mean - origin + vec2(0, touch.w * (0.5 - rank))) * scale;
  wide = half_axes.x * turn * scale;
  high = half_axes.y * vec2(-turn.y, turn.x) * scale;
  form = 0.849321800288 * vec4(turn / scale / half_axes.x, vec2(-turn.y, turn.x) / scale / half_axes.y);
  vec3 own = 0.5 + 0.5 * cos(6.2832 * (fract(float(floatBitsToUint(mean.x) ^ floatBitsToUint(mean.y)) * 0.00061803) + vec3(0, 0.33, 0.67)));
  float strength = max(abs(color.r), max(abs(color.g), abs(color.b)));
  ink = mix(color, own * strength, touch.z);
  return strength >= touch.y && (least <= 0.0 || rank >= least) && dot(color, near.rgb) >= near.a * length(color);
}
`;
const SPLAT = `void main() {
  int k = gl_VertexID % 6;
  bool is_shown = place(gl_VertexID / 6);
  vec2 reach = ${REACH} * sqrt(wide * wide + high * high), corner = vec2(k & 1, k > 1 && k < 5) * 2.0 - 1.0;
  // A little wider than the ellipse: corners snap to fractions of a pixel, and no pixel's centre may be lost.
  vec2 at = corner.x * wide * (${REACH} + 0.04 / length(wide)) + corner.y * high * (${REACH} + 0.04 / length(high));
  if (any(lessThan(window, reach))) at = corner * (min(window, reach) + 0.04);
  gl_Position = is_shown ? vec4((centre + at) / size * 2.0 - 1.0, 0, 1) : vec4(2, 2, 2, 1);
}`;
const WEIGH = `#version 300 es
precision highp float;
uniform vec2 window;
flat in vec2 centre;
flat in vec4 form;
flat in vec3 ink;
out vec4 total;
void main() {
  vec2 d = gl_FragCoord.xy - centre, p = vec2(dot(form.xy, d), dot(form.zw, d));
  float q = dot(p, p);
  if (q > ${-Math.log2(EPS)} || any(greaterThan(abs(d), window))) discard;
  total = vec4(ink, 1) * exp2(-q);
}`;
export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;
const SHOW = `#version 300 es
precision highp float;
uniform highp sampler2D totals;
uniform float rows, is_normalised;
out vec4 shown;
void main() {
  vec4 t = texelFetch(totals, ivec2(gl_FragCoord.x, rows - gl_FragCoord.y), 0);
  shown = vec4(clamp(is_normalised > 0.0 && t.a > 0.0 ? t.rgb / t.a : t.rgb, 0.0, 1.0), 1);
}`;

export class FieldPainter {
  /** `precision`: "full" sums in 32 bits where the browser can, "half" in 16. `restored` is told of a context regained. */
  constructor({ precision = "full", restored = () => {} } = {}) {
    this.canvas = document.createElement("canvas");
    this.gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!this.gl) throw new Error("This browser has no WebGL2.");
    this.wanted = precision;
    this.runs = new Int32Array(64); // [first, count, ...] of what is drawn
    this.found = { count: 0, gaussians: 0, pixels: 0 };
    this.#prepare();
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => (this.#prepare(), restored()));
  }

  #prepare() {
    const { gl } = this;
    const full = gl.getExtension("EXT_color_buffer_float");
    if (!full && !gl.getExtension("EXT_color_buffer_half_float")) throw new Error("This browser cannot sum colours.");
    this.precision = this.wanted === "full" && full && gl.getExtension("EXT_float_blend") ? "full" : "half";
    this.kept = new Map(); // field -> its Gaussians on the GPU, as textures
    this.splat = this.program(GAUSSIAN + SPLAT, WEIGH);
    this.show = this.program(WHOLE, SHOW);
    this.totals = gl.createTexture();
    this.frame = gl.createFramebuffer();
    this.room = { width: 0, height: 0 };
  }

  program(vertex, fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader)).join("") || gl.getProgramInfoLog(program));
    }
    const at = {};
    for (let k = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) - 1; k >= 0; k--) {
      const { name } = gl.getActiveUniform(program, k);
      at[name] = gl.getUniformLocation(program, name);
    }
    return { program, at };
  }

  /** Draw a rectangle of the source plane into the top left of the canvas; null while the context is lost. */
  draw(field, rect, width, height, touch = UNTOUCHED) {
    const { gl } = this;
    if (gl.isContextLost()) return null;
    this.sum(field, rect, width, height, this.splat, 6, touch);
    this.present(this.show, width, height);
    gl.uniform1f(this.show.at.is_normalised, field.normalize && touch.only < 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return this.canvas;
  }

  /** Add up Gaussians, each drawn by a program as a strip of vertices, in the float target. */
  sum(field, rect, width, height, program, vertices, touch) {
    const { gl } = this;
    this.#makeRoom(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.disable(gl.SCISSOR_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    this.each(field, rect, width, height, program, gl.TRIANGLES, vertices, touch);
    gl.disable(gl.BLEND);
  }

  /** Get ready to fill the top left of the canvas from the float target. */
  present({ program, at }, width, height) {
    const { gl, canvas } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, canvas.height - height, width, height);
    gl.useProgram(program);
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, this.totals);
    gl.uniform1i(at.totals, 4);
    gl.uniform1f(at.rows, canvas.height);
  }

  // Targets only grow: a moving view allocates nothing.
  #makeRoom(width, height) {
    const { gl, room, canvas } = this;
    if (width <= room.width && height <= room.height) return;
    this.room = { width: Math.max(width, room.width), height: Math.max(height, room.height) };
    Object.assign(canvas, this.room);
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, this.totals);
    const format = this.precision === "full" ? [gl.RGBA32F, gl.FLOAT] : [gl.RGBA16F, gl.HALF_FLOAT];
    gl.texImage2D(gl.TEXTURE_2D, 0, format[0], this.room.width, this.room.height, 0, gl.RGBA, format[1], null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.totals, 0);
  }

  /** Draw the Gaussians that may reach a rectangle, run by run, with a program that begins with GAUSSIAN. */
  each(field, rect, width, height, { program, at }, mode, vertices, touch) {
    const { gl } = this;
    const [sx, sy] = [width / rect.width, height / rect.height];
    gl.useProgram(program);
    gl.uniform2f(at.origin, rect.x, rect.y);
    gl.uniform2f(at.scale, sx, sy);
    gl.uniform2f(at.size, width, height);
    gl.uniform2f(at.window, field.window[0] * sx, field.window[1] * sy);
    gl.uniform2f(at.sizes, field.sizes[0], Math.max(field.sizes[1], field.sizes[0] * 1.001));
    gl.uniform4f(at.touch, touch.sigma, touch.opacity * field.peak, touch.tint, touch.explode);
    gl.uniform4f(at.near, ...(touch.color ?? [0, 0, 0, 0]));
    gl.uniform1f(at.least, touch.size);
    this.#bind(field, at);
    const { count } = this.cull(field, rect, width, height, touch);
    for (let k = 0; k < count; k += 2) gl.drawArrays(mode, vertices * this.runs[k], vertices * this.runs[k + 1]);
  }

  #bind(field, at) {
    const { gl } = this;
    if (!this.kept.has(field)) this.kept.set(field, this.#upload(field));
    this.kept.get(field).forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(at[["means", "halves", "inks", "angles"][unit]], unit);
    });
    gl.activeTexture(gl.TEXTURE4);
  }

  #upload({ count, mean, axes, ink, angle }) {
    const { gl } = this;
    const rows = Math.floor(count / ROW);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    return [
      [mean, 2, gl.RG32F, gl.RG, gl.FLOAT],
      [axes, 2, gl.RG16F, gl.RG, gl.HALF_FLOAT],
      [ink, 3, gl.RGB16F, gl.RGB, gl.HALF_FLOAT],
      [angle, 1, gl.R16UI, gl.RED_INTEGER, gl.UNSIGNED_SHORT],
    ].map(([values, channels, kind, format, type]) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, kind, ROW, rows + 1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, format, type, values, 0);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, rows, count % ROW, 1, format, type, values, channels * ROW * rows);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      return texture;
    });
  }

  /** Which runs a rectangle needs, in `runs`; how long that list is, how many Gaussians, how many pixels of quads. */
  cull({ starts, boxes, areas }, rect, width, height, touch = UNTOUCHED) {
    const { found } = this;
    found.count = found.gaussians = found.pixels = 0;
    const grow = Math.max(0, touch.sigma - 1) / 2;
    const right = rect.x + rect.width;
    const bottom = rect.y + rect.height;
    let end = -1;
    for (let cell = 0; cell < areas.length; cell++) {
      const from = touch.only < 0 ? starts[cell] : Math.max(starts[cell], touch.only);
      const to = touch.only < 0 ? starts[cell + 1] : Math.min(starts[cell + 1], touch.only + 1);
      if (from >= to) continue;
      const x = grow * (boxes[4 * cell + 2] - boxes[4 * cell]);
      const y = grow * (boxes[4 * cell + 3] - boxes[4 * cell + 1]) + Math.abs(touch.explode) / 2;
      const x0 = boxes[4 * cell] - x;
      const y0 = boxes[4 * cell + 1] - y;
      const x1 = boxes[4 * cell + 2] + x;
      const y1 = boxes[4 * cell + 3] + y;
      if (x0 > right || x1 < rect.x || y0 > bottom || y1 < rect.y) continue;
      found.gaussians += to - from;
      const share = ((Math.min(x1, right) - Math.max(x0, rect.x)) / (x1 - x0)) * ((Math.min(y1, bottom) - Math.max(y0, rect.y)) / (y1 - y0));
      found.pixels += areas[cell] * touch.sigma ** 2 * share;
      if (from === end) this.runs[found.count - 1] += to - from;
      else {
        if (found.count === this.runs.length) this.runs = Int32Array.from({ length: 2 * found.count }, (_, k) => this.runs[k]);
        this.runs[found.count++] = from;
        this.runs[found.count++] = to - from;
      }
      end = to;
    }
    found.pixels *= (width / rect.width) * (height / rect.height);
    return found;
  }

  /** Let go of a field's copy on the GPU. */
  drop(field) {
    for (const texture of this.kept.get(field) ?? []) this.gl.deleteTexture(texture);
    this.kept.delete(field);
  }

  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.kept.clear();
  }
}
