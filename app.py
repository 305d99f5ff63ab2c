"""The app: `python app.py`, or a Space. Parses flags, builds the page, serves it."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import spaces  # ZeroGPU: must come before torch; absent everywhere else  # noqa: F401  # pyright: ignore

import argparse
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gsr_app.core import settings
from gsr_app.core.errors import GsrError

T = TypeVar("T")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Super-resolve pictures and compare methods, in the browser.")
    parser.add_argument(
        "--port", type=_checked(settings.parse_port, settings.PORT), default=settings.server_port(), help=settings.PORT
    )
    parser.add_argument(
        "--host", type=_checked(_read_host, "a host name or address"), default=settings.server_name(),
        help="who may connect; 0.0.0.0 for all",
    )  # fmt: skip
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's servers")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--weights-dir", type=_checked(_read_folder, "a folder that is there"),
        help="your own weight files, looked at first",
    )  # fmt: skip
    parser.add_argument(
        "--max-pixels", type=_checked(settings.parse_pixels, settings.PIXELS), default=64_000_000,
        help="the largest result, in pixels (default: 64M)",
    )  # fmt: skip
    parser.add_argument(
        "--auth", metavar="NAME:PASSWORD", type=_checked(_read_auth, "NAME:PASSWORD, neither of them empty"),
        help="ask for this name and password",
    )  # fmt: skip
    parser.add_argument(
        "--allowed-hosts", metavar="NAMES", type=_checked(settings.parse_hosts, settings.HOSTS),
        default=settings.allowed_hosts(),
        help="names that the app answers to besides its own, such as that of a proxy in front of it; * for all",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _checked(read: Callable[[str], T], supported: str) -> Callable[[str], T]:
    """An argparse type whose error says what is supported; it does not repeat the value, which may be a password."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(f"this is not supported here; supported: {supported}") from None

    return checked


def _read_host(text: str) -> str:
    if not text.strip():  # of a variable that is not set
        raise ValueError(text)
    return text.strip()


def _read_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError(text)
    return path


def _read_auth(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (colon and name.strip() and password):
        raise ValueError
    return name.strip(), password


def main(arguments: list[str] | None = None) -> None:
    try:
        settings.check()
        serve(parse(arguments))
    except GsrError as error:
        sys.exit(f"gsr: {error}\n     {error.hint}".rstrip())


def serve(options: argparse.Namespace) -> None:
    """Build the page and serve it until the program is stopped."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from gsr_app.ui import layout
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.hosts import Hosts, is_loopback
    from gsr_app.ui.state import Limits, create_app_state, timings_file

    most: int = options.max_pixels
    limits = Limits(
        input_pixels=max(1, min(most, 24_000_000) if most < 64_000_000 else most * 3 // 8), output_pixels=most
    )
    hosts = Hosts.of(
        options.host, share=options.share, allowed=options.allowed_hosts, space=settings.space_host(),
        has_password=bool(options.auth),
    )  # fmt: skip
    alone = is_loopback(options.host) and not (options.share or options.allowed_hosts or settings.space_host())
    engine = Engine(options.device, options.weights_dir)
    app = create_app_state(engine, limits, timings=timings_file(), may_manage=alone)
    page = layout.build(app)
    threading.Thread(target=engine.warm, daemon=True).start()
    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            share=options.share,
            auth=options.auth,
            **layout.launch_options(app, hosts),
        )
    except OSError as error:
        raise GsrError(
            f"The app cannot listen at {options.host}, port {options.port}: {error}",
            hint="Is another program using the port? Choose one with --port.",
        ) from error


if __name__ == "__main__":
    main()
