"""`gsr models`: the catalogue, for people and for programs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gsr_app.core import settings
from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import InvalidArgument
from gsr_app.models import weights
from gsr_app.models.registry import Method, catalogue, packaged_catalogue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list with everything that is known")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="update the tables of methods and variables in it")
    parser.add_argument("--weights", metavar="PATH", help="look for weights there first")


def run(arguments: argparse.Namespace) -> int:
    methods = list(catalogue().values())
    if arguments.readme:
        try:
            text = arguments.readme.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InvalidArgument(f"{arguments.readme} is not a text in UTF-8.", hint="Name a README.") from None
        write_whole(arguments.readme, with_tables(text))
        return 0
    if arguments.json:
        print(json.dumps([row(method, arguments.weights) for method in methods], indent=2, ensure_ascii=False))
        return 0
    lines = [("METHOD", "KIND", "TRAINED FOR", "SIZE", "LICENCE", "WEIGHTS' LICENCE", "WEIGHTS")]
    lines += [
        (
            method.id,
            method.kind,
            scale_text(method),
            size_text(method),
            method.code_licence,
            method.weights_licence or "-",
            presence_text(method, arguments.weights),
        )
        for method in methods
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for method in methods:
        if method.page and not weights.is_present(method, arguments.weights):
            names = ", ".join(file.name for file in method.files)
            print(f"{method.id} by hand: {names} from {method.page}")
    return 0


def with_tables(text: str) -> str:
    """A document with the tables between its marks made anew: of the methods, and of the environment variables."""
    for mark, table in (("methods", markdown()), ("settings", settings.markdown())):
        before, opening, rest = text.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        if not opening or not closing:
            raise InvalidArgument(f"The file has no <!-- {mark} --> … <!-- /{mark} --> to fill.")
        text = before + opening + table + closing + after
    return text


def markdown() -> str:
    """The methods of this package as the README shows them."""
    lines = [
        "| method | what it is | trained for | parameters | code's licence | weights' licence |",
        "|---|---|---|---:|---|---|",
    ]
    for method in packaged_catalogue().values():
        count = "" if method.parameters is None else f"{method.parameters / 1e6:.2f} M"
        title = f"[{method.title}]({method.paper_url})" if method.paper_url else method.title
        held = "none needed" if not method.files else method.weights_licence
        held += "; shipped" if method.files and method.is_packaged else ""
        lines.append(f"| `{method.id}` | {title} | {scale_text(method)} | {count} | {method.code_licence} | {held} |")
    return "\n".join(lines) + "\n"


def row(method: Method, given: str | None = None) -> dict[str, Any]:
    """Everything about a method, as plain data."""
    return {
        "id": method.id,
        "title": method.title,
        "family": method.family,
        "kind": method.kind,
        "scales": list(method.scales) if method.scales else None,
        "native_scale": method.native_scale,
        "licence": method.code_licence,
        "weights_licence": method.weights_licence or None,
        "weights_present": weights.is_present(method, given),
        "weights_bytes": method.bytes if method.files else 0,
        "weights_sources": [file.source for file in method.files],
        "packaged": method.is_packaged,
        "arch": method.arch or None,
        "parameters": method.parameters,
        "paper": method.paper or None,
        "paper_url": method.paper_url or None,
        "repository": method.repository or None,
        "note": method.note or None,
        "convention": method.convention or None,
        "published": [dict(score) for score in method.published],
    }


def scale_text(method: Method) -> str:
    if method.scales is None:
        return "any scale"
    low, high = method.scales
    return f"x{low:g}" if low == high else f"x{low:g} to x{high:g}"


def size_text(method: Method) -> str:
    if not method.files:
        return "-"
    return "?" if method.bytes is None else f"{method.bytes / 1e6:.1f} MB"


def presence_text(method: Method, given: str | None = None) -> str:
    if not method.files:
        return "none needed"
    if weights.is_present(method, given):
        return "here"
    return "by hand" if method.page else "to download"
