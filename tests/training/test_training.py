"""A run learns, stops and resumes; what it keeps is what it judged."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from gsr_app.core.errors import GsrError, InvalidArgument, WeightsError
from gsr_app.models.registry import architecture, architecture_ids, build
from gsr_app.ops.resize import resize
from gsr_app.training import losses, starts
from gsr_app.training.data import Patches, load_pictures, shrink
from gsr_app.training.log import read_rows
from gsr_app.training.loop import Trainer
from gsr_app.training.optim import build_optimizers, follow, orthonormalize, rate_factor
from gsr_app.training.predict import Wanted, predict
from gsr_app.training.recipe import SHIPPED, Data, Optimizer, Recipe, Schedule, Validation, find_recipe, read_recipe
from tests.processes import start_python
from tests.servers import free_port
from tests.training.small import SMALL, draw_pictures, small_recipe

ROOT = Path(__file__).resolve().parents[2]


def train(recipe: Recipe, out: Path, *, stop_at: int | None = None, resume: bool = False) -> Trainer:
    pictures = draw_pictures(4)
    trainer = Trainer(recipe, pictures, pictures[:1], out)
    if resume:
        trainer.resume()
    for _ in trainer.run(stop=lambda: trainer.step == stop_at):
        pass
    return trainer


# ---- the loop ------------------------------------------------------------------------------------------------


def test_fifty_steps_lower_the_loss(tmp_path: Path) -> None:
    recipe = small_recipe(schedule=Schedule(steps=50, ema=0.9), validation=Validation(every=25, scales=(2.0,)))
    pictures = draw_pictures(4)
    trainer = Trainer(recipe, pictures, pictures[:1], tmp_path)
    batch = trainer.patches.draw(99, count=8)  # the same patches before and after: the run's own differ in difficulty

    def loss() -> float:
        with torch.no_grad():
            return float(trainer._measure_batch(batch))

    loss_before, psnr_before = loss(), trainer.validate()["x2"]
    for _ in trainer.run():
        pass
    assert loss() < 0.9 * loss_before
    assert trainer.validate()["x2"] > psnr_before + 0.3


def test_a_resumed_run_has_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = train(small_recipe(), tmp_path / "unbroken")
    cut = train(small_recipe(), tmp_path / "cut", stop_at=4)
    assert cut.step == 4
    resumed = train(small_recipe(), tmp_path / "cut", resume=True)
    for one, other in ((unbroken.module, resumed.module), (unbroken.average, resumed.average)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    steps = [row["step"] for row in read_rows(tmp_path / "cut" / "log.csv")]
    assert steps == [row["step"] for row in read_rows(tmp_path / "unbroken" / "log.csv")]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "another file of torch"])
def test_a_damaged_state_is_named_and_not_resumed(tmp_path: Path, damage: str) -> None:
    recipe = small_recipe(schedule=Schedule(steps=1))
    train(recipe, tmp_path)
    state = tmp_path / "last.pt"
    if damage == "another file of torch":
        torch.save([1, 2], state)
    else:
        data = state.read_bytes()
        state.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"no state"}[damage])
    with pytest.raises(WeightsError, match=r"last\.pt is damaged, or not the state of a training") as found:
        train(recipe, tmp_path, resume=True)
    assert "--from" in found.value.hint


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path: Path) -> None:
    schedule = Schedule(steps=2)
    runs = [train(small_recipe(seed=s, schedule=schedule), tmp_path / str(i)) for i, s in enumerate((1, 1, 2))]
    one, two, other = (run.module.state_dict()["tail.weight"] for run in runs)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_best_by_validation_is_kept_in_the_form_that_ships(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trainer = train(small_recipe(), tmp_path)
    assert trainer.best > 0
    build(SMALL).load_state_dict(load_file(tmp_path / "best.safetensors"), strict=True)
    rows = read_rows(tmp_path / "log.csv")
    assert trainer.best == pytest.approx(max(float(row["psnr_y"]) for row in rows if row["psnr_y"]), abs=1e-3)


def test_the_average_is_the_exponential_mean_of_the_weights() -> None:
    module, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    expected = average.weight.item()
    for step in range(30):
        with torch.no_grad():
            module.weight.fill_(step)
        follow(average, module, step=step, decay=0.8)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.weight.item() == pytest.approx(expected, rel=1e-5)


def test_two_processes_do_the_steps_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    """Gradients of the halves are averaged and one clock rules, so both stay equal to the last bit."""
    script = (
        "import sys, pathlib, torch; sys.path.insert(0, sys.argv[2]); torch.set_num_threads(1)\n"
        "from tests.training.small import small_recipe, draw_pictures, register_small; register_small()\n"
        "from gsr_app.training.loop import Trainer; from gsr_app.training.recipe import Schedule\n"
        "torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()  # it imports the compiler, which takes longer\n"
        "out = pathlib.Path(sys.argv[1]); pictures = draw_pictures(3)\n"
        "t = Trainer(small_recipe(schedule=Schedule(steps=9)), pictures, [], out, minutes=0.02)\n"
        "list(t.run()); torch.save(t.module.state_dict(), out.parent / f'rank{t.team.rank}.pt')\n"
        "torch.distributed.destroy_process_group()\n"
    )
    place = (tmp_path / "run", ROOT)
    port = str(free_port())
    env = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    team = [start_python(script, *place, environment=env | {"RANK": str(rank)}) for rank in range(2)]
    assert [process.end(120) for process in team] == [0, 0], [process.complained for process in team]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    start = Trainer(small_recipe(), draw_pictures(3), [], tmp_path / "fresh").module.state_dict()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    assert not torch.equal(one["tail.weight"], start["tail.weight"])


def test_gsasrs_own_recipe_takes_a_real_step(tmp_path: Path) -> None:
    """Random scale, L1 on the whole patch, Adam, the window of its training; only the sizes are a test's."""
    shipped = read_recipe(find_recipe("gsasr"))
    recipe = dataclasses.replace(
        shipped,
        data=dataclasses.replace(shipped.data, patch_px=12, batch=1),
        schedule=dataclasses.replace(shipped.schedule, steps=1, warmup_steps=0),
        validation=Validation(every=0),
    )
    trainer = Trainer(recipe, draw_pictures(2), [], tmp_path)
    before = {name: value.clone() for name, value in trainer.module.state_dict().items()}
    for _ in trainer.run():
        pass
    after = trainer.module.state_dict()
    for part in ("encoder.", "decoder."):
        moved = [name for name in after if name.startswith(part) and not torch.equal(after[name], before[name])]
        assert len(moved) > 10
    assert all(torch.isfinite(value).all() for value in after.values())


def test_resuming_where_nothing_ran_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no state to resume") as error:
        train(small_recipe(), tmp_path, resume=True)
    assert "--resume" in error.value.hint


# ---- the data ------------------------------------------------------------------------------------------------


def test_a_patch_is_a_turned_window_of_a_picture_and_its_low_resolution_is_matlabs() -> None:
    picture = draw_pictures(1)[0]
    batch = Patches([picture], Data(patch_px=10, scales=(2.0, 2.0))).draw(3, count=2)
    windows = picture.unfold(1, 20, 1).unfold(2, 20, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 20, 20)
    for lr, hr in zip(batch.lr, batch.targets[0].hr, strict=True):
        whole = (hr * 255).round().to(torch.uint8)
        turned = [whole.rot90(k, (1, 2)) for k in range(4)]
        assert any((windows == one).flatten(1).all(1).any() for t in turned for one in (t, t.flip(2)))
        assert torch.equal(lr, (resize(hr[None], scale=0.5)[0].clamp(0, 1) * 255).round() / 255)


def test_scales_cover_their_range_and_favour_the_favourites() -> None:
    data = Data(patch_px=10, scales=(1.2, 4.0), scale_per="patch", favourites=(2.0, 3.0), favourite_share=0.5)
    targets = Patches(draw_pictures(2), data).draw(0, count=150).targets
    sides = [one.hr.shape[2] for one in targets for _ in one.of]
    assert min(sides) <= 13
    assert max(sides) >= 38
    assert 0.4 < sum(side in (20, 30) for side in sides) / 150 < 0.7


def test_of_several_windows_the_busiest_is_taken() -> None:
    half_flat = draw_pictures(1, (60, 60))[0].clone()
    half_flat[:, :, :30] = 99
    detail = []
    for busiest_of in (1, 4):
        patches = Patches([half_flat], Data(patch_px=10, scales=(2.0, 2.0), busiest_of=busiest_of))
        detail.append(float(patches.draw(0, count=40).targets[0].hr.diff(dim=3).abs().mean()))
    assert detail[1] > 1.3 * detail[0]


def test_photographs_can_be_shrunk_first() -> None:
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200).contiguous()  # one level per pixel
    patches = Patches([ramp], Data(patch_px=10, scales=(2.0, 2.0), shrink_most=2.0))
    batch = patches.draw(0, count=30)
    (targets,) = batch.targets
    assert targets.hr.shape == (30, 3, 20, 20)
    steps = [255 * max(float(one.diff(dim=axis)[:, 4:-4, 4:-4].abs().mean()) for axis in (1, 2)) for one in targets.hr]
    assert 0.95 < min(steps) < 1.2
    assert 1.8 < max(steps) < 2.05


def test_one_scale_serves_a_whole_batch_when_the_recipe_says_so() -> None:
    patches = Patches(draw_pictures(2), Data(patch_px=10, scales=(1.0, 4.0), scale_per="batch"))
    for step in range(5):
        assert len(patches.draw(step, count=4).targets) == 1


def test_pictures_too_small_for_a_patch_are_named() -> None:
    with pytest.raises(InvalidArgument, match="None of 2 pictures has 60 pixels") as error:
        Patches(draw_pictures(2, (40, 50)), Data(patch_px=30, scales=(2.0, 4.0)))
    assert "patch_px" in error.value.hint


def test_a_folder_is_read_in_the_order_of_names_as_rgb(tmp_path: Path) -> None:
    import pyvips

    grey = np.full((20, 30), 77, np.uint8)
    color = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    color[..., 3] = 255
    pyvips.Image.new_from_array(color).copy(interpretation="srgb").write_to_file(str(tmp_path / "b.png"))
    pyvips.Image.new_from_array(grey).copy(interpretation="b-w").write_to_file(str(tmp_path / "a.png"))
    (tmp_path / "notes.txt").write_text("not a picture")
    first, second = load_pictures(tmp_path)
    assert first.shape == second.shape == (3, 20, 30)
    assert (first == 77).all()
    assert np.array_equal(second.permute(1, 2, 0).numpy(), color[..., :3])
    with pytest.raises(GsrError, match="no folder"):
        load_pictures(tmp_path / "nowhere")


@pytest.mark.shared
def test_validation_shrinks_pictures_as_the_field_does(shared: Path) -> None:
    """The mean PSNR-Y of bicubic on Set5 that every paper prints: 33.66, 30.39, 28.42 (from rounded luma)."""
    pictures = load_pictures(shared / "data" / "val" / "Set5")
    from gsr_app.engine.metrics import convention, psnr

    for scale, published in ((2, 33.66), (3, 30.39), (4, 28.42)):
        scores = []
        for picture in pictures:
            hr = picture[:, : picture.shape[1] // scale * scale, : picture.shape[2] // scale * scale].float() / 255
            sr = resize(shrink(hr, scale), scale=scale)[0]
            by = convention("basicsr")
            scores.append(psnr(sr.permute(1, 2, 0), hr.permute(1, 2, 0), by=by, scale=scale))
        assert sum(scores) / 5 == pytest.approx(published, abs=0.03)


# ---- losses, optimizers, recipes -------------------------------------------------------------------------------


def test_losses_match_their_formulas() -> None:
    hr = torch.zeros(3, 4, 6)
    sr = torch.full((3, 4, 6), 0.5)
    sr[0] = -0.25
    assert float(losses.l1(sr, hr)) == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert float(losses.l2(sr, hr)) == pytest.approx((0.0625 + 0.25 + 0.25) / 3)
    assert float(losses.charbonnier(sr, hr)) == pytest.approx((0.25 + 0.5 + 0.5) / 3, abs=1e-4)
    assert float(losses.luma(sr, hr)) == pytest.approx(-0.25 * 0.299 + 0.5 * 0.701, abs=1e-6)
    assert float(losses.frequency(sr, sr)) == 0
    wave = torch.cos(2 * torch.pi * torch.arange(6) / 6).expand(1, 4, 6)
    # One line of the spectrum, of height 1/2 * sqrt(24), among 4 * 4 complex numbers.
    assert float(losses.frequency(wave, 0 * wave)) == pytest.approx(0.5 * 24**0.5 / 32, rel=1e-5)
    with pytest.raises(GsrError, match="Did you mean 'charbonnier'"):
        losses.mix({"charbonier": 1.0})


def test_every_picture_of_a_batch_counts_the_same_whatever_its_size() -> None:
    loss = losses.mix({"l1": 1.0, "l2": 2.0})
    sr = [torch.ones(3, 3, 8, 8), torch.full((1, 3, 2, 2), 0.5)]
    hr = [torch.zeros_like(one) for one in sr]
    assert float(loss(sr, hr, (1.0, 1.0))) == pytest.approx((3 * (1 + 2) + 0.5 + 0.5) / 4)


def test_pictures_of_a_batch_are_drawn_as_each_alone() -> None:
    module, arch = architecture("swift").build(), architecture("swift")
    lr = torch.rand(3, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(module.tail.weight, std=0.03)  # type: ignore[union-attr,arg-type]
    wanted = [Wanted((18, 22), (0, 1, 2)), Wanted((32, 39), (2, 0)), Wanted((27, 33), (0, 2, 1))]
    with torch.no_grad():
        groups = predict(module, arch, lr, wanted)
        for (size, of), drawn in zip(wanted, groups, strict=True):
            for index, one in zip(of, drawn, strict=True):
                (alone,) = predict(module, arch, lr[index : index + 1], [Wanted(size, (0,))])
                assert float((one - alone[0]).abs().max()) < 1e-4


def test_vectors_are_made_orthonormal_as_by_qr() -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.linalg.qr(torch.randn(3, 40, 40, generator=random))[0]
    stretched = torch.linalg.qr(start + 0.02 * torch.randn(3, 40, 40, generator=random))[0]
    vectors = start @ torch.diag(torch.logspace(0, -4, 40)) @ start.mT @ stretched
    found, expected = orthonormalize(vectors), torch.linalg.qr(vectors)[0]
    assert float((found.mT @ found - torch.eye(40)).abs().max()) < 1e-5
    assert float((found * (found * expected).sum(1, keepdim=True).sign() - expected).abs().max()) < 1e-3
    vectors[0, :, 7] = vectors[0, :, 3]  # a column that depends on another
    found = orthonormalize(vectors)
    assert float((found.mT @ found - torch.eye(40)).abs().max()) < 1e-4


def test_soap_follows_a_turned_problem_by_a_turned_path_and_adam_does_not() -> None:
    random = torch.Generator().manual_seed(0)
    shape, side = (18, 2, 3, 3), 18  # square: every basis is determined
    stiffness = torch.logspace(0, 3, side * side, dtype=torch.float64).view(side, side)
    start = torch.randn(side, side, generator=random, dtype=torch.float64)
    turns = [torch.linalg.qr(torch.randn(n, n, generator=random, dtype=torch.float64))[0] for n in (side, side)]
    noise = torch.randn(40, side, side, generator=random, dtype=torch.float64)

    def descend(name: str, left: torch.Tensor, right: torch.Tensor) -> list[float]:
        module = torch.nn.Conv2d(2, side, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            module.weight.copy_((left.T @ start @ right.T).view(shape))
        optimizers = build_optimizers(module, Optimizer(name, rate=0.03, betas=(0.9, 0.95)))  # type: ignore[arg-type]
        losses = []
        for step in range(40):
            module.zero_grad()
            straight = left @ module.weight.reshape(side, side) @ right
            loss = (stiffness * straight.square()).sum() / 2 + (noise[step] * straight).sum()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    for name, is_blind in (("soap", True), ("adam", False)):
        straight, turned = descend(name, *[torch.eye(side).double()] * 2), descend(name, *turns)
        assert straight[-1] < straight[0]
        assert (max(abs(a - b) / abs(a) for a, b in zip(straight, turned, strict=True)) < 1e-6) == is_blind


def test_the_rate_warms_up_and_anneals() -> None:
    cosine = Schedule(steps=100, warmup_steps=10)
    assert rate_factor(0, 0.0, cosine) == pytest.approx(0.1)
    assert rate_factor(50, 0.5, cosine) == pytest.approx(0.5)
    assert rate_factor(100, 1.0, cosine) == pytest.approx(0.0)
    held = Schedule(steps=100, kind="hold", hold=0.6)
    assert [rate_factor(50, at, held) for at in (0.3, 0.6, 0.8, 1.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    constant = Schedule(steps=100, kind="hold", hold=1.0)
    assert [rate_factor(50, at, constant) for at in (0.0, 0.5, 0.99)] == [1.0, 1.0, 1.0]
    halving = Schedule(steps=100, kind="halve", halve_at=(0.5, 0.8))
    assert [rate_factor(0, at, halving) for at in (0.4, 0.5, 0.9)] == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read(path: Path) -> None:
    recipe = read_recipe(find_recipe(path.stem))
    assert recipe.arch in architecture_ids()
    own = {"initnet": starts.INITNET_LOSSES, "quickstart": starts.QUICKSTART_LOSSES}
    if recipe.arch in own:
        assert set(recipe.loss) <= set(own[recipe.arch])
    else:
        losses.mix(recipe.loss)


def test_a_misspelt_key_of_a_recipe_is_an_error_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('arch = "swift"\n[data]\npatch_size = 32\n')
    with pytest.raises(InvalidArgument, match=r"mine.toml \[data\]: unknown key 'patch_size'. Did you mean 'patch_px'"):
        read_recipe(path)
    with pytest.raises(GsrError, match="Did you mean 'swift'"):
        find_recipe("swifft")


@pytest.mark.parametrize("arch_id", ["liif-edsr", "metasr-edsr", "ciaosr-edsr", "gaussiansr-edsr"])
def test_a_pixel_far_out_of_range_has_a_gradient(arch_id: str) -> None:
    arch = architecture(arch_id)
    module = arch.build().train()
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(3)
    lr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    (drawn,) = predict(module, arch, lr, [Wanted((12, 12), (0,))])
    drawn.retain_grad()
    assert ((drawn < -1) | (drawn > 2)).any(), "what this test is about"
    (clamped,) = predict(module.eval(), arch, lr, [Wanted((12, 12), (0,))])
    assert 0 <= clamped.min() < clamped.max() <= 1
    torch.testing.assert_close(drawn.clamp(0, 1), clamped)


@pytest.mark.parametrize("name", ["adam", "soap"])
def test_weights_without_gradients_decay_at_the_rate_of_the_recipe(name: Literal["adam", "soap"]) -> None:
    net = torch.nn.Conv2d(2, 2, 3)
    before = [weight.detach().clone() for weight in net.parameters()]
    optimizers = build_optimizers(net, Optimizer(name, rate=0.1, weight_decay=0.5))
    for weight in net.parameters():
        weight.grad = torch.zeros_like(weight)
    for _ in range(4):
        for optimizer in optimizers:
            optimizer.step()
    for weight, old in zip(net.parameters(), before, strict=True):
        # The first step of SOAP on kernels only looks at the gradient.
        steps = 3 if name == "soap" and weight.ndim > 1 else 4
        torch.testing.assert_close(weight.detach(), old * (1 - 0.1 * 0.5) ** steps)
