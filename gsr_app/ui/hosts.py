"""Which names the app answers to, and which other pages may send it requests.

A page on the Internet can let its own name point to the address of this app (DNS rebinding), or post to the app from
the browser of a user who can reach it. So the name in `Host` must be one that the app was started for, and a request
that a page sends (`Origin`) must come from the app's own page.

An address as name (192.168.1.5) is safe: it cannot be made to point elsewhere. So is a name without a dot, which the
Internet does not have.
"""

from __future__ import annotations

import ipaddress
import logging
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gsr_app.core.errors import printable

log = logging.getLogger("gsr")

_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
_SHARED = ".gradio.live"  # the names of the links that --share makes
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def is_loopback(server_name: str) -> bool:
    """Whether only programs of this machine can connect to a server of this address."""
    return server_name in _LOCAL_NAMES


@dataclass(frozen=True)
class Hosts:
    """Names that the app answers to. Its methods take a host without its port."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    takes_addresses: bool = False  # any address and any name without a dot, not only those of this machine
    takes_any: bool = False
    trusted: frozenset[str] = frozenset()  # pages of these hosts may send requests, too
    takes_any_page: bool = False

    @classmethod
    def of(
        cls,
        server_name: str,
        *,
        share: bool = False,
        allowed: Iterable[str] = (),  # further names, "*" for all: a proxy in front of the app
        space: str = "",  # the name of the Space that this is
        has_password: bool = False,
    ) -> Hosts:
        """The names of a server that listens at an address."""
        allowed = {name.lower() for name in allowed}
        trusted = allowed - {"*"} | ({space.lower()} if space else set())
        names = trusted | {"localhost", server_name.lower()}
        loopback = is_loopback(server_name)
        if not loopback:
            own = platform.node().lower()
            names |= {own, f"{own}.local"}
        return cls(
            frozenset(names), (_SHARED,) if share else (), not loopback, bool(space) or "*" in allowed,
            # Other people's pages may use a public Space, unless the browser would send a password along.
            frozenset(trusted), "*" in allowed or (bool(space) and not has_password),
        )  # fmt: skip

    def has(self, host: str) -> bool:
        """Whether a host is one of these."""
        if self.takes_any or host in self.names or host.endswith(self.suffixes or ("\0",)):
            return True
        address = _address_of(host)
        if address is None:
            return self.takes_addresses and bool(host) and "." not in host
        return self.takes_addresses or address.is_loopback

    def accepts_page(self, origin: str, host_and_port: str) -> bool:
        """Whether a page may send requests to this host: its own page, or one of a trusted host."""
        if self.takes_any_page:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:  # "http://[::1"
            return False
        if parts.scheme not in {"http", "https"}:  # "null": a page in a sandbox, or a file
            return False
        return parts.netloc.lower() == host_and_port.lower() or split_port(parts.netloc) in self.trusted


class HostCheck:
    """ASGI middleware that refuses requests for other hosts and from other pages."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] in {"http", "websocket"} else ""
        if not reason:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await refuse(send, 403, reason)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    def _refusal(self, scope: Scope) -> str:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        found = {value.decode("latin-1") for name, value in headers if name == b"host"}
        host_and_port = found.pop() if len(found) == 1 else ""
        host = split_port(host_and_port)
        if not self._hosts.has(host):
            self._tell(host)
            return f"This app does not answer to the name {printable(host)[:100]!r}."
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        sites = [value for name, value in headers if name == b"sec-fetch-site"]
        is_foreign = any(not self._hosts.accepts_page(origin, host_and_port) for origin in origins)
        # Browsers name the page's site also where they leave out its origin.
        if not origins and scope.get("method") not in _SAFE_METHODS and not self._hosts.takes_any_page:
            is_foreign = b"cross-site" in sites
        return "This app takes requests of its own page only." if is_foreign else ""

    def _tell(self, host: str) -> None:
        if len(self._told) < 20 and host not in self._told:
            self._told.add(host)
            log.warning(
                "Refused a request for the host %r. If a proxy in front of the app uses this name, allow it with "
                "--allowed-hosts or GSR_ALLOWED_HOSTS.", printable(host)[:100],
            )  # fmt: skip


async def refuse(send: Send, status: int, reason: str) -> None:
    """Answer a request with a line of text."""
    body = reason.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def split_port(host: str) -> str:
    """The host of "host:port", in lower case; without the brackets of an IPv6 address and without a final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
