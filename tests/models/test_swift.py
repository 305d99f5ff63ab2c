"""What swift promises by construction, with any weights; and what its shipped weights achieve."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from torch import Tensor

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.models.registry import architecture, build
from gsr_app.models.swift import Swift, SwiftConfig, local_maximum
from gsr_app.ops import render

LATTICE = architecture("swift").lattice


def wild() -> Swift:
    """A network whose Gaussians move, stretch, lean and colour, as random weights of ordinary size make them."""
    torch.manual_seed(1)
    module = build("swift")
    assert isinstance(module, Swift)
    with torch.no_grad():
        module.tail.weight.normal_(std=0.03)
    return module


@torch.no_grad()
def encode(module: Swift, lr: Tensor) -> GaussianField:
    return module.field(module.encode(lr), Scale(2, 2))


@torch.no_grad()
def draw(module: Swift, lr: Tensor, scale: float) -> Tensor:
    return render(encode(module, lr), View.whole((lr.shape[2], lr.shape[3]), Scale(scale, scale)))


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


# ---- by construction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.9), (1.0, 0.0, 0.0)])
def test_flat_colours_stay_flat_with_any_weights(color: tuple[float, float, float]) -> None:
    flat = torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 13, 17)
    for scale in (2.0, 3.7):
        assert float((draw(wild(), flat, scale) - flat[0, :, :1, :1]).abs().max()) < 1e-4


def test_a_constant_added_to_the_input_is_added_to_the_output() -> None:
    lr = 0.5 * noise(12, 14)
    assert float((draw(wild(), lr + 0.25, 2.5) - draw(wild(), lr, 2.5) - 0.25).abs().max()) < 1e-4


def test_every_gaussian_stays_in_its_own_cell_of_the_lattice_in_row_major_order() -> None:
    height, width = 9, 11
    field = encode(wild(), noise(height, width))
    cell = (field.mean * LATTICE).floor().view(height * LATTICE, width * LATTICE, 2)
    assert torch.equal(cell[..., 0], torch.arange(width * LATTICE).float().expand(height * LATTICE, -1))
    assert torch.equal(cell[..., 1], torch.arange(height * LATTICE).float()[:, None].expand(-1, width * LATTICE))
    config = SwiftConfig()
    assert config.sigma_least <= float(field.sigma.min())
    assert float(field.sigma.max()) <= config.sigma_most
    assert float(field.sigma.std()) > 0.01
    assert float(field.rho.std()) > 0.01


def test_the_field_does_not_depend_on_the_scale() -> None:
    module, lr = wild(), noise(8, 8)
    features = module.encode(lr)
    one, other = (module.field(features, Scale(s, s)) for s in (1.5, 8.0))
    for name in ("mean", "sigma", "rho", "color"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_convolutions_in_half_precision_blur_neither_places_nor_colours() -> None:
    module, lr = Swift().eval(), noise(4, 400)
    exact = encode(module, lr)
    module.tail.register_forward_hook(lambda _module, _inputs, out: out.bfloat16())  # as autocast on a GPU leaves it
    halved = encode(module, lr)
    assert float((halved.mean - exact.mean).abs().max()) < 1e-3  # source pixels, 400 of them across
    assert float((halved.color - exact.color).abs().max()) < 1e-3


def test_a_batch_has_the_gaussians_of_its_pictures_one_after_the_other() -> None:
    module, lr = wild(), torch.cat([noise(7, 9), noise(7, 9, seed=1)])
    with torch.no_grad():
        together = module.fields(module.encode(lr))
    for part in ("mean", "sigma", "rho", "color"):
        alone = torch.cat([getattr(encode(module, one[None]), part) for one in lr])
        assert float((getattr(together, part) - alone).abs().max()) < 1e-5


def test_a_zoomed_view_is_the_crop_of_the_whole_drawing() -> None:
    lr = noise(16, 20)
    field = encode(wild(), lr)
    view = View.whole((16, 20), Scale(3.3, 3.3))
    whole = render(field, view)
    for top, left, height, width in ((0, 0, 10, 12), (17, 23, 20, 31), (40, 50, 12, 16)):
        part = render(field, view.crop(top, left, height, width))
        assert float((part - whole[:, top : top + height, left : left + width]).abs().max()) < 1e-5


def test_a_tile_with_its_overlap_has_the_gaussians_of_the_whole() -> None:
    arch, module, lr = architecture("swift"), wild(), noise(44, 52)
    whole = encode(module, lr)
    tile = encode(module, lr[:, :, :40, :44])
    core = (40 - arch.overlap, 44 - arch.overlap)  # what lies further than the overlap from the cut
    for part in ("mean", "sigma", "rho", "color"):
        big, small = getattr(whole, part), getattr(tile, part)
        big = big.view(44 * LATTICE, 52 * LATTICE, -1)[: core[0] * LATTICE, : core[1] * LATTICE]
        small = small.view(40 * LATTICE, 44 * LATTICE, -1)[: core[0] * LATTICE, : core[1] * LATTICE]
        assert float((big - small).abs().max()) < 1e-5


def test_the_overlap_is_the_receptive_field_rounded_up_to_eight() -> None:
    module, lr = wild(), noise(1, 80)
    moved = lr.clone()
    moved[..., 0] += 0.3
    with torch.no_grad():
        changed = (module.encode(lr) != module.encode(moved)).any(dim=1)[0].any(dim=0)  # columns of the lattice
    reach = (int(changed.nonzero().max()) + 1) / LATTICE - 1  # source pixels
    assert architecture("swift").overlap - 8 < reach <= architecture("swift").overlap


def test_a_fresh_network_starts_close_to_bicubic() -> None:
    from gsr_app.ops.resize import resize

    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 24).expand(1, 3, 24, 24)
    sr = draw(Swift().eval(), ramp.contiguous(), 2.0)
    assert float((sr - resize(ramp, scale=2)[0]).abs().max()) < 0.02


def test_gradients_reach_every_weight_through_the_drawing() -> None:
    module = Swift(SwiftConfig(channels=16, blocks=2))
    field = module.field(module.encode(noise(8, 8)), Scale(2, 2))
    target = noise(16, 16, seed=3)[0]
    (render(field, View.whole((8, 8), Scale(2, 2))) - target).square().mean().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert bool((weight.grad != 0).any()), name


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SwiftConfig().channels = 3  # type: ignore[misc]


@pytest.mark.slow
def test_encoding_and_drawing_at_x4_take_a_third_of_an_edsr_encoder() -> None:
    """On 256x256, in one run, the best of several turns each; under a second end to end."""
    from gsr_app.models.gsasr import EDSREncoder

    module, edsr, lr = wild(), EDSREncoder().eval(), noise(256, 256)
    view = View.whole((256, 256), Scale(4, 4))
    best = {"edsr": float("inf"), "swift": float("inf")}
    with torch.inference_mode():
        for _ in range(5):
            began = time.perf_counter()
            edsr(lr.contiguous(memory_format=torch.channels_last))
            between = time.perf_counter()
            render(encode(module, lr), view)
            ended = time.perf_counter()
            best["edsr"] = min(best["edsr"], between - began)
            best["swift"] = min(best["swift"], ended - between)
    print(best)
    assert best["swift"] < 0.35 * best["edsr"]
    assert best["swift"] < 1.0


def test_the_local_maximum_is_that_of_a_square() -> None:
    x = torch.randn(2, 3, 9, 14)
    padded = torch.nn.functional.pad(x, (3, 3, 3, 3), value=float("-inf"))
    squares = padded.unfold(2, 7, 1).unfold(3, 7, 1)
    assert torch.equal(local_maximum(x, 3), squares.amax((4, 5)))
