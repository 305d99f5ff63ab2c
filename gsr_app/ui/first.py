"""The picture of the first screen: an eye at x12 by swift, as Gaussians, and by bicubic.

The files in static/first were made from the photograph `chelsea` of scikit-image: the Gaussians of swift around the eye
(columns 144 to 204, rows 92 to 137), and both methods' pictures as WebP.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gsr_app.models.registry import catalogue
from gsr_app.ui.files import url_of
from gsr_app.ui.inputs import STATIC
from gsr_app.viewer import bundle
from gsr_app.viewer.contract import Frame, PaneField, PaneSpec, Scene, Source, as_json
from gsr_app.viewer.details import DETAIL_PX

KEY = "first"
PICTURES = STATIC / "first"
_SIZE, _SCALE, _GAUSSIANS = (45, 60), 12, 13_464


def splash() -> str:
    """HTML of the first screen as a still, which is shown before any script of Gradio, and a script that must be."""
    picture = bundle.data_url((PICTURES / "swift.webp").read_bytes(), "image/webp")
    page, script = ((STATIC / name).read_text(encoding="utf-8") for name in ("splash.html", "leaving.js"))
    return f"{page.replace('__PICTURE__', picture)}<script>{script}</script>"


def first_screen(folder: Path) -> dict[str, Any]:
    """The scene, and the address of its field, as the page gets them. The files are copied to a served folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    urls = {path.name: url_of(Path(shutil.copyfile(path, folder / path.name))) for path in PICTURES.iterdir()}
    height, width = _SIZE
    methods = {name: catalogue()[name] for name in ("swift", "bicubic")}
    panes = tuple(
        PaneSpec(
            name, method.title, method.color, state="done", url=urls[f"{name}.webp"], span=_SIZE,
            field=PaneField(KEY, _GAUSSIANS, live=False) if name == "swift" else None,
        )
        for name, method in methods.items()
    )  # fmt: skip
    frame = Frame(width * _SCALE, height * _SCALE)
    scene = Scene(panes, Source(KEY, "eye", width, height), frame, {"x": _SCALE, "y": _SCALE})
    return {"scene": as_json(scene), "field": urls["eye.gsr.gz"], "detail_px": DETAIL_PX}
