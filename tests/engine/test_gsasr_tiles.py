"""GSASR through the engine: tiles joined as Gaussians, odd inputs, what is kept between two scales, its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.errors import WeightsError
from gsr_app.core.types import Scale, View
from gsr_app.engine import networks, rows, runners, tiling
from gsr_app.engine.rows import PlaneSink
from gsr_app.engine.session import Session
from gsr_app.engine.timing import Stopwatch
from gsr_app.models import registry
from gsr_app.models.gsasr import GSASR
from gsr_app.models.gsasr_decoder import DecoderConfig, GaussianDecoder
from tests.golden.gsasr_weights import fill

WINDOW = 4  # of the small network; the real ones have 12 and 16
METHOD = "small-gsasr"


def small() -> GSASR:
    """The enhanced decoder in miniature: everything that tiles could get wrong, in milliseconds."""
    decoder = GaussianDecoder(
        DecoderConfig(channels=16, heads=2, window=WINDOW, cross_layers=2, self_blocks=1, self_layers=2)
    )
    return GSASR(nn.Conv2d(3, 64, 5, padding=2), decoder)


def filled() -> GSASR:
    module = small().eval()
    fill(module.encoder)
    fill(module.decoder)
    # Filled opacities add up to far above white: lower them until the picture has values of all kinds.
    with torch.no_grad():
        module.get_parameter("decoder.mlp_block_alpha.4.bias").sub_(5)
    return module


def save_official(folder: Path, module: GSASR) -> Path:
    """As the authors publish: two files, each with the averaged weights under `params_ema`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("encoder", "decoder"):
        torch.save({"params_ema": module.get_submodule(part).state_dict()}, folder / f"{part}.pth")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Path]:
    """The small network as a method like GSASR-EDSR, with filled weights in the official layout."""
    register()
    yield save_official(tmp_path / "weights", filled())
    registry.unregister(METHOD)


def register(**changes: bool) -> None:
    """Make the small network a method; `changes` of what the engine knows about it."""
    like = registry.method("gsasr-edsr-df2k")
    arch = replace(registry.architecture(like.arch), id=METHOD, build=small, multiple_of=WINDOW, overlap=3 * WINDOW)
    registry.register(replace(like, id=METHOD, arch=METHOD), replace(arch, **changes))


def picture(height: int, width: int, channels: int = 3, dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(7)
    values = rng.random((height, width, channels), dtype=np.float32)
    return values if dtype is np.float32 else np.round(values * np.iinfo(dtype).max).astype(dtype)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2) + 1e-20))


# ---- tiles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2.0, 2.3, 3.7])
@pytest.mark.parametrize("size", [(90, 64), (61, 27)])
def test_tiles_put_together_equal_the_whole(weights: Path, scale: float, size: tuple[int, int]) -> None:
    image = picture(*size)
    whole = Session("cpu", weights=weights, tile=1000).upscale(image, method=METHOD, scale=scale).image
    tiled = Session("cpu", weights=weights, tile=24).upscale(image, method=METHOD, scale=scale).image
    assert psnr(tiled, whole) > 80


def test_the_opposite_edge_makes_the_difference_at_the_frame(weights: Path) -> None:
    image, likeness = picture(90, 64), []
    for wraps in (False, True):
        registry.unregister(METHOD)
        register(wraps=wraps)
        whole, tiled = (
            Session("cpu", weights=weights, tile=tile).upscale(image, method=METHOD, scale=2).image
            for tile in (1000, 24)
        )
        likeness.append(psnr(tiled, whole))
    print("PSNR of tiles against the whole, without and with the opposite edge:", likeness)
    assert likeness[1] > likeness[0] + 20


def test_tiles_at_an_edge_bring_the_opposite_one_along() -> None:
    first, middle, last = tiling.split(120, 40, 8, 4, wraps=True)
    assert (first.begin, first.end, first.before, first.after) == (0, 48, 0, 12)
    assert (middle.begin, middle.end, middle.before, middle.after) == (32, 88, 0, 0)
    assert (last.begin, last.end, last.before, last.after) == (72, 120, 12, 0)
    source = torch.arange(120)
    assert first.read(source, 0).tolist() == [*range(48), *range(108, 120)]
    assert last.read(source, 0).tolist() == [*range(12), *range(72, 120)]


def test_a_tile_that_nearly_sees_all_of_an_axis_sees_all_of_it() -> None:
    first, last = tiling.split(48, 24, 12, 4, wraps=True)
    assert (first.begin, first.end, first.after) == (0, 48, 0)
    assert (last.begin, last.end, last.before) == (0, 48, 0)


def test_every_gaussian_of_a_tiled_field_lies_where_it_does_in_the_whole(weights: Path) -> None:
    image, scale = picture(50, 34), Scale(2.3, 2.3)
    fields = []
    for tile in (1000, 24):
        session = Session("cpu", weights=weights, tile=tile)
        fields.append(session.field(session.encode(image, method=METHOD, scale=scale)))
    whole, tiled = fields
    assert len(whole) == len(tiled) == 16 * 52 * 36
    assert whole.window == tiled.window
    # Joined tile by tile, so in another order: compare the sums, which no order changes.
    for name in ("mean", "sigma", "rho", "color"):
        a, b = (getattr(field, name).double().sum(0) for field in fields)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=0.5)


def test_bands_of_a_drawing_join_without_a_trace(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(40, 30)
    session = Session("cpu", weights=weights)
    at_once = session.upscale(image, method=METHOD, scale=3.3).image
    for limit, most in (("DRAWN_PIXELS", 99 * 17), ("DRAWN_GAUSSIANS", 3000)):
        with monkeypatch.context() as patch:
            patch.setattr(rows, limit, most)
            patch.setattr(rows, "_CHUNK", 1000)
            in_bands = session.upscale(image, method=METHOD, scale=3.3)
        # The compiled kernels keep every bit; the reference sums in another order.
        assert np.abs(in_bands.image - at_once).max() <= (0 if in_bands.timing.backend == "cpu" else 1e-5)


# ---- odd inputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1.37, 12.0, 30.0])
@pytest.mark.parametrize(
    ("size", "channels", "dtype"),
    [((1, 1), 3, np.uint8), ((1, 500), 3, np.uint8), ((3, 3), 3, np.uint8), ((7, 5), 4, np.uint16)],
)
def test_any_size_and_depth_goes_through_at_any_scale(
    weights: Path, scale: float, size: tuple[int, int], channels: int, dtype: type
) -> None:
    image = picture(*size, channels, dtype)
    up = Session("cpu", weights=weights).upscale(image, method=METHOD, scale=scale)
    expected = tuple(max(1, int(side * scale + 1e-6)) for side in size)
    assert up.image.shape == (*expected, channels)
    assert up.image.dtype == dtype
    assert bool(up.warnings) == (scale > 4)


def test_differing_scales_per_axis_work_and_are_flagged(weights: Path) -> None:
    up = Session("cpu", weights=weights).upscale(picture(9, 10), method=METHOD, scale=Scale(2, 3))
    assert up.image.shape == (18, 30, 3)
    assert "not trained" in up.warnings[0]
    assert not Session("cpu", weights=weights).upscale(picture(9, 10), method=METHOD, scale=3).warnings


def test_red_stays_red(weights: Path) -> None:
    """The network gets RGB: swapping channels outside is not the same as swapping them inside."""
    image = picture(8, 8)
    session = Session("cpu", weights=weights)
    handle = session.encode(image, method=METHOD, scale=2)
    module = filled()
    with torch.inference_mode():
        lr = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = module.field(module.encode(lr), Scale(2, 2))
    torch.testing.assert_close(session.field(handle).color, expected.color, rtol=1e-4, atol=1e-5)


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_another_scale_reruns_the_decoder_alone(weights: Path) -> None:
    session = Session("cpu", weights=weights)
    image = picture(20, 20)
    first = session.upscale(image, method=METHOD, scale=2).timing.stages_ms
    again = session.upscale(image, method=METHOD, scale=3).timing.stages_ms
    same = session.upscale(image, method=METHOD, scale=3).timing.stages_ms
    assert "encode" in first
    assert "encode" not in again
    assert "decode" in again
    assert "decode" not in same


def test_two_sessions_agree_bit_by_bit(weights: Path) -> None:
    image = picture(30, 20)
    one, two = (
        Session("cpu", weights=weights, tile=12).upscale(image, method=METHOD, scale=2.7).image for _ in range(2)
    )
    assert np.array_equal(one, two)


def test_the_published_window_is_the_default_and_none_is_exact(weights: Path) -> None:
    image = picture(40, 40)
    session = Session("cpu", weights=weights)
    published = session.upscale(image, method=METHOD, scale=4)
    exact = session.upscale(image, method=METHOD, scale=4, window="none")
    assert published.field is not None
    assert exact.field is not None
    assert session.field(published.field).window == pytest.approx((0.1 * 159 / 2 / 4,) * 2)
    assert session.field(exact.field).window is None
    assert psnr(published.image, exact.image) > 40  # Gaussians end within the window but for their tails


# ---- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("damage", ["missing", "extra"])
def test_a_checkpoint_with_a_missing_or_extra_key_is_refused_by_name(weights: Path, part: str, damage: str) -> None:
    path = weights / f"{part}.pth"
    state = torch.load(path, weights_only=True)
    key = sorted(state["params_ema"])[0]
    if damage == "missing":
        del state["params_ema"][key]
    else:
        key = "surplus.weight"
        state["params_ema"][key] = torch.zeros(2)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=key.replace(".", r"\.")):
        Session("cpu", weights=weights).upscale(picture(4, 4), method=METHOD, scale=2)


def test_a_folder_without_the_decoder_is_refused_by_name(weights: Path) -> None:
    (weights / "decoder.pth").unlink()
    with pytest.raises(WeightsError, match=r"decoder\.pth"):
        Session("cpu", weights=weights).upscale(picture(4, 4), method=METHOD, scale=2)


# ---- the real network -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scale", [2.0, 2.3, 3.7])
def test_a_tile_of_the_real_network_meets_the_whole_without_a_seam(scale: float) -> None:
    """The centre tile of 96 of 256x256 in its default context, put into the whole. Takes minutes."""
    from skimage import data

    arch = registry.architecture("gsasr-edsr")
    module = registry.build("gsasr-edsr")
    fill(module.encoder)
    fill(module.decoder)
    with torch.no_grad():
        module.get_parameter("decoder.mlp_block_alpha.4.bias").sub_(5)
    network: GSASR = networks.prepare(module, arch, torch.device("cpu"))  # type: ignore[assignment]
    photo = torch.from_numpy(data.astronaut()[100:356, 100:356].astype(np.float32) / 255).permute(2, 0, 1)[None]
    both, view, window = Scale(scale, scale), View.whole((256, 256), Scale(scale, scale)), 0.05 * 264 * np.ones(2)

    def draw(begin: int, end: int) -> np.ndarray:
        part = F.pad(photo[..., begin:end, begin:end], (0, -(end - begin) % 12) * 2, mode="reflect")
        with torch.inference_mode():
            field = network.field(network.encode(part), both)
        moved = replace(field, mean=field.mean + begin, source_size=(256, 256), window=tuple(window))
        sheet = PlaneSink(view.size[0])
        runners.run_to_end(runners.draw(moved, view, Stopwatch(torch.device("cpu")), sheet))
        return sheet.planes[0].numpy()

    whole, tile = draw(0, 256), draw(96 - arch.overlap, 192 + arch.overlap)
    white = np.quantile(whole, 0.999)
    first, last = round(96 * scale), round(192 * scale)
    core = (slice(None), slice(first, last), slice(first, last))
    joined = whole.copy()
    joined[core] = tile[core]
    found = psnr(joined[core] / white, whole[core] / white)

    def step_across_the_borders(picture: np.ndarray) -> float:
        down, across = np.abs(np.diff(picture, axis=1)), np.abs(np.diff(picture, axis=2))
        edges = [first - 1, last - 1]
        return float(down[:, edges, first:last].mean() + across[:, first:last, edges].mean())

    ratio = step_across_the_borders(joined) / step_across_the_borders(whole)
    print(f"x{scale}: {found:.1f} dB, steps across the borders {ratio:.3f} of those in the whole")
    assert found > 45
    assert ratio < 1.2
