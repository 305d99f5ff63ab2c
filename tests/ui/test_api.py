"""The API through its own client: right answers, many visitors, nonsense, and nothing leaked."""

from __future__ import annotations

import concurrent.futures
import gc
import io
import json
import math
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.fake_engine import FakeEngine, drawn
from tests.servers import serve

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from gsr_app.ui.state import Limits, create_app_state

    limits = Limits(input_pixels=1_000_000, output_pixels=4_000_000)
    with serve(create_app_state(FakeEngine(slow_s=0.01), limits)) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    from gradio_client import Client

    return Client(address, verbose=False)


def picture(folder: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> tuple[Path, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = folder / f"picture-{seed}.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def handle(path: Path) -> Any:
    from gradio_client import handle_file

    return handle_file(str(path))


def test_upscale_answers_the_picture_and_what_was_done(client: Any, tmp_path: Path) -> None:
    path, pixels = picture(tmp_path)
    result, info = client.predict(handle(path), "bicubic", "2x3", api_name="/upscale")
    np.testing.assert_array_equal(np.asarray(Image.open(result)), pixels.repeat(2, 0).repeat(3, 1))
    assert (info["width"], info["height"], info["method"]) == (90, 40, "bicubic")
    assert info["timing"]["total_ms"] > 0


def test_compare_measures_and_isolates_failures(client: Any, tmp_path: Path) -> None:
    path, pixels = picture(tmp_path)
    reference = tmp_path / "reference.png"
    Image.fromarray(pixels.repeat(2, 0).repeat(2, 1)).save(reference)
    files, info = client.predict(handle(path), "bicubic, broken, swift", "2", handle(reference), api_name="/compare")
    assert len(files) == 2
    by_method = {result["method"]: result for result in info["results"]}
    assert by_method["bicubic"]["metrics"]["psnr_y"] == 999.0
    assert "do not fit" in by_method["broken"]["error"]
    assert by_method["swift"]["metrics"]["psnr_y"] < 99.0


def test_a_field_is_drawn_where_it_is_asked_for(client: Any, tmp_path: Path) -> None:
    from gsr_app.core.types import View

    path, _ = picture(tmp_path)
    info = client.predict(handle(path), "swift", api_name="/field")
    assert (info["count"], info["source"]) == (600, {"width": 30, "height": 20})
    view = client.predict(info["id"], 3.5, 2, 10, 5, 200, 100, api_name="/render_view")
    np.testing.assert_array_equal(np.asarray(Image.open(view)), drawn(View((3.5, 2), (5, 10), (100, 200))))


def test_models_and_metrics(client: Any, tmp_path: Path) -> None:
    models = client.predict(api_name="/models")
    assert [model["id"] for model in models][:2] == ["swift", "bicubic"]
    path, _ = picture(tmp_path)
    info = client.predict(handle(path), handle(path), "gsasr", api_name="/metrics")
    assert info["psnr_y"] == 999.0
    assert info["convention"].startswith("gsasr")


def test_every_public_endpoint_is_documented(client: Any) -> None:
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {
        "/upscale",
        "/upscale_video",
        "/compare",
        "/field",
        "/render_view",
        "/models",
        "/metrics",
    }
    assert all(endpoint["description"] for endpoint in api["named_endpoints"].values())


def test_curl_can_do_it(address: str, tmp_path: Path) -> None:
    answer = _call(address, "models", [])
    assert "event: complete" in answer
    assert "swift" in answer


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_twenty_visitors_at_once_each_get_their_own(address: str, tmp_path: Path) -> None:
    def visit(number: int) -> bool:
        path, pixels = picture(tmp_path, seed=100 + number, size=(20 + number, 30))
        file = {"path": _upload(address, path), "meta": {"_type": "gradio.FileData"}}
        answer = _call(address, "upscale", [file, ("bicubic", "slow")[number % 2], "3"], f"visitor-{number}")
        assert answer.startswith("event: complete")
        result, info = json.loads(answer.partition("data: ")[2])
        with urllib.request.urlopen(result["url"]) as picture_of:
            same = np.array_equal(np.asarray(Image.open(picture_of)), pixels.repeat(3, 0).repeat(3, 1))
        return same and info["height"] == 3 * (20 + number)

    # Allocators settle over the first rounds; what leaks would grow in every round.
    grown: list[float] = []
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(visit, range(20)))
        for _ in range(3):
            gc.collect()
            before = resident_mib()
            assert all(pool.map(visit, range(20)))
            gc.collect()
            grown.append(resident_mib() / before - 1)
            if grown[-1] < 0.10:
                break
    print("20 visitors: memory grew by", ", ".join(f"{growth:.1%}" for growth in grown))
    assert min(grown) < 0.10
    assert threading.active_count() < 200


def nonsense(path: str) -> list[tuple[str, list[Any]]]:
    """Requests that no client of ours would send."""
    good = {"path": path, "meta": {"_type": "gradio.FileData"}}
    odd = [None, "", [], {}, 0, -1, True, "\0", "../../etc/passwd", "<img src=x onerror=alert(1)>", "x" * 5000]
    bad_files: list[Any] = [
        None, 7, "text", [], {}, {"path": None}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "../../../etc/shadow", "meta": {"_type": "gradio.FileData"}},
        {"path": "file:///etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": __file__, "meta": {"_type": "gradio.FileData"}},
    ]  # fmt: skip
    scales = ["0", "-1", "nan", "inf", "1e9", "65", "0x0", "99999999x99999999", "fit:1x", "4;rm", "４", "1" * 400]
    requests: list[tuple[str, list[Any]]] = []
    requests += [("upscale", [file, "bicubic", "2"]) for file in bad_files]
    requests += [("upscale", [good, method, "2"]) for method in odd]
    requests += [("upscale", [good, "bicubic", scale]) for scale in scales + odd]
    requests += [("compare", [good, methods, "2", None]) for methods in [*odd, ",".join(["bicubic"] * 99)]]
    requests += [("compare", [good, "bicubic", "2", file]) for file in bad_files[1:]]
    requests += [("field", [good, method]) for method in ["bicubic", *odd]]
    requests += [("field", [file, "swift"]) for file in bad_files]
    numbers = [None, "a", math.nan, math.inf, -1e308, 1e308, [], {}, True, 0, "1", [1], "<b>", -0.0]
    for at, number in enumerate(numbers):  # all arguments are read alike: each number stands at three of the six
        for position in (at % 6, (at + 1) % 6, (at + 3) % 6):
            view: list[Any] = [0, 0, 10, 10, 20, 20]
            view[position] = number
            requests.append(("render_view", ["no-such-field", *view]))
    requests += [("render_view", [odd_id, 0, 0, 1, 1, 1, 1]) for odd_id in odd]
    inline = {"path": "x", "url": "data:image/png;base64,AAAA", "meta": {"_type": "gradio.FileData"}}
    for file in [*bad_files, inline]:
        requests += [("run", [file, ["bicubic"], "2", None, False, "basicsr", 1])]
        requests += [("run", [good, ["bicubic"], "2", file, False, "basicsr", 1])]
    requests += [("run", [good, methods, "2", None, False, "basicsr", 1]) for methods in odd]
    requests += [("run", [good, ["bicubic"], "2", None, odd_trip, odd_trip, odd_trip]) for odd_trip in odd]
    requests += [("manage", []), ("manage", [{"action": "remove", "method": "swift"}])]
    for file in [*bad_files, good]:
        requests += [("upscale_video", [file, "bicubic", "2", "", "", "mp4"])]
        requests += [("video_run", [file, "bicubic", "2", "", "", "mp4", False])]
    requests += [("upscale_video", [good, "bicubic", "2", at, at, at]) for at in odd]
    requests += [("metrics", [good, good, protocol]) for protocol in odd]
    requests += [("metrics", [file, good, "basicsr"]) for file in bad_files]
    return requests


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_nonsense_gets_clear_errors_and_the_server_lives(every: int, address: str, client: Any, tmp_path: Path) -> None:
    path, _ = picture(tmp_path, seed=5)
    uploaded = _upload(address, path)
    requests = nonsense(uploaded)
    assert len(requests) >= 200
    requests = requests[::every]
    secrets = ("root:", "Traceback", "site-packages")

    def send(request: tuple[str, list[Any]]) -> tuple[str, str]:
        name, data = request
        try:
            return name, _call(address, name, data)
        except urllib.error.HTTPError as error:
            return name, f"event: error {error.read().decode()}"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, requests))
    for (name, data), (_, answer) in zip(requests, answers, strict=True):
        assert not any(secret in answer for secret in secrets), (name, data, answer)
        assert "<img" not in answer, (name, data, answer)
    # The page's own endpoints answer with a line for the rail instead of an error.
    answers = [answer for answer, (name, _) in zip(answers, requests, strict=True) if name != "run"]
    requests = [request for request in requests if request[0] != "run"]
    refused = sum("event: error" in answer for _, answer in answers)
    print(f"{len(requests)} malformed requests, {refused} refused")
    assert refused > 0.85 * len(requests)
    assert client.predict(api_name="/models")


def _call(address: str, name: str, data: list[Any], visitor: str = "") -> str:
    """The last events of a call, as text."""
    post = urllib.request.Request(
        f"{address}gradio_api/call/{name}",
        data=json.dumps({"data": data, **({"session_hash": visitor} if visitor else {})}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(post, timeout=60) as begun:
        event = json.load(begun)["event_id"]
    with urllib.request.urlopen(f"{address}gradio_api/call/{name}/{event}", timeout=60) as answer:
        return answer.read().decode()


def _upload(address: str, path: Path) -> str:
    boundary = "gsr-boundary"
    body = io.BytesIO()
    body.write(
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
    )
    body.write(path.read_bytes())
    body.write(f"\r\n--{boundary}--\r\n".encode())
    post = urllib.request.Request(
        f"{address}gradio_api/upload",
        data=body.getvalue(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    return json.load(urllib.request.urlopen(post))[0]
