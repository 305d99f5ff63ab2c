"""A fit on the disk: whole at any moment, so that a killed process goes on from there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import FieldFileError, InvalidArgument
from gsr_app.fitting.fitter import Curve, Fitter
from gsr_app.fitting.options import FitOptions

SUFFIX = ".fit"
_VERSION = 2


def save_state(fitter: Fitter, path: Path) -> None:
    """Everything that a later process needs. What was there stays until the new state is whole."""
    if fitter.raw is None or fitter.mover is None:
        return
    best = fitter.best or fitter.raw
    state: dict[str, Any] = {
        "version": _VERSION,
        "about": json.dumps(
            {
                "options": dataclasses.asdict(fitter.options),
                "image": fitter.digest,
                "step": fitter.step,
                "seconds": fitter.seconds,
                "best_psnr": fitter.best_psnr,
                "curve": dataclasses.asdict(fitter.curve),
            }
        ),
        "raw": fitter.raw.tensors,
        "best": best.tensors,
        "mover": fitter.mover.state(),
        "random": fitter.random.get_state(),
    }
    with replacing(path, error=FieldFileError) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch raises when the disk is full
            raise OSError("the file system took only a part of it") from error


def load_state(image: Tensor, path: Path, *, options: FitOptions | None = None) -> Fitter:
    """The fit of an image as it was saved; limits may be given anew, but not what its numbers mean."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        about = json.loads(state["about"])
        kept = FitOptions(**about["options"])
        if state["version"] != _VERSION:
            raise ValueError("another version")
    except FileNotFoundError:
        raise FieldFileError(f"There is no state {path.name} to resume.", hint="Leave --resume out.") from None
    except Exception as error:
        raise FieldFileError(f"{path.name} is not a state of a fit: {error}", hint="Leave --resume out.") from None
    options = options or kept
    if (options.rule, options.optimizer) != (kept.rule, kept.optimizer):
        raise InvalidArgument(
            f"{path.name} is of a fit by {kept.optimizer}, preset {kept.rule}.",
            hint="Resume it by the same, or leave --resume out.",
        )
    fitter = Fitter(image, dataclasses.replace(options, start=kept.start))
    if fitter.digest != about["image"]:
        raise InvalidArgument(f"{path.name} belongs to another image.", hint="Leave --resume out to start afresh.")
    fitter.take_up(
        fitter.as_raw(state["raw"]), fitter.as_raw(state["best"]), about["best_psnr"], about["step"], about["seconds"],
        Curve(**about["curve"]), state["mover"], state["random"],
    )  # fmt: skip
    return fitter
