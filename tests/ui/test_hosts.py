"""Accepted hosts and origins: the names in `Host`, and the pages that may send requests."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.fake_engine import FakeEngine
from tests.servers import get, post, serve

pytest.importorskip("gradio")


from gsr_app.ui.hosts import Hosts, split_port
from gsr_app.ui.state import create_app_state

UPLOAD = {"files": ("a.png", b"x", "image/png")}
MODELS = {"json": {"data": []}}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(create_app_state(FakeEngine(), may_manage=True), auth=("me", "secret")) as url:
        yield url


@pytest.fixture(scope="module")
def cookies(address: str) -> dict[str, str]:
    signed_in = post(f"{address}login", data={"username": "me", "password": "secret"})
    assert signed_in.json() == {"success": True}
    return {name: value for name, value in signed_in.cookies.items() if "unsecure" in name}


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:{port}", "127.0.0.1.nip.example", "192.168.1.5", ""]
)
def test_an_app_of_this_machine_answers_to_no_other_name(host: str, address: str, cookies: dict[str, str]) -> None:
    headers = {"Host": host.format(port=urlsplit(address).port)}
    for path in ("", "config", "gradio_api/info"):
        assert get(address + path, headers=headers, cookies=cookies).status_code == 403
    assert post(f"{address}gradio_api/upload", files=UPLOAD, headers=headers, cookies=cookies).status_code == 403
    assert post(f"{address}gradio_api/call/manage", headers=headers, cookies=cookies, **MODELS).status_code == 403


def test_an_app_of_this_machine_answers_to_its_names(address: str, cookies: dict[str, str]) -> None:
    port = urlsplit(address).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST.:{port}", f"[::1]:{port}", "localhost"):
        assert get(f"{address}config", headers={"Host": host}, cookies=cookies).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://other.example", "null", "http://localhost:1", "http://127.0.0.1.other.example"]
)
def test_a_page_of_another_site_can_neither_read_nor_change(origin: str, address: str, cookies: dict[str, str]) -> None:
    sent: dict[str, Any] = {"headers": {"Origin": origin}, "cookies": cookies}
    assert get(f"{address}config", **sent).status_code == 403
    assert post(f"{address}gradio_api/upload", files=UPLOAD, **sent).status_code == 403
    for call in ("manage", "keep", "run", "models"):
        assert post(f"{address}gradio_api/call/{call}", **MODELS, **sent).status_code == 403


def test_a_request_that_hides_its_origin_is_refused_by_its_site(address: str, cookies: dict[str, str]) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = post(f"{address}gradio_api/call/models", headers=headers, cookies=cookies, **MODELS)
    assert answer.status_code == 403
    assert get(address, headers=headers, cookies=cookies).status_code == 200  # a link to the app


def test_the_own_page_and_programs_are_answered(address: str, cookies: dict[str, str]) -> None:
    host = urlsplit(address).netloc
    for headers in ({}, {"Origin": f"http://{host}"}, {"Origin": f"https://{host}", "Sec-Fetch-Site": "same-origin"}):
        assert post(f"{address}gradio_api/call/models", headers=headers, cookies=cookies, **MODELS).status_code == 200
        assert post(f"{address}gradio_api/upload", files=UPLOAD, headers=headers, cookies=cookies).status_code == 200


def test_a_refusal_repeats_no_page_text_as_html(address: str) -> None:
    answer = get(address, headers={"Host": "<script>alert(1)</script>"})
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_proxy_works_once_its_name_is_allowed() -> None:
    hosts = Hosts.of("127.0.0.1", allowed=["GSR.example.org"])
    with serve(create_app_state(FakeEngine()), hosts) as url:
        for headers in (
            {"Host": "gsr.example.org", "Origin": "https://gsr.example.org"},
            {"Origin": "https://gsr.example.org"},  # the proxy names the app itself in Host
        ):
            assert post(f"{url}gradio_api/call/models", headers=headers, **MODELS).status_code == 200
        headers = {"Host": "gsr.example.org", "Origin": "https://other.example"}
        assert post(f"{url}gradio_api/call/models", headers=headers, **MODELS).status_code == 403


def test_a_server_of_the_network_answers_to_addresses_and_own_names_only() -> None:
    hosts = Hosts.of("0.0.0.0")
    own = platform.node()
    for host in ("192.168.1.5", "0.0.0.0", "fe80::1", "localhost", "nas", own, f"{own}.local"):
        assert hosts.has(split_port(f"[{host}]:80" if ":" in host else f"{host}:80")), host
    for host in ("rebound.example", "192.168.1.5.nip.example", "", "gradio.live"):
        assert not hosts.has(host), host
    assert Hosts.of("gsr.example.org").has("gsr.example.org")


def test_a_shared_app_answers_to_its_link() -> None:
    hosts = Hosts.of("127.0.0.1", share=True)
    assert hosts.has("0123456789abcdef01.gradio.live")
    assert not hosts.has("gradio.live.example.org")
    assert hosts.accepts_page("https://0123.gradio.live", "0123.gradio.live")
    assert not hosts.accepts_page("https://4567.gradio.live", "0123.gradio.live")
    assert not hosts.accepts_page("http://[::1", "0123.gradio.live"), "no address at all"


def test_a_public_space_is_open_to_every_page_and_one_with_a_password_to_its_own() -> None:
    public = Hosts.of("0.0.0.0", space="me-gsr.hf.space")
    private = Hosts.of("0.0.0.0", space="me-gsr.hf.space", has_password=True)
    for hosts in (public, private):
        assert hosts.has("me-gsr.hf.space")
        assert hosts.has("my-own-domain.example")
        assert hosts.accepts_page("https://me-gsr.hf.space", "10.0.0.7:7860")
    assert public.accepts_page("https://blog.example", "me-gsr.hf.space")
    assert not private.accepts_page("https://blog.example", "me-gsr.hf.space")


def test_any_name_can_be_allowed() -> None:
    hosts = Hosts.of("127.0.0.1", allowed=["*"])
    assert hosts.has("anything.example")
    assert hosts.accepts_page("https://anything.example", "127.0.0.1:7860")
