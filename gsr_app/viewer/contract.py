"""The data that the viewer shows: a scene and its panes. `as_json` makes the JSON that is sent to the page.

The JavaScript reads these names; a test compares both sides.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from gsr_app.core.types import Timing

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class PaneProgress:
    stage: str = ""
    fraction: float | None = None
    ahead: int = 0  # jobs of the queue before this one


@dataclass(frozen=True)
class PaneError:
    message: str
    hint: str = ""


@dataclass(frozen=True)
class PaneMetrics:
    """Scores of one convention: on luma or on RGB, and FLIP inside its border."""

    convention: str  # the name that was asked for, and its channel, border and rounding
    psnr_y: float | None = None  # dB
    ssim_y: float | None = None
    psnr_rgb: float | None = None
    ssim_rgb: float | None = None
    flip: float | None = None  # mean error of FLIP, 0 to 1
    without_flip: str = ""  # why FLIP was not computed, where the others were


@dataclass(frozen=True)
class PaneField:
    id: str  # cannot be guessed
    count: int
    live: bool = True  # whether a server draws views of it


@dataclass(frozen=True)
class PaneSpec:
    """One picture of the stage."""

    id: str
    name: str
    colour: str
    kind: Literal["method", "input", "reference"] = "method"
    state: State = "waiting"
    progress: PaneProgress | None = None
    error: PaneError | None = None
    url: str | None = None  # an 8-bit PNG, pixel for pixel
    bits: int = 8  # per channel of the result: above 8 the file to download holds more than the screen shows
    alpha: bool = False
    span: tuple[float, float] | None = None  # (height, width) of the source plane that the picture covers,
    origin: tuple[float, float] = (0.0, 0.0)  # and the (x, y) where it begins
    hidden: bool = False  # at first
    download_url: str | None = None
    download_name: str | None = None
    field: PaneField | None = None
    timing: Timing | None = None
    megapixels_per_second: float | None = None
    metrics: PaneMetrics | None = None
    elsewhere: bool = False  # made by another program: without times
    here: bool = False  # left to the browser that shows it: nothing of it is on the server
    done: str = ""  # the steps that were taken
    weights_id: str = ""
    licence: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    key: str  # of the picture that was chosen: a round trip shrinks it, and keeps its key
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """The output's pixel plane."""

    width: int
    height: int


@dataclass(frozen=True)
class Region:
    """A rectangle of the source plane, in whole source pixels."""

    x: int
    y: int
    width: int
    height: int
    name: str = ""


@dataclass(frozen=True)
class Scene:
    """Everything on the stage."""

    panes: tuple[PaneSpec, ...] = ()
    source: Source | None = None
    frame: Frame | None = None
    scale: Mapping[str, float] | None = None  # {"x": ..., "y": ...}
    regions: tuple[Region, ...] = ()
    detail: Region | None = None  # the only part of the picture that the methods have made
    running: bool = False
    run: str = ""  # run id: the page ignores updates of a run that it has stopped


@dataclass(frozen=True)
class AlbumPage:
    """One of several pictures that are compared. Before its run has begun, its scene is empty."""

    title: str
    thumbnail: str = ""  # the address of a small picture
    scene: Scene = Scene()


@dataclass(frozen=True)
class Album:
    """Several pictures that are compared by the same methods."""

    id: str
    pages: tuple[AlbumPage, ...]
    number: int = 0  # of the page that is shown, unless its reader has opened another


@dataclass(frozen=True)
class Refused:
    """In place of a scene: a request was refused, so that what is shown is of the one before."""

    refused: str = field(default_factory=lambda: secrets.token_hex(4))  # differs, so that the page notices a second


def as_json(value: object) -> Any:
    """Nested dataclasses as JSON data. JSON has no infinity (the PSNR of identical pictures): it becomes a large finite
    number, which still sorts as the best."""
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(value) if math.isfinite(value) else math.copysign(999.0, value)
    return value
