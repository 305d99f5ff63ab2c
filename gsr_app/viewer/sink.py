"""Where the pictures and fields of a scene are put: files that the app serves, or bytes that a report carries."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gsr_app.core.types import FieldHandle
from gsr_app.io.picture import Picture
from gsr_app.viewer.contract import PaneField
from gsr_app.viewer.png import encode_png

_LEVEL = 6  # of PNG compression: higher than on the screen, because a report is stored and sent


@dataclass(frozen=True)
class Stored:
    """The addresses of a stored picture."""

    url: str  # of an 8-bit PNG for the screen
    download_url: str | None = None
    download_name: str | None = None
    write_ms: float = 0.0  # how long the PNG for the screen took


def safe_stem(name: str) -> str:
    """The stem of a file name, without characters that are special in headers, paths or pages."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).stem)
    return kept.strip(".-")[:60] or "image"


class Sink(Protocol):
    def put_still(self, pane_id: str, pixels: NDArray[Any]) -> Stored:
        """Store a picture without a file to save: the input, the reference, a state of a fit."""
        ...

    def put_result(self, pane_id: str, pixels: NDArray[Any], source: Picture, name: str) -> Stored:
        """Store a result of a source picture, for the screen and as a file to save under a name."""
        ...

    def put_field(self, pane_id: str, handle: FieldHandle) -> PaneField | None:
        """Store the field of a result."""
        ...


class ReportSink:
    """Keeps pictures, and the fields of some panes, as the bytes of the files that a report carries."""

    def __init__(self, pack: Callable[[FieldHandle], bytes], carried: Collection[str] = ()) -> None:
        self.pictures: dict[str, bytes] = {}  # by pane id
        self.fields: dict[str, bytes] = {}
        self._pack, self._carried = pack, carried

    def put_still(self, pane_id: str, pixels: NDArray[Any]) -> Stored:
        self.pictures[pane_id] = encode_png(pixels, level=_LEVEL)
        return Stored("carried")

    def put_result(self, pane_id: str, pixels: NDArray[Any], source: Picture, name: str) -> Stored:
        self.put_still(pane_id, pixels)
        return Stored("carried", download_name=f"{pane_id}.png")

    def put_field(self, pane_id: str, handle: FieldHandle) -> PaneField | None:
        if pane_id not in self._carried:
            return None
        self.fields[pane_id] = self._pack(handle)
        return PaneField(pane_id, handle.count, live=False)
