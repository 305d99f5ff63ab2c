"""The user's own weights: checked against the network, then copied to where `weights.find` looks first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gsr_app.core.atomic import replacing
from gsr_app.core.errors import WeightsError
from gsr_app.models import checkpoint, registry
from gsr_app.models.registry import Method
from gsr_app.models.weights import SUFFIXES, local_folder


def keep(method: Method, given: Sequence[Path]) -> int:
    """Copy files that fit the method's network into its folder; returns their bytes. Runs no code from them."""
    files = _assign(method, given)
    checkpoint.load_files(registry.build(method.arch), files)  # names the first key that is missing, extra or misshapen
    folder = local_folder(method)
    folder.mkdir(parents=True, exist_ok=True)
    for part, path in files.items():
        stem = part or method.id
        target = folder / f"{stem}{path.suffix.lower()}"
        with replacing(target, error=WeightsError) as temporary:
            shutil.copyfile(path, temporary)
        for suffix in SUFFIXES:  # one file per part: delete an earlier one of another type
            if (other := folder / f"{stem}{suffix}") != target:
                other.unlink(missing_ok=True)
    return sum(path.stat().st_size for path in files.values())


def _assign(method: Method, given: Sequence[Path]) -> dict[str, Path]:
    """The file of each part. The file of a network without parts may have any name."""
    for path in given:
        if path.suffix.lower() not in SUFFIXES:
            raise WeightsError(f"{path.name} is not a weight file.", hint=f"Expected {', '.join(SUFFIXES)}.")
    parts = [file.part for file in method.files]
    if not parts:
        raise WeightsError(f"{method.id} has no weights.")
    if parts == [""] and len(given) == 1:
        return {"": given[0]}
    files = {path.stem: path for path in given}
    if len(given) != len(parts) or set(files) != set(parts):
        wanted = " and ".join(f"{part}.pth" for part in parts) if parts != [""] else "one file"
        found = ", ".join(path.name for path in given) or "none"
        raise WeightsError(f"{method.id} needs {wanted}, found {found}.", hint="Choose all of its files at once.")
    return files
