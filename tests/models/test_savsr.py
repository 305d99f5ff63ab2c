"""SAVSR against the published code's outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gsr_app.core.types import Scale
from gsr_app.models.registry import build
from gsr_app.models.savsr import SAVSR, SAVSRConfig
from gsr_app.models.savsr_layers import ScaleConv
from gsr_app.models.savsr_upsample import OutputRegion
from tests.golden.compare import assert_same, digest, expected_digest, load, shapes
from tests.golden.filling import fill, make_input

SMALL = SAVSRConfig(channels=16, window_blocks=2, fusion_blocks=1, groups=1, blocks=1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net() -> SAVSR:
    return fill(build("savsr"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def small() -> SAVSR:
    return fill(SAVSR(config=SMALL)).eval()  # type: ignore[return-value]


def test_keys_and_shapes_are_the_checkpoints(net: SAVSR) -> None:
    assert digest(shapes(net)) == expected_digest("savsr")
    assert sum(p.numel() for p in net.parameters()) == 18_890_044


def test_a_scale_per_axis_equals_the_published_code_stage_by_stage(net: SAVSR) -> None:
    golden = load("savsr")
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, module: torch.nn.Module) -> None:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            seen.setdefault(name, output.clone())  # what follows may write into it

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    keep("f2p_first_ch0_4", net.f2p_win)
    keep("align_pre_act_ch0_4", net.h_win_conv_h)
    keep("adapt0_out_ch0_4", net.adapt[0])
    keep("conv_last_out_ch0_4", net.conv_last)
    keep("upsample_out_ch0_4", net.upsample)
    with torch.inference_mode():
        out = net(golden["input"], tuple(golden["scale"].tolist()))
    for handle in handles:
        handle.remove()
    assert_same(out, golden["output"])
    for name, value in seen.items():
        assert_same(value[:, :4], golden[name])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["s4x4", "s2.5x2.5"])
def test_one_scale_for_both_axes_equals_the_published_code(net: SAVSR, shared: Path, name: str) -> None:
    with np.load(shared / f"golden/others/savsr/savsr_{name}.npz") as arrays:
        golden = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    with torch.inference_mode():
        assert_same(net(golden["input"], tuple(golden["scale"].tolist())), golden["output"])


@pytest.mark.parametrize("size", [(7, 9), (8, 5), (1, 1), (2, 3)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (8.0, 1.0), (2.5, 3.3)])
def test_any_size_and_scale_gives_the_rounded_size(
    small: SAVSR, size: tuple[int, int], scale: tuple[float, float]
) -> None:
    with torch.inference_mode():
        out = small(make_input("frames", (2, 7, 3, *size)), scale)
    assert out.shape == (2, 3, round(size[0] * scale[0]), round(size[1] * scale[1]))
    assert out.isfinite().all()


def test_an_odd_frame_is_padded_by_mirroring(small: SAVSR) -> None:
    """The walks see the padding; the upsampler and the skip do not."""
    frames = make_input("odd", (1, 7, 3, 9, 11))
    even = F.pad(frames[0], (0, 1, 0, 1), mode="reflect")[None]
    scale = Scale(2.0, 2.0)
    with torch.inference_mode():
        looks = [small.look(even[:, t - 1], even[:, t], even[:, t + 1]) for t in range(1, 6)]
        features = small.encode(looks, frames[:, 3], scale)
        expected = small.draw(features, small.locate(OutputRegion.whole((9, 11), scale)))
        assert torch.equal(small(frames, (2.0, 2.0)), expected)


@pytest.mark.parametrize("scale", [Scale(2.5, 1.7), Scale(4.0, 4.0), Scale(1.0, 3.1)])
def test_regions_put_together_are_the_image(small: SAVSR, scale: Scale) -> None:
    frames = make_input("patches", (1, 7, 3, 10, 12))
    with torch.inference_mode():
        whole = small(frames, (scale.y, scale.x))
        looks = [small.look(*frames[:, t - 1 : t + 2].unbind(1)) for t in range(1, 6)]
        features = small.encode(looks, frames[:, 3], scale)
        height, width = whole.shape[-2:]
        for rows in ((0, 5), (5, height)):
            for columns in ((0, 4), (4, 5), (5, width)):
                patch = OutputRegion(scale, (10, 12), rows, columns)
                part = small.draw(features, small.locate(patch))
                torch.testing.assert_close(
                    part, whole[..., slice(*rows), slice(*columns)], rtol=0, atol=1e-4 * float(whole.std())
                )


def test_a_batch_equals_its_clips_one_by_one(small: SAVSR) -> None:
    """Each clip has kernels of its own."""
    frames = make_input("batch", (3, 7, 3, 8, 10)) * torch.tensor([0.2, 1.0, 3.0]).view(3, 1, 1, 1, 1)
    with torch.inference_mode():
        together = small(frames, (2.0, 3.0))
        for i in range(3):
            assert_same(together[i : i + 1], small(frames[i : i + 1], (2.0, 3.0)))


def test_gates_on_the_kernel_are_gates_on_input_and_output() -> None:
    """The convolution written out as it is described: gate the input, convolve kernel by kernel, gate the output."""
    conv = fill(ScaleConv(32, 16)).double().eval()
    x, scale = make_input("gated", (2, 32, 6, 7)).double(), Scale(2.0, 3.5)
    told = torch.cat([x.new_tensor([[1 / 2.0, 1 / 3.5]] * 2), x.mean((2, 3))], 1)
    channel, after, tap, share = conv.attention(conv.scale_routing(told)[..., None, None])
    expected = torch.zeros(2, 16, 6, 7, dtype=torch.float64)
    for i in range(2):
        for k in range(8):
            kernel = conv.weight[k] * tap[i].view(3, 3)
            expected[i] += share[i, k] * F.conv2d((x * channel)[i : i + 1], kernel, padding=1)[0]
    torch.testing.assert_close(conv(x, scale), expected * after)


def test_gradients_reach_every_weight() -> None:
    net = fill(SAVSR(config=SMALL)).train()
    net(make_input("train", (2, 7, 3, 8, 8)), (2.0, 1.5)).square().mean().backward()
    missing = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not missing


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["public", "public4"])
def test_the_published_downsampling_gives_the_inputs_of_the_published_evaluation(shared: Path, mode: str) -> None:
    from gsr_app.engine.protocols import shrink_frames

    with np.load(shared / f"golden/others/savsr/savsr_downsample_{mode}.npz") as arrays:
        lr = shrink_frames(torch.from_numpy(arrays["input"]), Scale(*arrays["scale"].tolist()))
        np.testing.assert_allclose(lr.numpy(), arrays["out_torch"], atol=1e-6)
