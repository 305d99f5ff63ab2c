"""A detail of a picture, which is tried before the whole: the rectangle that is made, and where it is shown."""

from __future__ import annotations

from gsr_app.core.types import Part, Scale
from gsr_app.viewer.contract import Region

DETAIL_PX = 384  # the longest side: with its context it fits a network's tile


def cut_detail(wanted: Region, size: tuple[int, int]) -> Part:
    """A rectangle within the picture and at most `DETAIL_PX` long, about the middle of the wanted one."""
    y, height = _cut(wanted.y, wanted.height, size[0])
    x, width = _cut(wanted.x, wanted.width, size[1])
    return Part(x, y, width, height)


def _cut(start: int, length: int, whole: int) -> tuple[int, int]:
    kept = max(1, min(length, DETAIL_PX, whole))
    return min(max(0, start + (length - kept) // 2), whole - kept), kept


def region_of(part: Part) -> Region:
    return Region(part.x, part.y, part.width, part.height)


def origin_of(part: Part, size: tuple[int, int], scale: Scale) -> tuple[float, float]:
    """(x, y) of the source plane where the pixels of the part begin: those of the whole result's grid."""
    rows, columns = part.pixels(size, scale)
    return columns.start / scale.x, rows.start / scale.y
