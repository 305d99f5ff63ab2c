"""`gsr app`: reads the flags, builds the page, serves it."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib.util
import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gsr_app.core import settings
from gsr_app.core.errors import GsrError
from gsr_app.core.extras import needs_extra

T = TypeVar("T")
_DEVICES = "auto, cpu, cuda, cuda:1, mps"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # Defaults that the environment sets are read in `run`: help is shown whatever it holds.
    parser.add_argument(
        "--port", type=_checked(settings.parse_port, settings.PORT), help=f"{settings.PORT} (default: 7860)"
    )
    parser.add_argument(
        "--host",
        type=_checked(_read_host, "a host name or address"),
        help="who may connect: 127.0.0.1, this machine alone (default), or 0.0.0.0, other machines, too",
    )
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's servers")
    parser.add_argument("--device", type=_checked(_read_device, _DEVICES), default="auto", help=_DEVICES)
    parser.add_argument(
        "--weights-dir", type=_checked(_read_folder, "a folder that is there"),
        help="your own weight files, looked at first: GSR_WEIGHTS_DIR",
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
        help="names that the app answers to besides its own, such as that of a proxy in front of it; * for all",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Build the page and serve it until the program is stopped."""
    host: str = arguments.host or settings.server_name()
    port: int = arguments.port or settings.server_port()
    with needs_extra("app", "The app"):
        for name in ("gradio", "plotly"):  # looked for now and imported later, which takes seconds
            if not importlib.util.find_spec(name):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    _check_port(host, port)
    with contextlib.suppress(ImportError):
        import spaces  # ZeroGPU: must come before torch; absent everywhere else  # noqa: F401  # pyright: ignore
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    keep_files_apart()
    with needs_extra("app", "The app"):
        import gradio  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import plotly  # noqa: F401  # pyright: ignore
    from gsr_app.ui import layout
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.hosts import Hosts, is_loopback
    from gsr_app.ui.state import Limits, create_app_state, timings_file

    allowed: tuple[str, ...] = arguments.allowed_hosts or settings.allowed_hosts()
    most: int = arguments.max_pixels
    limits = Limits(
        input_pixels=max(1, min(most, 24_000_000) if most < 64_000_000 else most * 3 // 8), output_pixels=most
    )
    hosts = Hosts.of(
        host, share=arguments.share, allowed=allowed, space=settings.space_host(), has_password=bool(arguments.auth)
    )
    alone = is_loopback(host) and not (arguments.share or allowed or settings.space_host())
    if arguments.weights_dir:
        settings.set_weights_folder(arguments.weights_dir)
    engine = Engine(arguments.device)
    app = create_app_state(engine, limits, timings=timings_file(), may_manage=alone)
    page = layout.build(app)
    threading.Thread(target=engine.warm, daemon=True).start()
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=arguments.share,
            auth=arguments.auth,
            quiet=True,  # Gradio would tell to change the program for a public link
            prevent_thread_lock=True,
            **layout.launch_options(app, hosts),
        )
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    print(f"The app is at {page.local_url} (Ctrl-C stops it).", flush=True)
    page.block_thread()
    return 0


def keep_files_apart() -> None:
    """A folder of its own for what visitors send. Gradio names files by their content and removes those of an app that
    ends: in a folder that two apps share, the picture that a visitor of the other one has sent, too."""
    if settings.upload_folder() is None:
        folder = tempfile.mkdtemp(prefix="gsr-app-")
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _check_port(host: str, port: int) -> None:
    """Before anything is imported, which takes seconds."""
    try:
        # Ports that an earlier run has just left are free, as they are to the server.
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family):
            pass
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> GsrError:
    return GsrError(
        f"The app cannot listen at {host}, port {port}: {error.strerror or error}.",
        hint="Is another program using the port? Choose one with --port.",
    )


def _checked(read: Callable[[str], T], supported: str) -> Callable[[str], T]:
    """An argparse type whose error says what is supported; it does not repeat the value, which may be a password."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(f"this is not supported here; supported: {supported}") from None

    return checked


def _read_device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):  # whether the machine has it is seen with torch
        raise ValueError(text)
    return text


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
