"""`gsr export`: an offline page of a field, or one that enlarges pictures; a network as ONNX, or for the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness import export_page
from gsr_app.harness.bench_record import read_size
from gsr_app.io.fields import SUFFIX
from gsr_app.models import registry, weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("field", type=Path, nargs="?", metavar=f"FIELD{SUFFIX}", help="with --html: what to show")
    parser.add_argument(
        "--html", type=Path, nargs="?", const=Path(), metavar="OUT.html",
        help="the field as a page; default: beside the field",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", action="store_true", help="with --html: its reader can enlarge pictures of their own, too"
    )
    export_page.add_arguments(parser)
    parser.add_argument("--onnx", type=Path, metavar="OUT.onnx", help="the network of a method, checked against torch")
    parser.add_argument("--model", type=Path, metavar="DIR", help="config.json, model.safetensors and the model card")
    parser.add_argument("--method", help="whose network (default: the default method)")
    parser.add_argument("--weights", metavar="PATH", help="your own weights: a file, or a folder with one per part")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="of the ONNX file")
    parser.add_argument("--size", type=read_size, metavar="WxH", help="an ONNX file for inputs of this size alone")


def run(arguments: argparse.Namespace) -> int:
    if arguments.onnx is not None or arguments.model is not None:
        return _export_network(arguments)
    if export_page.is_asked(arguments):
        return export_page.run(arguments)
    from gsr_app.harness.export_field import write_field_page

    if arguments.field is None or arguments.html is None:
        raise InvalidArgument(
            "Nothing to export.",
            hint=f"gsr export FIELD{SUFFIX} --html, or gsr export with one of --page, --space, --onnx and --model",
        )
    path: Path = arguments.field
    out = arguments.html if arguments.html != Path() else path.with_suffix(".html")
    write_field_page(path, out, with_encoder=arguments.encoder)
    return 0


def _export_network(arguments: argparse.Namespace) -> int:
    if arguments.field is not None or arguments.html is not None or export_page.is_asked(arguments):
        raise InvalidArgument("--onnx and --model write a network alone.", hint="Choose it with --method.")
    method = registry.method(arguments.method or weights.default_method())
    if arguments.onnx is not None:
        from gsr_app.harness.export_onnx import write_onnx

        print(write_onnx(method, arguments.onnx, arguments.weights, arguments.precision, arguments.size))
    if arguments.model is not None:
        from gsr_app.harness.export_model import write_model

        write_model(method, arguments.model, arguments.weights)
        print(f"{arguments.model}  ready for: hf upload OWNER/NAME {arguments.model}")
    return 0
