"""The page (header and tabs), and the options that `launch` needs."""

from __future__ import annotations

import html
import os
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from gsr_app.ui import api
from gsr_app.ui.body_limits import BodyLimits
from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.ui.first import splash
from gsr_app.ui.hosts import HostCheck, Hosts
from gsr_app.ui.inputs import STATIC
from gsr_app.ui.request_errors import RequestErrors, shorten_tracebacks
from gsr_app.ui.startpage import StartPage
from gsr_app.ui.state import AppState
from gsr_app.ui.tabs import batch, compare, fit, models, plots, video
from gsr_app.ui.theme import stylesheet, theme
from gsr_app.ui.visits import VisitTracking

_HEAD = """
<div class="gsr-head"><h1 class="gsr-brand">GSR</h1><span class="gsr-headright">
<span class="gsr-chip">{device}</span>
<button type="button" id="gsr-actions" class="gsr-allactions" aria-haspopup="dialog" aria-label="Actions"
 title="Find an action by its name (Ctrl K)"><span>Actions</span><i>⋯</i></button>
<button type="button" id="gsr-dark" data-action title="Light or dark" aria-label="Light or dark">◐</button>
</span></div>
"""
_HEAD_JS = (
    (STATIC / "uploads.js").read_text(encoding="utf-8")
    + """
element.querySelector("#gsr-actions").addEventListener("click", () => globalThis.gsrPalette?.open());
element.querySelector("#gsr-dark").addEventListener("click", () => document.body.classList.toggle("dark"));
"""
)


def build(app: AppState) -> gr.Blocks:
    """The whole page over an engine."""
    shorten_tracebacks()
    # After each event Gradio summarizes the last ones, for a page that is switched off here.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "10")
    uploads = (600, round(2 * app.files.keep_s))  # looked for, and removed, after so many seconds
    with gr.Blocks(title="GSR", fill_width=True, analytics_enabled=False, delete_cache=uploads) as page:
        ScriptedHTML(
            _HEAD.format(device=html.escape(app.engine.describe())),
            js_on_load=_HEAD_JS,
            elem_id="gsr-head",
        )
        with gr.Tabs(elem_id="gsr-tabs"):
            with gr.Tab("Compare", id="compare"):
                compare.build(app)
            with gr.Tab("Batch", id="batch"):
                batch.build(app)
            with gr.Tab("Video", id="video"):
                video.build(app)
            with gr.Tab("Fit", id="fit"):
                fit.build(app)
            with gr.Tab("Plots", id="plots") as tab:
                plots.build(app, tab)
            with gr.Tab("Models", id="models"):
                models.build(app)
        api.build(app)
    page.queue(default_concurrency_limit=8, max_size=256)
    app.lists.add(lambda: setattr(page, "config", page.get_config_file()))
    # Gradio looks for new runs a thousand times a second, which takes a server without visitors a fifteenth of a core.
    page._queue.sleep_when_free = 0.01  # pyright: ignore[reportPrivateUsage]
    return page


def launch_options(app: AppState, hosts: Hosts | None = None) -> dict[str, Any]:
    """The options of `launch()`; in Gradio 6 theme and CSS are among them. hosts: None for those of this machine."""
    most_upload = max(64 << 20, app.limits.input_pixels * 8)
    checks = [
        Middleware(HostCheck, hosts=hosts or Hosts.of("127.0.0.1")),
        Middleware(RequestErrors),
        Middleware(BodyLimits, most_upload_bytes=most_upload),
        Middleware(VisitTracking, visits=app.visits),
        Middleware(StartPage, splash=splash(), refresh=app.lists.refresh),
    ]
    return {
        "app_kwargs": {"middleware": checks},
        "theme": theme(),
        "css": stylesheet(),
        "footer_links": [],
        "run_history": False,
        "max_threads": 160,  # one for each client that waits for a job
        "max_file_size": most_upload,
        "state_session_capacity": 200,  # about 250 kB each; the page does not need it
        "show_error": False,  # the text of an unexpected error may name files of the server
        "enable_monitoring": False,
        "pwa": False,
        # Gradio gives up if it cannot fetch its own page within 3 seconds, which a busy machine may not manage.
        "_frontend": False,
    }
