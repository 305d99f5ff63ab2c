"""Swift's encoder in the browser: every engine against the network in Python."""

from __future__ import annotations

import base64
import math
import time
from typing import Any

import numpy as np
import pytest
import torch

from gsr_app.models.swift import Swift, SwiftConfig
from gsr_app.viewer import bundle
from gsr_app.viewer.encoder import encoder_weights, from_int16, pack_encoder, to_int16
from tests.browser.scenes import save

pytestmark = pytest.mark.browser

SIZES = ((40, 32), (83, 61))
ENGINES = ("webgpu", "webgl2", "wasm")
EXACT = {"float32": 2e-4, "int16": 2e-3}

ALONE = """<!doctype html><meta charset=utf-8><script type=module>
%s
Object.assign(window, await modules);
const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const encode = (bytes) => {
  let text = "";
  for (let k = 0; k < bytes.length; k += 30000) text += String.fromCharCode(...bytes.subarray(k, k + 30000));
  return btoa(text);
};
window.open_encoder = async (weights, only) => {
  window.encoder?.close();
  window.encoder = await Encoder.open(decode(weights).buffer, { only });
  return [encoder.kind, encoder.title];
};
window.lattice_of = async (pixels, width, height) => {
  const rgb = Float32Array.from(decode(pixels), (value) => value / 255);
  const lattice = await encoder.encode(rgb, width, height, { x: 0, y: 0, width, height });
  return encode(new Uint8Array(lattice.buffer));
};
window.ready = true;
</script>"""


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    context = browser.new_context()
    context.set_default_timeout(300_000)
    page = context.new_page()
    page.goto(save(tmp_path_factory.mktemp("encoder") / "alone.html", ALONE % bundle.start_script(bundle.PAGE)))
    page.wait_for_function("window.ready")
    yield page
    context.close()


@pytest.fixture(scope="module")
def small() -> Swift:
    """Other numbers of channels and blocks than the shipped weights have."""
    torch.manual_seed(3)
    network = Swift(SwiftConfig(channels=24, blocks=1, dilated=(0,))).eval().requires_grad_(False)
    network.tail.weight.normal_(std=0.05)
    return network


@pytest.fixture(scope="module")
def shipped() -> Swift:
    from gsr_app.models import checkpoint, registry, weights

    method = registry.method("swift")
    return checkpoint.load_files(registry.build(method.arch), weights.obtain(method).files).eval()  # type: ignore[return-value]


def picture(height: int, width: int) -> np.ndarray:
    """Waves, edges and grain."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 3 + y / 5), np.cos(x / 9 - y / 4), np.sin(x * y / 400)], -1)
    values = 128 + 70 * waves + 40 * (x // 16 % 2 == y // 12 % 2)[..., None] + rng.normal(0, 6, (height, width, 3))
    return values.clip(0, 255).round().astype(np.uint8)


def expected(network: Swift, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0].numpy()


def open_encoder(page: Any, weights: bytes, kind: str) -> tuple[str, str]:
    return page.evaluate("([weights, kind]) => open_encoder(weights, kind)", [text_of(weights), kind])


def lattice_of(page: Any, pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    asked = [text_of(pixels.tobytes()), width, height]
    data = page.evaluate("([pixels, width, height]) => lattice_of(pixels, width, height)", asked)
    return np.frombuffer(base64.b64decode(data), np.float32).reshape(8, 2 * height, 2 * width)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_gives_the_lattice_of_a_network_of_any_size(page: Any, small: Swift, kind: str) -> None:
    assert open_encoder(page, pack_encoder(small, "float32"), kind)[0] == kind
    for size in (*SIZES, (9, 5)):  # tiles of several sizes, one after the other
        pixels = picture(*size)
        found = lattice_of(page, pixels)
        assert np.abs(found - expected(small, pixels)).max() < EXACT["float32"]
        assert np.abs(found[3:]).max() > 0.05


@pytest.mark.parametrize("precision", ["float32", "int16"])
def test_shipped_weights_give_the_lattice_of_the_python_engine(page: Any, shipped: Swift, precision: Any) -> None:
    open_encoder(page, encoder_weights(precision), "wasm")
    for size in SIZES:
        pixels = picture(*size)
        assert np.abs(lattice_of(page, pixels) - expected(shipped, pixels)).max() < EXACT[precision]


def test_a_flat_picture_stays_flat(page: Any) -> None:
    open_encoder(page, encoder_weights(), "wasm")
    flat = np.full((12, 20, 3), (200, 31, 7), np.uint8)
    found = lattice_of(page, flat)
    np.testing.assert_allclose(found[:3], np.broadcast_to(flat[0, 0][:, None, None] / 255, (3, 24, 40)), atol=1e-5)
    assert np.abs(found[3:]).max() < 1e-5


def test_a_gpu_in_software_is_passed_over_with_a_reason(page: Any, small: Swift) -> None:
    kind, title = open_encoder(page, pack_encoder(small), "")
    assert kind == "wasm"
    assert "software" in title


@pytest.mark.parametrize(
    ("kind", "lose"),
    [
        ("webgl2", "encoder.engine.gl.getExtension('WEBGL_lose_context').loseContext()"),
        pytest.param("webgpu", "encoder.engine.device.destroy()", marks=pytest.mark.slow),
    ],
)
def test_a_lost_gpu_is_opened_again(page: Any, small: Swift, kind: str, lose: str) -> None:
    open_encoder(page, pack_encoder(small, "float32"), kind)
    page.evaluate(f"() => {{ {lose}; }}")
    pixels = picture(9, 5)
    assert np.abs(lattice_of(page, pixels) - expected(small, pixels)).max() < EXACT["float32"]
    assert page.evaluate("encoder.kind") == kind
    assert "was lost" in page.evaluate("encoder.title")


def test_an_engine_that_computes_wrong_numbers_is_passed_over(page: Any, small: Swift) -> None:
    wrong = """async ([weights]) => {
      const open = GlEngine.open;
      GlEngine.open = () => ({ run: async (rgb, w, h) => ({ data: new Float32Array(32 * w * h), group: 4 * w * h, sub: 1, row: 4 * w, column: 4 }), close() {} });
      try {
        window.encoder = await Encoder.open(Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)).buffer);
      } finally {
        GlEngine.open = open;
      }
      return [encoder.kind, encoder.title];
    }"""
    kind, title = page.evaluate(wrong, [text_of(pack_encoder(small))])
    assert kind == "wasm"
    assert "WebGL2 computes wrong numbers here." in title


def test_weights_as_integers_are_closer_than_float16() -> None:
    weight = np.random.default_rng(1).normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32)
    weight[3] = 0
    error = np.abs(from_int16(*to_int16(weight)) - weight)
    assert error.max() < np.abs(weight.astype(np.float16) - weight).max() / 4
    assert error[3].max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("precision", ["float32", "int16"])
def test_every_engine_gives_the_lattice_of_the_shipped_weights(
    page: Any, shipped: Swift, kind: str, precision: Any
) -> None:
    open_encoder(page, encoder_weights(precision), kind)
    for size in (*SIZES, (256, 256)):
        pixels = picture(*size)
        assert np.abs(lattice_of(page, pixels) - expected(shipped, pixels)).max() < EXACT[precision]


TIME_ONE_THREAD = """([weights, side]) => {
  window.alone ??= new WasmEngine(new SwiftNetwork(Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)).buffer));
  const rgb = Float32Array.from({ length: 3 * side * side }, (_, k) => (k % 251) / 251);
  alone.run(rgb, side, side);
  const started = performance.now();
  alone.run(rgb, side, side);
  return performance.now() - started;
}"""


@pytest.mark.slow
def test_one_thread_of_webassembly_takes_at_most_six_times_as_long_as_torch(page: Any, shipped: Swift) -> None:
    pixels = picture(256, 256)
    text = text_of(encoder_weights())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took: dict[str, float] = {"torch": math.inf, "webassembly": math.inf}
    for _ in range(3):
        started = time.perf_counter()
        expected(shipped, pixels)
        took["torch"] = min(took["torch"], 1000 * (time.perf_counter() - started))
        took["webassembly"] = min(took["webassembly"], page.evaluate(TIME_ONE_THREAD, [text, 256]))
    torch.set_num_threads(threads)
    print(f"256 x 256, one thread: torch {took['torch']:.0f} ms, WebAssembly {took['webassembly']:.0f} ms")
    assert took["webassembly"] <= 6 * took["torch"]
