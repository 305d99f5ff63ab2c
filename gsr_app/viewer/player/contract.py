"""The states of the player, as the server sends them; `gsr_app.viewer.contract.as_json` makes JSON of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gsr_app.viewer.contract import PaneError


@dataclass(frozen=True)
class PlayerProgress:
    fraction: float | None
    text: str


@dataclass(frozen=True)
class PlayerPane:
    """A rectangle of every frame of the file."""

    id: str
    name: str
    colour: str
    x: int
    y: int
    width: int
    height: int
    shrunk: int  # each pixel is the mean of this many by this many


@dataclass(frozen=True)
class Clip:
    """The file to play."""

    url: str
    panes: tuple[PlayerPane, ...]
    scale: Mapping[str, float]  # {"x": ..., "y": ...}
    times: tuple[float, ...]  # of each frame, in seconds
    end: float


@dataclass(frozen=True)
class Scores:
    """One value per frame."""

    psnr: tuple[float, ...]
    flicker: tuple[float | None, ...]


@dataclass(frozen=True)
class Download:
    url: str
    name: str


@dataclass(frozen=True)
class PlayerState:
    run: str = ""
    state: Literal["empty", "waiting", "running", "done", "failed", "cancelled"] = "empty"
    ahead: int = 0  # jobs of the queue before this one
    progress: PlayerProgress | None = None
    clip: Clip | None = None
    scores: Scores | None = None
    error: PaneError | None = None
    width: int = 0
    height: int = 0
    done: str = ""  # what was really done
    trouble: str = ""
    notes: tuple[str, ...] = ()
    download: Download | None = None
