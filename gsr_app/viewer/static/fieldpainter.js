/* Draws fields of Gaussians with WebGL2, at any zoom. It needs field.js, fieldshaders.js and fieldlevels.js only:
 *
 *   const field = await Field.load("picture.gsr");
 *   const painter = new FieldPainter();                  // throws where WebGL2 or float targets are missing
 *   const canvas = painter.draw(field, {x: 0, y: 0, width: 8, height: 6}, 800, 600);   // its top left 800 by 600 pixels
 *
 * A drawing is that of `ops.render`: the sum of color * exp(-q / 2) within the ellipse q <= -2 ln(EPS) and the window,
 * divided by the summed weights if normalised. It is exact to rounding but for large Gaussians in large numbers, which
 * are drawn coarsely and interpolated: fieldshaders.js says how well. */

import { FieldOnCard } from "./fieldcard.js";
import { Levels } from "./fieldlevels.js";
import { gaussian, NO_ADJUST, SHOW, SHOW_LEVELS, SPLAT, WEIGH, WHOLE } from "./fieldshaders.js";

/** How a drawing may differ from the field; lift: the farthest that `adjust` moves a Gaussian. */
export const DEFAULT_OPTIONS = Object.freeze({ sigma: 1, lift: 0, only: -1, uniforms: () => {} });

const MOST = 512; // Gaussians in one call: as many corners are kept

export class FieldPainter {
  /** `precision`: "full" sums in 32 bits where the browser can, "half" in 16. `restored` is told of a context regained. */
  constructor({ precision = "full", adjust = NO_ADJUST, restored = () => {} } = {}) {
    this.canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    this.gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!this.gl) throw new Error("This browser has no WebGL2.");
    this.runs = new Int32Array(64); // [first, count, ...] of what is drawn
    this.found = { count: 0, gaussians: 0, pixels: 0, top: 0 };
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
    this.kept = new Map(); // field -> its copy on the GPU
    this.place = gaussian(adjust); // what a program for `each` begins with
    this.splat = this.program(this.place + SPLAT, WEIGH);
    this.show = this.program(WHOLE, SHOW);
    this.showLevels = this.program(WHOLE, SHOW_LEVELS);
    this.levels = new Levels(this);
    this.target = null; // where Gaussians are summed: {texture, frame, width, height}
    const corners = Uint16Array.from({ length: 6 * MOST }, (_, k) => 4 * Math.floor(k / 6) + [0, 1, 2, 2, 1, 3][k % 6]);
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

  /** Draw a rectangle of the source plane into the top left of the canvas; null while the context is lost. */
  draw(field, rect, width, height, options = DEFAULT_OPTIONS) {
    const { gl, canvas, splat, levels } = this;
    if (gl.isContextLost()) return null;
    const { top } = this.cull(field, rect, width, height, options);
    const rows = levels.place(width, height, top);
    this.makeRoom(width, height, rows);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.viewport(0, 0, width, rows);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, rows);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.disable(gl.SCISSOR_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    gl.useProgram(splat.program);
    gl.uniform4fv(splat.at.rooms, levels.rooms);
    gl.uniform1i(splat.at.top, top);
    this.#each(field, rect, width, height, rows, splat, options);
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

  // Canvas and targets only grow: a moving view allocates nothing.
  makeRoom(width, height, rows = height) {
    const { canvas } = this;
    if (width > canvas.width || height > canvas.height) Object.assign(canvas, { width: Math.max(width, canvas.width), height: Math.max(height, canvas.height) });
    this.target = this.grow(this.target, canvas.width, rows);
  }

  /** A target of that size at least: the old one where it will do. */
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
  each(field, rect, width, height, program, options) {
    this.cull(field, rect, width, height, options);
    this.gl.useProgram(program.program);
    this.#each(field, rect, width, height, height, program, options);
  }

  #each(field, rect, width, height, rows, { at }, options) {
    const { gl, runs, found } = this;
    const [sx, sy] = [width / rect.width, height / rect.height];
    gl.uniform2f(at.origin, rect.x, rect.y);
    gl.uniform2f(at.scale, sx, sy);
    gl.uniform2f(at.size, width, rows);
    gl.uniform2f(at.window, field.window[0] * sx, field.window[1] * sy);
    options.uniforms(gl, at, field);
    if (!this.kept.has(field)) this.kept.set(field, new FieldOnCard(this, field));
    this.kept.get(field).bind(at);
    for (let k = 0; k < found.count; k += 2) {
      for (let done = 0; done < runs[k + 1]; done += MOST) {
        gl.uniform1i(at.first, runs[k] + done);
        gl.drawElements(gl.TRIANGLES, 6 * Math.min(MOST, runs[k + 1] - done), gl.UNSIGNED_SHORT, 0);
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

  /** Which runs a rectangle needs, in `runs`: how long that list is, how many Gaussians, about how many pixels are to
   * be drawn, and on how many levels. */
  cull({ starts, boxes, areas, normalize, source }, rect, width, height, options = DEFAULT_OPTIONS) {
    const { found } = this;
    const grow = Math.max(0, options.sigma - 1) / 2;
    const [right, bottom, isAlone] = [rect.x + rect.width, rect.y + rect.height, options.only >= 0];
    let end = -1;
    found.count = found.gaussians = found.pixels = 0;
    for (let cell = 0; cell < areas.length; cell++) {
      const from = isAlone ? Math.max(starts[cell], options.only) : starts[cell];
      const n = (isAlone ? Math.min(starts[cell + 1], options.only + 1) : starts[cell + 1]) - from;
      if (n <= 0) continue;
      const k = 4 * cell;
      const dx = grow * (boxes[k + 2] - boxes[k]);
      const dy = grow * (boxes[k + 3] - boxes[k + 1]) + options.lift;
      const [x0, y0, x1, y1] = [boxes[k] - dx, boxes[k + 1] - dy, boxes[k + 2] + dx, boxes[k + 3] + dy];
      if (x0 > right || x1 < rect.x || y0 > bottom || y1 < rect.y) continue;
      const seen = (Math.min(x1, right) - Math.max(x0, rect.x)) * (Math.min(y1, bottom) - Math.max(y0, rect.y));
      found.pixels += (areas[cell] * options.sigma ** 2 * seen) / ((x1 - x0) * (y1 - y0));
      found.gaussians += n;
      if (found.count + 2 > this.runs.length) this.runs = Int32Array.from({ length: 2 * found.count + 64 }, (_, k) => this.runs[k]);
      if (from !== end) this.runs.set([from, 0], (found.count += 2) - 2);
      this.runs[found.count - 1] += n;
      end = from + n;
    }
    const [sx, sy] = [width / rect.width, height / rect.height];
    found.pixels *= sx * sy;
    found.top = 0;
    // Half axes are such on the screen only where both scales are one. Beyond its picture a normalised field is thin: what
    // little weight there is decides a colour, and nothing may be missed.
    const isCovered = !normalize || (rect.x > -0.5 && rect.y > -0.5 && right < source[1] + 0.5 && bottom < source[0] + 0.5);
    if (isCovered && Math.abs(sx / sy - 1) < 1e-3) Levels.weigh(found, width, height);
    return found;
  }

  /** Let go of a field's copy on the GPU. */
  drop(field) {
    this.kept.get(field)?.drop();
    this.kept.delete(field);
  }

  close = () => this.gl.getExtension("WEBGL_lose_context")?.loseContext();
}
