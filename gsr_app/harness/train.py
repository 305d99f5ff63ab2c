"""`train RECIPE`: train a network on a folder of pictures, with progress, resumable at any moment."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.harness.stopping import stop_on_interrupt

if TYPE_CHECKING:
    from torch import Tensor

    from gsr_app.training.clips import Clip
    from gsr_app.training.data import Share
    from gsr_app.training.held import HeldPatches
    from gsr_app.training.loop import Status, Trainer
    from gsr_app.training.recipe import Recipe
    from gsr_app.training.starts import FittedPicture

_Example = TypeVar("_Example")
_INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
_HELD_OUT_AT_MOST = 5
_PICTURE_SIZES = 10  # of patches of pictures, where each size is a CUDA graph of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", help="a TOML file, or the name of a shipped recipe: swift, gsasr, savsr, quickstart, …"
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="PLACE[=SHARE]",
        help="what to train on: folders of pictures and packs, each with its share of the patches; "
        "or one folder of clips or of kept fits",
    )
    parser.add_argument(
        "--validate", type=Path, help="folder of pictures to judge by; else a few of --data are held out"
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="ARCH=WEIGHTS",
        help="make taught tiles at the start and keep all data in the memory of the device, as suits a GPU",
    )
    parser.add_argument("--tiles", type=int, default=8000, help="taught tiles to make (default: %(default)s)")
    parser.add_argument("--tile-px", type=int, default=96, help="side of a taught tile (default: %(default)s)")
    parser.add_argument(
        "--pages",
        type=Path,
        help="with --teacher: pictures of text and grids for a share of the tiles (default: drawn)",
    )
    parser.add_argument("--arch", help="another architecture of the same kind, instead of the recipe's")
    parser.add_argument("--amp", action="store_true", help="bfloat16 for the network, on a GPU")
    parser.add_argument("--no-graphs", action="store_true", help="with --teacher: run each GPU kernel by itself")
    parser.add_argument("--small-state", action="store_true", help="a state of half the size, resumed nearly as it was")
    parser.add_argument("--batch", type=int, help="patches of a step, instead of the recipe's")
    parser.add_argument("--steps", type=int, help="length of the run, instead of the recipe's")
    parser.add_argument("--minutes", type=float, help="anneal by the clock, to end after so many minutes of training")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads of this process")
    parser.add_argument(
        "--from", dest="begin_with", type=Path, help="weights to begin with: a file, or a run's last.pt"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")


def run(args: argparse.Namespace) -> int:
    from gsr_app.training.recipe import find_recipe, read_recipe

    path = find_recipe(args.recipe)
    recipe = _with_overrides(read_recipe(path), args)
    out = args.out or Path("runs") / path.stem
    if args.begin_with and args.resume:
        raise InvalidArgument("--from begins a run and --resume goes on with one.", hint="Leave one of them out.")
    if (out / "last.pt").exists() and not args.resume:
        raise InvalidArgument(f"{out} already holds a run.", hint="Go on with it by --resume, or name another --out.")

    if int(os.environ.get("RANK", "0")) == 0:  # before anything that takes time
        print(_announce(path.stem, recipe, args), file=sys.stderr, flush=True)

    import torch

    from gsr_app.models.registry import architecture
    from gsr_app.training.clips import find_clips
    from gsr_app.training.data import load_shares, load_whole_pictures
    from gsr_app.training.loop import Trainer

    if args.threads:
        torch.set_num_threads(args.threads)
    device = _choose_device(args.device)
    kind = architecture(recipe.arch).kind

    def load(folder: Path) -> Sequence[Tensor | Clip | FittedPicture]:
        if kind == "start":
            from gsr_app.training.starts import find_fits

            return find_fits(folder)
        return find_clips(folder, recipe.data.frames) if kind == "video" else load_whole_pictures(folder)

    validation = load(args.validate) if args.validate else None
    if kind in {"start", "video"}:
        pictures = load(Path(args.data[0]))
        if validation is None:
            pictures, validation = hold_out(pictures)
    else:
        pictures = load_shares(args.data, held_out=recipe.data.held_out)
        if validation is None:
            pictures, validation = hold_out_of_shares(pictures)
    if args.teacher:
        pictures = _teach(args, pictures, recipe, device)
    build = Trainer
    if kind == "start":
        from gsr_app.training.starts import StartTrainer

        build = StartTrainer
    trainer = build(
        recipe, pictures, validation, out, device=device, minutes=args.minutes, small_state=args.small_state
    )
    _plan_memory(trainer)
    if trainer.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        if args.teacher and not args.no_graphs:
            trainer.use_graphs()
    if args.resume:
        trainer.resume()
    elif args.begin_with:
        trainer.begin_with(args.begin_with)
    return _watch(trainer)


def _announce(name: str, recipe: Recipe, args: argparse.Namespace) -> str:
    data = recipe.data
    length = f"{args.minutes:g} minutes" if args.minutes else f"{recipe.schedule.steps:,} steps"
    scales = " to ".join(f"x{scale:g}" for scale in dict.fromkeys(data.scales))
    places = ", ".join(args.data)
    return (
        f"Training {recipe.arch} by the recipe {name}: {length} of {data.batch} patches of "
        f"{data.patch_px}x{data.patch_px} at {scales}. Reading {places}."
    )


def _plan_memory(trainer: Trainer) -> None:
    """Say what a step needs, and split a batch that does not fit."""
    from gsr_app.engine import devices

    free_bytes = devices.free_bytes(trainer.device)
    step_bytes = trainer.fit_into(free_bytes)
    weights = sum(weight.numel() for weight in trainer.module.parameters())
    text = f"{weights:,} weights on {trainer.device}. "
    if step_bytes is None:
        text += "A step takes one picture after the other, whose sizes decide what it needs."
    else:
        text += f"A step needs about {_in_gb(step_bytes)} of {_in_gb(free_bytes)} that are free"
        text += f", in {trainer.parts} parts whose gradients are added." if trainer.parts > 1 else "."
    if trainer.team.leads:
        print(text, file=sys.stderr, flush=True)


def _in_gb(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count < 1e10 else f"{count / 1e9:.0f} GB"


def _teach(args: argparse.Namespace, pictures: Sequence[Any], recipe: Recipe, device_name: str) -> HeldPatches:
    import torch

    from gsr_app.training.data import Share, load_whole_pictures
    from gsr_app.training.held import hold
    from gsr_app.training.teach import POOL, load_teachers

    examples = [one for share in pictures if isinstance(share, Share) for one in share.examples] or pictures
    if not all(isinstance(one, torch.Tensor) and one.ndim == 3 for one in examples):
        raise InvalidArgument("--teacher needs pictures in --data.", hint="Leave it out for packs, clips and fits.")
    print(f"Making {args.tiles} taught tiles of {len(examples)} pictures.", file=sys.stderr)
    device = torch.device(device_name)
    teachers = load_teachers(args.teacher, device)
    pages = load_whole_pictures(args.pages) if args.pages else None
    sizes = _PICTURE_SIZES if device.type == "cuda" and not args.no_graphs else 0
    return hold(
        examples, teachers, recipe.data, tiles=args.tiles, seed=recipe.seed, device=device,
        degradation=recipe.degradation, pages=pages, sizes=sizes, pool=POOL._replace(tile_px=args.tile_px),
    )  # fmt: skip


def hold_out(pictures: Sequence[_Example]) -> tuple[Sequence[_Example], Sequence[_Example]]:
    """Pictures to train on and pictures to judge by; of very few, the same for both."""
    count = min(_HELD_OUT_AT_MOST, len(pictures) // 10)
    if count == 0:
        return pictures, pictures[:1]
    stride = len(pictures) // count
    held = set(range(stride - 1, stride * count, stride))
    return [one for i, one in enumerate(pictures) if i not in held], [pictures[i] for i in sorted(held)]


def hold_out_of_shares(shares: Sequence[Share]) -> tuple[list[Share], list[Tensor]]:
    """The same for pictures of several places; taught tiles are trained on alone."""
    from torch import Tensor

    rest: list[Share] = []
    held: list[Tensor] = []
    for share in shares:
        pictures = [one for one in share.examples if isinstance(one, Tensor)]
        kept, some = hold_out(pictures)
        held += some
        rest.append(dataclasses.replace(share, examples=kept) if pictures else share)
    if not held:
        raise InvalidArgument("--data holds taught tiles alone.", hint="Name pictures to judge by with --validate.")
    return rest, held


def _with_overrides(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    steps, seed, batch = args.steps, args.seed, args.batch
    least = {"--steps": 1, "--batch": 1, "--seed": 0}
    if args.teacher:
        least |= {"--tiles": 1, "--tile-px": recipe.data.patch_px}
    for name, number in least.items():
        found = getattr(args, name[2:].replace("-", "_"))
        if found is not None and found < number:
            raise InvalidArgument(f"{name} must be at least {number}, found {found}.")
    if args.minutes is not None and not args.minutes > 0:
        raise InvalidArgument(f"--minutes must be more than 0, found {args.minutes:g}.")
    changes: dict[str, Any] = {"arch": args.arch or recipe.arch, "amp": args.amp or recipe.amp}
    if steps is not None:
        # A short run warms up and is judged in proportion.
        changes["schedule"] = dataclasses.replace(
            recipe.schedule, steps=steps, warmup_steps=min(recipe.schedule.warmup_steps, steps // 10)
        )
        changes["validation"] = dataclasses.replace(recipe.validation, every=min(recipe.validation.every, steps))
    if batch is not None:
        changes["data"] = dataclasses.replace(recipe.data, batch=batch)
    if seed is not None:
        changes["seed"] = seed
    return dataclasses.replace(recipe, **changes)


def _choose_device(wish: str) -> str:
    from gsr_app.engine import devices

    device = devices.choose_device(wish)
    # torchrun gives every process of this machine a number: each has a GPU of its own.
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if str(device) == "cuda" else str(device)


def _watch(trainer: Trainer) -> int:
    """Run to the end, telling how it goes. The first Ctrl-C stops after the step at hand."""
    with stop_on_interrupt() as is_asked_to_stop:
        for status in trainer.run(stop=is_asked_to_stop):
            if not trainer.team.leads:
                continue
            print(_describe(status), flush=True)
            if status.is_first and trainer.graphs is not None and trainer.graphs.reason:
                print(f"No CUDA graphs: {trainer.graphs.reason}.", file=sys.stderr, flush=True)
            if status.is_recorded:
                _draw_curve(trainer)
    if not trainer.team.leads:
        return 0
    if not trainer.is_done:
        print(f"Stopped at step {trainer.step}. Go on with --resume; the state is in {trainer.out}.", file=sys.stderr)
        return _INTERRUPTED
    trainer.export(trainer.out / "final.safetensors")
    print(f"Done: {trainer.out / 'final.safetensors'}; the best by validation is best.safetensors beside it.")
    return 0


def _draw_curve(trainer: Trainer) -> None:
    """Draw the run so far beside its log, where plotly is there: a machine that only trains may lack it."""
    import numpy as np

    from gsr_app.harness import curves
    from gsr_app.training.log import read_rows

    columns = ("step", "loss", "psnr_y", "seconds")
    rows = [[float(row[name] or "nan") for name in columns] for row in read_rows(trainer.log.path)]
    with suppress(ImportError, GsrError):
        curves.write({trainer.out.name: np.array(rows, np.float32)}, "PSNR-Y, dB", trainer.out / "curve.html")


def _describe(status: Status) -> str:
    scores = "  ".join(f"{name} {value:.2f} dB" for name, value in status.scores.items())
    return (
        f"step {status.step}/{status.steps}  loss {status.loss:.5f}  {status.step_ms:.0f} ms/step  "
        f"{_spell(status.seconds_left)} left  {scores}{'  best so far' if status.is_best else ''}"
    ).rstrip()


def _spell(seconds: float) -> str:
    """7:05, 3 h 20 min, or 12 days."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    if minutes < 120:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 72 * 60 else f"{minutes / 1440:.0f} days"
