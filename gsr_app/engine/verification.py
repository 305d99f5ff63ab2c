"""Whether a method gives what it is known to give: its files are the published ones, and a stored output is reached.

The stored outputs are in models/outputs.toml: some values of what a method makes of `small_picture`, recorded with the
published weights by this program, whose networks agree with the authors' own outputs. Tests check both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.tables import construct, parse_toml
from gsr_app.core.types import Progress, Scale
from gsr_app.models import weights
from gsr_app.models.registry import Method

OUTPUTS = Path(weights.__file__).with_name("outputs.toml")
_LARGEST_DIFFERENCE = 1e-3  # a quarter of a level of 8 bits: another processor rounds differently by far less
_SIZE = 24, 36

Outcome = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and what was found."""

    name: str
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """Values of the output at evenly spaced places of the flattened picture."""

    scale: float
    weights: str  # the id of the weight files
    values: tuple[float, ...]


@functools.cache
def stored_outputs() -> dict[str, StoredOutput]:
    """By method id."""
    tables = parse_toml(OUTPUTS.read_text(encoding="utf-8"), OUTPUTS.name)
    return {name: construct(StoredOutput, table, OUTPUTS.name, name) for name, table in tables.items()}


def small_picture() -> NDArray[np.float32]:
    """[24, 36, 3] in 0..1, with edges and smooth parts; made from whole numbers, so that it is the same everywhere."""
    y, x, c = np.mgrid[: _SIZE[0], : _SIZE[1], :3]
    smooth = (3 * x + 5 * y + 40 * c) % 128
    edges = 96 * ((x // 7 + y // 5 + c) % 2)
    return ((smooth + edges + (x * x + 3 * y * y + 7 * c) % 17) / np.float32(255)).astype(np.float32)


def run_stored(method: Method, scale: float, count: int, given: str | Path | None = None) -> StoredOutput:
    """What a method makes of the test picture now."""
    from gsr_app.engine.session import Session

    session = Session(precision="float32", weights=given)
    result = session.upscale(small_picture(), method=method.id, scale=Scale.of(scale))
    flat = result.image.ravel()
    places = np.linspace(0, flat.size - 1, count).astype(int)
    return StoredOutput(scale, result.weights_id, tuple(float(value) for value in flat[places]))


def verify(
    method: Method, given: str | Path | None = None, report: Callable[[Progress], None] | None = None
) -> list[Check]:
    """Check the files of a method, which are fetched if need be, and what it makes of a small picture."""
    if not method.files:
        return [Check("files", "passed", "needs no weights")]
    found = weights.obtain(method, given, report)
    return [check_files(method, given), _check_output(method, found.id, given)]


def check_files(method: Method, given: str | Path | None = None) -> Check:
    """Whether the files on this machine are the published ones."""
    fits = weights.verify(method, given)
    known = [file for file in method.files if file.can_be_checked]
    if fits is None:
        text = "your own weights, which may differ" if known else "the catalogue knows no hash and no size of them"
        return Check("files", "unknown", text)
    if not fits:
        return Check("files", "failed", "damaged: remove and fetch again")
    hashed = sum(file.has_hash for file in method.files)
    whole = hashed == len(method.files)
    return Check("files", "passed", "as published" if whole else f"as published, by {hashed} hashes and their sizes")


def _check_output(method: Method, weights_id: str, given: str | Path | None) -> Check:
    stored = stored_outputs().get(method.id)
    if stored is None:
        return Check("output", "unknown", "no output is stored to compare with")
    if stored.weights != weights_id:
        return Check("output", "unknown", f"the stored output belongs to {stored.weights}, this is {weights_id}")
    now = run_stored(method, stored.scale, len(stored.values), given)
    difference = float(np.abs(np.subtract(now.values, stored.values)).max())
    if difference > _LARGEST_DIFFERENCE:
        return Check(
            "output", "failed", f"differs from the stored output by up to {255 * difference:.1f} levels of 255"
        )
    return Check("output", "passed", f"equals the stored output to {difference:.0e}")
