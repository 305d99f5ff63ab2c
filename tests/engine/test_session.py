"""The engine gives every kind of method the same manners: sizes, kinds of arrays, alpha, tiles, cancelling."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument, UnknownMethod
from gsr_app.core.types import Part, Progress, Scale, Upscaled, View
from gsr_app.engine import devices, networks, runners
from gsr_app.engine.cache import ByteLru
from gsr_app.engine.session import Session
from gsr_app.engine.timing import Stopwatch
from gsr_app.models import registry
from gsr_app.ops import backend
from gsr_app.ops.resize import resize

pytestmark = pytest.mark.usefixtures("fakes")

KINDS = ["bicubic", "nearest", "fake-doubler", "fake-asker", "fake-whole-asker", "fake-painter", "fake-scaled-painter"]
NETWORKS = ["fake-doubler", "fake-asker", "fake-painter", "fake-scaled-painter"]


def picture(height: int, width: int, channels: int = 3, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """Smooth waves, as photographs are, so that tiles and wholes can be compared."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y * f + x * g + p) for f, g, p in rng.uniform(0.05, 0.6, (channels, 3))]
    values = (np.stack(waves, -1) * 0.45 + 0.5).astype(np.float32)
    return values if dtype == np.float32 else np.round(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 37, 3), (13, 9), (13, 9, 4), (13, 9, 3)])
def test_the_answer_has_the_size_of_the_scale_and_the_kind_of_the_input(method: str, shape: tuple[int, ...]) -> None:
    session = Session("cpu")
    for dtype in (np.uint8, np.uint16, np.float32):
        image = picture(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, dtype)
        image = image if len(shape) == 3 else image[:, :, 0]
        for scale in (Scale(1, 1), Scale(1.5, 1.5), Scale(3.3, 3.3), Scale(2.5, 4)):
            answer = session.upscale(image, method=method, scale=scale).image
            assert answer.dtype == image.dtype
            assert answer.shape == (*scale.output_size(shape[:2]), *shape[2:])


def test_a_resize_is_what_the_op_gives() -> None:
    image = picture(40, 33, 3, np.float32)
    expected = resize(torch.from_numpy(image).permute(2, 0, 1)[None], scale=2.0)[0].permute(1, 2, 0)
    assert np.abs(Session("cpu").upscale(image, method="bicubic", scale=2).image - expected.numpy()).max() < 1e-6


def test_nearest_at_scale_one_changes_no_bit_not_even_under_alpha() -> None:
    rng = np.random.default_rng(3)
    for dtype in (np.uint8, np.uint16):
        image = rng.integers(0, np.iinfo(dtype).max, (17, 12, 4), dtype=dtype, endpoint=True)
        image[3:9, :, 3] = 0
        assert (Session("cpu").upscale(image, method="nearest", scale=1).image == image).all()


@pytest.mark.parametrize("method", ["bicubic", *NETWORKS])
def test_what_is_hidden_by_alpha_does_not_bleed_into_edges(method: str) -> None:
    image = np.zeros((24, 24, 4), np.uint8)
    image[:, :12] = (255, 255, 255, 255)  # white and opaque beside black and invisible
    answer = Session("cpu").upscale(image, method=method, scale=2).image
    seen = answer[..., 3] > 20
    assert answer[seen][:, :3].min() > 150
    assert answer[:, :20, 3].min() > 200
    assert answer[:, 28:, 3].max() < 60


@pytest.mark.parametrize("method", NETWORKS)
@pytest.mark.parametrize("scale", [2.0, 2.3, 3.7])
def test_tiles_put_together_equal_the_whole(method: str, scale: float) -> None:
    image = picture(101, 75, 3, np.float32)
    whole = Session("cpu", tile=1000).upscale(image, method=method, scale=scale).image
    tiled = Session("cpu", tile=32).upscale(image, method=method, scale=scale).image
    assert np.abs(tiled - whole).max() < 2e-5


def test_the_window_of_a_tiled_field_is_that_of_the_whole_frame() -> None:
    session = Session("cpu", tile=32)
    image = picture(64, 96)
    handle = session.upscale(image, method="fake-scaled-painter", scale=2).field
    assert handle is not None
    assert session.field(handle).window == (0.5 * 191 / 2 / 2, 0.5 * 127 / 2 / 2)
    exact = session.upscale(image, method="fake-scaled-painter", scale=2, window="none").field
    assert exact is not None
    assert session.field(exact).window is None


@pytest.mark.parametrize(
    ("scale", "done"),
    [
        (2.0, "x2 network"),
        (2.7, "x2 network, then resized to x2.7"),
        (1.0, "x2 network, then resized to x1"),
        (3.3, "x2 network twice (x4), then resized to x3.3"),
        (4.0, "x2 network twice (x4)"),
        (8.0, "x2 network 3 times (x8)"),
    ],
)
def test_a_network_of_fixed_scale_says_what_was_really_done(scale: float, done: str) -> None:
    answer = Session("cpu").upscale(picture(12, 10), method="fake-doubler", scale=scale)
    assert answer.done == done
    assert bool(answer.warnings) == (scale != 2.0)


def test_two_passes_of_a_network_are_two_runs_of_it_also_beside_hard_edges() -> None:
    image = np.zeros((20, 24, 3), np.float32)
    image[6:14, 8:16] = 1
    session = Session("cpu")
    once = session.upscale(image, method="fake-doubler", scale=2).image
    assert once.min() < -0.02, "the network leaves the range that it was trained on"
    assert once.max() > 1.02
    twice = session.upscale(image, method="fake-doubler", scale=4).image
    assert np.array_equal(twice, session.upscale(once, method="fake-doubler", scale=2).image)
    *_, part = session.stream(image, method="fake-doubler", scale=4, part=Part(5, 4, 8, 8))
    assert isinstance(part, Upscaled)
    assert np.abs(part.image - twice[16:48, 20:52]).max() < 1e-5


def test_the_resize_after_a_network_is_exact() -> None:
    image = picture(30, 21, 3, np.float32)
    session = Session("cpu")
    doubled = session.upscale(image, method="fake-doubler", scale=2).image
    network = torch.from_numpy(doubled).permute(2, 0, 1)[None]
    expected = resize(network, scale=2.7 / 2, size=(81, 56))[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(session.upscale(image, method="fake-doubler", scale=2.7).image - expected).max() < 1e-4


def test_a_scale_that_was_not_trained_is_flagged() -> None:
    session = Session("cpu")
    assert session.upscale(picture(8, 8), method="fake-asker", scale=4).warnings == ()
    assert "not trained for x6" in session.upscale(picture(8, 8), method="fake-asker", scale=6).warnings[0]
    assert session.upscale(picture(8, 8), method="bicubic", scale=30).warnings == ()


def test_streaming_reports_every_tile_and_ends_with_the_picture() -> None:
    events = list(Session("cpu", tile=32).stream(picture(96, 64), method="fake-painter", scale=2))
    encoded = [e for e in events if isinstance(e, Progress) and e.stage == "encode"]
    assert [e.done for e in encoded] == [0, 1, 2, 3, 4, 5]
    assert all(e.total == 6 for e in encoded)
    assert isinstance(events[-1], Upscaled)
    assert not any(isinstance(e, Upscaled) for e in events[:-1])


def test_a_stage_is_told_before_it_begins() -> None:
    watched: list[str] = []
    told: list[str] = []
    for event in Session("cpu").stream(picture(20, 30), method="fake-scaled-painter", scale=2):
        if isinstance(event, Progress):
            told.append(event.stage)
        else:
            watched = [stage for stage in event.timing.stages_ms if stage in {"encode", "decode", "render"}]
    assert told == watched == ["encode", "decode", "render"]


def test_closing_the_stream_stops_the_work() -> None:
    session = Session("cpu", tile=32)
    stream = session.stream(picture(96, 64), method="fake-painter", scale=2)
    assert isinstance(next(stream), Progress)
    stream.close()
    assert session.memory.used_bytes == 0


def test_a_cancel_token_stops_between_two_layers() -> None:
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4  # in the middle of the first tile: each layer asks once

    events = Session("cpu", tile=64).stream(picture(64, 64), method="fake-doubler", scale=8, cancel=cancel)
    with pytest.raises(Cancelled):
        list(events)


def test_one_visitors_cancel_does_not_stop_another() -> None:
    session = Session("cpu")
    stopped = session.stream(picture(64, 64), method="fake-doubler", scale=2, cancel=lambda: True)
    with pytest.raises(Cancelled):
        list(stopped)
    assert session.upscale(picture(8, 8), method="fake-doubler", scale=2).image.shape == (16, 16, 3)


def test_a_field_is_encoded_once_and_drawn_many_times() -> None:
    session = Session("cpu")
    image = picture(20, 30)
    handle = session.encode(image, method="fake-painter")
    assert (handle.count, handle.source_size, handle.method) == (20 * 32 * 4, (20, 30), "fake-painter")
    again = [e.stage for e in session.stream(image, method="fake-painter", scale=3) if isinstance(e, Progress)]
    assert set(again) == {"render"}
    whole = session.render(handle, View.whole((20, 30), Scale(3, 3))).image
    part = session.render(handle, View((10, 5), (10, 15), (30, 45))).image
    assert part.dtype == np.uint8
    assert np.abs(part.astype(int) - whole[15:45, 30:75]).max() <= 1


def test_another_scale_reuses_the_features_of_a_network_that_asks_for_the_scale() -> None:
    session, image = Session("cpu"), picture(20, 30)
    session.upscale(image, method="fake-scaled-painter", scale=2)
    stages = {e.stage for e in session.stream(image, method="fake-scaled-painter", scale=3) if isinstance(e, Progress)}
    assert stages == {"decode", "render"}


def test_the_alpha_of_a_field_is_drawn_too() -> None:
    session, image = Session("cpu"), picture(16, 16, 4)
    handle = session.encode(image, method="fake-painter")
    answer = session.render(handle, View.whole((16, 16), Scale(2, 2))).image
    upscaled = session.upscale(image, method="fake-painter", scale=2).image
    assert (answer == upscaled).all()


def test_a_forgotten_field_says_so() -> None:
    session = Session("cpu")
    handle = session.encode(picture(8, 8), method="fake-painter")
    session.close()
    with pytest.raises(GsrError, match="no longer kept"):
        session.render(handle, View.whole((8, 8), Scale(2, 2)))
    with pytest.raises(GsrError, match="larger than what this session keeps"):
        Session("cpu", memory_bytes=100).encode(picture(8, 8), method="fake-painter")


def test_a_network_is_loaded_once_per_process() -> None:
    image = picture(8, 8)
    assert Session("cpu").upscale(image, method="fake-doubler", scale=2).timing.cold
    assert not Session("cpu").upscale(image, method="fake-doubler", scale=2).timing.cold


def test_the_timing_names_its_stages_and_adds_up() -> None:
    answer = Session("cpu").upscale(picture(64, 64), method="fake-painter", scale=2)
    assert {"read", "encode", "decode", "render"} <= set(answer.timing.stages_ms)
    assert answer.timing.total_ms > 0
    assert answer.timing.peak_bytes is None or answer.timing.peak_bytes > 1 << 20
    assert answer.timing.device
    assert answer.timing.backend


@pytest.mark.parametrize("method", ["bicubic", "fake-painter"])
def test_building_native_code_at_its_first_use_is_no_part_of_the_time(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, choose, built = Session("cpu"), backend._choose, list[str]()
    session.upscale(picture(8, 8), method=method, scale=2)

    def build(device_type: str) -> Any:
        built.append(device_type)
        time.sleep(0.2)
        return choose(device_type)

    monkeypatch.setattr(backend, "_reports", {})
    monkeypatch.setattr(backend, "_choose", build)
    started = time.perf_counter()
    timing = session.upscale(picture(8, 9), method=method, scale=2).timing
    passed_ms = (time.perf_counter() - started) * 1e3
    assert built == ["cpu"]
    assert timing.total_ms <= passed_ms - 200


def test_out_of_memory_halves_the_tile_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(128, 128, 3, np.float32)
    expected = Session("cpu", tile=1000).upscale(image, method="fake-painter", scale=2).image
    real, seen = runners.NetworkRun.send, []

    def send(job: runners.NetworkRun, x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        if x.shape[-1] > 80:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return real(job, x)

    monkeypatch.setattr(runners.NetworkRun, "send", send)
    answer = Session("cpu", tile=128).upscale(image, method="fake-painter", scale=2).image
    assert seen[0] == 128
    assert max(seen[1:]) <= 80
    assert np.abs(answer - expected).max() < 2e-5


@pytest.mark.parametrize(("method", "scale"), [("fake-doubler", 2), ("fake-doubler", 3.3), ("fake-asker", 3.3)])
def test_out_of_memory_after_half_of_the_rows_begins_again_at_the_top(
    method: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(160, 128, 4, np.float32)
    expected = Session("cpu", tile=1000).upscale(image, method=method, scale=scale).image
    real, seen = runners.NetworkRun.send, []

    def send(job: runners.NetworkRun, x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        if len(seen) in {4, 24}:  # the last tile of the colours, the last of the alpha
            raise MemoryError
        return real(job, x)

    monkeypatch.setattr(runners.NetworkRun, "send", send)
    answer = Session("cpu", tile=80).upscale(image, method=method, scale=scale).image
    assert min(seen) < max(seen)
    assert np.abs(answer - expected).max() < 2e-5


def test_out_of_memory_in_the_smallest_tile_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(runners.NetworkRun, "send", send)
    with pytest.raises(GsrError, match="Out of memory: fake-painter") as caught:
        Session("cpu").upscale(picture(64, 64), method="fake-painter", scale=2)
    assert caught.value.hint


def test_sessions_serve_several_threads_at_once() -> None:
    session = Session("cpu")
    images = [picture(20, 20, seed=seed) for seed in range(6)]
    expected = [session.upscale(image, method="fake-painter", scale=2).image for image in images]
    session.close()
    answers: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        answers[index] = session.upscale(images[index], method="fake-painter", scale=2).image

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((answers[index] == expected[index]).all() for index in range(6))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.int64), [[1, 2]]]
)
def test_what_is_not_an_image_is_refused(image: Any) -> None:
    with pytest.raises(InvalidArgument, match="image must"):
        Session("cpu").upscale(image, method="bicubic", scale=2)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="not finite"):
        Session("cpu").upscale(np.full((4, 4, 3), np.nan, np.float32), method="bicubic", scale=2)


def test_unknown_names_and_impossible_wishes_are_refused() -> None:
    with pytest.raises(UnknownMethod, match="Did you mean 'bicubic'"):
        Session("cpu").upscale(picture(4, 4), method="bicubix", scale=2)
    with pytest.raises(InvalidArgument, match="device"):
        Session("tpu")
    with pytest.raises(InvalidArgument, match="bfloat16 needs a recent GPU"):
        Session("cpu", precision="bfloat16")
    with pytest.raises(InvalidArgument, match="tile"):
        Session("cpu", tile=0)
    with pytest.raises(InvalidArgument, match="has no field"):
        Session("cpu").encode(picture(4, 4), method="bicubic")


def test_a_cpu_never_computes_in_half_precision() -> None:
    assert devices.choose_precision("auto", torch.device("cpu")) == torch.float32


def test_a_network_too_fine_for_half_precision_is_spared_it() -> None:
    cpu = torch.device("cpu")

    def is_halved(method: str, **changes: Any) -> bool:
        loaded = runners.run_to_end(networks.load(registry.method(method), cpu, None))[0]
        loaded = dataclasses.replace(loaded, arch=dataclasses.replace(loaded.arch, **changes))
        job = runners.NetworkRun(loaded, Scale(2, 2), None, cpu, torch.bfloat16, Stopwatch(cpu), ByteLru(0), "")
        return job.call(lambda: torch.is_autocast_enabled("cpu"))

    assert is_halved("fake-asker")
    assert not is_halved("fake-asker", full_precision=True)


def test_every_kind_that_a_session_runs_on_a_picture_has_a_fake_here() -> None:
    others = {"video", "metric", "start"}
    assert {registry.method(name).kind for name in KINDS} == set(get_args(registry.Kind)) - others


def test_missing_weights_are_an_error_that_names_the_method(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GSR_WEIGHTS_DIR")
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GSR_OFFLINE", "1")
    with pytest.raises(GsrError, match="fake-doubler"):
        Session("cpu").upscale(picture(4, 4), method="fake-doubler", scale=2)
