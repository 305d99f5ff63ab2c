"""`gsr fit` and what it writes: an image as a field of Gaussians, watched as it gets sharp."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.outputs import check_output
from gsr_app.harness.progress import ProgressLine, clock
from gsr_app.harness.stopping import stop_on_interrupt
from gsr_app.io.fields import SUFFIX, Precision, Quantised, read_facts, save_field

if TYPE_CHECKING:
    from gsr_app.fitting.fitter import Fitter
    from gsr_app.fitting.options import FitOptions
    from gsr_app.fitting.progress import FitStatus

_SAVE_EVERY_S = 5.0
_MORE_S = 20.0
_STARTS = ("network", "quadtree", "random", "initnet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="an image; with --plot: logs of fits")
    parser.add_argument("--start", choices=_STARTS, default="network", help="where the Gaussians begin")
    parser.add_argument("--gaussians", default="auto", metavar="N|auto", help="auto: by what the picture holds")
    parser.add_argument("--seconds", type=float, help="stop after so long (default: 20, unless --steps is given)")
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument(
        "--target-psnr", type=float, metavar="P", help="stop at so many dB; --gaussians auto adds what it takes"
    )
    parser.add_argument(
        "--preset", choices=("ours", "published"), default="ours",
        help="published: parameters, optimiser, loss and schedule of GaussianImage (50,000 steps unless told)",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="PATH", help="of the network to start from (network, initnet)")
    parser.add_argument("--loss", choices=("l2", "l1", "ssim"), help="default: l2")
    parser.add_argument("--optimizer", choices=("adam", "adan"), help="default: adam")
    parser.add_argument("--seed", type=int, default=0, help="of all that is chosen at random (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, help=f"the field (default: IMAGE{SUFFIX} in this folder)")
    parser.add_argument(
        "--bits", help="float32, float16, or 8 to 16 bits per number; default: float32, with --resume as the file is"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an earlier fit, for --seconds or --steps more (default: 20 seconds)",
    )
    parser.add_argument("--overwrite", action="store_true", help="begin anew where a field is there already")
    parser.add_argument(
        "--keep-all",
        action="store_true",
        help="also write start, result, log and maps into a folder named like the field",
    )
    parser.add_argument("--plot", action="store_true", help="draw the logs (log.npy) of earlier fits into --out")
    parser.add_argument("--json", action="store_true", help="the last line of the output is a JSON object")


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot:
        return _plot(arguments)
    if len(arguments.images) > 1:
        raise InvalidArgument(f"A fit takes one image, found {len(arguments.images)}.")
    options = _read_options(arguments)
    precision = _read_precision(arguments.bits) if arguments.bits else None

    import numpy as np
    import torch

    from gsr_app import api
    from gsr_app.core.pixels import convert, to_planes
    from gsr_app.engine.devices import choose_device
    from gsr_app.fitting.fitter import Fitter
    from gsr_app.fitting.losses import psnr
    from gsr_app.fitting.state import SUFFIX as STATE
    from gsr_app.fitting.state import load_state, save_state
    from gsr_app.io.images import read_image

    source: Path = arguments.images[0]
    out: Path = arguments.out or Path(source.stem + SUFFIX)
    check_output(out, SUFFIX)
    state = out.with_suffix(STATE)
    if out.exists() and not (arguments.resume or arguments.overwrite):
        other = "go on with --resume" if state.exists() else "choose another --out"
        raise InvalidArgument(f"{out} is there already.", hint=f"Begin anew with --overwrite, or {other}.")
    device = choose_device(arguments.device)
    image = torch.from_numpy(to_planes(convert(read_image(source).pixels, channels=3)))
    if arguments.resume:
        fitter = load_state(image, state, options=options, keeps_loss=arguments.loss is None, device=device)
    else:
        fitter = Fitter(image, options, device=device)
    if arguments.resume:
        seconds = _MORE_S if options.seconds is None and options.steps is None else options.seconds
        fitter.extend(seconds=seconds, steps=options.steps, target_psnr=options.target_psnr)
    line, saved = ProgressLine(100), 0.0
    status: FitStatus | None = None
    with stop_on_interrupt() as stopped:
        for status in fitter.run(report_seconds=0.25, stop=stopped):
            line.update(100 * status.progress, _describe(status))
            if status.seconds - saved >= _SAVE_EVERY_S:
                save_state(fitter, state)
                saved = status.seconds
        is_stopped = stopped()
    if fitter.parameters is None:
        return 130
    save_state(fitter, state)
    line.clear()
    if precision is None:
        precision = read_facts(out).precision if arguments.resume and out.exists() else "float32"
    start = fitter.options.start  # with --resume, that of the first run
    facts = save_field(fitter.field, out, precision=precision, method=f"fit-{start}")
    drawn = api.load(out, device="cpu").render(dtype=np.float32)  # from the file: its precision costs something
    written = psnr(torch.from_numpy(to_planes(drawn.array)), image)
    if arguments.keep_all:
        _keep_all(fitter, out.with_suffix(""), image)
    reached = {
        "psnr": round(fitter.best_psnr, 4), "gaussians": len(fitter.field), "seconds": round(fitter.seconds, 3),
        "steps": fitter.step, "start": start,
    }  # fmt: skip
    print(f"{out}  {facts.bytes / 1e3:.1f} kB, {facts.bits_per_pixel:.2f} bits per pixel, {written:.2f} dB as written")
    if arguments.json:
        print(json.dumps(reached))
    else:
        print(", ".join(f"{name} {value}" for name, value in reached.items()))
    return 130 if is_stopped else 0


def _read_options(arguments: argparse.Namespace) -> FitOptions:
    from gsr_app.fitting.options import FitOptions, as_published

    text = str(arguments.gaussians)
    if text != "auto" and not text.isdecimal():
        raise InvalidArgument(f"--gaussians is a number or auto, found {text!r}.")
    wishes: dict[str, Any] = {
        "start": arguments.start,
        "gaussians": None if text == "auto" else int(text),
        "seconds": arguments.seconds,
        "steps": arguments.steps,
        "target_psnr": arguments.target_psnr,
        "seed": arguments.seed,
        "weights": arguments.weights,
    }
    if arguments.preset == "ours":
        return FitOptions(**wishes, loss=arguments.loss or "l2", optimizer=arguments.optimizer or "adam")
    if arguments.loss or arguments.optimizer:
        raise InvalidArgument("The published preset has its own loss and optimiser.", hint="Leave out --preset.")
    return as_published(**wishes)


def _read_precision(text: str) -> Precision:
    if text in ("float32", "float16"):
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise InvalidArgument(f"--bits is float32, float16 or a number from 8 to 16, found {text!r}.")
    return Quantised.evenly(int(text))


def _describe(status: FitStatus) -> str:
    return (
        f"{status.best_psnr:.2f} dB  {status.gaussians:,} Gaussians  step {status.step}  "
        f"{status.steps_per_second:.0f}/s  {clock(status.seconds)}"
    )


def _keep_all(fitter: Fitter, folder: Path, image: Any) -> None:
    """Write the files that the original program writes."""
    import numpy as np

    from gsr_app.core.pixels import from_planes
    from gsr_app.core.types import Scale, View
    from gsr_app.fitting.density import measure_density
    from gsr_app.io.images import write_image
    from gsr_app.io.picture import Picture
    from gsr_app.ops import render

    folder.mkdir(parents=True, exist_ok=True)
    view = View.whole(fitter.size, Scale(1, 1))
    planes = {"gt": image, "render": render(fitter.field, view)}
    if fitter.first is not None:
        planes["init"] = render(fitter.first, view)
    for name, drawn in planes.items():
        write_image(folder / f"{name}.png", Picture(from_planes(drawn.numpy(), np.uint8)), overwrite=True)
    curve = fitter.curve
    np.save(folder / "log.npy", np.stack([curve.step, curve.loss, curve.psnr, curve.seconds], 1).astype(np.float32))
    np.save(folder / "gt_pf.npy", measure_density(np.asarray(fitter.field.mean) - 0.5, fitter.size))
    if fitter.position_map is not None:
        np.save(folder / "position_map.npy", fitter.position_map.numpy())
    save_field(fitter.field, folder / f"field{SUFFIX}")
    last = f"{len(fitter.field)} Gaussians, {fitter.step} steps, {fitter.seconds:.2f} s, {fitter.best_psnr:.4f} dB\n"
    (folder / "train.txt").write_text(last, encoding="utf-8")


def _plot(arguments: argparse.Namespace) -> int:
    """Plot several runs in one page."""
    import numpy as np

    from gsr_app.harness import curves

    out: Path = arguments.out or Path("fit.html")
    check_output(out, ".html")
    runs: dict[str, Any] = {}
    for path in arguments.images:
        log = path / "log.npy" if path.is_dir() else path
        rows: Any = None
        try:
            rows = np.load(log)
        except OSError as error:
            raise InvalidArgument(
                f"{log} cannot be read: {error.strerror}.", hint="Name a folder that gsr fit --keep-all wrote."
            ) from None
        except (ValueError, EOFError):  # not of numpy, or empty
            pass
        if not (isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] in (3, 4) and rows.dtype.kind == "f"):
            raise InvalidArgument(f"{log} is not the log of a fit.", hint="--keep-all writes one, log.npy.")
        runs[str(path)] = rows
    curves.write(runs, "PSNR (RGB), dB", out)
    print(out)
    return 0
