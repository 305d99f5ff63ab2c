"""The viewer as a Gradio component: a scene in, requests for views and fields out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.ui.inputs import STATIC
from gsr_app.viewer import bundle
from gsr_app.viewer.contract import Album, Refused, Scene, as_json

# Runs once when the component is on the page. The names of the server functions are those of the methods that the
# constructor is given. The mode and the region of interest are kept in the address of the page.
_ON_LOAD = """
modules.then(({ Viewer, Album, Blind, copyText, el, unzipped }) => {
  let changed = () => {};
  let refused = () => {}; // a run
  let filled = (value) => value; // with what this browser has made of it
  let madeHere = () => null; // the field of an id, if this browser has made it
  const call = async (name, data) => {
    const answer = await server[name](data);
    if (answer?.error) throw new Error(answer.error);
    return answer?.url ? { ...answer, url: new URL(answer.url, document.baseURI).href } : answer;
  };
  const query = new URLSearchParams(location.search);
  const setParameter = (name, value) => {
    const parameters = new URLSearchParams(location.search);
    if (parameters.get(name) === (value || null)) return;
    if (value) parameters.set(name, value);
    else parameters.delete(name);
    const text = parameters.toString();
    history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
  };
  const viewer = new Viewer(element.querySelector(".gsr-mount"), {
    renderView: (id, r, [w, h]) => call("render_view", { field: id, ...r, out_width: w, out_height: h }),
    fieldUrl: async (id) => {
      if (id === "first") return { url: new URL(props.first.field, document.baseURI).href };
      return madeHere(id) ?? call("field_bytes", { field: id });
    },
    report: (pages, carry, encoder) => call("report", { pages, carry, encoder }),
    planReport: (pages) => call("report", { pages, plan: true }),
    figure: (pages, width) => call("figure", { pages, width }),
    table: (pages, form) => call("table", { pages, form }),
    notify: ({ mode }, viewer) => {
      const { scene, region } = viewer;
      changed();
      if (!scene.source || scene.source.key === "first" || viewer.blind) return;
      setParameter("mode", mode === "grid" ? "" : mode);
      setParameter("region", region ? [region.x, region.y, region.width, region.height].join() : "");
    },
  });
  const album = new Album(viewer);
  viewer.setEmpty(
    el("p", {}, "Drop, paste or choose a picture, or"),
    el("button", { type: "button", className: "gsr-primary", onclick: () => trigger("example") }, "Try an example"),
  );
  let requestedRegion = query.get("region");
  let requestedMode = query.get("mode");
__EXTRA__
  const update = () => {
    if (props.value?.refused) {
      viewer.refuse();
      return refused();
    }
    if (album.isLate(props.value)) return;
    if (props.first) leaveBlind();
    const isFirst = viewer.isIntroduction;
    viewer.isIntroduction = false;
    album.take(filled(props.value));
    if (props.first && !viewer.scene.source) showFirst();
    else if (isFirst && props.first) viewer.setMode(requestedMode ?? "grid");
    changed();
    const { source } = viewer.scene;
    if (!source || source.key === "first" || !requestedRegion) return;
    const [x, y, width, height] = requestedRegion.split(",").map(Number);
    requestedRegion = null;
    if (x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= source.width && y + height <= source.height) {
      viewer.addRegion({ x, y, width, height });
      viewer.showRegion(viewer.region);
    }
  };
  document.addEventListener("gsr-leaving", (event) => viewer.scene.running && event.preventDefault());
  watch("value", update);
  update();
  if (requestedMode && !viewer.isIntroduction) viewer.setMode(requestedMode);
});
"""


class ViewerComponent(ScriptedHTML):
    """Shows a `Scene` or an `Album`. `example` is triggered by the button of the empty stage.

    first: what the stage shows before there is a picture (`first_screen`), with the buttons of the Compare tab.
    """

    custom_events = ("example", "detail", "recall")

    def __init__(
        self,
        value: Scene | None = None,
        *,
        server: list[Callable[..., Any]],
        first: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        names = ("compare.js", "detail.js", "drop.js", "inbrowser.js")
        scripts = [(STATIC / name).read_text(encoding="utf-8") for name in names]
        extra = "\n".join([*scripts, "changed = refresh;"]) if first else ""
        options = {"elem_id": "viewer", **options}
        fixed: dict[str, Any] = {
            "html_template": '<div class="gsr-mount"></div>',
            "js_on_load": bundle.start_script() + _ON_LOAD.replace("__EXTRA__", extra),
            "first": first,
            "server_functions": server,
        }
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: object) -> None:
        """The scene comes from the server only: what the page sends back is ignored."""

    def postprocess(self, value: Any) -> Any:
        return as_json(value if isinstance(value, (Scene, Album, Refused)) else Scene())

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "a scene or an album of the viewer"}
