"""The state of a fit on disk, written atomically, so that a killed process can be resumed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import FieldFileError, InvalidArgument
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.options import FitOptions
from gsr_app.fitting.progress import Curve

SUFFIX = ".fit"
_VERSION = 2


def save_state(fitter: Fitter, path: Path) -> None:
    """Save everything that another process needs to resume the fit."""
    if fitter.parameters is None or fitter.optimizer is None:
        return
    best = fitter.best or fitter.parameters
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
        "raw": fitter.parameters.tensors,
        "best": best.tensors,
        "mover": fitter.optimizer.state(),
        "random": fitter.random.get_state(),
    }
    with replacing(path, error=FieldFileError) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch raises when the disk is full
            raise OSError("the file system accepted only part of it") from error


def load_state(
    image: Tensor,
    path: Path,
    *,
    options: FitOptions | None = None,
    keeps_loss: bool = False,
    device: torch.device | str = "cpu",
) -> Fitter:
    """The saved fit of an image; `options` may change its limits and its loss, unless that is to be kept, but not its
    parametrisation or optimizer."""
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
    loss = kept.loss if keeps_loss else options.loss
    fitter = Fitter(image, dataclasses.replace(options, start=kept.start, loss=loss), device=device)
    if fitter.digest != about["image"]:
        raise InvalidArgument(f"{path.name} belongs to another image.", hint="Leave --resume out to start afresh.")
    parameters, best = (fitter.as_parameters(state[name]) for name in ("raw", "best"))
    fitter.restore(
        parameters, best, about["best_psnr"], about["step"], about["seconds"], Curve(**about["curve"]), state["mover"],
        state["random"],
    )  # fmt: skip
    return fitter
