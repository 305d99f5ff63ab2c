"""`gsr export --page` and `--space`: a page that enlarges pictures in the browser, as one file or as a static Space."""

from __future__ import annotations

import argparse
from pathlib import Path

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.outputs import check_ours, check_output, make_folder
from gsr_app.io.images import read_metadata
from gsr_app.viewer.page.build import TITLE, page_html, space_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--page", type=Path, metavar="OUT.html", help="a page that enlarges pictures in the browser, offline"
    )
    parser.add_argument("--image", type=Path, metavar="PICTURE", help="with --page: a picture that it shows at first")
    parser.add_argument("--space", type=Path, metavar="DIR", help="that page as a static Space, ready to upload")


def is_asked(arguments: argparse.Namespace) -> bool:
    return any(value is not None for value in (arguments.page, arguments.space, arguments.image))


def run(arguments: argparse.Namespace) -> int:
    if arguments.field is not None or arguments.html is not None:
        raise InvalidArgument("A page that encodes pictures holds no field.", hint="Write the field with --html alone.")
    if arguments.page is None and arguments.image is not None:
        raise InvalidArgument("--image needs --page.")
    if arguments.page is not None:
        check_output(arguments.page, ".html")
        picture = None
        if arguments.image is not None:
            read_metadata(arguments.image)  # fails with a reason where it is no picture
            picture = arguments.image.name, arguments.image.read_bytes()
        write_whole(arguments.page, page_html(picture=picture))
        print(f"{arguments.page}  {arguments.page.stat().st_size / 1e6:.2f} MB, opens offline")
    if arguments.space is not None:
        make_folder(arguments.space)
        for name, mark in (("index.html", TITLE), ("README.md", "title: GSR in the browser")):
            check_ours(arguments.space / name, mark)
        for name, text in space_files().items():
            write_whole(arguments.space / name, text)
        print(f"{arguments.space}  a static Space: upload its files, or serve them with any web server")
    return 0
