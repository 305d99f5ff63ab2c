"""LPIPS, DISTS, NIQE and FLIP of a result. Weights that they need are found or fetched like those of the methods."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gsr_app.core.errors import WeightsError
from gsr_app.engine import flip, metrics, niqe
from gsr_app.models import checkpoint, registry, weights

_IDS = {"lpips": "lpips-alex", "dists": "dists-vgg", "niqe": "niqe"}
# The official backbone files also contain the classifier, which no measure needs.
_UNUSED = "classifier."


def measure_perceptual(
    names: Sequence[str], image: NDArray[Any], reference: NDArray[Any], *, border_px: int
) -> dict[str, float]:
    """The measures of those names, on the pictures rounded to 8 bits, inside the border.

    `image` is `[H, W, 3]` in 0..1 and may be larger than `reference`, which is uint8.
    """
    height, width = reference.shape[:2]
    inside = slice(border_px, height - border_px), slice(border_px, width - border_px)
    image = image[:height, :width][inside]
    drawn = (image.clip(0, 1) * 255).round()
    found: dict[str, float] = {}
    for name in names:
        if name == "niqe":
            found[name] = niqe.niqe(metrics.luma(image, quantised=True).round(), _pristine())
        elif name == "flip":
            one, two = (torch.from_numpy(picture.transpose(2, 0, 1)) for picture in (drawn, reference[inside]))
            found[name] = flip.error_map(one, two).mean().item()
        else:
            with torch.inference_mode():
                found[name] = float(_network(_IDS[name])(_planes(drawn), _planes(reference[inside])))
    return found


@functools.cache
def _network(measure_id: str) -> nn.Module:
    method = registry.measures()[measure_id]
    found = weights.obtain(method)
    module = registry.build(method.arch)
    for part, path in found.files.items():
        state = {key: value for key, value in checkpoint.read_state(path).items() if not key.startswith(_UNUSED)}
        checkpoint.load_state(module.get_submodule(part), state, path)
    return module.requires_grad_(False)


@functools.cache
def _pristine() -> niqe.PristineModel:
    (path,) = weights.obtain(registry.measures()["niqe"]).files.values()
    try:
        with np.load(path, allow_pickle=False) as stored:
            return niqe.PristineModel(stored["mu_pris_param"].ravel(), stored["cov_pris_param"])
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not NIQE's pristine model: {error}", hint="Delete it and try again.") from None


def _planes(picture: NDArray[Any]) -> Tensor:  # [1, 3, H, W] in 0..1
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))[None] / 255
