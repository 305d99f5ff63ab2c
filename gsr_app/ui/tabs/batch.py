"""The Batch tab: many pictures, one method and one scale on the left; the list of files on the right."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.ui import batch, rail
from gsr_app.ui.batch import Batch, KeptBatch
from gsr_app.ui.inputs import BatchTable
from gsr_app.ui.state import AppState
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.contract import as_json

# What is recalled takes the place of what the page began with, and of nothing that was chosen since.
_RECALLED = """(paths, found, files, method, scale, kind, first) => {
  if (!found || files?.length) return [];
  const settings = [method, scale, kind].map((one, i) => (one === first[i] ? found.settings[i] : undefined));
  return [paths ?? undefined, ...settings, found.table];
}"""


def build(app: AppState) -> None:
    """Lay out the tab and connect its events."""
    engine = app.engine
    begun: BoundedStore[tuple[str, ...]] = BoundedStore(500)  # the pictures of each visitor's last run
    keys: BoundedStore[str] = BoundedStore(500)  # of each visitor's batch
    kept: BoundedStore[KeptBatch] = BoundedStore(500)
    with gr.Row(elem_id="batch"):
        with gr.Column(elem_id="batchrail"):
            rail.heading("Pictures")
            files = gr.File(
                show_label=False, container=False, type="filepath", file_count="multiple", elem_id="batchfiles",
                height=132,
            )  # fmt: skip
            gr.HTML(rail.note(str(batch.limits(app))), padding=False, apply_default_css=False)
            rail.heading("Method")
            method = rail.method_list(app, lambda: engine.methods, "batchmethod")
            rail.heading("Scale")
            scale = gr.Textbox(
                "4", label="Scale", show_label=False, container=False, max_lines=1, max_length=40,
                elem_id="batchscale", placeholder="4, 2x3.5, 1920x",
            )  # fmt: skip
            forecast = gr.HTML(elem_id="batchforecast", padding=False, apply_default_css=False)
            rail.heading("File format")
            kind = gr.Dropdown(
                [(text, suffix) for suffix, text in batch.FORMATS.items()], value="", label="File format",
                show_label=False, container=False, elem_id="batchformat",
            )  # fmt: skip
            with gr.Column(elem_id="batchfoot"):
                notice = gr.HTML(elem_id="batchnotice", padding=False, apply_default_css=False)
                rail.settings_button()
                run = gr.Button("Run", variant="primary", elem_id="batchrun")
                stop = gr.Button("Stop", variant="secondary", elem_id="batchstop", visible=False)
        with gr.Column(elem_id="batchstage"):
            table = BatchTable()

    # Answers that the page takes where nothing else was chosen meanwhile.
    recalled_files = gr.File(visible=False, file_count="multiple")
    recalled, first = gr.JSON(visible=False), gr.JSON([method.value, scale.value, kind.value], visible=False)

    def keep(made: Batch, paths: Any, chosen: Any, text: Any, suffix: Any, visitor: str) -> Batch:
        """The batch, which can be recalled by its key."""
        keys.change(visitor, lambda key: key or secrets.token_urlsafe(18))
        made = replace(made, key=keys.get(visitor) if made.rows else "")
        if made.key:
            kept.put(KeptBatch(made, tuple(paths), str(chosen), str(text), str(suffix)), made.key)
        else:
            kept.drop(keys.get(visitor))
        return made

    def begin(paths: Any, chosen: Any, text: Any, suffix: Any, request: gr.Request) -> Iterator[Any]:
        shown = None
        visitor = rail.visitor(request)
        try:
            job = batch.prepare(app, paths, chosen, text, suffix)
            begun.put(tuple(paths), visitor)
            for made in rail.while_heard(app, request, batch.watch(app, visitor, job)):
                buttons = [gr.skip()] * 3 if shown else rail.begun()
                shown = keep(made, paths, chosen, text, suffix, visitor) if made else shown
                yield shown if made else gr.skip(), *buttons
            now = kept.find(keys.find(visitor))  # this run, or the list that was changed since
            yield now.batch if now else gr.skip(), *rail.over("")
        except GsrError as error:
            yield (
                replace(shown, running=False) if shown else gr.skip(),
                *rail.over(rail.error_note(error)),
            )

    def halt(request: gr.Request) -> None:
        app.runs.stop("batch", rail.visitor(request))

    def look(paths: Any, text: Any, chosen: Any, suffix: Any, request: gr.Request) -> tuple[Any, str]:
        """The list before a run, and what comes out of it. The results of a run stay while its pictures do, and the
        list of one that goes on whatever the pictures are."""
        found = batch.look(app, paths, text)
        visitor = rail.visitor(request)
        if app.runs.is_running("batch", visitor):
            begun.put(tuple(paths or ()), visitor)
            shown = gr.skip()
        else:
            is_of_run = begun.find(visitor) == tuple(paths or ())
            before = kept.find(keys.find(visitor)) if is_of_run else None
            made = keep(before.batch if before else found, paths or (), chosen, text, suffix, visitor)
            shown = gr.skip() if is_of_run else made
        try:
            return shown, rail.note(batch.forecast(app, found, str(text), str(chosen)))
        except GsrError as error:
            return shown, rail.error_note(error)

    def recall(paths: Any, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """What a page had before it was loaded again, as far as it is still kept: {key}, which has not been checked."""
        data = event._data  # pyright: ignore
        found = kept.find(data.get("key") if isinstance(data, dict) else None)
        if found is None or paths:
            return None, None
        # A tab that was duplicated goes on by itself.
        left = replace(batch.as_left(found.batch), key=secrets.token_urlsafe(18))
        visitor = rail.visitor(request)
        keys.put(left.key, visitor)
        kept.put(replace(found, batch=left), left.key)
        if left.run:
            begun.put(found.paths, visitor)
        are_there = all(Path(path).is_file() for path in found.paths)
        settings = [found.method, found.scale, found.suffix]
        return list(found.paths) if are_there else None, {"settings": settings, "table": as_json(left)}

    table.recall(recall, files, [recalled_files, recalled], api_name="batch_recall", **rail.QUIET).success(
        None, [recalled_files, recalled, files, method, scale, kind, first], [files, method, scale, kind, table],
        js=_RECALLED, api_name="batch_recalled", **rail.QUIET,
    )  # fmt: skip
    streaming = rail.streaming([table, run, stop, notice])
    started = run.click(begin, [files, method, scale, kind], api_name="batch_run", **streaming)
    rail.come_back(app, "batch", started, [run, stop], "batch")
    # The run ends itself when it is cancelled: what is finished by then can be saved.
    stop.click(halt, api_name="batch_stop", **rail.STOPPING)
    gr.on(
        [files.change, scale.change, method.change, kind.change], look, [files, scale, method, kind],
        [table, forecast],
        api_name="batch_look", **rail.LATEST,
    )  # fmt: skip
