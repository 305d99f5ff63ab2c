"""The sink of the app: pictures as files that the page fetches, fields as handles that it asks views of."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import GsrError
from gsr_app.core.types import FieldHandle
from gsr_app.io.images import Metadata, Picture, add_metadata, write_image
from gsr_app.io.picture import NO_COLOR_TAGS
from gsr_app.ui.files import Files, url_of
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.contract import PaneField
from gsr_app.viewer.png import encode_png
from gsr_app.viewer.sink import Stored

log = logging.getLogger("gsr")


@dataclass(frozen=True)
class ServedSink:
    files: Files
    handles: BoundedStore[FieldHandle]

    def put_still(self, pane_id: str, pixels: NDArray[Any]) -> Stored:
        return Stored(url_of(self.files.put(encode_png(pixels), ".png", pane_id)))

    def put_result(self, pane_id: str, pixels: NDArray[Any], source: Picture, name: str) -> Stored:
        started = time.perf_counter()
        encoded = encode_png(pixels)
        screen = self.files.put(encoded, ".png", name)
        write_ms = 1000 * (time.perf_counter() - started)
        try:
            kept = self._keep(encoded, Picture(pixels, source.meta), name) or screen
        except GsrError as error:
            log.warning("The result is offered as 8 bits: %s", error)
            kept = screen
        return Stored(url_of(screen), url_of(kept), f"{name}.png", write_ms)

    def _keep(self, encoded: bytes, picture: Picture, name: str) -> Path | None:
        """The file to keep, where it holds more than the screen's; encoded anew only where it has more bits."""
        if picture.pixels.dtype != np.uint8:
            kept = self.files.new(".png", name)
            write_image(kept, picture)
            return kept
        return self.files.put(add_metadata(encoded, picture), ".png", name) if _has_metadata(picture.meta) else None

    def put_field(self, pane_id: str, handle: FieldHandle) -> PaneField:
        return PaneField(self.handles.put(handle), handle.count)


def _has_metadata(meta: Metadata) -> bool:
    """Whether a result's file holds more than its pixels."""
    return bool(meta.icc or meta.exif or meta.xmp or meta.dpi or meta.comments) or meta.color != NO_COLOR_TAGS
