"""The Compare tab: picture, methods and scale on the left; the results on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from gsr_app.core.errors import GsrError
from gsr_app.core.types import Scale
from gsr_app.ui import albums, compare, present, rail
from gsr_app.ui.checked import region_of
from gsr_app.ui.components.viewer import ViewerComponent
from gsr_app.ui.filelist import FileList
from gsr_app.ui.first import first_screen
from gsr_app.ui.inputs import ExampleStrip, MethodPicker, PictureInput
from gsr_app.ui.state import AppState
from gsr_app.ui.views import server_functions
from gsr_app.viewer import bundle, comparison
from gsr_app.viewer.comparison import CompareRequest
from gsr_app.viewer.contract import Album, Refused, Scene, as_json
from gsr_app.viewer.results import name_result

_STOP = "() => { document.querySelector('#viewer .gsr-viewer')?.viewer.stop(); }"
_SCALE_CHANGED = "() => { document.dispatchEvent(new Event('gsr-scale')); }"
# The page itself turns sliders into text and text into the slider's value: a run that is begun at once has what they
# say, and no late answer changes what was typed since. `undefined` leaves a value as it is.
_TEXT_OF_SLIDERS = """(x, y, both) => {
  const text = (value) => String(Number(Number(value ?? 4).toPrecision(6))); // without the digits of a binary fraction
  return both ? `${text(y)}x${text(x)}` : text(x); // vertical first
}"""
_AXES = f"(x, y, both) => [{{ __type__: 'update', visible: both }}, ({_TEXT_OF_SLIDERS})(x, y, both)]"
_SLIDER_OF_TEXT = r"""(text) => {
  const form = text.toLowerCase().replaceAll("×", "x").replace(/\s/g, "").replace(/(\d),(?=\d{1,2}(?!\d))/g, "$1.");
  const number = (one) => (/^(\d+\.?\d*|\.\d+)$/.test(one) ? Number(one) : NaN);
  const factors = form.replace(/^x|x$/, "").split("x").map(number);
  return factors.every((one) => one === factors[0] && one >= 1 && one <= 30) ? factors[0] : undefined;
}"""
_TAKE_LARGEST = "(label) => { const [, factor] = label.split('×'); return [factor, Number(factor)]; }"
# The settings that the notice is about are noted, so that it stays until they are others.
_NOTE = "(picture, ...rest) => { document.gsrNoted = JSON.stringify([picture?.path, ...rest]); }"
_FORGET = f"""(...asked) => {{
  const before = document.gsrNoted;
  ({_NOTE})(...asked);
  return document.gsrNoted === before ? undefined : "";
}}"""
_STRENGTH_MOVED = "(picture) => { document.gsrStrengthOf = picture?.path; }"
_NEEDED_STRENGTH = """(needed, picture) =>
  needed === null || document.gsrStrengthOf === picture?.path ? undefined : needed"""
# What is recalled takes the place of what the page began with, and of nothing that was chosen since.
_RECALLED = f"""(path, found, picture, methods, scale, first) => {{
  const isScale = found.scale && scale === "4";
  const isStage = !picture || !found.picture;
  return [
    picture || !path ? undefined : path,
    found.methods.length && JSON.stringify(methods) === JSON.stringify(first) ? found.methods : undefined,
    isScale ? found.scale : undefined,
    isScale ? ({_SLIDER_OF_TEXT})(found.scale) : undefined,
    isStage ? (found.stage ?? undefined) : undefined,
  ];
}}"""
_FIRST_METHODS = ("swift", "bicubic")
_SEVERAL_HERE = rail.note("Several pictures are made on the server.")
_RESULTS_ALONE = rail.note("Without a picture the results were compared alone.")


def build(app: AppState) -> None:
    """Lay out the tab and connect its events."""
    engine = app.engine

    def describe_methods() -> list[dict[str, Any]]:
        first = {one: place for place, one in enumerate(_FIRST_METHODS)}
        ordered = sorted(engine.methods, key=lambda method: first.get(method.id, len(first)))
        return [present.method_card(method, engine.availability(method)) for method in ordered]

    cards = describe_methods()
    here = [card["id"] for card in cards if card["state"] == "here"]
    chosen = [one for one in _FIRST_METHODS if one in here] or here[:2]

    with gr.Row(elem_id="compare"):
        with gr.Column(elem_id="rail"):
            rail.heading("Image")
            picture = PictureInput(
                elem_id="picture", show_label=False, sources=["upload", "clipboard", "webcam"],
                placeholder="Drop, paste or choose a picture", container=False,
            )  # fmt: skip
            strip = ExampleStrip(_thumbnails(app.examples), elem_id="examples")
            facts = gr.HTML(elem_id="facts", padding=False, apply_default_css=False)
            others = FileList(
                text="Add more pictures", title="Compare the same methods on several pictures", named=False,
                most=albums.MOST_PICTURES - 1, elem_id="morepictures",
            )  # fmt: skip
            rail.heading("Methods")
            methods = MethodPicker(chosen, cards=cards)
            app.lists.add(lambda: methods.props.update(cards=describe_methods()))
            strength = gr.Slider(
                0, 1, 1, step=0.05, label="Strength of Swift photo", elem_id="strength",
                buttons=[], visible=False,
            )  # fmt: skip
            results = FileList(
                text="Add results made elsewhere", named=True,
                title="Pictures that other programs made, compared like methods. One named GT, HR or reference is what "
                "results are measured against", most=albums.MOST_RESULTS, elem_id="results",
            )  # fmt: skip
            rail.heading("Scale")
            with gr.Row(elem_id="scalerow"):
                slider = gr.Slider(
                    1, 30, 4, step=0.1, label="Scale", show_label=False, container=False, elem_id="scale", buttons=[]
                )
                scale = gr.Textbox(
                    "4", label="Scale: a factor, one per axis, or a size", show_label=False, container=False,
                    elem_id="scaletext", max_lines=1, max_length=40,
                )  # fmt: skip
            slider_y = gr.Slider(
                1, 30, 4, step=0.1, label="vertical", container=False, elem_id="scaley", buttons=[], visible=False
            )
            forecast = gr.HTML(elem_id="forecast", padding=False, apply_default_css=False)
            largest = gr.Button("", size="sm", elem_id="largest", visible=False)
            with gr.Accordion("Advanced", open=False, elem_id="more-options"):
                round_trip = gr.Checkbox(
                    label="Round trip: shrink the picture first, then compare with it",
                    container=False,
                    elem_id="roundtrip",
                )
                reference = PictureInput(
                    elem_id="reference", show_label=False, sources=["upload", "clipboard"],
                    placeholder="A reference of the result's size", container=False,
                )  # fmt: skip
                protocol = gr.Dropdown(
                    list(comparison.protocol_names()),
                    value=comparison.protocol_names()[0],
                    label="How scores are measured",
                    allow_custom_value=True,
                    elem_id="protocol",
                )
                axes = gr.Checkbox(label="Separate scales for height and width", container=False, elem_id="axes")
                in_browser = gr.Checkbox(label="Run Swift in this browser", container=False, elem_id="inbrowser")
                repeats = gr.Slider(
                    1, 15, 1, step=1, label="Runs per method (median is shown)", elem_id="repeats", buttons=[]
                )
            with gr.Column(elem_id="railfoot"):
                notice = gr.HTML(elem_id="notice", padding=False, apply_default_css=False)
                rail.settings_button()
                run = gr.Button("Run", variant="primary", elem_id="run")
                stop = gr.Button("Stop", variant="secondary", elem_id="stop", visible=False)
        with gr.Column(elem_id="stagecolumn"):
            viewer = ViewerComponent(
                server=server_functions(app), first=first_screen(app.files.root.with_name("gsr-first"))
            )

    # Answers that the page takes where nothing else was chosen meanwhile.
    needed_strength, ended = (gr.Number(visible=False) for _ in range(2))
    recalled_picture, recalled = PictureInput(visible=False), gr.JSON(visible=False)
    first = gr.JSON(chosen, visible=False)

    # ---- events

    inputs: list[Any] = [
        picture, methods, scale, reference, round_trip, protocol, repeats, others, results, strength, in_browser,
    ]  # fmt: skip
    asked = [picture, methods, scale, round_trip, protocol]

    def start(
        path: Any, ids: Any, text: Any, ref: Any, trip: Any, name: Any, runs: Any, more: Any, made: Any, much: Any,
        here: Any, request: gr.Request,
    ) -> Iterator[Any]:  # fmt: skip
        chosen = compare.at_strength(ids, much)
        wanted = CompareRequest(path, chosen, str(text), ref, bool(trip), str(name), _whole(runs))
        over = "" if path or more else _RESULTS_ALONE
        if here and more:
            over = _SEVERAL_HERE
        yield from show(lambda: albums.requests_of(wanted, more, made), over, request, in_browser=bool(here))

    def try_detail(
        path: Any, ids: Any, text: Any, runs: Any, much: Any, event: gr.EventData, request: gr.Request
    ) -> Iterator[Any]:
        def wanted() -> list[CompareRequest]:
            detail = region_of(event._data)  # pyright: ignore
            chosen = compare.at_strength(ids, much)
            return [CompareRequest(path, chosen, str(text), repeats=_whole(runs), detail=detail)]

        yield from show(wanted, "", request)

    def show(
        wanted: Callable[[], list[CompareRequest]], over: str, request: gr.Request, *, in_browser: bool = False
    ) -> Iterator[Any]:
        visitor = rail.visitor(request)
        begun = False
        try:
            shown = None
            for shown in rail.while_heard(app, request, _shown(app, visitor, wanted(), in_browser=in_browser)):
                yield shown, *([gr.skip()] * 3 if begun else rail.begun())
                begun = True
            chosen = app.runs.release("compare", visitor)
            yield chosen if chosen and not _has_results(shown) else shown, *rail.over(over)
        except GsrError as error:
            yield gr.skip() if begun else Refused(), *rail.over(rail.error_note(error))
        finally:
            app.runs.release("compare", visitor)

    def halt(request: gr.Request) -> None:
        app.runs.stop("compare", rail.visitor(request))

    streaming = rail.streaming([viewer, run, stop, notice])
    for pressed, name in ((run.click, "note_run"), (viewer.detail, "note_detail")):
        pressed(None, asked, js=_NOTE, api_name=name, **rail.QUIET)
    running = run.click(start, inputs, api_name="run", **streaming)
    example = viewer.example(lambda: app.first_example, outputs=picture, api_name="example", **rail.QUIET)
    running_example = example.then(start, inputs, api_name="run_example", **streaming)
    running_detail = viewer.detail(
        try_detail, [picture, methods, scale, repeats, strength], api_name="try_detail", **streaming
    )
    for event, name in ((running, "run"), (running_example, "run_example"), (running_detail, "detail")):
        rail.come_back(app, "compare", event, [run, stop], name)
    # The run ends itself. What Gradio cancels by its own means may be the run that began directly after it.
    stop.click(halt, js=_STOP, api_name="stop", **rail.STOPPING)

    def fill_names(path: Any, more: Any, made: Any) -> Any:
        """The names of results that nobody has typed: by their files, without the picture's."""
        stems = [Path(one).stem for one in (path, *(other.path for other in more)) if one]
        return [
            one if one.is_own_name else replace(one, name=name_result(one.path.stem, stems)) for one in made
        ]  # fmt: skip

    def pick(name: Any) -> str | None:
        return _example_path(app.examples, name)

    def from_link(request: gr.Request) -> tuple[Any, Any, Any, Any]:
        return _from_link(app.examples, request)

    def recall(event: gr.EventData) -> tuple[str | None, dict[str, Any]]:
        return _recall(app, event._data)  # pyright: ignore

    viewer.recall(recall, outputs=[recalled_picture, recalled], api_name="recall", **rail.QUIET).success(
        None, [recalled_picture, recalled, picture, methods, scale, first],
        [picture, methods, scale, slider, viewer], js=_RECALLED, api_name="recalled", **rail.QUIET,
    )  # fmt: skip
    strip.pick(pick, strip, picture, api_name="pick_example", **rail.LATEST)
    for one, name in ((slider, "scale"), (slider_y, "scale_y")):
        one.input(None, [slider, slider_y, axes], scale, js=_TEXT_OF_SLIDERS, api_name=name, **rail.QUIET)
    axes.change(None, [slider, slider_y, axes], [slider_y, scale], js=_AXES, api_name="axes", **rail.QUIET)
    scale.input(None, scale, slider, js=_SLIDER_OF_TEXT, api_name="scale_text", **rail.QUIET)

    def show_picture(path: Any, request: gr.Request) -> tuple[Any, str, Any]:
        """The new picture on the stage, in place of the results of another; its facts; the strength that it needs.
        During a run it waits, and comes if the run is stopped before there is a result."""

        def on_stage(scene: Scene) -> Any:
            return gr.skip() if app.runs.hold("compare", rail.visitor(request), scene) else scene

        if not path:
            return on_stage(Scene()), "", None
        try:
            scene, wear = compare.preview(app, path)
        except GsrError as error:
            return on_stage(Scene()), rail.error_note(error), None
        assert scene.source is not None
        told = f"{scene.source.width} × {scene.source.height} · {present.wear_text(wear, app.engine.methods)}"
        return on_stage(scene), rail.note(told, name=scene.source.name), round(wear.strength * 20) / 20

    def foresee(path: Any, ids: Any, text: Any, trip: Any, name: Any) -> tuple[str, Any]:
        """What comes out of a run and when, or why nothing does and the largest scale that is possible."""
        try:
            size = comparison.picture_size(path) if path else None
        except GsrError:
            return "", gr.update(visible=False)  # shown under the picture
        wanted = None
        try:
            wanted = Scale.parse(str(text), size) if size or "x" not in str(text) else None
            if size and wanted and not trip:
                comparison.check_output(size, wanted, app.limits)
            shrunk_by = str(name) if trip else ""
            told = present.forecast(size, wanted, list(ids or ()), app.estimates, round_trip=shrunk_by)
            return rail.note(told), gr.update(visible=False)
        except GsrError as error:
            possible = (
                0.0 if size is None or wanted is None or trip else present.largest_scale(size, app.limits.output_pixels)
            )
            offer = gr.update(visible=possible > 0, value=f"Largest possible: ×{possible:g}")
            return rail.error_note(error), offer

    def predict(path: Any, ids: Any, text: Any, trip: Any, name: Any) -> tuple[str, Any, Any]:
        blends = any(compare.has_strength(one) for one in ids or ())
        return *foresee(path, ids, text, trip, name), gr.update(visible=blends)

    shown = picture.change(show_picture, picture, [viewer, facts, needed_strength], api_name="facts", **rail.LATEST)
    strength.input(None, picture, js=_STRENGTH_MOVED, api_name="strength_moved", **rail.QUIET)
    shown.then(
        None, [needed_strength, picture], strength, js=_NEEDED_STRENGTH, api_name="needed_strength", **rail.QUIET
    )  # fmt: skip
    naming: list[Any] = [fill_names, [picture, others, results], results]
    shown.then(*naming, api_name="name_results", **rail.LATEST)
    gr.on([results.edit, others.edit], *naming, api_name="name_edited", **rail.LATEST)
    # What was said of a run, or of a refused one, does not hold for other settings. The end of a run is among these, so
    # that one event alone writes the forecast, which has learned.
    changed = gr.on(
        [facts.change, methods.change, scale.change, round_trip.change, protocol.change, ended.change], None, asked,
        js=_FORGET, outputs=notice, api_name="forget_notice", **rail.QUIET,
    )  # fmt: skip
    changed.then(predict, asked, [forecast, largest, strength], api_name="forecast", **rail.LATEST)
    scale.change(None, js=_SCALE_CHANGED, api_name="scale_shown", **rail.QUIET)
    largest.click(None, largest, [scale, slider], js=_TAKE_LARGEST, api_name="largest", **rail.QUIET)
    for event, name in ((running, "learned"), (running_example, "learned_example")):
        event.then(None, None, ended, js="() => Date.now()", api_name=name, **rail.QUIET)
    gr.context.Context.root_block.load(  # type: ignore[union-attr]
        from_link, outputs=[picture, methods, scale, slider], api_name="permalink", **rail.QUIET
    )


def _shown(app: AppState, visitor: str, requests: list[CompareRequest], *, in_browser: bool) -> Iterator[Scene | Album]:
    if len(requests) > 1:
        yield from albums.run_all(app, visitor, requests)
        return
    job = compare.prepare(app, requests[0])
    if job.has_source:
        app.pictures.put(str(requests[0].image), job.key)
    with app.runs.stoppable("compare", visitor) as run:
        for scene in compare.compare(app, visitor, job, in_browser=in_browser):
            if not scene.running:
                run.end()
            yield scene


# ---- helpers ---------------------------------------------------------------------------------------------------


def _has_results(shown: Scene | Album | None) -> bool:
    """Whether a run that is over has more to show than that it was stopped."""
    scenes = [page.scene for page in shown.pages] if isinstance(shown, Album) else [shown] if shown else []
    return any(pane.kind == "method" and pane.state != "cancelled" for scene in scenes for pane in scene.panes)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 1


def _thumbnails(examples: Mapping[str, Path]) -> list[dict[str, str]]:
    """The examples as small pictures that the page embeds."""
    from io import BytesIO

    from PIL import Image

    thumbnails: list[dict[str, str]] = []
    for name, path in examples.items():
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((112, 80))
            buffer = BytesIO()
            small.save(buffer, "JPEG", quality=80)
        thumbnails.append({"name": name, "url": bundle.data_url(buffer.getvalue(), "image/jpeg")})
    return thumbnails


def _example_path(examples: Mapping[str, Path], name: Any) -> str | None:
    path = examples.get(name) if isinstance(name, str) else None
    return str(path) if path else None


def _recall(app: AppState, data: object) -> tuple[str | None, dict[str, Any]]:
    """What a page had before it was loaded again, or what a link names: as far as it is still kept.

    data: {picture, run, methods, scale}: the key of a picture and the id of a run, which only those know who have seen
    them; nothing in it has been checked.
    """
    asked: dict[str, Any] = data if isinstance(data, dict) else {}
    path = app.pictures.find(asked.get("picture"))
    known = {method.id for method in app.engine.methods}
    wanted = asked.get("methods")
    ids = [one for one in wanted if one in known][: comparison.MOST_METHODS] if isinstance(wanted, list) else []
    stage = app.albums.find(asked.get("run")) or app.scenes.find(asked.get("run"))
    if isinstance(stage, Album):
        runs = [page.scene.run for page in stage.pages]
        stage = replace(stage, number=runs.index(str(asked.get("run"))))
    return path if path and Path(path).is_file() else None, {
        "picture": bool(asked.get("picture")),
        "methods": ids,
        "scale": str(asked.get("scale") or "")[:40],
        "stage": as_json(stage) if stage else None,
    }


def _from_link(examples: Mapping[str, Path], request: gr.Request) -> tuple[Any, Any, Any, Any]:
    """The inputs that the page's address names: ?example=chelsea&method=swift,bicubic&scale=4."""
    query = request.query_params
    path = examples.get(query.get("example", ""))
    ids = [one for one in query.get("method", "").split(",") if one][: comparison.MOST_METHODS]
    text = query.get("scale", "")[:40]
    try:
        factor = Scale.parse(text) if text else None
    except GsrError:
        factor, text = None, ""
    return (
        str(path) if path else gr.skip(),
        ids or gr.skip(),
        text or gr.skip(),
        factor.x if factor else gr.skip(),
    )
