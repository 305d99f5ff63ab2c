"""Comparisons without an app: an engine, limits and a sink are all that they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import GsrError
from gsr_app.core.types import FieldHandle
from gsr_app.engine.session import Session
from gsr_app.io.fields import load_field
from gsr_app.io.icc import make_profile
from gsr_app.io.images import Metadata, Picture, add_metadata, read_image, write_image
from gsr_app.io.picture import ColorTags, Text
from gsr_app.models.registry import catalogue
from gsr_app.viewer import comparison
from gsr_app.viewer.comparison import NO_LIMITS, CompareRequest, Limits
from gsr_app.viewer.contract import PaneProgress
from gsr_app.viewer.foreign import foreign_pane
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.results import ForeignResult
from gsr_app.viewer.sink import ReportSink

METHODS = list(catalogue().values())


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """41x51: no scale of these tests divides it."""
    pixels = np.random.default_rng(0).integers(0, 256, (41, 51, 3), dtype=np.uint8)
    write_image(tmp_path / "noise.png", Picture(pixels))
    return str(tmp_path / "noise.png")


def no_field(handle: FieldHandle) -> bytes:
    raise AssertionError(handle)


def test_a_session_and_a_sink_for_reports_are_enough(picture: str) -> None:
    request = CompareRequest(picture, ("bicubic", "nearest"), "2.5", round_trip=True)
    job = comparison.prepare(request, METHODS, NO_LIMITS)
    assert job.source.size == (17, 21)  # as gsr eval shrinks 41x51
    chosen = comparison.preview_scene(comparison.read_picture(picture, NO_LIMITS), "picture.png", "").source
    assert chosen is not None
    assert job.key == chosen.key, "a preview that comes late is known as one of the same picture"
    sink = ReportSink(no_field)
    scene = comparison.first_scene(job, sink)
    assert [pane.id for pane in scene.panes] == ["bicubic", "nearest", "reference", "input"]
    assert (scene.frame and (scene.frame.height, scene.frame.width)) == (42, 52)
    pane = comparison.run_method(job, job.methods[0], Session(device="cpu"), sink)
    assert pane.state == "done"
    assert pane.metrics is not None
    assert pane.metrics.psnr_y is not None
    assert set(sink.pictures) == {"reference", "input", "bicubic"}


@pytest.mark.parametrize("which", ["result", "reference"])
def test_a_result_made_elsewhere_is_shown_where_one_of_a_method_is(picture: str, which: str, tmp_path: Path) -> None:
    request = CompareRequest(picture, ("bicubic",), "2.7", round_trip=True)
    job = comparison.prepare(request, METHODS, NO_LIMITS)
    assert job.scoring
    reference = job.scoring.pair.reference
    height, width = size = job.output_size if which == "result" else reference.shape[:2]
    assert (job.output_size == reference.shape[:2]) is False
    write_image(tmp_path / "mine.png", Picture(np.zeros((*size, 3), np.uint8)))
    pane = foreign_pane(job, ForeignResult("mine", tmp_path / "mine.png"), ReportSink(no_field))
    assert pane.span == (height / 2.7, width / 2.7)
    assert not pane.warnings


@pytest.mark.parametrize(
    ("protocol", "channel"), [("basicsr", "y"), ("basicsr-rgb", "rgb"), ("liif-div2k", "rgb"), ("savsr", "y")]
)
def test_a_score_stands_under_its_channel(picture: str, protocol: str, channel: str) -> None:
    request = CompareRequest(picture, ("bicubic",), "2", round_trip=True, protocol=protocol)
    job = comparison.prepare(request, METHODS, NO_LIMITS)
    metrics = comparison.run_method(job, job.methods[0], Session(device="cpu"), ReportSink(no_field)).metrics
    assert metrics is not None
    assert (metrics.psnr_y is None, metrics.psnr_rgb is None) == (channel == "rgb", channel == "y")
    assert ("RGB" in metrics.convention) == (channel == "rgb")
    assert metrics.flip is not None
    assert 0 < metrics.flip < 1


def test_results_have_the_depth_of_their_source_however_they_are_scored(picture: str) -> None:
    for protocol in ("basicsr", "liif-div2k", "savsr"):  # 8 bits, and twice float32
        request = CompareRequest(picture, ("nearest",), "2", round_trip=True, protocol=protocol)
        job = comparison.prepare(request, METHODS, NO_LIMITS)
        pane = comparison.run_method(job, job.methods[0], Session(device="cpu"), ReportSink(no_field))
        assert pane.bits == 8


class Recorder:
    """An engine that records how it is asked, and answers with a session."""

    def __init__(self, calls: list[str], name: str = "cached") -> None:
        self.calls, self.name, self.session = calls, name, Session(device="cpu")

    def stream(self, image: Any, *, method: str, scale: Any, cancel: Any, part: Any = None) -> Any:
        self.calls.append(self.name)
        return self.session.stream(image, method=method, scale=scale, cancel=cancel)

    def without_cache(self) -> Recorder:
        return Recorder(self.calls, "uncached")


def test_repeated_runs_are_timed_without_a_cache_and_the_first_is_not_counted(picture: str) -> None:
    request = CompareRequest(picture, ("nearest",), "2", repeats=3)
    job = comparison.prepare(request, METHODS, NO_LIMITS)
    calls: list[str] = []
    told: list[PaneProgress] = []
    pane = comparison.run_method(job, job.methods[0], Recorder(calls), ReportSink(no_field), report=told.append)
    assert calls == ["cached", "uncached", "uncached", "uncached"]
    assert pane.timing is not None
    assert pane.timing.repeats == 3
    assert {progress.stage.split(",")[0] for progress in told} == {f"run {number} of 4" for number in range(1, 5)}


def test_only_chosen_panes_carry_their_field(picture: str, tmp_path: Path) -> None:
    session = Session(device="cpu")
    job = comparison.prepare(CompareRequest(picture, ("swift",), "2"), METHODS, NO_LIMITS)
    plain = ReportSink(no_field)
    assert comparison.run_method(job, job.methods[0], session, plain).field is None
    carrying = ReportSink(lambda handle: comparison.pack_handle(session, handle, METHODS), {"swift"})
    pane = comparison.run_method(job, job.methods[0], session, carrying)
    assert pane.field is not None
    (tmp_path / "swift.gsr").write_bytes(carrying.fields["swift"])
    assert len(load_field(tmp_path / "swift.gsr")) == pane.field.count


@pytest.mark.parametrize(
    ("change", "limits", "said"),
    [
        ({"image": None}, NO_LIMITS, "no picture yet"),
        ({"methods": ()}, NO_LIMITS, "No method"),
        ({"methods": ("swfit",)}, NO_LIMITS, "swift"),
        ({"protocol": "basicrs"}, NO_LIMITS, "basicsr"),
        ({"scale": "0.5", "round_trip": True}, NO_LIMITS, "at least 1"),
        ({"scale": "8", "round_trip": True}, NO_LIMITS, "would shrink to 6x5"),
        ({}, Limits(1000, 10**9), "at most 0 are taken"),
        ({"scale": "60"}, Limits(10**9, 10**6), "megapixels"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    picture: str, change: dict[str, Any], limits: Limits, said: str
) -> None:
    request = replace(CompareRequest(picture, ("nearest",), "2"), **change)
    with pytest.raises(GsrError, match=said):
        comparison.prepare(request, METHODS, limits)


def test_a_method_for_videos_is_not_called_unknown(picture: str) -> None:
    methods = [method for method in METHODS if method.kind != "video"]
    with pytest.raises(GsrError, match="savsr is for videos"):
        comparison.prepare(CompareRequest(picture, ("savsr",), "2"), methods, NO_LIMITS)


def test_a_reference_of_another_size_is_refused(picture: str) -> None:
    with pytest.raises(GsrError, match="the result will be 102×82"):
        comparison.prepare(CompareRequest(picture, ("nearest",), "2", reference=picture), METHODS, NO_LIMITS)


def test_the_file_to_keep_is_written_only_where_it_holds_more_than_the_screens(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from gsr_app.ui.files import Files, path_of
    from gsr_app.ui.served import ServedSink
    from gsr_app.ui.store import BoundedStore

    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plain.png")  # without EXIF and resolution
    plain = comparison.read_picture(str(tmp_path / "plain.png"), NO_LIMITS)
    sink = ServedSink(Files(tmp_path / "files"), BoundedStore(9))
    stored = sink.put_result("a", pixels, plain, "a")
    assert stored.download_url == stored.url
    with_dpi = replace(plain, meta=replace(plain.meta, dpi=(300.0, 300.0)))
    deep = pixels.astype(np.uint16) * 257
    for result, source in ((pixels, with_dpi), (deep, plain)):
        stored = sink.put_result("a", result, source, "a")
        assert stored.download_url != stored.url
        kept = read_image(path_of(stored.download_url or ""))
        np.testing.assert_array_equal(kept.pixels, result)
        # PNG counts whole pixels per metre.
        assert kept.meta.dpi == (source.meta.dpi and pytest.approx(source.meta.dpi, abs=0.0254 / 2))


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_metadata_is_put_into_an_encoded_file_as_into_a_written_one(tmp_path: Path, channels: int) -> None:
    shape = (8, 9, channels) if channels else (8, 9)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    icc = make_profile(ColorTags(cicp=(12, 13, True)), grey=channels < 3)
    texts = (Text("Author", "somebody"), Text("Title", "Ω"))
    about = Metadata(icc=icc, dpi=(300.0, 72.0), comments=texts, exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    write_image(tmp_path / "written.png", Picture(pixels, about))
    (tmp_path / "put.png").write_bytes(add_metadata(encode_png(pixels), Picture(pixels, about)))
    written, put = (read_image(tmp_path / f"{name}.png") for name in ("written", "put"))
    np.testing.assert_array_equal(put.pixels, pixels)
    assert replace(put.meta, source=None) == replace(written.meta, source=None)
    assert put.meta.icc == icc
    assert Image.open(tmp_path / "put.png").info["icc_profile"] == icc
