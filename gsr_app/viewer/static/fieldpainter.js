/* Draws fields of Gaussians with WebGL2, at any zoom. Without it, cpupainter.js does:
 *
 *   const field = await Field.load("picture.gsr");
 *   const painter = new FieldPainter();                  // throws where WebGL2 or float targets are missing
 *   const canvas = painter.draw(field, {x: 0, y: 0, width: 8, height: 6}, 800, 600);   // its top left 800 by 600 pixels
 *
 * The result is that of `ops.render`: the sum of color * exp(-q / 2) within the ellipse q <= -2 ln(EPS) and the window,
 * divided by the summed weights if normalised. It is exact up to rounding, except where many large Gaussians are drawn on
 * coarser grids and interpolated; fieldshaders.js states the errors. */

import { Culler, DEFAULT_OPTIONS } from "./culler.js";
import { GpuField } from "./gpufield.js";
import { Levels } from "./fieldlevels.js";
import { gaussian, NO_ADJUST, SHOW, SHOW_LEVELS, SPLAT, WEIGH, WHOLE } from "./fieldshaders.js";

const BATCH = 512; // Gaussians per draw call: the index buffer has their corners

export class FieldPainter extends Culler {
  /** `precision`: "full" sums in 32 bits where the browser can, "half" in 16. `restored` is called when a lost context is back. */
  constructor({ precision = "full", adjust = NO_ADJUST, restored = () => {} } = {}) {
    super();
    this.canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    this.gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!this.gl) throw new Error("This browser has no WebGL2.");
    this.#prepare(precision, adjust);
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => (this.#prepare(precision, adjust), restored()));
  }

  #prepare(precision, adjust) {
    const { gl } = this;
    const full = gl.getExtension("EXT_color_buffer_float");
    if (!full && !gl.getExtension("EXT_color_buffer_half_float")) throw new Error("This browser cannot sum colours.");
    this.precision = precision === "full" && full && gl.getExtension("EXT_float_blend") ? "full" : "half";
    this.kind = this.precision === "full" ? gl.RGBA32F : gl.RGBA16F; // of the targets
    this.copies = new Map(); // field -> its copy in GPU memory
    this.prelude = gaussian(adjust); // of the programs for `drawGaussians`
    this.splat = this.program(this.prelude + SPLAT, WEIGH);
    this.show = this.program(WHOLE, SHOW);
    this.showLevels = this.program(WHOLE, SHOW_LEVELS);
    this.levels = new Levels(this);
    this.target = null; // for the sums of Gaussians: {texture, frame, width, height}
    const corners = Uint16Array.from({ length: 6 * BATCH }, (_, k) => 4 * Math.floor(k / 6) + [0, 1, 2, 2, 1, 3][k % 6]);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
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
    return { program, at: Object.fromEntries(names.map((name) => [name.replace("[0]", ""), gl.getUniformLocation(program, name)])) };
  }

  /** Draw a rectangle of the source plane into the top left of the canvas, and return it; null while the context is lost. */
  draw(field, rect, width, height, options = DEFAULT_OPTIONS) {
    const { gl, canvas, splat, levels } = this;
    if (gl.isContextLost()) return null;
    const { top } = this.cull(field, rect, width, height, options);
    const rows = levels.place(width, height, top);
    this.reserve(width, height, rows);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.viewport(0, 0, width, rows);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, rows);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.disable(gl.SCISSOR_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    gl.useProgram(splat.program);
    gl.uniform4fv(splat.at.rects, levels.rects);
    gl.uniform1i(splat.at.top, top);
    this.#drawRuns(field, rect, width, height, rows, splat, options);
    gl.disable(gl.BLEND);
    levels.sum(top, this.target, width);
    const show = top ? this.showLevels : this.show;
    gl.useProgram(show.program);
    levels.bind(show, this.target);
    gl.uniform1f(show.at.rows, canvas.height);
    gl.uniform1f(show.at.is_normalised, field.normalize && options.only < 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, canvas.height - height, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return canvas;
  }

  /** RGBA of what `draw` draws; null while the context is lost. */
  pixels(field, rect, width, height, options) {
    const { gl, canvas } = this;
    if (!this.draw(field, rect, width, height, options)) return null;
    const upward = new Uint8Array(4 * width * height); // the last row first
    gl.readPixels(0, canvas.height - height, width, height, gl.RGBA, gl.UNSIGNED_BYTE, upward);
    const bytes = new Uint8Array(upward.length);
    for (let row = 0; row < height; row++) bytes.set(upward.subarray(4 * width * (height - 1 - row), 4 * width * (height - row)), 4 * width * row);
    return bytes;
  }

  get isLost() {
    return this.gl.isContextLost();
  }

  // Canvas and targets only grow, so that a moving view allocates nothing.
  reserve(width, height, rows = height) {
    const { canvas } = this;
    if (width > canvas.width || height > canvas.height) Object.assign(canvas, { width: Math.max(width, canvas.width), height: Math.max(height, canvas.height) });
    this.target = this.grow(this.target, canvas.width, rows);
  }

  /** A target of at least that size: the old one if it is large enough. */
  grow(old, width, height) {
    const { gl } = this;
    if (old && width <= old.width && height <= old.height) return old;
    if (old) gl.deleteTexture(old.texture);
    const size = { width: Math.max(width, old?.width ?? 0), height: Math.max(height, old?.height ?? 0) };
    const texture = this.texture(this.kind, size.width, size.height);
    const frame = old?.frame ?? gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    return { texture, frame, ...size };
  }

  /** Draw the Gaussians that may reach a rectangle, four corners each. */
  drawGaussians(field, rect, width, height, program, options) {
    this.cull(field, rect, width, height, options);
    this.gl.useProgram(program.program);
    this.#drawRuns(field, rect, width, height, height, program, options);
  }

  #drawRuns(field, rect, width, height, rows, { at }, options) {
    const { gl, runs, stats } = this;
    const [sx, sy] = [width / rect.width, height / rect.height];
    gl.uniform2f(at.origin, rect.x, rect.y);
    gl.uniform2f(at.scale, sx, sy);
    gl.uniform2f(at.size, width, rows);
    gl.uniform2f(at.window, field.window[0] * sx, field.window[1] * sy);
    options.uniforms(gl, at, field);
    if (!this.copies.has(field)) this.copies.set(field, new GpuField(this, field));
    this.copies.get(field).bind(at);
    for (let k = 0; k < stats.count; k += 2) {
      for (let done = 0; done < runs[k + 1]; done += BATCH) {
        gl.uniform1i(at.first, runs[k] + done);
        gl.drawElements(gl.TRIANGLES, 6 * Math.min(BATCH, runs[k + 1] - done), gl.UNSIGNED_SHORT, 0);
      }
    }
  }

  texture(kind, width, height) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, kind, width, height);
    for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, way, gl.NEAREST);
    return texture;
  }

  /** As `Culler.cull`, with the coarsest level of the drawing, and what that saves. */
  cull(field, rect, width, height, options = DEFAULT_OPTIONS) {
    const stats = super.cull(field, rect, width, height, options);
    const { normalize, source } = field;
    stats.top = 0;
    // The levels need equal scales, which keep half axes perpendicular. Outside the picture of a normalised field weights are
    // small, and the colour depends on every Gaussian.
    const isCovered = !normalize || (rect.x > -0.5 && rect.y > -0.5 && rect.x + rect.width < source[1] + 0.5 && rect.y + rect.height < source[0] + 0.5);
    const isUniform = Math.abs((width * rect.height) / (height * rect.width) - 1) < 1e-3;
    if (!options.exact && isCovered && isUniform) Levels.choose(stats, width, height);
    return stats;
  }

  /** Free the copy of a field in GPU memory. */
  drop(field) {
    this.copies.get(field)?.drop();
    this.copies.delete(field);
  }

  close = () => this.gl.getExtension("WEBGL_lose_context")?.loseContext();
}
