"""`gsr render`: a field file at any size, or any part of it; small ones as ellipses in SVG."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.harness.outputs import check_output as check_file
from gsr_app.io.fields import SUFFIX, to_axes

if TYPE_CHECKING:
    from gsr_app.api import Field

_MOST_ELLIPSES = 20_000
_SHOWN_SIGMAS = 1.5
_VIEW_FORM = "Write X,Y,WIDTH,HEIGHT in source pixels, and a factor or size with --scale or --size."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "field", type=Path, metavar=f"FIELD{SUFFIX}", help="or a gaussian_model.pth.tar (with --source)"
    )
    parser.add_argument("-o", "--out", type=Path, help="png, tif, webp, jpg … or svg (default: beside the field, png)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", default="1", metavar="S", help="4, 2.7, or vertical x horizontal: 2.5x4 (default: 1)")
    size.add_argument("--size", metavar="WxH", help="in pixels: 1920x1080, 1920x, x1080, fit:3840x2160")
    parser.add_argument("--view", metavar="X,Y,W,H", help="only this rectangle of the source, in source pixels")
    parser.add_argument("--source", metavar="WxH", help="size of the picture that a .pth.tar was fitted to")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there already")


def run(arguments: argparse.Namespace) -> int:
    from gsr_app.io.images import check_output

    out: Path = arguments.out or arguments.field.with_suffix(".png")
    if out.suffix == ".svg":
        check_file(out, ".svg")
        if out.exists() and not arguments.overwrite:
            raise InvalidArgument(f"{out} is there already.", hint="Write over it with --overwrite.")
        field = _load(arguments.field, arguments.source)
        write_whole(out, as_ellipses(field.gaussians))
        print(f"{out}  {len(field):,} ellipses")
        return 0
    check_output(out, (1, 1), overwrite=arguments.overwrite, source=arguments.field)
    field = _load(arguments.field, arguments.source)
    view = read_view(field.source_size, arguments.view, arguments.size, arguments.scale)
    check_output(out, view.size, overwrite=arguments.overwrite)
    field.render(view).save(out, overwrite=arguments.overwrite)
    print(f"{out}  {view.size[1]}x{view.size[0]} from {len(field):,} Gaussians")
    return 0


def read_view(source_size: tuple[int, int], view: str | None, size: str | None, scale: str) -> View:
    """The rectangle and its pixels."""
    x, y, width, height = 0.0, 0.0, float(source_size[1]), float(source_size[0])
    if view is not None:
        if not re.fullmatch(r"[-+\d.e]+(,[-+\d.e]+){3}", view):
            raise InvalidArgument(f"Cannot read the view {view!r}.", hint=_VIEW_FORM)
        try:
            x, y, width, height = (float(part) for part in view.split(","))
        except ValueError:
            raise InvalidArgument(f"Cannot read the view {view!r}.", hint=_VIEW_FORM) from None
    part = height, width
    if not all(0 < side < math.inf for side in part):
        raise InvalidArgument(f"The view {view!r} has no area that can be drawn.", hint=_VIEW_FORM)
    factor = Scale.parse_size(size, part) if size else Scale.parse(scale, part)
    if view is None:
        return View.whole(source_size, factor)
    return View((x, y), (height, width), (max(1, round(height * factor.y)), max(1, round(width * factor.x))))


def as_ellipses(field: GaussianField) -> str:
    """An SVG with an ellipse per Gaussian: SVG cannot add colours, so this shows positions and shapes only."""
    if len(field) > _MOST_ELLIPSES:
        raise InvalidArgument(f"An SVG holds up to {_MOST_ELLIPSES:,} ellipses, the field has {len(field):,}.")
    axes, tilt = to_axes(np.asarray(field.sigma), np.asarray(field.rho))
    height, width = field.source_size
    color = np.clip(np.asarray(field.color) * 255, 0, 255).round().astype(int)
    color = np.broadcast_to(color, (len(color), 3))  # a grey one has one channel
    rows = [
        f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{_SHOWN_SIGMAS * a:.2f}" ry="{_SHOWN_SIGMAS * b:.2f}" '
        f'transform="rotate({np.rad2deg(t):.1f} {x:.2f} {y:.2f})" fill="rgb{tuple(c.tolist())}" fill-opacity="0.6"/>'
        for (x, y), (a, b), t, c in zip(np.asarray(field.mean), axes, tilt, color, strict=True)
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#000"/>', *rows, "</svg>\n"])


def _load(path: Path, source: str | None) -> Field:
    from gsr_app import api

    if not path.name.endswith((".pth.tar", ".pth", ".pt")):
        return api.load(path, device="cpu")
    from gsr_app.fitting.published import load_checkpoint

    match = re.fullmatch(r"(\d+)x(\d+)", source or "")
    if match is None:
        raise InvalidArgument(
            f"{path.name} does not say how large its picture was.", hint="Say it with --source WIDTHxHEIGHT."
        )
    return api.as_field(load_checkpoint(path).field((int(match[2]), int(match[1]))), done=path.name, device="cpu")
