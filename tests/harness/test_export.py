"""ONNX files of the networks: onnxruntime computes with them what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from gsr_app import ops
from gsr_app.core.folders import ASSETS
from gsr_app.core.types import Scale, View
from gsr_app.harness import cli
from gsr_app.harness.export_onnx import BicubicDouble
from gsr_app.models import registry
from gsr_app.models.checkpoint import load_files
from gsr_app.models.swift import Swift
from gsr_app.ops.resize import resize

Run = Callable[[torch.Tensor], torch.Tensor]
SIZES = [(24, 33), (37, 53), (5, 2)]


def export(method: str, folder: Path, *options: str) -> tuple[Run, dict[str, str]]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    path = folder / f"{method}.onnx"
    assert cli.main(["export", "--onnx", str(path), "--method", method, *options]) == 0
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    return lambda lr: torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0]), facts


def picture(height: int, width: int) -> torch.Tensor:
    part = data.chelsea()[90 : 90 + height, 110 : 110 + width].astype(np.float32) / 255
    return torch.from_numpy(part.transpose(2, 0, 1).copy())[None]


def drawn(network: Swift, lattice: torch.Tensor) -> torch.Tensor:
    field = network.field(lattice, Scale(1, 1))
    return ops.render(field, View.whole(field.source_size, Scale(2.5, 2.5)))


@pytest.mark.parametrize("size", [(2, 2), (7, 4), (5, 12)])
def test_the_convolution_for_export_is_the_bicubic_resize(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    torch.testing.assert_close(BicubicDouble()(x), resize(x, scale=2), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "raw", "seen"),
    [("fp32", 2e-4, 1 / 255), pytest.param("fp16", 1e-2, 1 / 255, marks=pytest.mark.slow)],
)
@torch.inference_mode()
def test_swift_gives_the_same_lattice_and_the_same_picture(
    precision: str, raw: float, seen: float, tmp_path: Path
) -> None:
    with torch.inference_mode(mode=False):
        run, facts = export("swift", tmp_path, "--precision", precision)
    network: Any = load_files(registry.build("swift"), {"": ASSETS / "swift.safetensors"})
    for size in SIZES:
        lr = picture(*size)
        found, expected = run(lr), network.encode(lr)
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < raw
        assert float((drawn(network, found) - drawn(network, expected)).abs().max()) < seen
    # Noise, which it is compared on, has lattices of far larger values than pictures.
    assert float(facts["max_difference"]) < {"fp32": 2e-4, "fp16": 5e-3 * float(facts["largest_value"])}[precision]
    assert facts["weights"].startswith("swift@")
    assert (facts["precision"], facts["weights_licence"]) == (precision, "CC-BY-4.0")


def test_what_has_no_onnx_form_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method, says in (("bicubic", "has no ONNX form"), ("rgt-x2", "--size 64x64")):
        assert cli.main(["export", "--onnx", str(tmp_path / "a.onnx"), "--method", method]) == 2
        assert says in capsys.readouterr().err
    assert cli.main(["export", "--onnx", str(tmp_path / "a.png")]) == 2
    assert cli.main(["export", "--html"]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("arch_id", ["rt4ksr-x2", "rt4ksr-x3", "smfanet-x3", "span-x4", "rgt-s-x2"])
def test_pixel_networks_give_the_same_pixels(arch_id: str, precision: str, tmp_path: Path) -> None:
    arch = registry.architecture(arch_id)
    file = registry.WeightFile(url="https://localhost/random.pth")
    scale = arch.native_scale or 1
    method = registry.Method(
        "random", "Random", "test", "pixels", "MIT", arch=arch_id, native_scale=scale, files=(file,)
    )
    torch.manual_seed(0)
    weights = tmp_path / "random.pth"
    torch.save(registry.build(arch_id).state_dict(), weights)
    registry.register(method)
    try:
        size = () if arch.onnx_multiple else ("--size", "32x24")
        run, facts = export("random", tmp_path, "--weights", str(weights), "--precision", precision, *size)
    finally:
        registry.unregister("random")
    assert facts["scale"] == str(arch.native_scale)
    assert float(facts["max_difference"]) < {"fp32": 2e-4, "fp16": 2e-2}[precision]
    assert run(picture(24, 32)).shape == (1, 3, 24 * scale, 32 * scale)
