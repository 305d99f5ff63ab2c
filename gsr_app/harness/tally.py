"""Count the votes of blind comparisons: the win rate of each method and its confidence interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app.core.errors import InvalidArgument

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Standing:
    """The votes for one method."""

    method: str
    wins: float  # "cannot tell" counts as one win, shared by all methods that were shown
    shown: int
    low: float  # 95 % interval of the win rate
    high: float

    @property
    def rate(self) -> float:
        return self.wins / self.shown


def wilson(wins: float, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate; valid for few votes and for rates near 0 and 1."""
    rate = wins / total
    z2 = _Z95 * _Z95
    middle = rate + z2 / (2 * total)
    spread = _Z95 * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def tally_votes(paths: Sequence[Path]) -> list[Standing]:
    """The standings over all files, best first."""
    wins: dict[str, float] = {}
    shown: dict[str, int] = {}
    for path in paths:
        for vote in _read(path):
            methods: list[str] = vote["shown"]
            for method in methods:
                shown[method] = shown.get(method, 0) + 1
                share = 1 / len(methods) if not vote["best"] else float(vote["best"] == method)
                wins[method] = wins.get(method, 0.0) + share
    if not shown:
        raise InvalidArgument("There are no votes in these files.")
    standings = [
        Standing(method, wins[method], shown[method], *wilson(wins[method], shown[method])) for method in shown
    ]
    return sorted(standings, key=lambda standing: (-standing.rate, standing.method))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        votes = data["votes"]
        for vote in votes:
            names = vote["shown"]
            if not names or not all(isinstance(name, str) for name in names) or vote["best"] not in ("", *names):
                raise ValueError
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument(f"{path} does not hold votes.", hint="Export them from a report in blind mode.") from None
    return votes


def format_tally(standings: Sequence[Standing]) -> str:
    lines = [f"{'method':<24} {'best':>7} {'of':>5} {'rate':>7}  95 % interval"]
    lines += [
        f"{s.method:<24} {s.wins:7.1f} {s.shown:5d} {100 * s.rate:6.1f}%  {100 * s.low:.1f} to {100 * s.high:.1f} %"
        for s in standings
    ]
    return "\n".join(lines)
