"""Count the votes of blind comparisons: how strong each method is, and how sure that is.

Each vote chooses the best of those that were shown. The model is Luce's (with two shown: Bradley and Terry's): a method
is chosen with its strength's share of the sum. Strengths are the maximum of the likelihood, found by Hunter's iteration
(MM algorithms for generalized Bradley-Terry models, Annals of Statistics 2004), and their geometric mean is 1. People
differ more than the votes of one person do, so the intervals come from drawing whole raters again (bootstrap).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.inputs import read_text
from gsr_app.viewer.results import PREFIX

Floats = NDArray[np.float64]

_Z95 = 1.959963984540054
_DRAWS = 500
_ITERATIONS = 300
# Votes for and against each method, beside an imagined one of strength 1: one that always or never won stays finite.
_PRIOR_VOTES = 0.1


@dataclass(frozen=True)
class Vote:
    rater: str
    shown: tuple[str, ...]
    best: str  # empty: "cannot tell", which counts as one choice that all of them share


@dataclass(frozen=True)
class Standing:
    """The votes for one method."""

    method: str
    wins: float
    shown: int
    strength: float  # 1 is the geometric mean of all methods
    low: float  # 95 % interval of the strength
    high: float


@dataclass(frozen=True)
class Tally:
    standings: tuple[Standing, ...]  # the strongest first
    raters: int
    preferred: Mapping[tuple[str, str], float]  # (a, b): how often a was chosen when b was shown, too


def tally_votes(paths: Sequence[Path]) -> Tally:
    """The standings over all files."""
    votes = read_votes(paths)
    if not votes:
        raise InvalidArgument("There are no votes in these files.")
    return count_votes(votes)


def count_votes(votes: Sequence[Vote], seed: int = 0) -> Tally:
    methods = sorted({method for vote in votes for method in vote.shown})
    raters = sorted({vote.rater for vote in votes})
    strengths, deviations = _fit(votes, methods, raters, seed)
    reach = _t95(max(len(raters), 2) - 1) * deviations
    wins = dict.fromkeys(methods, 0.0)
    shown: Counter[str] = Counter()
    preferred: dict[tuple[str, str], float] = {}
    for vote in votes:
        shown.update(vote.shown)
        for method, share in _shares(vote).items():
            wins[method] += share
            for other in vote.shown:
                if other != method:
                    preferred[method, other] = preferred.get((method, other), 0.0) + share
    standings = [
        Standing(method, wins[method], shown[method], math.exp(log), math.exp(log - spread), math.exp(log + spread))
        for method, log, spread in zip(methods, strengths.tolist(), reach.tolist(), strict=True)
    ]
    ranked = sorted(standings, key=lambda one: (-one.strength, one.method))
    return Tally(tuple(ranked), len(raters), preferred)


def _shares(vote: Vote) -> dict[str, float]:
    return {vote.best: 1.0} if vote.best else {method: 1 / len(vote.shown) for method in vote.shown}


def _fit(votes: Sequence[Vote], methods: Sequence[str], raters: Sequence[str], seed: int) -> tuple[Floats, Floats]:
    """The logarithms of the strengths, and their standard deviations."""
    kinds = list(dict.fromkeys((frozenset(vote.shown), vote.best) for vote in votes))
    sets = np.array([[method in shown for method in methods] for shown, _ in kinds], float)  # [kinds, methods]
    chosen = np.array(
        [[float(method == best) if best else float(method in shown) / len(shown) for method in methods]
         for shown, best in kinds]
    )  # fmt: skip
    counts = np.zeros((len(raters), len(kinds)))
    place = {kind: number for number, kind in enumerate(kinds)}
    for vote in votes:
        counts[raters.index(vote.rater), place[frozenset(vote.shown), vote.best]] += 1
    # Votes of a single rater are drawn one by one: that says how sure this person is, and nothing of others.
    drawn = np.random.default_rng(seed)
    if len(raters) > 1:
        weights = drawn.multinomial(len(raters), [1 / len(raters)] * len(raters), _DRAWS) @ counts
        correction = math.sqrt(len(raters) / (len(raters) - 1))
    else:
        weights = drawn.multinomial(len(votes), counts[0] / len(votes), _DRAWS).astype(float)
        correction = 1.0
    fitted = _strengths(counts.sum(0, keepdims=True), sets, chosen)[0]
    return fitted, correction * _strengths(weights, sets, chosen).std(0)


def _strengths(weights: Floats, sets: Floats, chosen: Floats) -> Floats:  # [draws, kinds] -> log [draws, methods]
    wins = weights @ chosen + _PRIOR_VOTES
    strengths = np.ones_like(wins)
    for _ in range(_ITERATIONS):
        faced = (weights / (strengths @ sets.T)) @ sets + 2 * _PRIOR_VOTES / (strengths + 1)
        found = wins / faced
        found /= np.exp(np.log(found).mean(1, keepdims=True))
        change, strengths = float(np.abs(found / strengths - 1).max()), found
        if change < 1e-5:
            break
    return np.log(strengths)


def _t95(freedom: int) -> float:
    """The 97.5 % point of Student's distribution; exact to 1 % from three degrees of freedom on."""
    z = _Z95
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


# ---- files ------------------------------------------------------------------------------------------------------


def read_votes(paths: Sequence[Path]) -> list[Vote]:
    """The votes of all files. A file without a rater is one; a later vote on a page replaces the first."""
    found: dict[object, Vote] = {}
    for number, path in enumerate(paths):
        data = _read(path)
        rater = str(data.get("rater") or f"file {number}")
        for index, vote in enumerate(data["votes"]):
            page = (rater, data["report"], vote["page"]) if data.get("report") and "page" in vote else (number, index)
            names: dict[str, str] = {"": "", **(vote.get("names") or {})}
            # The ids of results that were made elsewhere say little, and differ from report to report.
            told = {one: names.get(one, one) if one.startswith(PREFIX) else one for one in ("", *vote["shown"])}
            found[page] = Vote(rater, tuple(told[one] for one in vote["shown"]), told[vote["best"]])
    return list(found.values())


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text(path))
        for vote in data["votes"]:
            names = vote["shown"]
            if not names or not all(isinstance(name, str) for name in names) or vote["best"] not in ("", *names):
                raise ValueError
            if not all(isinstance(name, str) for name in (vote.get("names") or {}).values()):
                raise ValueError
            hash((data.get("report"), vote.get("page")))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # the last: nested too deep
        raise InvalidArgument(f"{path} does not hold votes.", hint="Export them from a report in blind mode.") from None
    return data


def format_tally(tally: Tally) -> str:
    lines = [f"{'method':<24} {'best':>7} {'of':>5} {'strength':>9}  95 % interval"]
    lines += [
        f"{s.method:<24} {s.wins:7.1f} {s.shown:5d} {s.strength:9.2f}  {s.low:.2f} to {s.high:.2f}"
        for s in tally.standings
    ]
    names = [standing.method for standing in tally.standings]
    width = max(8, *(len(name) + 2 for name in names))
    lines += ["", "chosen while the other was shown:", " " * 24 + "".join(name.rjust(width) for name in names)]
    for one in names:
        cells = ("" if one == other else f"{tally.preferred.get((one, other), 0.0):.1f}" for other in names)
        lines.append(f"{one:<24}" + "".join(cell.rjust(width) for cell in cells))
    by = f"{tally.raters} raters" if tally.raters > 1 else "one rater: the intervals say nothing of other people"
    return "\n".join([*lines, "", f"Strengths of Luce's model, 1 is the mean; {by}."])
