"""The app: `python app.py`, or a Space. Parses flags, builds the page, serves it."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import spaces  # ZeroGPU: must come before torch; absent everywhere else  # noqa: F401  # pyright: ignore

import argparse
import os
import sys
import threading
from pathlib import Path

from gsr_app.core import settings
from gsr_app.core.errors import GsrError


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Super-resolve pictures and compare methods, in the browser.")
    parser.add_argument("--port", type=int, default=settings.server_port())
    parser.add_argument("--host", default=settings.server_name(), help="who may connect; 0.0.0.0 for all")
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's servers")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--weights-dir", type=Path, help="your own weight files, looked at first")
    parser.add_argument("--max-pixels", type=float, default=64e6, help="the largest result, in pixels (default: 64e6)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="ask for this name and password")
    parser.add_argument(
        "--allowed-hosts", metavar="NAMES", type=_read_hosts, default=settings.allowed_hosts(),
        help="names that the app answers to besides its own, such as that of a proxy in front of it; * for all",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _read_hosts(text: str) -> tuple[str, ...]:
    try:
        return settings.parse_hosts(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not supported: {settings.HOSTS}") from None


def main(arguments: list[str] | None = None) -> None:
    try:
        settings.check()
        options = parse(arguments)
    except GsrError as error:
        sys.exit(f"gsr: {error}\n     {error.hint}")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from gsr_app.ui import layout
    from gsr_app.ui.engine import Engine
    from gsr_app.ui.hosts import Hosts, is_loopback
    from gsr_app.ui.state import Limits, create_app_state, timings_file

    most = int(options.max_pixels)
    limits = Limits(
        input_pixels=max(1, min(most, 24_000_000) if most < 64_000_000 else most * 3 // 8), output_pixels=most
    )
    hosts = Hosts.of(
        options.host, share=options.share, allowed=options.allowed_hosts, space=settings.space_host(),
        has_password=bool(options.auth),
    )  # fmt: skip
    alone = is_loopback(options.host) and not (options.share or options.allowed_hosts or settings.space_host())
    engine = Engine(options.device, options.weights_dir)
    threading.Thread(target=engine.warm, daemon=True).start()
    app = create_app_state(engine, limits, timings=timings_file(), may_manage=alone)
    layout.build(app).launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        auth=tuple(options.auth.split(":", 1)) if options.auth else None,
        **layout.launch_options(app, hosts),
    )


if __name__ == "__main__":
    main()
