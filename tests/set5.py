"""Scores on Set5 as published tables measure them: from MATLAB's LR, by the convention of BasicSR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gsr_app.engine.protocols import make_pair, protocol, score


def psnr_y(shared: Path, scale: int, upscale: Callable[[Tensor], Tensor], *names: str) -> float:
    """The mean PSNR of `upscale([1, 3, h, w] in 0..1) -> [1, 3, H, W]` over all pictures, or some of them."""
    by, folder, scores = protocol("basicsr"), shared / f"data/val/Set5_pairs/x{scale}", []
    for path in sorted((folder / "HR").glob("*.png")):
        if names and path.stem not in names:
            continue
        hr, lr = (np.asarray(Image.open(folder / which / path.name).convert("RGB")) for which in ("HR", "LR"))
        pair = make_pair(hr, scale, by, lr)
        with torch.inference_mode():
            sr = upscale(torch.from_numpy(pair.float_lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        scores.append(score(sr.numpy(), pair, by.y).psnr_db)
    return fmean(scores)
