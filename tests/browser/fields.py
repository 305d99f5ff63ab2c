"""Fields of Gaussians for the browser tests, their reference drawings, and pages that show them."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from gsr_app import ops
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.io.fields import pack_field
from gsr_app.viewer import bundle
from gsr_app.viewer.contract import PaneField
from tests.browser.conftest import wait_for
from tests.browser.scenes import canvas_pixels, pane, scene_of, show_scene

SOURCE = (40, 56)
SCALE = 4.0  # at which the pictures beside the fields were drawn


def field_of(
    count: int = 4000, *, normalize: bool = False, seed: int = 1, source: tuple[int, int] = SOURCE
) -> GaussianField:
    """As networks make them: on and beyond the picture, a few needles among them."""
    rng = np.random.default_rng(seed)
    height, width = source
    mean = np.stack([rng.uniform(-2, width + 2, count), rng.uniform(-2, height + 2, count)], 1)
    spacing = np.sqrt(height * width / count)
    sigma = np.exp(rng.normal(np.log(0.6 * spacing), 0.4, (count, 2)))
    rho = np.tanh(rng.normal(0, 0.8, count))
    thin = rng.random(count) < 0.03
    rho[thin] = np.sign(rho[thin]) * (1 - 10 ** rng.uniform(-6, -2, thin.sum()))
    color = rng.uniform(0, 1, (count, 3)) if normalize else rng.normal(0.2, 0.2, (count, 3))
    parts = (np.float32(part) for part in (mean, sigma, rho, color))
    return GaussianField(*parts, source, normalize)


def reference(field: GaussianField, view: View) -> np.ndarray:
    """[H, W, 3] in 0..255, not rounded: every Gaussian at every pixel, as the op does in float64."""
    parts = (torch.as_tensor(x).double() for x in (field.mean, field.sigma, field.rho, field.color))
    exact = GaussianField(*parts, field.source_size, field.normalize, field.window)
    return ops.render(exact, view).clamp(0, 1).permute(1, 2, 0).numpy() * 255


def packed_url(field: GaussianField) -> str:
    return "data:application/gzip;base64," + base64.b64encode(gzip.compress(pack_field(field), 1)).decode()


# A page with the module alone: `show(rectangle, width, height)` draws and answers a PNG.
ALONE = """<!doctype html><meta charset=utf-8><script>%s</script><script type=module>
%s
Object.assign(window, await modules);
window.open_field = async (url, precision) => {
  window.painter?.close();
  window.memory = { fields: 0, targets: 0, buffers: 0 };
  window.field = await Field.load(url);
  window.painter = precision === "processor" ? new CpuPainter() : new FieldPainter({ precision });
  return painter.precision ?? "processor";
};
window.show = (rect, width, height) => {
  const picture = Object.assign(document.createElement("canvas"), { width, height });
  picture.getContext("2d", { alpha: false }).drawImage(painter.draw(field, rect, width, height), 0, 0, width, height, 0, 0, width, height);
  return picture.toDataURL("image/png");
};
window.time_frames = (rect, width, height, frames) => {
  const one = new Uint8Array(4);
  const draw = () => {
    rect.x += 1e-3;
    painter.draw(field, rect, width, height);
    painter.gl.readPixels(0, 0, 1, 1, painter.gl.RGBA, painter.gl.UNSIGNED_BYTE, one);
  };
  draw();
  const started = performance.now();
  for (let k = 0; k < frames; k++) draw();
  return (performance.now() - started) / frames;
};
window.ready = true;
</script>"""


# Counts the bytes that WebGL allocates: for fields, targets and buffers.
COUNT_MEMORY = """
const GL = WebGL2RenderingContext.prototype;
const bytes = { [GL.RGBA32UI]: 16, [GL.R16F]: 2, [GL.RGBA32F]: 16, [GL.RGBA16F]: 8 };
const { texStorage2D, bufferData } = GL;
GL.texStorage2D = function (target, levels, kind, width, height) {
  memory[[GL.RGBA32F, GL.RGBA16F].includes(kind) ? "targets" : "fields"] += bytes[kind] * width * height;
  return texStorage2D.call(this, target, levels, kind, width, height);
};
GL.bufferData = function (target, data, usage) {
  memory.buffers += data.byteLength;
  return bufferData.call(this, target, data, usage);
};
"""


def painter_page() -> str:
    return ALONE % (COUNT_MEMORY, bundle.start_script())


def open_alone(kept_page: Callable[..., Any], address: str, field: GaussianField, precision: str = "full") -> Any:
    page = kept_page(address)
    page.wait_for_function("window.ready")
    asked = [packed_url(field), precision]
    assert page.evaluate("([url, precision]) => open_field(url, precision)", asked) == precision
    return page


def drawn(page: Any, view: View) -> np.ndarray:
    rect = {"x": view.origin[0], "y": view.origin[1], "width": view.span[1], "height": view.span[0]}
    url = page.evaluate("([r, w, h]) => show(r, w, h)", [rect, view.size[1], view.size[0]])
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(float)


def pixels_of(field: GaussianField) -> np.ndarray:
    return np.rint(reference(field, View.whole(field.source_size, Scale(SCALE, SCALE)))).astype(np.uint8)


def open_scene(
    open_page: Callable[..., Any],
    address: str,
    fields: dict[str, GaussianField],
    *,
    served: bool = False,
    urls: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The viewer with fields. `urls` are the answers for their downloads: {url, bytes}."""
    page = open_page(address, **{"viewport": {"width": 480, "height": 560}, **options})
    panes = [
        pane(name, pixels_of(field), field.source_size, field=PaneField(name, len(field), served))
        for name, field in fields.items()
    ]
    told = json.dumps(urls or {name: {"url": packed_url(field)} for name, field in fields.items()})
    view = (
        "window.asked = (window.asked ?? 0) + 1; const c = new OffscreenCanvas(...size); const x = c.getContext('2d');"
        "x.fillStyle = 'rgb(10,200,30)'; x.fillRect(0, 0, ...size); return {url: URL.createObjectURL(await c.convertToBlob()), ms: 5};"
    )
    services = f"{{ fieldUrl: async (id) => ({told})[id], renderView: async (id, r, size) => {{ {view} }} }}"
    show_scene(page, scene_of(panes, SOURCE, SCALE), services, "{ grid: false, minimapOn: false }")
    wait_for(page, "viewer.allPanes.every((pane) => pane.picture)")
    wait_for(page, "!viewer.request")
    return page


def run(page: Any, code: str) -> None:
    page.evaluate(f"() => {{ const viewer = document.querySelector('.gsr-viewer').viewer; {code} viewer.changed(); }}")
    wait_for(page, "!viewer.request")


def settled(page: Any) -> None:
    wait_for(page, "viewer.shown.every((pane) => pane.isLive && pane.drawings.view?.step === 1) && !viewer.request")


def cell(page: Any, number: int = 0) -> dict[str, Any]:
    return page.evaluate(
        f"() => {{ const v = document.querySelector('.gsr-viewer').viewer; const r = v.cells[{number}].rect; return {{...r, origin: v.view.origin(r), zoom: v.view.zoom}}; }}"
    )


def expected_in(field: GaussianField, place: dict[str, Any]) -> tuple[slice, slice, np.ndarray]:
    """The pixels of the canvas that a pane's field covers, and the reference for them."""
    k = SCALE * place["zoom"]
    x0, y0 = max(place["x"], place["origin"]["x"]), max(place["y"], place["origin"]["y"])
    x1 = min(place["x"] + place["w"], int(place["origin"]["x"] + SOURCE[1] * k + 1e-6))
    y1 = min(place["y"] + place["h"], int(place["origin"]["y"] + SOURCE[0] * k + 1e-6))
    view = View(
        ((x0 - place["origin"]["x"]) / k, (y0 - place["origin"]["y"]) / k),
        ((y1 - y0) / k, (x1 - x0) / k),
        (y1 - y0, x1 - x0),
    )
    return slice(y0, y1), slice(x0, x1), reference(field, view)


def adjusted(page: Any, field: GaussianField) -> tuple[np.ndarray, Callable[[GaussianField], np.ndarray]]:
    """What the canvas shows of the field now, and how to draw any other field there."""
    settled(page)
    rows, columns, _ = expected_in(field, cell(page))
    return canvas_pixels(page)[rows, columns].astype(float), lambda other: expected_in(other, cell(page))[2]


def only_those(field: GaussianField, keep: np.ndarray) -> GaussianField:
    return GaussianField(
        *(part[keep] for part in (field.mean, field.sigma, field.rho, field.color)), SOURCE, field.normalize
    )
