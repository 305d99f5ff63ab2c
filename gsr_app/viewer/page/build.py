"""A page that enlarges pictures in the browser: one HTML file with swift's weights and the viewer inside.

It opens from a disk without a network; its policy forbids every connection. Served with the files of `space_files` it
can be installed as an app, which then works offline.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from typing import Any

from gsr_app import __version__
from gsr_app.models import registry
from gsr_app.viewer import bundle, encoder

TITLE = "GSR: enlarge a picture"

# Modules are blobs, as they lie in the page. Nothing may be fetched, embedded, submitted or framed.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:{self}; worker-src blob:{self}; "
    "style-src 'unsafe-inline'; img-src blob: data:; manifest-src data:{self}; connect-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)


def page_html(
    weights: bytes | None = None, *, picture: tuple[str, bytes] | None = None, installable: bool = False
) -> str:
    """The whole page. `picture` is the (name, bytes) of a file that is shown at first; an `installable` page expects
    the other files of `space_files` beside it."""
    data = page_data(weights, picture)
    policy = _POLICY.replace("{self}", " 'self'" if installable else "")
    links = '<link rel="manifest" href="manifest.webmanifest">' if installable else ""
    register = 'navigator.serviceWorker?.register("serviceworker.js");\n' if installable else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{bundle.data_url(_ICON.encode(), "image/svg+xml")}">{links}'
        f"<title>{TITLE}</title><style>{bundle.css()}{page_css()}</style></head>"
        '<body class="gsr-report"><main id="page"></main>'
        "<noscript>This page needs JavaScript.</noscript><script>\n"
        f"{bundle.start_script(bundle.PAGE)}"
        f"const data = {bundle.embed(data)};\n"
        'modules.then(({ showPage }) => showPage(document.querySelector("#page"), data));\n'
        f"{register}"
        "</script></body></html>\n"
    )


def page_data(weights: bytes | None = None, picture: tuple[str, bytes] | None = None) -> dict[str, Any]:
    """What the scripts of the page read."""
    return {
        "weights": _text_of(weights or encoder.encoder_weights()),
        "version": __version__,
        "licence": registry.method(encoder.METHOD).weights_licence,
        "picture": picture and {"name": picture[0], "data": _text_of(picture[1])},
    }


def encoder_file(weights: bytes | None = None) -> bytes:
    """What a page with a viewer of its own loads to run Swift: JSON of the scripts and the weights, compressed."""
    parts = {
        "modules": bundle.modules(bundle.PAGE, "browserswift.js"),
        "weights": _text_of(weights or encoder.encoder_weights()),
    }
    return gzip.compress(json.dumps(parts, separators=(",", ":")).encode(), 6, mtime=0)


def page_css() -> str:
    """The rules beside those of the viewer."""
    return _read("page.css")


def space_files(weights: bytes | None = None) -> dict[str, str]:
    """The files of a static Space, or of any other web server: name -> text."""
    page = page_html(weights, installable=True)
    icon = {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any maskable"}
    manifest = {
        "name": TITLE,
        "short_name": "GSR",
        "start_url": "./index.html",
        "scope": "./",
        "display": "standalone",
        "background_color": "#202225",
        "theme_color": "#202225",
        "icons": [icon],
    }
    version = hashlib.sha256(page.encode()).hexdigest()[:16]
    return {
        "index.html": page,
        "manifest.webmanifest": json.dumps(manifest, indent=1),
        "serviceworker.js": _read("serviceworker.js.txt").replace("VERSION", version),
        "icon.svg": _ICON,
        "README.md": _read("space.md").format(
            code="apache-2.0", weights=registry.method(encoder.METHOD).weights_licence
        ),
    }


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(name: str) -> str:
    return (bundle.PAGE / name).read_text(encoding="utf-8")


# Four Gaussians, drawn as ellipses.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="#202225"/>'
    '<g fill-opacity=".85"><ellipse cx="24" cy="25" rx="14" ry="8" transform="rotate(-35 24 25)" fill="#58b39a"/>'
    '<ellipse cx="41" cy="23" rx="8" ry="6" fill="#e8c98a"/><ellipse cx="40" cy="41" rx="14" ry="9" '
    'transform="rotate(30 40 41)" fill="#2f6f5e"/><ellipse cx="22" cy="43" rx="6" ry="9" fill="#c07f2f"/></g></svg>'
)
