"""`gsr export --onnx`: a network as an ONNX file.

It is compared with torch in onnxruntime before it is written, and its metadata state the largest difference.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app import __version__
from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.extras import needs_extra
from gsr_app.engine import networks
from gsr_app.harness.outputs import check_output
from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method
from gsr_app.models.swift import Swift
from gsr_app.ops.resize import cubic

_OPSET = 18
_LARGEST_SIDE = 1 << 14
_LARGEST_ERROR = {"fp32": 1e-5, "fp16": 5e-3}  # of the largest value: more is not rounding, and the file is wrong
_FIELD = "red, green, blue, then raw offset x, y, width x, y and lean: gsr_app/models/swift.py makes Gaussians of them"


class BicubicDouble(nn.Module):
    """`ops.resize` at x2 as one convolution: each output pixel has five taps per axis, and the border is mirrored."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.from_numpy(cubic(np.abs(np.arange(-2, 3) + np.array([[0.25], [-0.25]]))))  # [2, 5]
        kernels = torch.einsum("ay,bx->abyx", taps, taps).reshape(4, 1, 5, 5)  # for the four pixels of a cell
        self.register_buffer("weight", kernels.repeat(3, 1, 1, 1).float())

    def forward(self, x: Tensor) -> Tensor:  # [B, 3, h, w] -> [B, 3, 2h, 2w]
        for axis in (2, 3):
            first, last = x.narrow(axis, 0, 2), x.narrow(axis, x.shape[axis] - 2, 2)
            x = torch.cat([first.flip(axis), x, last.flip(axis)], axis)
        return F.pixel_shuffle(F.conv2d(x, self.weight, groups=3), 2)


class SwiftEncoder(nn.Module):
    """`Swift.encode` in operators that ONNX has: [B, 3, h, w] -> [B, 8, 2h, 2w]."""

    def __init__(self, network: Swift) -> None:
        super().__init__()
        self.network, self.enlarge = network, BicubicDouble()

    def forward(self, lr: Tensor) -> Tensor:
        lattice = self.network.convolve(lr)
        color = self.network.limit(lattice[:, :3] + self.enlarge(lr), lr)
        return torch.cat([color, lattice[:, 3:]], 1)

    def halve(self) -> None:
        """Half precision where autocast has it. The first layer stays: its kernels must keep their mean of zero."""
        network = self.network
        for part in (network.blocks, network.join, network.tail):
            part.half()
        network.head = nn.Sequential(network.head, _Cast(torch.float16))  # pyright: ignore[reportAttributeAccessIssue]


class PixelNetwork(nn.Module):
    """A network of one scale; its input and output stay float32: [B, 3, h, w] -> [B, 3, h*s, w*s]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = nn.Sequential(network)

    def forward(self, lr: Tensor) -> Tensor:
        return self.network(lr)

    def halve(self) -> None:
        self.network = nn.Sequential(_Cast(torch.float16), self.network.half(), _Cast(torch.float32))


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def write_onnx(
    method: Method, out: Path, given: str | None, precision: str = "fp32", size: tuple[int, int] | None = None
) -> str:
    """Write the file and say what it holds; size: (height, width) of all inputs, None where they may differ."""
    check_output(out, ".onnx")
    with needs_extra("export", "gsr export --onnx"):
        import onnx
        import onnxruntime  # noqa: F401  # pyright: ignore
        import onnxscript  # noqa: F401  # pyright: ignore
    if method.kind not in {"field", "pixels"} or (method.kind == "field" and method.arch != "swift"):
        raise InvalidArgument(
            f"{method.id} has no ONNX form.", hint="swift, swift-photo and networks of kind pixels have one."
        )
    arch = registry.architecture(method.arch)
    sizes = _check_sizes(arch, size)
    module, weights_id = networks.obtain(method, given)
    network: Any = module.fuse() if hasattr(module, "fuse") else module  # pyright: ignore[reportCallIssue]
    form = (SwiftEncoder if isinstance(network, Swift) else PixelNetwork)(network).eval().requires_grad_(False)
    exact = copy.deepcopy(form)
    if precision == "fp16":
        form.halve()
    model = _convert(form, arch, sizes[0], is_fixed=size is not None)
    difference, largest = _compare(model.SerializeToString(), exact, sizes)
    if not difference <= _LARGEST_ERROR[precision] * max(1.0, largest):
        raise GsrError(f"The ONNX file of {method.id} differs from torch by {difference:.2g}; it was not written.")
    multiple = _multiple(arch)
    onnx.helper.set_model_props(
        model,
        {
            "method": method.id,
            "weights": weights_id,
            "weights_licence": method.weights_licence,
            "gsr": __version__,
            "precision": precision,
            "scale": str(arch.native_scale or ""),
            "sides": "of one size" if size else f"multiples of {multiple}, at least {_least(arch) * multiple}",
            "output": _FIELD if arch.kind == "field" else "red, green, blue",
            "max_difference": f"{difference:.2g}",
            "max_difference_to": f"torch {torch.__version__} in fp32, of noise in {', '.join(map(_text, sizes))}",
            "largest_value": f"{largest:.2g}",
        },
    )
    write_whole(out, model.SerializeToString())
    compared = f"within {difference:.2g} of torch, of values up to {largest:.2g}"
    return f"{out}  {out.stat().st_size / 1e6:.2f} MB, opset {_OPSET}, {compared}"


def _check_sizes(arch: Architecture, size: tuple[int, int] | None) -> Sequence[tuple[int, int]]:
    """The sizes to compare at, and to convert with the first of."""
    if size is None:
        if not arch.onnx_multiple:
            raise InvalidArgument(
                f"What {arch.id} computes depends on the size of the input.", hint="Give one, such as --size 64x64."
            )
        multiple = _multiple(arch)
        least = _least(arch)
        # Odd where the network takes that.
        return [(multiple * (least + more), multiple * (least + 2 * more + 1)) for more in (6, 0, 17)]
    multiple = _multiple(arch)
    least = max(2, arch.minimum_size)  # the border of a picture of one row or column cannot be mirrored
    if any(side % multiple or side < least for side in size):
        raise InvalidArgument(f"{arch.id} needs sides of multiples of {multiple}, at least {least}.")
    return [size]


def _multiple(arch: Architecture) -> int:
    """What both sides must be multiples of."""
    return math.lcm(arch.multiple_of, arch.onnx_multiple or 1)


def _least(arch: Architecture) -> int:
    """The smallest side in multiples; torch.export takes a size of one for a constant."""
    return max(2, -(-arch.minimum_size // _multiple(arch)))


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _convert(form: nn.Module, arch: Architecture, size: tuple[int, int], *, is_fixed: bool) -> Any:
    """The ONNX model. Attention is exported in its plain form: the fused one is traced with other strides."""
    shapes = None
    if not is_fixed:
        multiple = _multiple(arch)
        most = _LARGEST_SIDE // multiple
        rows, columns = (torch.export.Dim(name, min=_least(arch), max=most) for name in ("rows", "columns"))
        sides = (rows, columns) if multiple == 1 else (multiple * rows, multiple * columns)
        shapes = ({0: torch.export.Dim("batch", min=1, max=1 << 10), 2: sides[0], 3: sides[1]},)
    example = torch.zeros(1 if is_fixed else 2, 3, *size)
    with _quiet(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        program = torch.onnx.export(
            form, (example,), input_names=["lr"], output_names=["lattice" if arch.kind == "field" else "sr"],
            opset_version=_OPSET, dynamic_shapes=shapes, dynamo=True, verbose=False,
            optimize=not is_fixed,  # folding the constants of RGT takes longer than everything else
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def _compare(model: bytes, network: nn.Module, sizes: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The largest difference between the outputs, and the largest value among torch's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    random, difference, largest = torch.Generator().manual_seed(0), 0.0, 0.0
    for size in sizes:
        lr = torch.rand(1, 3, *size, generator=random)
        with torch.inference_mode():
            expected = network(lr)
        found = torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])
        # A value that is not a number would be lost in `max`.
        difference = max(difference, float((found - expected).abs().nan_to_num(math.inf).max()))
        largest = max(largest, float(expected.abs().max()))
    return difference, largest


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without the exporter's warnings, which are about packages and forms that are not used here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
