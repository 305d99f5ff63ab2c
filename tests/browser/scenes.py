"""Small scenes with known pixels, and the plain page that shows one."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gsr_app.viewer import bundle
from gsr_app.viewer.contract import Frame, PaneSpec, Scene, Source, as_json


def noise(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def data_url(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def pane(name: str, pixels: np.ndarray, span: tuple[float, float], **more: Any) -> PaneSpec:
    colours = {"a": "#2f6f5e", "b": "#a1662f", "c": "#5f87a6"}
    spec: dict[str, Any] = {
        "id": name,
        "name": name.upper(),
        "colour": colours.get(name, "#888888"),
        "state": "done",
        "url": data_url(pixels),
        "alpha": pixels.shape[2] == 4,
        "span": span,
    }
    return PaneSpec(**{**spec, **more})


def scene_of(panes: list[PaneSpec], source: tuple[int, int], scale: float, **more: Any) -> dict[str, Any]:
    height, width = source
    frame = Frame(width=int(width * scale), height=int(height * scale))
    return as_json(
        Scene(tuple(panes), Source("s", "s.png", width, height), frame, {"x": scale, "y": scale}, running=False, **more)
    )


def page_with(scene: dict[str, Any], services: str = "{}", *, dark: bool = False) -> str:
    """A page that shows a scene in the viewer and nothing else. `services` is JavaScript."""
    return (
        f"<!doctype html><html class='{'dark' if dark else ''}'><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><style>html,body{{margin:0;height:100%}}"
        f"{bundle.css()}</style><div id=v style='height:100vh'></div><script type=module>"
        f"{bundle.start_script()}const {{ Viewer }} = await modules;"
        f"const viewer = new Viewer(document.querySelector('#v'), {services});"
        f"viewer.setScene({bundle.embed(scene)});</script></html>"
    )


def viewer_page() -> str:
    """A page without a scene, for `show_scene`."""
    return (
        f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<style>html,body{{margin:0;height:100%}}{bundle.css()}</style><div></div><script type=module>"
        f"{bundle.start_script()}const {{ Viewer }} = await modules;"
        "window.showScene = (scene, services, settings) => {"
        "  const [before] = document.body.children;"
        "  before.viewer?.close();"
        "  const element = document.createElement('div');"
        "  element.style.height = '100vh';"
        "  before.replaceWith(element);"
        "  Object.assign(new Viewer(element, services), settings).setScene(scene);"
        "};</script></html>"
    )


def show_scene(page: Any, scene: dict[str, Any], services: str = "{}", settings: str = "{}") -> None:
    """A scene in a new viewer, which takes the place of the one before. `services` and `settings` are JavaScript."""
    page.mouse.move(-1, -1)  # the pointer is over no viewer at first
    page.wait_for_function("() => window.showScene")
    page.evaluate(f"(scene) => showScene(scene, {services}, {settings})", scene)


def player_page(state: dict[str, Any]) -> str:
    """A page that shows a state in the player and nothing else."""
    return (
        "<!doctype html><html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<style>html,body{{margin:0;height:100%}}{bundle.css()}{(bundle.PLAYER / 'player.css').read_text(encoding='utf-8')}</style>"
        "<div id=v style='height:100vh'></div><script type=module>"
        f"{bundle.start_script(bundle.PLAYER)}const {{ Player }} = await modules;"
        "const player = new Player(document.querySelector('#v'));"
        f"player.setState({bundle.embed(state)});</script></html>"
    )


def canvas_pixels(page: Any) -> np.ndarray:
    """What the stage's canvas holds, as RGB."""
    url = page.evaluate("() => document.querySelector('.gsr-canvas').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def save(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return path.as_uri()
