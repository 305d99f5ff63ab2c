"""The Video tab's logic over the fake engine: requests, states, what the player gets, the API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("gradio")

from gsr_app.core.errors import GsrError
from gsr_app.ui import clips as drawn
from gsr_app.ui import video
from gsr_app.ui.files import Files, path_of
from gsr_app.ui.state import AppState, Limits, create_app_state
from gsr_app.ui.video import VideoRequest
from gsr_app.viewer.contract import as_json
from tests import clips
from tests.browser.fake_engine import FakeEngine
from tests.servers import serve


@pytest.fixture
def app(tmp_path: Path) -> AppState:
    return AppState(FakeEngine(), Files(tmp_path / "files"), limits=Limits(1_000_000, 1_000_000))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", count=30, audio=None)


def last(states: Iterator[Any]) -> dict[str, Any]:
    return as_json(list(states)[-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video": None}, "There is no video yet"),
        ({"method": "swfit"}, "Did you mean 'swift'"),
        ({"scale": "huge"}, "Cannot read the scale"),
        ({"scale": "60"}, "megapixels"),
        ({"start": "x"}, "is not a time"),
        ({"start": "2", "end": "1"}, "must come after"),
        ({"format": "exe"}, "is not written here"),
    ],
)
def test_a_wrong_request_is_refused_in_words(app: AppState, clip: Path, change: dict[str, Any], said: str) -> None:
    request: dict[str, Any] = {"video": str(clip), "method": "swift", "scale": "2", **change}
    with pytest.raises(GsrError, match=said):
        video.prepare(app, VideoRequest(**request))


def test_a_run_ends_with_a_file_to_keep_and_one_to_play(app: AppState, clip: Path) -> None:
    task = video.prepare(app, VideoRequest(str(clip), "swift", "2x3", round_trip=True))
    state = last(video.watch(app, "me", task))
    assert state["state"] == "done"
    kept = path_of(state["download"]["url"])
    assert clips.times_of(kept) == clips.times_of(clip)
    assert (state["width"], state["height"]) == (192, 96)
    player = path_of(state["clip"]["url"])
    assert len(clips.decoded(player)) == len(state["clip"]["times"]) == len(state["scores"]["psnr"]) == 30
    expected = [float(time - clips.times_of(clip)[0]) for time in clips.times_of(clip)]
    assert np.allclose(state["clip"]["times"], expected, atol=1e-6)
    assert [pane["id"] for pane in state["clip"]["panes"]] == ["result", "source", "reference"]
    assert not list(kept.parent.glob("*.parts"))


def test_every_pane_of_the_player_lies_where_it_says(app: AppState, clip: Path) -> None:
    task = video.prepare(app, VideoRequest(str(clip), "swift", "2"))
    state = last(video.watch(app, "me", task))
    frame = clips.decoded(path_of(state["clip"]["url"]))[7].to_ndarray(format="rgb24").astype(float)
    for pane in state["clip"]["panes"]:
        shown = frame[pane["y"] : pane["y"] + pane["height"], pane["x"] : pane["x"] + pane["width"]]
        by = pane["width"] // 64
        expected = clips.drawing(7).repeat(by, 0).repeat(by, 1)
        assert np.abs(shown - expected).mean() < 4, pane["id"]


def test_a_video_that_takes_long_is_not_taken_for_one_that_nobody_needs(app: AppState, clip: Path) -> None:
    """Gradio removes uploads some time after their state last changed; the sound is read at the end of a run."""
    before = clip.stat()
    time.sleep(0.05)
    last(video.watch(app, "me", video.prepare(app, VideoRequest(str(clip), "swift", "2"))))
    assert clip.stat().st_ctime_ns > before.st_ctime_ns
    assert clip.stat().st_mtime_ns == before.st_mtime_ns


def test_a_failure_names_what_to_do(app: AppState, clip: Path) -> None:
    state = last(video.watch(app, "me", video.prepare(app, VideoRequest(str(clip), "broken", "2"))))
    assert state["state"] == "failed"
    assert state["error"]["hint"] == "Fetch them again in the Models tab."


def test_a_stopped_run_keeps_what_can_be_watched(app: AppState, clip: Path) -> None:
    states = video.watch(app, "me", video.prepare(app, VideoRequest(str(clip), "slow", "2")))
    for state in states:
        numbers = [int(word) for word in state.progress.text.split() if word.isdigit()] if state.progress else []
        if numbers and numbers[0] >= 3:
            app.runs.stop("video", "me")
    assert state.state == "cancelled"
    assert state.clip is not None
    assert 3 <= len(state.clip.times) < 30
    assert not app.runs.is_running("video", "me")


def test_leaving_the_page_stops_the_work(app: AppState, clip: Path) -> None:
    states = video.watch(app, "me", video.prepare(app, VideoRequest(str(clip), "slow", "2")))
    for state in states:
        if state.state == "running":
            break
    states.close()  # type: ignore[attr-defined]
    assert app.engine.stopped.wait(10)  # type: ignore[attr-defined]


def test_a_large_result_is_played_smaller_and_says_so(tmp_path: Path) -> None:
    from fractions import Fraction

    from gsr_app.io.video import VideoInfo
    from gsr_app.io.video.color import Coding
    from gsr_app.ui.playerfile import MOST_PIXELS, PlayerFile

    player = PlayerFile(Fraction(1, 25), Fraction(25), VideoInfo(tmp_path, (8, 8), Fraction(1, 25), Coding()))
    player.append({"result": np.zeros((2160, 3840, 3), np.uint8), "source": np.zeros((540, 960, 3), np.uint8)}, 0, 1)
    result, source = player.places
    player.publish(tmp_path / "a.mp4")
    player.close()
    assert (result.shrunk, result.width, result.height) == (1, 3840, 2160) or result.shrunk == 2
    assert source.shrunk == 1
    assert (source.y + source.height) * 3840 <= MOST_PIXELS


def test_the_example_is_drawn_and_reads_as_a_video(tmp_path: Path) -> None:
    path = drawn.example_file(tmp_path)
    assert path is not None
    assert len(clips.decoded(path)) == drawn.COUNT
    stored = clips.decoded(path)[10].to_ndarray(format="rgb24") / 255
    assert np.abs(stored - drawn.draw(10 / drawn.COUNT)).mean() < 0.02


def test_the_api_answers_the_video_and_what_was_done(clip: Path, launch: Callable[[], Any]) -> None:
    from gradio_client import handle_file

    result, info = launch().predict(
        handle_file(str(clip)), "bicubic", "2", "0.2", "0.6", "mp4", api_name="/upscale_video"
    )
    assert len(clips.decoded(Path(result))) == info["pictures"] == 12
    assert (info["width"], info["height"]) == (128, 96)


def test_the_app_keeps_samples_above_white_and_below_black(tmp_path: Path, launch: Callable[[], Any]) -> None:
    from gradio_client import handle_file

    source = clips.write_beyond_white(tmp_path / "in.mkv")
    result, _ = launch().predict(handle_file(str(source)), "bicubic", "1", "", "", "mp4", api_name="/upscale_video")
    before, after = (clips.planes_of(clips.decoded(path)[0])[0] for path in (source, Path(result)))
    beyond = (before > 245) | (before < 8)
    assert beyond.mean() > 0.03
    assert np.abs(after - before)[beyond].mean() < 4, "what the encoder loses; clipped, it is more than 8"


@pytest.fixture
def launch() -> Iterator[Callable[[], Any]]:
    from gradio_client import Client

    limits = Limits(input_pixels=1_000_000, output_pixels=4_000_000)
    with contextlib.ExitStack() as servers:

        def start() -> Any:
            url = servers.enter_context(serve(create_app_state(FakeEngine(), limits)))
            return Client(url, verbose=False)

        yield start
