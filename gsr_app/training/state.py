"""A smaller form of a run's state, for machines that can send little back.

Most of the state are SOAP's covariances and bases, squares as large as a kernel is wide. A covariance follows nearly
from its basis and the variances along it; a basis can be rounded and made orthonormal again. A run that goes on from
this form is close to an uninterrupted one, not equal to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gsr_app.training.optim import orthonormalize

_SIDES = ("left", "right")
_ROUNDED = {"mean": torch.bfloat16, "square": torch.bfloat16}


def shorten(state: dict[str, Any]) -> dict[str, Any]:
    """The `state_dict` of an optimizer in its smaller form."""
    return {**state, "state": {name: _shorten_one(one) for name, one in state["state"].items()}}


def lengthen(state: dict[str, Any]) -> dict[str, Any]:
    """What `shorten` was given, nearly."""
    return {**state, "state": {name: _lengthen_one(one) for name, one in state["state"].items()}}


def _shorten_one(state: dict[str, Any]) -> dict[str, Any]:
    if "left_basis" not in state:
        return state
    short = {name: value.to(_ROUNDED[name]) if name in _ROUNDED else value for name, value in state.items()}
    for side in _SIDES:
        basis: Tensor = short.pop(f"{side}_basis")
        covariance: Tensor = short.pop(side)
        short[f"{side}_variances"] = (basis * (covariance @ basis)).sum(1)  # [K, n]
        short[f"{side}_rounded_basis"] = basis.half()
    return short


def _lengthen_one(state: dict[str, Any]) -> dict[str, Any]:
    if "left_rounded_basis" not in state:
        return state
    full = {name: value.float() if name in _ROUNDED else value for name, value in state.items()}
    for side in _SIDES:
        basis = orthonormalize(full.pop(f"{side}_rounded_basis").float())
        variances: Tensor = full.pop(f"{side}_variances")
        full[f"{side}_basis"] = basis
        full[side] = basis @ (variances[:, :, None] * basis.mT)
    return full
