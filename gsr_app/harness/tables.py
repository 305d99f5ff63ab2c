"""Tables of an evaluation: one CSV line per picture, a summary per dataset, method and scale, and Markdown to read.

Published scores are printed next to the measured ones only if the protocol is the same.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsr_app.core.atomic import write_whole
from gsr_app.models import registry

SCORES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "lpips", "dists", "niqe", "flip")
_COLUMNS = ("dataset", "image", "method", "scale", "protocol", *SCORES, "done", "error")
_DIGITS = {"psnr_y": 2, "psnr_rgb": 2, "ssim_y": 4, "ssim_rgb": 4, "lpips": 4, "dists": 4, "niqe": 3, "flip": 4}


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one picture, or the means of one clip; `error` when there are none."""

    dataset: str
    image: str
    method: str
    scale: float
    psnr_y: float | None = None
    ssim_y: float | None = None
    psnr_rgb: float | None = None
    ssim_rgb: float | None = None
    lpips: float | None = None
    dists: float | None = None
    niqe: float | None = None
    flip: float | None = None
    done: str = ""
    error: str = ""
    seconds: float = 0.0
    scale_x: float | None = None  # if it differs from `scale`, which then is the vertical one
    weights: str = ""  # the id of the weight files' bytes
    source: str = ""  # changes with the files that were scored

    @property
    def factor(self) -> str:
        """The scale, as people write it."""
        return f"{self.scale:g}" if self.scale_x is None else f"{self.scale:g}x{self.scale_x:g}"

    @property
    def key(self) -> str:
        return f"{self.dataset}|{self.image}|{self.method}|{self.factor}"


def summarise(rows: Iterable[Row], protocol: str) -> list[dict[str, Any]]:
    """Means per dataset, method and scale, over the pictures that could be scored."""
    groups: dict[tuple[str, str, float, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.method, row.scale, row.scale_x or row.scale), []).append(row)
    return [_summary(key, group, protocol) for key, group in sorted(groups.items())]


def _summary(key: tuple[str, str, float, float], group: list[Row], protocol: str) -> dict[str, Any]:
    dataset, method, scale, scale_x = key
    scored = [row for row in group if not row.error]
    means: dict[str, float | None] = {}
    for name in SCORES:
        values = [value for row in scored if (value := getattr(row, name)) is not None]
        means[name] = round(statistics.fmean(values), 6) if values else None
    published = find_published(method, dataset, scale, protocol, scale_x)
    measured = means["psnr_y"] if "psnr_y" in published else means["psnr_rgb"]
    figure = published.get("psnr_y", published.get("psnr_rgb"))
    return {
        "dataset": dataset,
        "method": method,
        "scale": scale,
        **({"scale_x": scale_x} if scale_x != scale else {}),
        "protocol": protocol,
        "n": len(scored),
        "skipped": len(group) - len(scored),
        **means,
        "published": figure,
        "difference": None if figure is None or measured is None else round(measured - figure, 4),
        "published_scores": dict(published),
        "done": scored[0].done if scored else "",
    }


def find_published(
    method_id: str, dataset: str, scale: float, protocol: str, scale_x: float | None = None
) -> Mapping[str, float]:
    """The published scores of the same protocol; empty where there are none."""
    method = registry.find(method_id)
    if method is None or method.convention != protocol:
        return {}
    for entry in method.published:
        scales = entry["scale"], entry.get("scale_x", entry["scale"])
        if _plain(str(entry["dataset"])) == _plain(dataset) and scales == (scale, scale_x or scale):
            return {name: float(value) for name, value in entry.items() if name in SCORES}
    return {}


def _place(method_id: str) -> tuple[int, str]:
    """Where a method stands in the catalogue; its strengths follow it."""
    return list(registry.catalogue()).index(registry.without_strength(method_id)), method_id


def _plain(dataset: str) -> str:
    """One name for Set5, set5 and Set5_pairs."""
    return dataset.lower().removesuffix("_pairs").replace("_", "").replace("-", "")


def write_tables(out: Path, rows: Sequence[Row], summary: Sequence[Mapping[str, Any]], protocol: str) -> None:
    """`images.csv`, `timing.csv`, `summary.json` and `table.md` in a folder."""
    scores = [[row.factor if name == "scale" else getattr(row, name, protocol) for name in _COLUMNS] for row in rows]
    write_whole(out / "images.csv", _csv([_COLUMNS, *([_cell(value) for value in line] for line in scores)]))
    times = [[row.dataset, row.image, row.method, row.factor, f"{row.seconds:.3f}"] for row in rows]
    write_whole(out / "timing.csv", _csv([("dataset", "image", "method", "scale", "seconds"), *times]))
    write_whole(out / "summary.json", to_json(summary, indent=1) + "\n")
    write_whole(out / "table.md", render_markdown(summary, protocol))


def to_json(summary: Sequence[Mapping[str, Any]], indent: int | None = None) -> str:
    """The PSNR of equal pictures, which JSON has no number for, is the text "inf"."""

    def told(value: Any) -> Any:
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    rows = [{name: told(value) for name, value in row.items()} for row in summary]
    return json.dumps(rows, indent=indent, allow_nan=False)


def render_markdown(summary: Sequence[Mapping[str, Any]], protocol: str) -> str:
    """One table per scale: a row per method, a column per dataset; measured scores, and published ones below them."""
    from gsr_app.engine.protocols import protocol as find_protocol

    by = find_protocol(protocol)
    names = ("psnr_rgb", "ssim_rgb", "lpips", "dists") if by.rgb_first else ("psnr_y", "ssim_y", "lpips", "dists")
    lines = [f"Protocol: {by}.", ""]
    datasets = list(dict.fromkeys(row["dataset"] for row in summary))
    for scale, scale_x in sorted({_scales(row) for row in summary}, key=lambda pair: (pair[0] != pair[1], pair)):
        here = {(row["method"], row["dataset"]): row for row in summary if _scales(row) == (scale, scale_x)}
        across = f"/x{scale_x:g}" if scale_x != scale else ""
        methods = sorted({name for name, _ in here}, key=_place)
        lines += [
            f"### x{scale:g}{across}: PSNR-{by.main.label}/SSIM-{by.main.label}/LPIPS/DISTS",
            "",
            f"| Backbone | Method | Version | Training set | {' | '.join(datasets)} |",
            "|" + "---|" * (4 + len(datasets)),
        ]
        for name in methods:
            cells = [
                _markdown_cell(here[name, dataset], names) if (name, dataset) in here else "" for dataset in datasets
            ]
            lines.append(f"| {' | '.join((*describe(name), *cells))} |")
        lines.append("")
    skipped = sum(row["skipped"] for row in summary)
    if skipped:
        lines += [f"{skipped} picture(s) could not be scored and are not part of the means; see images.csv.", ""]
    notes = {row["method"]: row["done"] for row in summary if "resized" in row["done"]}
    lines += [f"{method}: {done}." for method, done in notes.items()]
    return "\n".join(lines).rstrip() + "\n"


def _scales(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["scale"], row.get("scale_x", row["scale"])


def describe(method_id: str) -> tuple[str, str, str, str]:
    """Backbone, method, version and training set of a method, as published tables name them."""
    method = registry.method(method_id)
    parts = method_id.upper().split("-")
    backbones = {"EDSR": "EDSR", "RDN": "RDN", "SWIN": "SwinIR", "HATL": "HAT-L"}
    sets = {"DIV2K": "DIV2K", "DF2K": "DF2K", "SA1B": "SA-1B"}
    backbone = next((backbones[part] for part in parts if part in backbones), "–")
    trained_on = next((sets[part] for part in parts if part in sets), "–")
    version = "Paper" if "PAPER" in parts else "Enhanced" if method_id.startswith("gsasr") else "–"
    return backbone, method.title, version, trained_on


def _markdown_cell(row: Mapping[str, Any], names: Sequence[str]) -> str:
    if not row["n"]:
        return "none scored"
    cell = "/".join(_figure(name, row[name]) for name in names)
    if beside := [f"{name.upper()} {_figure(name, row[name])}" for name in ("niqe", "flip") if row[name] is not None]:
        cell += f" ({', '.join(beside)})"
    published = row["published_scores"]
    if published:
        cell += f"<br>published {'/'.join(_figure(name, published.get(name)) for name in names)}"
        cell += f"<br>difference {row['difference']:+.2f} dB"
    return cell


def _figure(name: str, value: float | None) -> str:
    return "–" if value is None else f"{value:.{_DIGITS[name]}f}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
