"""Our own fit: gradients, limits, unusual images, stopping and resuming."""

from __future__ import annotations

import itertools
import threading
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument, WeightsError
from gsr_app.core.types import View
from gsr_app.fitting import fitter as fitter_module
from gsr_app.fitting.adan import Adan
from gsr_app.fitting.covariance import LEAST_WIDTH_PX, Parameters
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.initial_count import count_from_content
from gsr_app.fitting.options import FitOptions, as_published
from gsr_app.fitting.progress import Curve, FitStatus
from gsr_app.fitting.starts import initial_gaussians
from gsr_app.fitting.state import load_state, save_state
from gsr_app.models import registry
from gsr_app.ops import cuda, render


def picture(size: int = 64) -> Tensor:
    """Something like a photograph: smooth, edges, a little texture."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    disc = ((x - 0.5).square() + (y - 0.4).square() < 0.06).float()
    texture = 0.1 * (40 * x).sin() * (30 * y).cos()
    return torch.stack([0.3 + 0.4 * x + 0.2 * disc, 0.5 * y + 0.3 * disc, 0.4 + texture]).clamp(0, 1)


def run(image: Tensor, **options: object) -> tuple[Fitter, FitStatus]:
    fitter = Fitter(image, FitOptions(**options))  # type: ignore[arg-type]
    statuses = list(fitter.run(report_seconds=60))
    return fitter, statuses[-1]


def test_gradients_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    parameters = Parameters(*(0.7 * torch.randn(50, n, dtype=torch.float64).squeeze(1) for n in (2, 2, 1, 3)))
    steps = [torch.zeros(50, n, dtype=torch.float64, requires_grad=True) for n in (2, 3)]
    shape = parameters.footprints()
    ahead = Parameters(*shape.move(*steps), parameters.color).footprints()
    for one, other in ((ahead.mean, shape.mean), (ahead.sigma, shape.sigma), (ahead.rho, shape.rho)):
        torch.testing.assert_close(one, other)  # a step of zero changes nothing
    gradients = [torch.randn_like(one) for one in (ahead.mean, ahead.sigma, ahead.rho)]
    loss = sum((one * g).sum() for one, g in zip((ahead.mean, ahead.sigma, ahead.rho), gradients, strict=True))
    for found, right in zip(shape.backward(*gradients), torch.autograd.grad(loss, steps), strict=True):
        torch.testing.assert_close(found, right)


def test_steps_are_whitened_by_the_covariance() -> None:
    """In its own coordinates, a rotated and stretched Gaussian takes the same step as a round one."""
    place, form = torch.tensor([[0.3, -0.2]]), torch.tensor([[0.1, -0.3, 0.2]])

    def covariance(sigma: Tensor, rho: Tensor) -> Tensor:
        cross = rho * sigma.prod(1)
        return torch.stack([sigma[:, 0] ** 2, cross, cross, sigma[:, 1] ** 2], 1).view(-1, 2, 2)

    def move(sigma: tuple[float, float], tilt: float) -> tuple[Tensor, Tensor, Tensor]:
        parameters = Parameters(torch.zeros(1, 2), torch.tensor([sigma]).log(), torch.tensor([tilt]), torch.zeros(1, 3))
        shape = parameters.footprints()
        mean, log_sigma, new_tilt = shape.move(place, form)
        root = torch.linalg.cholesky(covariance(shape.sigma, shape.rho))
        learnt = torch.linalg.cholesky(covariance(shape.learnt, shape.tanh))
        after = covariance(log_sigma.exp(), new_tilt.tanh())
        inner = torch.linalg.solve(learnt, torch.linalg.solve(learnt, after).mT)
        return torch.linalg.solve(root, mean[..., None])[..., 0], inner, after

    one, other = move((1.0, 1.0), 0.0), move((7.0, 0.6), -1.3)
    torch.testing.assert_close(one[0], place)
    torch.testing.assert_close(other[0], place)
    torch.testing.assert_close(one[1], other[1], atol=1e-5, rtol=1e-4)


def test_no_gaussian_is_thinner_than_the_least_width() -> None:
    torch.manual_seed(0)
    shape = Parameters(
        torch.zeros(200, 2), 3 * torch.randn(200, 2), 3 * torch.randn(200), torch.zeros(200, 3)
    ).footprints()
    sx, sy = shape.sigma.double().unbind(1)
    cross = shape.rho.double() * sx * sy
    covariance = torch.stack([sx * sx, cross, cross, sy * sy], 1).view(-1, 2, 2)
    assert torch.linalg.eigvalsh(covariance).min().sqrt() > LEAST_WIDTH_PX * 0.99


@pytest.mark.parametrize("start", ["random", "quadtree", "network"])
def test_every_start_keeps_its_count_and_converges(start: str) -> None:
    fitter, status = run(picture(), start=start, gaussians=500, steps=150)
    assert len(fitter.field) == status.gaussians == 500
    assert status.psnr > 33
    view = View((0.0, 0.0), (64, 64), (64, 64))
    drawn = render(fitter.field, view)
    assert torch.allclose(drawn, fitter.draw(), atol=1e-4)


def test_the_network_start_beats_the_random_one_at_equal_count_and_steps() -> None:
    reached = {start: run(picture(96), start=start, gaussians=700, steps=60)[1].psnr for start in ("random", "network")}
    assert reached["network"] > reached["random"] + 1


@pytest.mark.parametrize("loss", ["l1", "ssim"])
@pytest.mark.parametrize("optimizer", ["adam", "adan"])
def test_every_loss_and_optimizer_converges(loss: str, optimizer: str) -> None:
    _, status = run(picture(48), gaussians=250, steps=120, loss=loss, optimizer=optimizer)
    assert status.psnr > 28


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 40), (40, 1), (5, 70)])
def test_tiny_and_thin_pictures_fit(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    for start in ("random", "quadtree", "network"):
        _, status = run(image, start=start, steps=30)
        assert np.isfinite(status.psnr)
        assert status.psnr > 5


def test_a_flat_picture_needs_few_and_stays_flat_when_enlarged() -> None:
    image = torch.full((3, 64, 64), 0.4)
    assert count_from_content(image) == 64
    fitter, status = run(image, steps=200)
    assert status.psnr > 40
    drawn = render(fitter.field, View((16.0, 16.0), (32, 32), (128, 128)))
    assert (drawn - 0.4).abs().max() < 0.03


def test_noise_needs_more_gaussians_than_a_photograph_and_stays_finite() -> None:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert count_from_content(noise) > 4 * count_from_content(
        picture()[:, :32, :32].mean((1, 2), keepdim=True).expand(3, 64, 64)
    )
    _, status = run(noise, steps=60)
    assert status.psnr > 9


def test_a_field_drawn_larger_has_no_holes() -> None:
    fitter, _ = run(picture(), gaussians=600, steps=300)
    small = render(fitter.field, View((0.0, 0.0), (64, 64), (64, 64)))
    large = render(fitter.field, View((0.0, 0.0), (64, 64), (256, 256)))
    back = torch.nn.functional.avg_pool2d(large[None], 4)[0]
    assert (back - small).abs().mean() < 0.01
    # Between pixels nothing falls out of the range of its surroundings by much.
    low = -torch.nn.functional.max_pool2d(-small[None], 3, 1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[0]
    high = torch.nn.functional.max_pool2d(small[None], 3, 1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[0]
    outside = (low - large).clamp(min=0) + (large - high).clamp(min=0)
    assert (outside > 0.08).float().mean() < 0.01


def test_closing_a_fit_keeps_the_best_and_running_continues_it() -> None:
    fitter = Fitter(picture(), FitOptions(gaussians=300, steps=400))
    first = next(iter(fitter.run(report_seconds=0.01)))
    assert first.step < 400
    assert len(fitter.field) == 300
    last = list(fitter.run(report_seconds=60))[-1]
    assert last.step == 400
    assert last.best_psnr >= first.best_psnr
    fitter.extend(steps=100)
    assert list(fitter.run(report_seconds=60))[-1].step == 500


def test_the_first_report_comes_with_the_first_gaussians() -> None:
    fitter = Fitter(picture(), FitOptions(gaussians=300, steps=400))
    reports = fitter.run(report_seconds=60)
    assert (next(reports).step, len(fitter.field)) == (0, 300)
    assert next(reports).step == 400  # within a minute


def test_stopping_ends_at_the_next_step() -> None:
    fitter, asked = Fitter(picture(), FitOptions(gaussians=300, steps=10_000)), itertools.count()
    for _ in fitter.run(report_seconds=60, stop=lambda: next(asked) > 20):
        pass
    assert 0 < fitter.step < 30


def test_a_fit_on_one_thread_leaves_other_threads_their_setting() -> None:
    before, seen = torch.get_num_threads(), {"own": set[int](), "other": set[int]()}

    def look() -> bool:
        seen["own"].add(torch.get_num_threads())
        other = threading.Thread(target=lambda: seen["other"].add(torch.get_num_threads()))
        other.start()
        other.join()
        return len(seen["own"]) > 1

    torch.set_num_threads(3)
    try:
        list(Fitter(picture(), FitOptions(start="random", gaussians=50)).run(stop=look))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {"own": {3, 1}, "other": {3}}


def test_the_start_runs_in_steps_and_can_be_stopped_and_continued() -> None:
    fitter, whole = (Fitter(picture(), FitOptions(gaussians=300, steps=60)) for _ in range(2))
    first = next(iter(fitter.run(report_seconds=0)))
    assert first.step == 0  # placed: there is a field to show
    assert len(fitter.field) == 300
    asked = itertools.count()
    for _ in fitter.run(report_seconds=60, stop=lambda: next(asked) > 2):
        pass
    assert fitter.step == 0
    seen = [status.psnr for status in fitter.run(report_seconds=0)]
    assert seen[1] > first.psnr
    assert fitter.step == 60
    list(whole.run(report_seconds=60))
    assert fitter.parameters is not None
    assert whole.parameters is not None
    for one, other in zip(fitter.parameters.tensors, whole.parameters.tensors, strict=True):
        assert torch.equal(one, other)


def test_a_slow_start_does_not_lower_the_learning_rate_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()  # every look at the clock takes a second
    monkeypatch.setattr(fitter_module, "time", types.SimpleNamespace(monotonic=lambda: float(next(now))))
    fitter = Fitter(picture(), FitOptions(gaussians=300, seconds=60))
    running = fitter.run(report_seconds=0)
    while fitter.step == 0:
        next(running)
    assert fitter.seconds > 8
    assert fitter._share_since(*fitter._anneal_from) < 0.2 < fitter.progress


def test_a_target_ends_the_fit_and_adds_gaussians_until_it_is_reached() -> None:
    fitter, status = run(picture(), start="random", steps=2000, target_psnr=36)
    assert status.psnr >= 36
    assert fitter.step < 2000


def test_a_clock_ends_the_fit() -> None:
    _, status = run(picture(), gaussians=200, seconds=0.5)
    assert status.progress == 1
    assert status.seconds >= 0.5


def test_wrong_options_say_so() -> None:
    with pytest.raises(InvalidArgument, match="2,000,000"):
        FitOptions(gaussians=0)
    with pytest.raises(InvalidArgument, match="seconds"):
        FitOptions(seconds=-1)
    with pytest.raises(InvalidArgument, match=r"\[3, H, W\]"):
        Fitter(torch.zeros(4, 4))
    with pytest.raises(InvalidArgument, match="cpu or cuda"):
        Fitter(torch.zeros(3, 4, 4), device="mps")


GOLDEN = Path(__file__).parents[1] / "golden" / "instantgi"


@pytest.mark.parametrize("name", ["init8_truegrad", "random"])
def test_the_published_preset_reproduces_the_published_losses(name: str) -> None:
    z = np.load(GOLDEN / f"igi_fit_{name}.npz")
    image = torch.tensor(z["gt"])[0]
    parts = [torch.tensor(z[f"start_{part}"]) for part in ("xyz", "scaling", "rotation", "features_dc")]
    fitter = Fitter(image, as_published(start="random" if name == "random" else "quadtree", gaussians=9, steps=25))
    fitter.restore(
        fitter.as_parameters(parts), fitter.as_parameters(parts), -np.inf, 0, 0.0, Curve(), Adan(parts, 1e-3).state(),
        torch.Generator().get_state(),
    )  # fmt: skip
    steps = min(25, len(z["log_loss_psnr"]))
    with torch.no_grad():
        losses = [fitter._take_step() for _ in range(steps)]
    # The published tiles cut the tails at three deviations; of the random start the gradients differ, too.
    np.testing.assert_allclose(losses, z["log_loss_psnr"][:steps, 0], rtol=0.02)


def test_the_published_preset_runs_from_every_start_and_is_saved_in_a_state(tmp_path: Path) -> None:
    assert as_published().steps == 50_000
    assert as_published(start="random").gaussians == 20_000
    for start in ("random", "quadtree", "network"):
        fitter = Fitter(picture(48), as_published(start=start, gaussians=250, steps=40))
        first, *_, last = list(fitter.run(report_seconds=0))
        assert last.best_psnr > first.psnr
        save_state(fitter, tmp_path / "one.fit")
        again = load_state(picture(48), tmp_path / "one.fit")
        torch.testing.assert_close(again.draw(), fitter.draw())


@pytest.mark.parametrize("other", [as_published(steps=5), FitOptions(steps=5, optimizer="adan")])
def test_a_state_is_not_read_by_another_rule(tmp_path: Path, other: FitOptions) -> None:
    image, path = picture(24), tmp_path / "a.fit"
    fitter, _ = run(image, start="random", gaussians=20, steps=5)
    save_state(fitter, path)
    with pytest.raises(InvalidArgument, match="by adam, preset ours"):
        load_state(image, path, options=other)
    published = Fitter(image, as_published(start="random", gaussians=20, steps=5))
    list(published.run())
    save_state(published, path)
    with pytest.raises(InvalidArgument, match="by adan, preset published"):
        load_state(image, path, options=FitOptions(steps=5))


def test_a_start_loads_the_given_weights(tmp_path: Path) -> None:
    net = registry.build("quickstart")  # fresh: it predicts a constant
    torch.save(net.state_dict(), tmp_path / "fresh.pth")
    image = picture()
    ours, given = (
        initial_gaussians(image, "network", 300, weights=path) for path in (None, str(tmp_path / "fresh.pth"))
    )
    assert len(ours.mean) == len(given.mean) == 300
    assert given.position_map is not None
    assert given.position_map.std() < 1e-4
    assert ours.position_map is not None
    assert ours.position_map.std() > 1e-2
    with pytest.raises(InvalidArgument, match="no network"):
        initial_gaussians(image, "random", 300, weights="any.pth")
    with pytest.raises(WeightsError):
        initial_gaussians(image, "initnet", 300, weights=str(tmp_path / "none.pth"))


@pytest.mark.parametrize("count", [60, 160, 1000])
def test_few_gaussians_are_placed_evenly_in_a_flat_image(count: int) -> None:
    side = 128
    initial = initial_gaussians(torch.full((3, side, side), 0.4), "network", count)
    assert len(initial.mean) == count
    assert initial.position_map is not None
    assert initial.position_map.shape == (side, side)
    assert initial.position_map.sum().item() == pytest.approx(count, rel=0.05)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    to_nearest = torch.cdist(torch.stack([x, y], -1).view(-1, 2).float(), initial.mean).amin(1)
    spacing_px = side / count**0.5
    assert to_nearest.max() < 1.5 * spacing_px
    assert to_nearest.mean() < 0.45 * spacing_px  # at random it is half; on a square lattice 0.38


class Again:
    """Stands in for a CUDA graph: what is recorded is done again on the same memory."""

    def __init__(self, fails: bool = False) -> None:
        self.recorded, self.repeated, self.fails = 0, 0, fails

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen capturing")
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            work()

        return repeat


def test_recorded_steps_are_the_steps_of_a_fit_and_recorded_anew_where_they_change() -> None:
    options = FitOptions(gaussians=200, steps=120)
    plain, again = Fitter(picture(40), options), Again()
    recorded = Fitter(picture(40), options, recorder=again)
    status, other = (list(one.run(report_seconds=60))[-1] for one in (plain, recorded))
    # Three plain steps before each recording: of coarse drawings, then of exact ones.
    assert (again.recorded, again.repeated) == (2, 120 - 2 * 3)
    assert other.psnr == pytest.approx(status.psnr, abs=0.05)
    assert other.loss == pytest.approx(status.loss, rel=0.02)

    again = Again()
    growing = Fitter(picture(40), FitOptions(steps=250, target_psnr=90.0), recorder=again)
    list(growing.run(report_seconds=60))
    assert again.recorded > 2  # Gaussians that were added lie in other memory
    failing = Fitter(picture(40), FitOptions(gaussians=100, steps=6), recorder=Again(fails=True))
    assert list(failing.run(report_seconds=60))[-1].step == 6
    assert failing.recorded is not None
    assert failing.recorded.reason == "RuntimeError: operation not permitted"


def test_steps_are_recorded_anew_when_pairs_lacked_room(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again()
    monkeypatch.setattr(cuda.reserve, "margin", 2.0)
    fitter = Fitter(picture(24), FitOptions(gaussians=30, steps=60), recorder=again)
    cuda.reserve.lacking(torch.device("cpu")).fill_(7)
    list(fitter.run(report_seconds=60))
    assert cuda.reserve.margin == 3.0
    assert again.recorded == 3  # coarse drawings, those again, and exact ones
