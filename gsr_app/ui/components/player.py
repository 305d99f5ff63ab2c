"""The player as a Gradio component: a state in, "example" out."""

from __future__ import annotations

from typing import Any

from gsr_app.ui.components.scripted import ScriptedHTML
from gsr_app.viewer import bundle
from gsr_app.viewer.contract import as_json
from gsr_app.viewer.player.contract import PlayerState

_ON_LOAD = """
modules.then(({ Player, el }) => {
  const player = new Player(element.querySelector(".gsr-mount"), { baseUrl: document.baseURI });
  player.setEmpty(
    el("p", {}, "Drop or choose a video, or"),
    el("button", { type: "button", className: "gsr-primary", onclick: () => trigger("example") }, "Try an example"),
  );
  document.addEventListener("gsr-leaving", (event) => player.isBusy && event.preventDefault());
  watch("value", () => player.setState(props.value));
  player.setState(props.value);
});
"""


class PlayerComponent(ScriptedHTML):
    """Shows a `PlayerState`. `example` is triggered by the button of the empty stage."""

    custom_events = ("example",)

    def __init__(self, value: PlayerState | None = None, **options: Any) -> None:
        fixed: dict[str, Any] = {
            "html_template": '<div class="gsr-mount"></div>',
            "js_on_load": bundle.start_script(bundle.PLAYER) + _ON_LOAD,
            "elem_id": "player",
        }
        super().__init__(value, **{**options, **fixed})

    def preprocess(self, payload: object) -> None:
        """The state comes from the server only: what the page sends back is ignored."""

    def postprocess(self, value: Any) -> Any:
        return as_json(value if isinstance(value, PlayerState) else PlayerState())

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "a state of the player"}


def css() -> str:
    return (bundle.PLAYER / "player.css").read_text(encoding="utf-8")
