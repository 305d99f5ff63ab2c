"""The splat on a real GPU: the same op, the same oracle."""

from __future__ import annotations

import math
import multiprocessing
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.options import FitOptions
from gsr_app.ops import backend, cuda, reference, splat
from gsr_app.training.degrade_batch import degrade_batch
from gsr_app.training.recipe import Degradation
from tests.ops.gaussians import Scene, lattice, scatter

pytestmark = pytest.mark.gpu
INF = math.inf


@pytest.fixture(autouse=True)
def _on_the_gpu() -> None:
    report = backend.load("cuda")
    assert report.backend == "cuda", str(report)


def on_gpu(scene: Scene) -> Scene:
    return tuple(x.cuda() for x in scene)  # type: ignore[return-value]


def true_drawing(scene: Scene, *frame: float) -> Tensor:
    return reference.splat(*(x.double() for x in scene), frame=reference.Frame(*frame))  # type: ignore[arg-type]


def largest_difference(found: Tensor, true: Tensor) -> float:
    return (found.cpu().double() - true.cpu()).abs().max().item()


@pytest.mark.parametrize(("eps", "limit"), [(1e-4, 2e-3), (1e-9, 2e-5)])
def test_the_lattice_equals_the_oracle(eps: float, limit: float) -> None:
    scene, size = lattice(60)
    found = splat(*on_gpu(scene), size, eps=eps)
    assert largest_difference(found, true_drawing(on_gpu(scene), *size, 0, 0, INF, INF, eps)) <= limit


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("normalize", [False, True])
def test_every_number_of_channels_equals_the_oracle(channels: int, normalize: bool) -> None:
    scene = scatter(400, (50, 70), channels=channels)
    options: dict[str, Any] = {"window_px": (9.5, 7.5), "eps": 1e-6, "normalize": normalize}
    found = splat(*on_gpu(scene), (50, 70), **options)
    true = splat(*(x.double() for x in scene), (50, 70), **options)
    assert largest_difference(found, true) <= 1e-4


def test_gradients_equal_the_oracle() -> None:
    mean, sigma, rho, color = scatter(500, (140, 150))
    sigma[::50] *= 60  # these are shared by several warps
    scene = (mean, sigma, rho, color)
    grad = torch.randn(3, 140, 150, generator=torch.Generator().manual_seed(1))
    leaves = tuple(x.cuda().requires_grad_() for x in scene)
    splat(*leaves, (140, 150)).backward(grad.cuda())
    frame = reference.Frame(140, 150, eps=1e-4)
    true = reference.splat_backward(grad.double(), *(x.double() for x in scene), frame=frame)
    for leaf, gradient in zip(leaves, true, strict=True):
        assert leaf.grad is not None
        assert largest_difference(leaf.grad, gradient) <= 1e-3 * gradient.abs().max().item()


def test_results_repeat_bit_for_bit() -> None:
    scene, size = lattice(40)
    scene = on_gpu(scene)
    first = splat(*scene, size)
    assert all(torch.equal(splat(*scene, size), first) for _ in range(5))
    grad = torch.randn_like(first)
    where = (*size, 0, 0, INF, INF, 1e-4)
    gradients = [torch.cat([x.flatten() for x in torch.ops.gsr.splat_backward(grad, *scene, *where)]) for _ in range(5)]
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_crops_and_batches_equal_the_whole_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, (height, width) = lattice(40)
    scene = on_gpu(scene)
    whole = splat(*scene, (height, width))
    piece = splat(*scene, (50, 61), origin_px=(37, 29))
    assert torch.equal(piece, whole[:, 29 : 29 + 50, 37 : 37 + 61])
    monkeypatch.setattr(cuda, "MOST_PAIRS", 1000)
    assert torch.equal(splat(*scene, (height, width)), whole)


def test_as_many_pairs_are_written_as_were_counted() -> None:
    # Two kernels compute a Gaussian's tiles. A difference in the last bit of either would write beyond its share.
    count, side = 2_000_000, 1700
    random = torch.Generator("cuda").manual_seed(0)
    mean, spread = (torch.rand(count, 2, generator=random, device="cuda") for _ in range(2))
    mean, sigma = mean * side, torch.exp(4 * spread - 2)
    rho = torch.tanh(2 * torch.randn(count, generator=random, device="cuda"))
    frame, kernels = cuda.Frame(side, side, 0, 0, INF, INF, 1e-4), cuda.load(3, torch.cuda.current_device())
    tiles = torch.empty(count, dtype=torch.int32, device="cuda")
    prepared = cuda._prepare(mean, sigma, rho, frame=frame, kernels=kernels, tiles=tiles)
    ends = tiles.cumsum(0, dtype=torch.int64)
    pairs = int(ends[-1])
    tile, owner = (torch.full((pairs + 1000,), -1, dtype=torch.int32, device="cuda") for _ in range(2))
    params = cuda.EmitPairsParams(*cuda._at(prepared, ends, tile, owner), 0, count, 0, pairs + 1000, False, frame)
    kernels.launch("gsr_emit_pairs", cuda._blocks(count), params)
    assert int(owner[:pairs].min()) >= 0
    assert int(owner[pairs:].max()) == -1
    assert torch.equal(torch.bincount(owner[:pairs].long(), minlength=count), tiles.long())


@pytest.mark.parametrize(("which", "value", "text"), [(0, math.nan, "mean_px must be finite"), (2, 2.0, "rho must be")])
def test_values_that_cannot_be_drawn_are_refused_as_on_a_cpu(which: int, value: float, text: str) -> None:
    scene, size = lattice(10)
    scene[which].view(-1)[7] = value
    with pytest.raises(InvalidArgument, match=text):
        splat(*on_gpu(scene), size)


def test_a_cuda_graph_records_drawing_and_gradients() -> None:
    scene, size = lattice(40)
    leaves = tuple(x.requires_grad_() for x in on_gpu(scene))

    def work() -> tuple[Tensor, ...]:
        drawn = splat(*leaves, size)
        return drawn.detach(), *torch.autograd.grad(drawn.square().sum(), leaves)

    true = work()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()
    for x in found:
        x.fill_(float("nan"))
    graph.replay()
    assert all(torch.equal(x, y) for x, y in zip(found, true, strict=True))
    assert cuda.reserve.lacking(scene[0].cuda().device).item() == 0


def test_a_fit_is_recorded_and_reaches_what_it_reaches_on_a_cpu() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 9, 64), torch.linspace(0, 7, 64), indexing="ij")
    image = torch.stack([x.sin() * y.cos(), (x * y / 5).sin(), (x - y).cos()]).mul(0.4).add(0.5)
    options = FitOptions(start="random", gaussians=400, steps=120)
    on_cpu, here = (Fitter(image, options, device=device) for device in ("cpu", "cuda"))
    reached = [list(one.run(report_seconds=60))[-1].psnr for one in (on_cpu, here)]
    assert reached[1] == pytest.approx(reached[0], abs=0.5)
    assert here.recorded is not None
    assert here.recorded.reason == ""


def test_patches_are_degraded_as_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    how = Degradation(share=1.0, noise_share=0.0)  # noise is the device's own
    hr = torch.rand(8, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)  # as in a training
    found, true = (degrade_batch(np.random.default_rng(5), hr.to(at), (48, 48), how).cpu() for at in ("cuda", "cpu"))
    assert float((found - true).abs().mean()) < 0.2 / 255


def test_drawing_follows_torchs_current_stream() -> None:
    scene, size = lattice(40)
    scene = on_gpu(scene)
    true = splat(*scene, size)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        mean = torch.full_like(scene[0], 1e6)
        torch.cuda._sleep(50_000_000)  # the copy comes late; a kernel on another stream would not wait for it
        mean.copy_(scene[0])
        found = splat(mean, *scene[1:], size)
    torch.cuda.current_stream().wait_stream(side)
    assert torch.equal(found, true)


def test_the_op_passes_opcheck() -> None:
    leaves = tuple(x.cuda().requires_grad_() for x in scatter(50, (20, 30)))
    torch.library.opcheck(torch.ops.gsr.splat.default, (*leaves, 20, 30, 0, 0, INF, INF, 1e-4))
    grad = torch.ones(3, 20, 30, device="cuda")
    scene = tuple(x.detach() for x in leaves)
    torch.library.opcheck(torch.ops.gsr.splat_backward.default, (grad, *scene, 20, 30, 0, 0, INF, INF, 1e-4))


def test_edges_of_the_domain() -> None:
    for count, size in ((0, (16, 16)), (5, (1, 1)), (50, (1, 300)), (50, (300, 1))):
        scene = scatter(count, size)
        found = splat(*on_gpu(scene), size)
        assert largest_difference(found, true_drawing(scene, *size, 0, 0, INF, INF, 1e-4)) <= 2e-5
    mean, _, rho, color = scatter(96, (40, 40))
    sigma = 10 ** torch.linspace(-6, 6, 192).view(2, 96).T
    scene = (mean.round(), sigma, rho.sign(), color)
    assert (
        largest_difference(splat(*on_gpu(scene), (40, 40)), true_drawing(scene, 40, 40, 0, 0, INF, INF, 1e-4)) <= 1e-3
    )


def test_three_million_gaussians_fit() -> None:
    scene = on_gpu(scatter(3_000_000, (2160, 3840)))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert torch.isfinite(splat(*scene, (2160, 3840))).all()
    assert torch.cuda.max_memory_allocated() - before < 2 << 30


def test_the_naive_kernel_draws_the_same() -> None:
    scene, size = lattice(40)
    scene = on_gpu(scene)
    frame = cuda.Frame(*size, 0, 0, INF, INF, 1e-4)
    found = cuda.draw_naively(*scene, frame=frame, kernels=cuda.load(3, torch.cuda.current_device()))
    assert largest_difference(found, splat(*scene, size).cpu()) <= 1e-4


def _draw_in_worker(queue: Any) -> None:
    scene, size = lattice(20)
    queue.put(splat(*on_gpu(scene), size).cpu().numpy())


def _fork_before_cuda(queue: Any) -> None:
    # A fresh process that has loaded everything but not touched the GPU, and forks: what a Space's worker is.
    worker = multiprocessing.get_context("fork").Process(target=_draw_in_worker, args=(queue,))
    worker.start()
    worker.join()


def test_a_forked_worker_draws() -> None:
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    parent = spawn.Process(target=_fork_before_cuda, args=(queue,))
    parent.start()
    found = torch.from_numpy(queue.get(timeout=120))
    parent.join()
    scene, size = lattice(20)
    assert largest_difference(found, true_drawing(scene, *size, 0, 0, INF, INF, 1e-4)) <= 2e-3
