"""The log of a run as CSV, and its curves as PNG without a plotting library."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_SIZE = (360, 720)  # (height, width) of one panel, pixels
_MARGIN_PX = 56
_INK, _GRID, _PAPER = (38, 70, 140), (225, 228, 234), (255, 255, 255)

Canvas = npt.NDArray[np.uint8]


class CsvLog:
    """Rows of numbers under named columns. A resumed run first drops the rows after its step."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)

    def begin(self, *, after_step: int) -> None:
        rows = [row for row in read_rows(self.path) if int(row["step"]) <= after_step] if after_step else []
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def add(self, row: Mapping[str, float | int | str]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw_curve(log: Path, png: Path) -> None:
    """The loss and the validation score of a log, one above the other, over the steps."""
    try:
        import pyvips
    except ImportError:  # training from a pack needs no picture library, and the CSV has the same numbers
        return
    rows = read_rows(log)
    panels = [
        _draw_panel(f"{label} over {rows[-1]['step'] if rows else 0} steps", _points(rows, column))
        for column, label in (("loss", "Loss"), ("psnr_y", "Validation PSNR-Y, dB"))
    ]
    pyvips.Image.new_from_array(np.concatenate(panels)).write_to_file(str(png))


def _points(rows: Sequence[Mapping[str, str]], column: str) -> list[tuple[float, float]]:
    return [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]


def _draw_panel(title: str, points: list[tuple[float, float]]) -> Canvas:
    height, width = _SIZE
    canvas: Canvas = np.full((height, width, 3), _PAPER, np.uint8)
    _write(canvas, title, _MARGIN_PX, 14)
    if not points:
        return canvas
    x, y = np.array(points).T
    low, high = float(y.min()), float(y.max())
    high = high if high > low else low + 1e-6
    bottom, top, left, right = height - _MARGIN_PX // 2, _MARGIN_PX, _MARGIN_PX, width - _MARGIN_PX // 2
    for share in (0.0, 0.5, 1.0):
        row = round(bottom + (top - bottom) * share)
        canvas[row, left:right] = _GRID
        _write(canvas, f"{low + (high - low) * share:.4g}", 6, row - 8)
    columns = left + (right - left) * (x - x.min()) / max(float(x.max() - x.min()), 1.0)
    lines = bottom + (top - bottom) * (y - low) / (high - low)
    # One point per column; the rows between neighbours are filled, so that steep parts have no gaps.
    dense = np.arange(int(columns[0]), int(columns[-1]) + 1)
    heights = np.interp(dense, columns, lines).round().astype(int)
    for column, start, stop in zip(dense, heights, np.append(heights[1:], heights[-1]), strict=True):
        canvas[min(start, stop) - 1 : max(start, stop) + 1, column] = _INK
    return canvas


def _write(canvas: Canvas, text: str, left: int, top: int) -> None:
    import pyvips

    try:
        mask: npt.NDArray[np.uint8] = pyvips.Image.text(text, dpi=84).numpy()
    except pyvips.Error:  # no fonts on this machine; the curve needs none
        return
    mask = mask.reshape(mask.shape[0], mask.shape[1], -1)[..., :1]
    area = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[:] = np.where(mask[: area.shape[0], : area.shape[1]] > 110, np.uint8(30), area)
