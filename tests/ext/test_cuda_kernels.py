"""The CUDA kernels, run on a CPU: every line of device code and of the code between the kernels, against the
float64 reference. What this cannot show is speed, and that a GPU's own arithmetic agrees; tests/ext/test_cuda_gpu.py
does where there is one."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness import splat_times
from gsr_app.ops import cuda, reference, splat
from gsr_app.ops.cuda import Frame
from gsr_app.ops.schema import WrongValues
from tests.ext.emulation import HERE, ORDERS, EmulatedKernels, build
from tests.ops.gaussians import Scene, activate_gsasr, load_golden, scatter

pytestmark = pytest.mark.compiler
INF = math.inf


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(HERE / "cuda_emulation.cpp", tmp_path_factory.mktemp("emulation"))


@pytest.fixture
def kernels(library: ctypes.CDLL) -> EmulatedKernels:
    return EmulatedKernels(library)


@pytest.fixture(autouse=True)
def _poison():
    """Memory that nobody has written reads as NaN or as the largest integer."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def frame_of(height: int, width: int, top: int = 0, left: int = 0, *, window=(INF, INF), eps: float = 1e-4) -> Frame:
    return Frame(height, width, top, left, *window, eps)


def oracle_frame(frame: Frame) -> reference.Frame:
    return reference.Frame(*(getattr(frame, field[0]) for field in Frame._fields_))


def true_drawing(scene: Scene, frame: Frame) -> Tensor:
    return reference.splat(*(x.double() for x in scene), frame=oracle_frame(frame))


def true_gradients(grad: Tensor, scene: Scene, frame: Frame) -> tuple[Tensor, ...]:
    return reference.splat_backward(grad.double(), *(x.double() for x in scene), frame=oracle_frame(frame))


def largest_difference(found: Tensor, true: Tensor) -> float:
    return (found.double() - true).abs().max().item()


def assert_gradients_agree(kernels: EmulatedKernels, scene: Scene, frame: Frame, limit: float = 1e-5) -> None:
    grad = torch.randn(scene[3].shape[1], frame.height, frame.width, generator=torch.Generator().manual_seed(1))
    found = cuda.backward(grad, *scene, frame=frame, kernels=kernels)
    for name, ours, true in zip(
        ("mean", "sigma", "rho", "color"), found, true_gradients(grad, scene, frame), strict=True
    ):
        assert largest_difference(ours, true) <= limit * true.abs().max().item(), name


def assert_right(kernels: EmulatedKernels, scene: Scene, frame: Frame, limit: float = 2e-5) -> None:
    found = cuda.draw(*scene, frame=frame, kernels=kernels)
    assert largest_difference(found, true_drawing(scene, frame)) <= limit
    assert_gradients_agree(kernels, scene, frame, limit=max(limit, 1e-5))


FRAMES = {
    "whole tiles": frame_of(32, 48),
    "ragged edges": frame_of(37, 53),
    "a piece of a larger grid": frame_of(21, 40, top=-9, left=13),
    "a hard window": frame_of(37, 53, window=(3.3, 2.6)),
    "a window of one pixel": frame_of(20, 20, window=(0.5, 0.5)),
    "a fine cut": frame_of(30, 30, eps=1e-9),
    "no cut": frame_of(30, 30, eps=0.0),
    "a coarse cut": frame_of(30, 30, eps=0.3),
    "one row": frame_of(1, 70),
    "one column": frame_of(70, 1),
    "one pixel": frame_of(1, 1),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_drawing_and_gradients_equal_the_oracle(kernels: EmulatedKernels, frame: Frame) -> None:
    scene = scatter(60, (frame.height, frame.width))
    scene[0].add_(torch.tensor([frame.left, frame.top]))
    assert_right(kernels, scene, frame)


@pytest.mark.parametrize("channels", range(1, cuda.MOST_CHANNELS + 1))
def test_every_number_of_channels_has_its_kernels(kernels: EmulatedKernels, channels: int) -> None:
    assert_right(kernels, scatter(25, (18, 20), channels=channels), frame_of(18, 20))


def test_structs_have_the_size_of_the_device_structs(library: ctypes.CDLL) -> None:
    structs = {
        "prepare": cuda.PrepareParams,
        "emit_pairs": cuda.EmitPairsParams,
        "draw_3": cuda.DrawParams,
        "sum_moments_3": cuda.SumMomentsParams,
        "apply_chain_rule_3": cuda.ApplyChainRuleParams,
        "draw_naively_3": cuda.DrawNaivelyParams,
    }
    for name, struct in structs.items():
        assert getattr(library, f"size_of_gsr_{name}")() == ctypes.sizeof(struct), name


def test_the_order_of_threads_does_not_matter(library: ctypes.CDLL) -> None:
    # A missing barrier would show: what one thread stages, another would read too early or too late.
    many, few, frame = scatter(600, (20, 20)), scatter(60, (20, 20)), frame_of(20, 20)
    grad = torch.ones(3, 20, 20)
    drawings, gradients = [], []
    for order in ORDERS:
        kernels = EmulatedKernels(library, order)
        drawings.append(cuda.draw(*many, frame=frame, kernels=kernels))  # several batches in each tile
        gradients.append(torch.cat([x.flatten() for x in cuda.backward(grad, *few, frame=frame, kernels=kernels)]))
    assert all(torch.equal(drawings[0], drawing) for drawing in drawings)
    assert all(torch.equal(gradients[0], gradient) for gradient in gradients)


def test_drawing_in_batches_changes_no_bit(kernels: EmulatedKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, frame = scatter(200, (40, 40)), frame_of(40, 40)
    whole = cuda.draw(*scene, frame=frame, kernels=kernels)
    assert [name for name, _ in kernels.launched].count("gsr_draw_3") == 1
    for most_pairs in (97, 1):  # the latter holds not even one Gaussian of several tiles
        monkeypatch.setattr(cuda, "MOST_PAIRS", most_pairs)
        kernels.launched.clear()
        assert torch.equal(cuda.draw(*scene, frame=frame, kernels=kernels), whole)
        assert [name for name, _ in kernels.launched].count("gsr_draw_3") > 3


def test_room_for_pairs_instead_of_their_number_changes_no_bit(kernels: EmulatedKernels) -> None:
    scene, frame = scatter(200, (40, 40)), frame_of(40, 40)
    whole = cuda.draw(*scene, frame=frame, kernels=kernels)
    lacking = cuda.reserve.lacking(torch.device("cpu"))
    room = cuda.reserve.room(200, frame)  # the drawing before has noted its pairs
    assert torch.equal(cuda.draw(*scene, frame=frame, kernels=kernels, room=room), whole)
    assert lacking.item() == 0
    cut = cuda.draw(*scene, frame=frame, kernels=kernels, room=300)  # 1,024 more are reserved than were seen
    assert lacking.item() + 300 == int((room - 1024) / 1.25)
    assert torch.isfinite(cut).all()
    lacking.zero_()


def test_tiles_numbered_in_32_bits_draw_the_same(kernels: EmulatedKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, frame = scatter(100, (40, 40)), frame_of(40, 40)
    narrow = cuda.draw(*scene, frame=frame, kernels=kernels)
    monkeypatch.setattr(cuda, "_MOST_NARROW_TILES", 0)
    assert torch.equal(cuda.draw(*scene, frame=frame, kernels=kernels), narrow)


@pytest.mark.parametrize(
    ("which", "value", "name"),
    [(0, math.nan, "mean_px"), (1, 0.0, "sigma_px"), (1, INF, "sigma_px"), (2, 1.5, "rho"), (3, -INF, "color")],
)
def test_values_that_cannot_be_drawn_are_found(kernels: EmulatedKernels, which: int, value: float, name: str) -> None:
    scene = scatter(70, (20, 20))
    scene[which].view(-1)[65] = value
    with pytest.raises(WrongValues, match=f"^{name} must be finite"):
        cuda.draw(*scene, frame=frame_of(20, 20), kernels=kernels)


def test_crops_equal_the_whole_bit_for_bit(kernels: EmulatedKernels) -> None:
    scene = scatter(150, (45, 61))
    whole = cuda.draw(*scene, frame=frame_of(45, 61), kernels=kernels)
    for top, left, height, width in ((0, 0, 20, 61), (20, 0, 25, 30), (20, 30, 25, 31)):
        piece = cuda.draw(*scene, frame=frame_of(height, width, top, left), kernels=kernels)
        assert torch.equal(piece, whole[:, top : top + height, left : left + width])


def test_large_gaussians_are_shared_by_several_warps(kernels: EmulatedKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, sigma, rho, color = scatter(9, (70, 90))
    sigma[::3] *= 40
    monkeypatch.setattr(cuda, "_WARPS_WANTED", 15)
    assert_right(kernels, (mean, sigma, rho, color), frame_of(70, 90))
    split = [(name, blocks) for name, blocks in kernels.launched if "moments" in name]
    assert split == [("gsr_sum_moments_3", math.ceil(9 / 4)), ("gsr_sum_moments_in_bands_3", math.ceil(15 / 4))]


def test_a_slanted_needle_takes_only_the_tiles_along_it(kernels: EmulatedKernels) -> None:
    frame = frame_of(640, 640)
    mean, sigma, rho = torch.tensor([[320.0, 320.0]]), torch.tensor([[90.0, 90.0]]), torch.tensor([0.9999])
    tiles = torch.empty(1, dtype=torch.int32)
    cuda._prepare(mean, sigma, rho, frame=frame, kernels=kernels, tiles=tiles)
    assert 40 <= tiles.item() <= 3 * 40, "of 40 x 40"
    assert_right(kernels, (mean, sigma, rho, torch.ones(1, 1)), frame_of(64, 64, 280, 280), limit=5e-4)


@pytest.mark.parametrize("rho", [0.999999, 1.0, -1.0])
def test_the_thinnest_gaussians_keep_their_precision(kernels: EmulatedKernels, rho: float) -> None:
    mean, sigma, _, color = scatter(40, (40, 50))
    assert_right(kernels, (mean, sigma, torch.full((40,), rho), color), frame_of(40, 50), limit=5e-4)


@pytest.mark.parametrize("is_centred", [False, True])
def test_sigmas_from_a_millionth_to_a_million_pixels(kernels: EmulatedKernels, is_centred: bool) -> None:
    mean, _, rho, color = scatter(48, (24, 24), seed=4)
    sigma = 10 ** torch.linspace(-6, 6, 96).view(2, 48).T
    if is_centred:  # the others lie between the pixels, where a small one shows nothing
        mean = mean.round()
    assert_right(kernels, (mean, sigma, rho, color), frame_of(24, 24))


def test_gaussians_far_outside_draw_nothing(kernels: EmulatedKernels) -> None:
    _, sigma, rho, color = scatter(8, (16, 16))
    away = torch.tensor([[1e9, 0.0], [-1e9, 3.0], [4.0, 3e38], [4.0, -3e38]]).repeat(2, 1)
    assert not cuda.draw(away, sigma, rho, color, frame=frame_of(16, 16), kernels=kernels).any()
    for gradient in cuda.backward(
        torch.ones(3, 16, 16), away, sigma, rho, color, frame=frame_of(16, 16), kernels=kernels
    ):
        assert not gradient.any()


def test_no_gaussians_make_an_empty_picture(kernels: EmulatedKernels) -> None:
    scene = scatter(0, (16, 16))
    assert not cuda.draw(*scene, frame=frame_of(16, 16), kernels=kernels).any()
    gradients = cuda.backward(torch.ones(3, 16, 16), *scene, frame=frame_of(16, 16), kernels=kernels)
    assert [tuple(x.shape) for x in gradients] == [(0, 2), (0, 2), (0,), (0, 3)]


def test_non_contiguous_tensors_are_read_correctly(kernels: EmulatedKernels) -> None:
    scene, frame = scatter(50, (20, 20)), frame_of(20, 20)
    strided = tuple(torch.stack([x, torch.full_like(x, 7.0)], -1)[..., 0] for x in scene)
    assert not any(x.is_contiguous() for x in strided)
    assert torch.equal(
        cuda.draw(*strided, frame=frame, kernels=kernels), cuda.draw(*scene, frame=frame, kernels=kernels)
    )


def test_the_naive_kernel_draws_the_same(kernels: EmulatedKernels) -> None:
    scene, frame = scatter(100, (30, 41)), frame_of(30, 41, window=(5.0, 6.0))
    found = cuda.draw_naively(*scene, frame=frame, kernels=kernels)
    assert largest_difference(found, true_drawing(scene, frame)) <= 2e-5


def test_the_benchmark_times_the_naive_kernel_on_its_own_scene(kernels: EmulatedKernels) -> None:
    scene, side = splat_times.lattice(8, 3.0, torch.device("cpu"))
    found = splat_times.naive_drawing(scene, side, kernels)()
    assert kernels.launched[-1][0] == "gsr_draw_naively_3"
    assert largest_difference(found, splat(*scene, (side, side), eps=splat_times.EPS)) <= 2e-5


def test_the_op_passes_its_arguments_in_order(kernels: EmulatedKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "load", lambda channels, device: kernels)
    scene, where = scatter(80, (24, 40)), (24, 40, 3, -5, 7.5, 4.5, 1e-5)
    exact = tuple(x.double() for x in scene)
    true = torch.ops.gsr.splat_reference(*exact, *where)
    assert largest_difference(cuda._splat(*scene, *where), true) <= 2e-5
    gradients = cuda._splat_backward(torch.ones(3, 24, 40), *scene, *where)
    oracle = torch.ops.gsr.splat_reference_backward(torch.ones_like(true), *exact, *where)
    for found, gradient in zip(gradients, oracle, strict=True):
        assert largest_difference(found, gradient) <= 1e-5 * gradient.abs().max().item()
    with pytest.raises(InvalidArgument, match="float64"):
        cuda._splat(*exact, *where)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "scale", "limit"),
    [
        ("a", (37, 53), 4.0, 5e-5),
        ("c12", (30, 30), 2.5, 5e-5),
        ("c16", (40, 40), 2.5, 5e-5),
        ("d", (37, 53), 4.0, 2e-4),
    ],
)
def test_the_published_rasterizer_drew_the_same(
    kernels: EmulatedKernels, shared: Path, name: str, size: tuple[int, int], scale: float, limit: float
) -> None:
    golden = load_golden(shared, name)
    drawings = {float(key.removeprefix("out_dmax")): value for key, value in golden.items() if key.startswith("out_")}
    assert drawings
    for dmax, drawing in drawings.items():
        scene, window = activate_gsasr(golden["raw"], tuple(drawing.shape[-2:]), scale, dmax)
        frame = frame_of(*drawing.shape[-2:], window=window, eps=0.0)
        assert largest_difference(cuda.draw(*scene, frame=frame, kernels=kernels), drawing) <= limit


WRONG = """
#include "cuda_shim.h"
constexpr int kBlock = 64;
__global__ void misses_a_barrier(int*) { if (threadIdx.x < 40) __syncthreads(); }
__global__ void misses_a_shuffle(int*) { if (threadIdx.x != 7) __shfl_xor_sync(~0u, 1.0f, 1); }
__global__ void forgets_a_barrier(int* out) {
    __shared__ int staged[kBlock];
    staged[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = staged[kBlock - 1 - threadIdx.x];
    staged[threadIdx.x] = -1;
}
extern "C" const char* run_barrier(int order, int* out) {
    return shim::run(1, kBlock, order, [=] { misses_a_barrier(out); });
}
extern "C" const char* run_shuffle(int order, int* out) {
    return shim::run(1, kBlock, order, [=] { misses_a_shuffle(out); });
}
extern "C" const char* run_forgetful(int order, int* out) {
    return shim::run(1, kBlock, order, [=] { forgets_a_barrier(out); });
}
"""


def test_the_emulation_detects_missing_barriers_and_lanes(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cpp"
    source.write_text(WRONG)
    library = build(source, tmp_path)
    for name in ("run_barrier", "run_shuffle", "run_forgetful"):
        getattr(library, name).restype = ctypes.c_char_p
    out = (ctypes.c_int * 64)()
    for order in ORDERS.values():
        assert b"never come" in library.run_barrier(order, out)
        assert b"never come" in library.run_shuffle(order, out)
    answers = set()
    for order in ORDERS.values():
        assert library.run_forgetful(order, out) is None
        answers.add(tuple(out))
    assert len(answers) > 1, "another order, another answer"
