"""`gsr verify`: whether methods give what they are known to give. See engine/verification.py."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.types import Progress, Scale
from gsr_app.engine.verification import Check, verify
from gsr_app.harness.evaluate import PROTOCOL_NAMES, Settings, evaluate
from gsr_app.models import registry, weights
from gsr_app.models.registry import Method

_MARKS = {"passed": "ok", "failed": "FAILED", "unknown": "?"}
_SCORES = {"psnr_y": "PSNR-Y", "psnr_rgb": "PSNR-RGB"}
_LARGEST_DIFFERENCE_DB = 0.03  # what another port of MATLAB's bicubic changes; with MATLAB's own LR it is 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="default: every method whose weights are here")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, action="append", default=[],
        help="a test set named as in the tables (Set5, Urban100 …): compare with the published scores, too",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="PATH", help="your own weights: a file, or a folder with one per part")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace) -> int:
    names: list[str] = arguments.methods
    methods = [registry.method(name) for name in names]
    if arguments.weights and len(methods) != 1:
        raise InvalidArgument("--weights belongs to one method.", hint="Name the one that it belongs to.")
    for folder in arguments.data:
        if not folder.is_dir():
            raise InvalidArgument(f"{folder} is not a folder.", hint="Name a folder of reference pictures.")
    methods = methods or [one for one in registry.catalogue().values() if one.files and weights.is_present(one)]
    found: dict[str, list[Check]] = {}
    for method in methods:
        found[method.id] = _verify(method, arguments.weights, arguments.data)
        if not arguments.json:
            for check in found[method.id]:
                print(f"{method.id:<20} {check.name:<8} {_MARKS[check.outcome]:<7} {check.text}", flush=True)
    if arguments.json:
        lines: list[dict[str, Any]] = [
            {"method": name, **asdict(check)} for name, checks in found.items() for check in checks
        ]
        print(json.dumps(lines, indent=2, ensure_ascii=False))
    return int(any(check.outcome == "failed" for checks in found.values() for check in checks))


def _verify(method: Method, given: str | None, folders: list[Path]) -> list[Check]:
    def report(progress: Progress) -> None:
        if sys.stderr.isatty():
            print(f"\r{method.id}: {progress.stage} {progress.fraction:.0%}", end="\r", file=sys.stderr)

    from gsr_app.engine import networks

    try:
        if given and method.files:  # no hash is known of one's own weights: raises where they do not fit the network
            networks.obtain(method, given)
        checks = verify(method, given, report)
    except GsrError as error:
        return [Check("weights", "failed", f"{error} {error.hint}".strip())]
    for folder in folders:
        try:
            checks += compare_scores(method, folder, given)
        except GsrError as error:  # of the folder
            checks.append(Check("score", "failed", f"{error} {error.hint}".strip()))
    return checks


def compare_scores(method: Method, folder: Path, given: str | None = None) -> list[Check]:
    """The scores on a test set beside those that the authors published for a set of that name."""
    published = [score for score in method.published if _is_named(folder.name, str(score["dataset"]))]
    protocol = next((name for name in PROTOCOL_NAMES if method.convention in (name, f"{name}-rgb")), "")
    if not published or not protocol:
        return [Check("score", "unknown", f"no scores are published for {folder.name}")]
    checks: list[Check] = []
    settings = Settings(protocol, weights=given or "")
    for score in published:
        scale = Scale(float(score["scale"]), float(score.get("scale_x", score["scale"])))
        with tempfile.TemporaryDirectory() as out:
            # SAVSR's tables are of clips.
            rows = evaluate([folder], [method.id], [scale], settings, Path(out), clips=protocol == "savsr")
        if problem := next((row.error for row in rows if row.error), ""):
            checks.append(Check("score", "failed", problem))
            continue
        for name, label in _SCORES.items():
            if name in score:
                mean = sum(float(getattr(row, name)) for row in rows) / len(rows)
                close = abs(mean - float(score[name])) <= _LARGEST_DIFFERENCE_DB
                text = f"{folder.name} x{scale} {label} {mean:.2f} dB, published {score[name]:.2f} ({protocol})"
                checks.append(Check("score", "passed" if close else "failed", text))
    return checks


def _is_named(folder: str, dataset: str) -> bool:
    """Whether a folder's name is that of a dataset, or begins with it: Set5, set5_pairs."""
    return re.match(re.escape(dataset) + r"(?![a-z0-9])", folder, re.IGNORECASE) is not None
