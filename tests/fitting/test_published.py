"""What Instant-GI computes, stage by stage, against recordings of the original."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gsr_app.core.errors import WeightsError
from gsr_app.core.pixels import from_planes
from gsr_app.core.types import Scale, View
from gsr_app.fitting import published, quadtree
from gsr_app.fitting.adan import Adan
from gsr_app.fitting.density import measure_density
from gsr_app.fitting.dither import dither, sample_cells
from gsr_app.fitting.losses import ssim_map
from gsr_app.fitting.starts import as_shapes
from gsr_app.fitting.triangles import (
    Triangles,
    add_border,
    fit_ellipses,
    own_index_for_none,
)
from gsr_app.harness.cli import main
from gsr_app.io.images import read_image
from gsr_app.models import initnet, registry
from gsr_app.ops import render
from tests.golden.filling import fill
from tests.oracles import gaussian_image
from tests.oracles.cupy_triangles import find_neighbours

GOLDEN = Path(__file__).parents[1] / "golden" / "instantgi"
SIZE = (40, 56)
PARTS = ("xyz", "scaling", "rotation", "features_dc")


def load(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f"{name}.npz"))


def relative(found: Tensor, wanted: np.ndarray) -> float:
    return float((found - torch.as_tensor(wanted)).abs().max() / np.abs(wanted).max())


@pytest.mark.parametrize("rule", ["published", "true"])
def test_drawing_and_both_gradient_rules_are_the_published_ones(rule: str) -> None:
    z = load("igi_raster_cap")
    leaves = [torch.tensor(z[name]).double().requires_grad_() for name in ("mean", "scale", "rot", "color")]
    drawn = gaussian_image.draw(*leaves, SIZE, true_gradients=rule == "true")
    assert relative(drawn.detach().permute(1, 2, 0), z["image"]) < 1e-12
    (drawn * torch.tensor(z["v_out"]).double().permute(2, 0, 1)).sum().backward()
    wanted = ("v_mean", f"v_scale_{rule}", f"v_rot_{rule}", "v_color")
    for leaf, name in zip(leaves, wanted, strict=True):
        assert relative(leaf.grad, z[name]) < 1e-10, name  # type: ignore[arg-type]


def test_without_the_cap_every_gaussian_is_drawn() -> None:
    z = load("igi_raster_cap")
    inputs = [torch.tensor(z[name]) for name in ("mean", "scale", "rot", "color")]
    drawn = gaussian_image.draw(*inputs, SIZE, per_tile=None).permute(1, 2, 0)
    assert relative(drawn, z["image_without_256_cap"]) < 1e-5
    assert relative(drawn, z["image"]) > 1e-2  # the cap bites here


@pytest.mark.parametrize("name", ["default", "wd_clip", "wd_noprox"])
def test_adan_steps_as_published(name: str) -> None:
    z = load(f"igi_adan_{name}")
    tensors = [torch.tensor(z[f"p{k}_0"]) for k in range(3)]
    rate, decay, largest_norm = (float(z[key]) for key in ("lr", "weight_decay", "max_grad_norm"))
    adan = Adan(tensors, rate)
    for step in range(1, 7):
        gradients = [torch.tensor(z[f"g{k}_{step}"]) for k in range(3)]
        # Clipping and weight decay happen before or after the step itself: no fit here uses them.
        if largest_norm:
            norm = float(torch.stack([g.norm() for g in gradients]).norm())
            gradients = [g * min(1.0, largest_norm / (norm + adan.eps)) for g in gradients]
        if z["no_prox"]:
            tensors = [x.mul_(1 - rate * decay) for x in tensors]
        adan.step(gradients)
        if not z["no_prox"]:
            tensors = [x.div_(1 + rate * decay) for x in tensors]
        for k, tensor in enumerate(tensors):
            torch.testing.assert_close(tensor, torch.tensor(z[f"p{k}_{step}"]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["init8", "init8_truegrad", "random"])
def test_a_fit_reproduces_the_published_one(name: str) -> None:
    z = load(f"igi_fit_{name}")
    image = torch.tensor(z["gt"])[0]
    start = gaussian_image.GaussianImage(
        *(torch.tensor(z[f"start_{part}"]) for part in PARTS), from_scratch=name == "random"
    )
    rule = not bool(z["published_gradient"])
    log = [
        (loss, psnr) for _, loss, psnr in gaussian_image.fit(start, image, int(z["iterations"]), true_gradients=rule)
    ]
    np.testing.assert_allclose(log, z["log_loss_psnr"], rtol=1e-3, atol=1e-4)
    for part, found in zip(PARTS, start.tensors, strict=True):
        # Where a gradient is nearly nothing, Adan makes a whole step of its rounding.
        assert (found - torch.tensor(z[f"end_{part}"])).abs().median() < 1e-5, part
    drawn = start.draw(image.shape[1:]).clamp(0, 1)  # type: ignore[arg-type]
    assert (drawn - torch.tensor(z["final_render"])[0]).abs().mean() < 1e-4


def test_a_checkpoint_of_the_original_becomes_a_field(tmp_path: Path) -> None:
    z = load("igi_fit_random")
    fitted = gaussian_image.GaussianImage(*(torch.tensor(z[f"end_{part}"]) for part in PARTS), from_scratch=True)
    torch.save(fitted.state(), tmp_path / "gaussian_model.pth.tar")
    found = published.load_checkpoint(tmp_path / "gaussian_model.pth.tar", from_scratch=True)
    field = found.field(SIZE)
    drawn = render(field, View((0.0, 0.0), SIZE, SIZE), eps=1 / 255)
    ours = fitted.draw(SIZE, per_tile=None)
    # The published tiles cut the tails at three deviations.
    assert (drawn - ours).abs().mean() < 2e-3
    (tmp_path / "other.pth.tar").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"other\.pth\.tar"):
        published.load_checkpoint(tmp_path / "other.pth.tar")


def test_the_render_command_takes_a_checkpoint_and_the_size_of_its_picture(tmp_path: Path) -> None:
    z = load("igi_fit_random")
    fitted = gaussian_image.GaussianImage(*(torch.tensor(z[f"end_{part}"]) for part in PARTS), from_scratch=False)
    torch.save(fitted.state(), tmp_path / "gaussian_model.pth.tar")
    command = ["render", str(tmp_path / "gaussian_model.pth.tar"), "--scale", "2", "-o", str(tmp_path / "x2.png")]
    assert main(command) == 2
    assert main([*command, "--source", f"{SIZE[1]}x{SIZE[0]}"]) == 0
    field = published.load_checkpoint(tmp_path / "gaussian_model.pth.tar").field(SIZE)
    drawn = render(field, View.whole(SIZE, Scale(2, 2)))
    assert np.array_equal(read_image(tmp_path / "x2.png").pixels, from_planes(drawn.numpy(), np.uint8))


def test_dithering_and_sampling_are_the_published_ones() -> None:
    z = load("igi_dither_public")
    assert np.array_equal(dither(z["field"]), z["xy"])
    for cell in (3, 5):
        assert np.array_equal(sample_cells(z["big_field"][0], cell), z[f"sampled_k{cell}"])
    points = add_border(z["sampled_k3"], (91, 131))
    np.testing.assert_allclose(points, z["with_boundary_k3"], atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (2, 1), (1, 2), (2, 2), (2, 3), (3, 2), (12, 17), (17, 12)])
def test_dithering_in_fronts_is_dithering_pixel_by_pixel(shape: tuple[int, int]) -> None:
    field = np.random.default_rng(shape[0]).random(shape).astype(np.float32)
    height, width = shape
    value, points = field.copy(), []
    for y in range(height):
        for x in range(width):
            is_one = value[y, x] >= 0.5
            if is_one:
                points.append((x, y))
            error = value[y, x] - np.float32(is_one)
            is_first, is_last = x == 0, x == width - 1
            if y == height - 1:
                shares = {(0, 1): 1.0}
            elif is_first and is_last:
                shares = {(1, 0): 5 / 8}
            elif is_first:
                shares = {(0, 1): 7 / 13, (1, 0): 5 / 13, (1, 1): 1 / 13}
            elif is_last:
                shares = {(1, -1): 3 / 8, (1, 0): 5 / 8}
            else:
                shares = {(0, 1): 7 / 16, (1, -1): 3 / 16, (1, 0): 5 / 16, (1, 1): 1 / 16}
            for (down, across), share in shares.items():
                if x + across < width:
                    value[y + down, x + across] += error * np.float32(share)
    assert [tuple(point) for point in dither(field)] == points


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (2, 2)])
def test_dithering_keeps_the_sum_on_thin_pictures(shape: tuple[int, int]) -> None:
    assert abs(len(dither(np.full(shape, 0.5))) - 0.5 * shape[0] * shape[1]) <= 1


def test_ellipses_and_neighbours_are_the_published_ones() -> None:
    z = load("igi_ellipse_public")
    centre, axes, angle = fit_ellipses(z["triangles"])
    np.testing.assert_allclose(np.concatenate([centre, axes, angle[:, None]], 1), z["closed_form"], atol=1e-9)
    z = load("igi_neighbors")
    assert np.array_equal(own_index_for_none(z["neighbors_raw"]), z["neighbors_processed"])
    for found, wanted in zip(find_neighbours(z["simplices"]), z["neighbors_processed"], strict=True):
        assert set(found) == set(wanted)


def test_the_quad_tree_is_the_published_one() -> None:
    z = load("igi_quad_public")
    assert np.array_equal(quadtree.split_blurred(z["blurred_u8"]), z["points"])
    mesh = z["delaunay_points"][z["simplices"]]
    found = Triangles(z["delaunay_points"], z["simplices"], z["simplices"], *fit_ellipses(mesh))
    np.testing.assert_allclose(quadtree.place_triangles(found, (96, 128)), z["init"], atol=2e-5)


def test_density_is_the_published_map() -> None:
    z = load("igi_gt_pf")
    centres = (0.5 * z["xyz"] + 0.5) * (int(z["W"]), int(z["H"]))
    found = measure_density(centres, (int(z["H"]), int(z["W"])))
    np.testing.assert_allclose(found, z["gt_pf"], atol=2e-4)


def test_ssim_is_the_published_map() -> None:
    z = load("initnet_losses")
    found = ssim_map(torch.tensor(z["pred"]), torch.tensor(z["gt"]))
    torch.testing.assert_close(found, torch.tensor(z["ssim_map"]), rtol=1e-4, atol=1e-5)


def test_triangles_and_scales_are_normalised_as_published() -> None:
    z = load("normalize_tri")
    torch.testing.assert_close(
        initnet.normalize_triangles(torch.tensor(z["triangles"])), torch.tensor(z["out"]), rtol=1e-4, atol=1e-4
    )
    z = load("scaling_activation")
    for which in ("", "_small"):
        found = initnet.activate_scaling(torch.tensor(z[f"x{which}"]))
        torch.testing.assert_close(found, torch.tensor(z[f"y{which}"]), rtol=1e-6, atol=1e-6)


@pytest.mark.shared
def test_the_network_is_the_published_one_stage_by_stage(shared: Path) -> None:
    folder = shared / "golden" / "others" / "instantgi"
    keys = json.loads((folder / "initnet_keys.json").read_text())["keys"]
    net = registry.build("initnet")
    assert [(key, tuple(value.shape)) for key, value in net.state_dict().items()] == [(k, tuple(s)) for k, s, _ in keys]
    fill(net)
    z = {name: torch.tensor(value) for name, value in np.load(folder / "initnet_public.npz").items()}
    with torch.inference_mode():
        features, probability = net(z["image"])
        torch.testing.assert_close(probability, z["position_field"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(features[:, :4], z["feature_ch0_4"], rtol=1e-4, atol=1e-5)
        shapes = initnet.Shapes(z["triangles"], z["ell_center"], z["ell_size"], z["ell_angle"], z["neighbors"].long())
        placed = net.place(z["image"], features, shapes)  # type: ignore[operator]
    for found, name in ((placed.xy, "xy"), (placed.scaling_px, "scaling"), (placed.turn, "rotation")):
        torch.testing.assert_close(found, z[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(placed.color, z["color"], rtol=1e-4, atol=1e-5)
    drawn = gaussian_image.draw(z["xy"], z["scaling"], 2 * math.pi * z["rotation"], z["color"], (64, 64))
    torch.testing.assert_close(drawn, z["render"][0], rtol=1e-4, atol=1e-5)
    points = add_border(sample_cells(z["position_field"][0].numpy(), 3), (64, 64))
    np.testing.assert_allclose(points, z["points"], atol=2e-5)
    corners, neighbours = z["simplices"].numpy(), own_index_for_none(z["neighbors_raw"].numpy())
    found = as_shapes(Triangles(points, corners, neighbours, *fit_ellipses(points[corners])), (64, 64))
    torch.testing.assert_close(found.triangles, z["triangles"], rtol=0, atol=1e-6)
    torch.testing.assert_close(found.semi_axes_px, z["ell_size"], rtol=1e-3, atol=1e-4)
    # Of triangles that are symmetric about an axis the original takes either axis, or reports -90 degrees.
    regular = (found.turn % 0.25 - 0.125).abs() < 0.1245
    torch.testing.assert_close(found.turn[regular], z["ell_angle"][regular], rtol=0, atol=1e-4)
    assert torch.equal(found.neighbours, z["neighbors"].long())
