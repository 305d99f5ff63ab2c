"""Temporal networks: their windows of frames, tiles, and the features that are kept between windows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from gsr_app.core.errors import Cancelled, InvalidArgument
from gsr_app.core.types import Scale
from gsr_app.engine import networks, tiling
from gsr_app.engine.frames import upscale_frames
from gsr_app.engine.session import Session
from gsr_app.engine.temporal import NumberedFrame, mirror_index, sliding_windows
from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method, WeightFile
from gsr_app.models.savsr import SAVSR, Look, SAVSRConfig
from tests.golden.filling import fill

SMALL = SAVSRConfig(channels=16, window_blocks=2, fusion_blocks=1, groups=1, blocks=1)


def build_small() -> SAVSR:
    net: SAVSR = fill(SAVSR(config=SMALL))  # type: ignore[assignment]
    with torch.no_grad():
        net.tail.weight.mul_(0.02)  # results that stay within 0..1
    return net.eval()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SAVSR]:
    """A shortened SAVSR, registered as the method "small"; yields a copy of the network."""
    files = (WeightFile(url="https://example.invalid/small.safetensors"),)
    registry.register(
        Method("small", "small", "fake", "video", "Apache-2.0", files=files),
        Architecture("small", build_small, "video", multiple_of=2, overlap=16),
    )
    (tmp_path / "small").mkdir()
    save_file(build_small().state_dict(), tmp_path / "small" / "small.safetensors")
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    networks.forget_all()
    yield build_small()
    networks.forget_all()
    registry.unregister("small")


def draw_clip(count: int, height: int = 11, width: int = 14) -> Iterator[np.ndarray]:
    """A moving wave, float."""
    y, x = np.mgrid[:height, :width]
    for t in range(count):
        frame = [0.5 + 0.3 * np.sin(0.5 * y + 0.4 * (c + 1) * (x - t) + c + 0.1 * t * t) for c in range(3)]
        yield np.stack(frame, axis=-1).astype(np.float32)


def one_by_one(net: SAVSR, frames: list[np.ndarray], scale: Scale) -> list[np.ndarray]:
    """The network on each window alone, cropped to whole output pixels."""
    planes = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    height, width = scale.output_size((planes.shape[2], planes.shape[3]))
    drawn: list[np.ndarray] = []
    for middle in range(len(frames)):
        window = planes[[mirror_index(at, len(frames) - 1) for at in range(middle - 3, middle + 4)]]
        with torch.inference_mode():
            out = net(window[None], (scale.y, scale.x))[0, :, :height, :width]
        drawn.append(out.clamp(0, 1).permute(1, 2, 0).numpy())
    return drawn


# ---- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_windows_are_mirrored_at_the_clips_ends_as_the_published_tests_mirror_them(shared: Path) -> None:
    published = json.loads((shared / "golden/others/savsr/protocol.json").read_text())["frame_indices_reflection"]
    for name, indices in published.items():
        middle, count = map(int, name.split("/"))
        frames = (NumberedFrame(i, torch.empty(0)) for i in range(count))
        windows = list(sliding_windows(frames))
        assert len(windows) == count
        assert [frame.number for frame in windows[middle]] == indices


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [[0] * 7]),
        (2, [[1, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0]]),
        (3, [[1, 2, 1, 0, 1, 2, 1], [2, 1, 0, 1, 2, 1, 0], [1, 0, 1, 2, 1, 0, 1]]),
    ],
)
def test_clips_shorter_than_half_a_window_are_mirrored_repeatedly(count: int, expected: list[list[int]]) -> None:
    windows = sliding_windows(NumberedFrame(i, torch.empty(0)) for i in range(count))
    assert [[frame.number for frame in window] for window in windows] == expected


def test_no_frame_is_read_further_ahead_than_the_window_reaches() -> None:
    read: list[int] = []

    def frames() -> Iterator[NumberedFrame]:
        for i in range(20):
            read.append(i)
            yield NumberedFrame(i, torch.empty(0))

    for middle, _ in enumerate(sliding_windows(frames())):
        assert read[-1] == min(middle + 3, 19)


# ---- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [Scale(2.0, 2.0), Scale(2.5, 1.3)])
def test_a_clip_of_24_frames_equals_its_windows_one_by_one(small: SAVSR, scale: Scale) -> None:
    source = list(draw_clip(24))
    streamed = list(upscale_frames(Session("cpu"), iter(source), method="small", scale=scale))
    expected = one_by_one(small, source, scale)
    assert len(streamed) == 24
    assert max(float(np.abs(a - b).max()) for a, b in zip(streamed, expected, strict=True)) < 1e-5
    assert float(np.std(expected)) > 0.05, "a picture, not a plane"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_short_clip_equals_its_windows_too(small: SAVSR, count: int) -> None:
    source = list(draw_clip(count))
    streamed = upscale_frames(Session("cpu"), iter(source), method="small", scale=2.0)
    for frame, expected in zip(streamed, one_by_one(small, source, Scale(2.0, 2.0)), strict=True):
        np.testing.assert_allclose(frame, expected, atol=1e-5)


def test_results_are_the_same_without_a_cache(small: SAVSR) -> None:
    kept = list(upscale_frames(Session("cpu"), draw_clip(6), method="small", scale=2.0))
    anew = list(upscale_frames(Session("cpu", memory_bytes=0), draw_clip(6), method="small", scale=2.0))
    np.testing.assert_array_equal(kept, anew)


def test_a_picture_is_treated_as_a_clip_of_equal_frames(small: SAVSR) -> None:
    still = next(iter(draw_clip(1)))
    up = Session("cpu").upscale(still, method="small", scale=Scale(2.0, 3.0))
    np.testing.assert_allclose(up.image, one_by_one(small, [still], Scale(2.0, 3.0))[0], atol=1e-5)
    assert "stands still" in up.done


def test_frames_keep_their_dtype_and_alpha(small: SAVSR) -> None:
    opaque = [(frame * 65535).astype(np.uint16) for frame in draw_clip(3)]
    half = np.full((11, 14, 1), 32768, np.uint16)
    clear = [np.concatenate([frame, half], axis=2) for frame in opaque]
    with_alpha = list(upscale_frames(Session("cpu"), iter(clear), method="small", scale=2.0))
    without = list(upscale_frames(Session("cpu"), iter(opaque), method="small", scale=2.0))
    for one, other in zip(with_alpha, without, strict=True):
        assert one.dtype == np.uint16
        assert one.shape == (22, 28, 4)
        np.testing.assert_array_equal(one[..., :3], other)
        assert (one[..., 3] == 32768).all()


def test_seams_between_tiles_are_invisible(small: SAVSR) -> None:
    """The kernels depend on the mean of the tile: the results differ slightly, but not more at tile borders."""
    source = list(draw_clip(2, 60, 72))
    scale = Scale(2.5, 2.0)
    whole = np.array(list(upscale_frames(Session("cpu"), iter(source), method="small", scale=scale)))
    tiled = np.array(list(upscale_frames(Session("cpu", tile=32), iter(source), method="small", scale=scale)))
    assert tiled.shape == whole.shape
    error = np.abs(tiled - whole)
    assert error.max() < 0.02
    steps = np.abs(np.diff(tiled - whole, axis=2))  # a seam is a step in the difference, at the border of two cores
    assert steps.max() < 0.004


def test_out_of_memory_makes_the_tiles_smaller_for_the_rest_of_the_clip(
    small: SAVSR, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, sizes = SAVSR.look, []

    def greedy(self: SAVSR, *frames: torch.Tensor) -> tuple[Look, Look]:
        sizes.append(tuple(frames[0].shape[-2:]))
        if frames[0].shape[-2] > 90:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return look(self, *frames)

    monkeypatch.setattr(SAVSR, "look", greedy)
    monkeypatch.setattr(tiling, "choose_tile", lambda *_: None)
    frames = list(upscale_frames(Session("cpu"), draw_clip(2, 100, 20), method="small", scale=1.5))
    assert [frame.shape for frame in frames] == [(150, 30, 3)] * 2
    assert sum(height > 90 for height, _ in sizes) == 1, "the second frame does not try again"


# ---- work -------------------------------------------------------------------------------------------------------


def test_each_frame_and_its_neighbours_are_encoded_once(small: SAVSR, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, located = count_calls(monkeypatch, "look"), count_calls(monkeypatch, "locate")
    list(upscale_frames(Session("cpu"), draw_clip(20), method="small", scale=2.0))
    # 18 frames have two neighbours; at either end the mirrored ones come in reverse, and one frame twice.
    assert len(looked) == 18 + 2 * 3
    assert len(located) == 1


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    called: list[int] = []
    original: Callable[..., object] = getattr(SAVSR, name)

    def counting(self: SAVSR, *args: object) -> object:
        called.append(1)
        return original(self, *args)

    monkeypatch.setattr(SAVSR, name, counting)
    return called


def test_streaming_does_less_arithmetic_than_windows_one_by_one(small: SAVSR) -> None:
    source = list(draw_clip(6))
    with FlopCounterMode(display=False) as alone:
        one_by_one(small, source, Scale(2.0, 2.0))
    with FlopCounterMode(display=False) as streaming:
        list(upscale_frames(Session("cpu"), iter(source), method="small", scale=2.0))
    assert streaming.get_total_flops() < 0.9 * alone.get_total_flops()


def test_memory_does_not_grow_with_the_clip(small: SAVSR) -> None:
    """The bytes of the tensors that are alive after a frame, early and late in a clip."""
    import gc

    def alive() -> int:
        gc.collect()
        tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
        sizes = [one.untyped_storage().nbytes() for one in tensors]
        return sum(size for size in sizes if type(size) is int)  # those that an earlier test traced have symbols

    clip = upscale_frames(Session("cpu"), draw_clip(36, 6, 8), method="small", scale=1.5)
    held = {index: alive() for index, _ in enumerate(clip) if index in {10, 30}}
    assert held[30] == held[10]


def test_cancelling_stops_within_a_frame(small: SAVSR) -> None:
    asked: list[int] = []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > 40

    with pytest.raises(Cancelled):
        list(upscale_frames(Session("cpu"), draw_clip(9), method="small", scale=2.0, cancel=cancel))
    assert len(asked) == 41


def test_a_frame_of_another_size_is_refused(small: SAVSR) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from draw_clip(4)
        yield from draw_clip(2, 12, 14)

    with pytest.raises(InvalidArgument, match="Frame 4 is 14x12, the frames before are 14x11"):
        list(upscale_frames(Session("cpu"), frames(), method="small", scale=2.0))
