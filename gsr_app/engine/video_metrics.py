"""Scores of a video picture by picture: PSNR, and how much it flickers where its reference does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsr_app.engine import metrics

CONVENTION = metrics.convention("whole-y")
FLICKER = "mean |change from picture to picture, result against reference|, Y, 8-bit levels"
_LUMA = np.array([65.481, 128.553, 24.966], np.float32)


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture against its reference."""

    psnr_db: float
    flicker: float | None  # None for the first: it has nothing before it


class Judge:
    """Takes pictures in order and remembers one."""

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def score(self, result: np.ndarray, reference: np.ndarray) -> PictureScore:
        luma = _luma(result), _luma(reference)
        flicker = None
        if self._before is not None:
            # What moves, moves in both; what is left is change that only the result has.
            flicker = float(np.abs((luma[0] - self._before[0]) - (luma[1] - self._before[1])).mean())
        self._before = luma
        return PictureScore(metrics.psnr(result, reference, by=CONVENTION), flicker)


def _luma(picture: np.ndarray) -> np.ndarray:  # [H, W] float32, 16..235
    values = picture if picture.dtype.kind == "f" else picture / np.float32(np.iinfo(picture.dtype).max)
    colours = values[..., None].repeat(3, 2) if values.ndim == 2 else values[..., :3]
    return 16 + colours.astype(np.float32, copy=False) @ _LUMA
