"""`pack FOLDER FILE.pack`: pictures, or a teacher's answers to tiles of them, in one memory-mapped file for `train`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gsr_app.core.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import Tensor

    from gsr_app.training.pack import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of pictures")
    parser.add_argument("out", type=Path, help="the file to write, FILE.pack")
    parser.add_argument(
        "--most-mb", type=float, help="shrink the pictures, all by one factor, until the pack has at most so many MB"
    )
    parser.add_argument(
        "--files",
        action="store_true",
        help="pack the files as they are: smaller; Pillow reads them when training begins",
    )
    parser.add_argument("--held-out", type=int, default=0, help="pictures to leave out, as a recipe's held_out does")
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="ARCH=WEIGHTS",
        help="write taught tiles: a network of one scale and its weights; once for every scale",
    )
    parser.add_argument("--tiles", default="0:100", help="taught tiles to make, FIRST:END (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the taught tiles")
    parser.add_argument("--threads", type=int, help="CPU threads of this process")


def run(args: argparse.Namespace) -> int:
    import torch

    from gsr_app.harness.outputs import check_output
    from gsr_app.training.data import find_pictures, load_pictures, shrink_all
    from gsr_app.training.pack import ENDING, write_pack
    from gsr_app.training.teach import Pool, load_teachers, teach

    check_output(args.out, ENDING)
    for name, value, least in (("--threads", args.threads, 1), ("--held-out", args.held_out, 0)):
        if value is not None and value < least:
            raise InvalidArgument(f"{name} must be at least {least}, found {value}.")
    if args.most_mb is not None and not args.most_mb > 0:
        raise InvalidArgument(f"--most-mb must be greater than 0, found {args.most_mb:g}.")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.files and (args.teacher or args.most_mb):
        raise InvalidArgument("--files packs files unchanged.", hint="Leave --teacher and --most-mb out.")
    entries: Iterable[Entry]
    if args.files:
        data = (file.read_bytes() for file in find_pictures(args.folder, held_out=args.held_out))
        entries = ({"file": torch.frombuffer(bytearray(one), dtype=torch.uint8)} for one in data)
        pictures: list[Tensor] = []
    else:
        pictures = load_pictures(args.folder, held_out=args.held_out)
        pictures = shrink_all(pictures, args.most_mb * 1e6) if args.most_mb else pictures
        entries = ({"picture": picture} for picture in pictures)
    if args.teacher:
        teachers = load_teachers(args.teacher)
        entries = _tell(teach(pictures, teachers, Pool(), _read_range(args.tiles), args.seed))
    about = {"held_out": args.held_out, "seed": args.seed, "tiles": args.tiles} if args.teacher else {}
    count = write_pack(args.out, entries, about)
    print(f"{args.out}: {count} {'tiles' if args.teacher else 'pictures'}, {args.out.stat().st_size / 1e6:.0f} MB.")
    return 0


def _read_range(text: str) -> range:
    try:
        first, end = (int(one) for one in text.split(":"))
    except ValueError:
        raise InvalidArgument(f"--tiles {text} is not a range.", hint="Write it as FIRST:END, such as 0:100.") from None
    return range(first, end)


def _tell(entries: Iterable[Entry]) -> Iterator[Entry]:
    began = time.monotonic()
    for count, entry in enumerate(entries, 1):
        yield entry
        if count % 20 == 0:
            print(f"{count} tiles, {(time.monotonic() - began) / count:.2f} s each", file=sys.stderr, flush=True)
