/* The whole picture in a corner, with the visible part marked; press or drag to move the view. */

import { el } from "./dom.js";
import { clipTo } from "./view.js";

const SIDE_CSS = 116;

export class Minimap {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = el("canvas", { className: "gsr-minimap", "aria-hidden": "true" });
    this.ctx = this.node.getContext("2d");
    const moveView = (event) => {
      if (!event.buttons) return;
      event.preventDefault();
      const box = this.node.getBoundingClientRect();
      const { frame, zoom } = viewer.view;
      const u = ((event.clientX - box.left) / box.width) * frame.width;
      const v = ((event.clientY - box.top) / box.height) * frame.height;
      viewer.look(u, v, zoom);
    };
    this.node.addEventListener("pointerdown", (event) => {
      this.node.setPointerCapture(event.pointerId);
      moveView(event);
    });
    this.node.addEventListener("pointermove", moveView);
  }

  draw() {
    const { viewer, node, ctx } = this;
    const { view, dpr } = viewer;
    const { active } = viewer;
    const picture = ((active && viewer.inputAround(active)) ?? active)?.picture;
    const visible = view.visible();
    const whole = visible.width >= view.frame.width * 0.999 && visible.height >= view.frame.height * 0.999;
    node.hidden = !viewer.minimapOn || viewer.isIntroduction || !picture || whole;
    if (node.hidden) return;
    const k = (SIDE_CSS * dpr) / Math.max(view.frame.width, view.frame.height);
    const [w, h] = [Math.max(8, Math.round(view.frame.width * k)), Math.max(8, Math.round(view.frame.height * k))];
    if (node.width !== w || node.height !== h) {
      Object.assign(node, { width: w, height: h });
      Object.assign(node.style, { width: `${w / dpr}px`, height: `${h / dpr}px` });
    }
    ctx.imageSmoothingEnabled = true;
    ctx.drawImage(picture.mip(Math.min(1, w / picture.width)), 0, 0, w, h);
    ctx.fillStyle = "rgba(20,22,24,0.5)";
    ctx.fillRect(0, 0, w, h);
    const [x, y, vw, vh] = [visible.u * k, visible.v * k, Math.max(2, visible.width * k), Math.max(2, visible.height * k)];
    clipTo(ctx, { x, y, w: vw, h: vh });
    ctx.drawImage(picture.mip(Math.min(1, w / picture.width)), 0, 0, w, h);
    ctx.restore();
    ctx.strokeStyle = "#ffffff";
    ctx.lineWidth = Math.max(1, dpr);
    ctx.strokeRect(Math.round(x) + 0.5, Math.round(y) + 0.5, Math.round(vw) - 1, Math.round(vh) - 1);
  }
}
