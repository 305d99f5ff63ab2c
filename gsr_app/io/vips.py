"""libvips, loaded at first use, without its warnings, and with its errors as `ImageError`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from gsr_app.core.errors import GsrError, ImageError, printable

_UNSUPPORTED = ("not supported", "nsupported", "not configured", "not implemented", "built without", "out of range",
                "not a whole number", "Sorry")  # fmt: skip

_MOST_PIXELS_PER_MM = 100_000


@cache
def load_vips() -> Any:
    """The pyvips module."""
    os.environ.setdefault("VIPS_WARNING", "0")  # if it is set, libvips prints no warnings
    logging.getLogger("pyvips").addHandler(logging.NullHandler())  # nor does pyvips with this
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise GsrError(
            f"Images cannot be read: pyvips does not load ({error}).", hint="pip install 'pyvips[binary]'"
        ) from error
    # The operation cache is keyed by file name: a changed file would be read from the cache.
    pyvips.cache_set_max(0)
    return pyvips


@contextmanager
def explaining(what: str, hint: str = "") -> Generator[None, None, None]:
    """Turn libvips' errors, and the system's, into `ImageError`: `what` and the reason."""
    vips = load_vips()
    try:
        yield
    except vips.Error as error:
        raise _explained(what, str(error.detail or ""), hint) from error
    except UnicodeDecodeError as error:  # pyvips' own error, if the reason quotes bytes of the file
        vips.vips_lib.vips_error_clear()
        raise _explained(what, bytes(error.object).decode(errors="replace"), hint) from error
    except MemoryError as error:
        raise ImageError(f"{what}: not enough memory.", hint="Use a smaller picture or strips.") from error
    except OSError as error:
        raise ImageError(f"{what}: {error.strerror or error}.", hint=hint) from error


def encode_through(operation: str, image: Any, write: Callable[[Any], object], options: Mapping[str, Any]) -> None:
    """Encode an image and give the bytes of the file to `write`, piece by piece."""
    vips = load_vips()
    problems: list[OSError] = []

    def on_write(data: Any) -> int:
        try:
            write(data)
        except OSError as error:  # it cannot pass through libvips
            problems.append(error)
            return -1
        return len(data)

    target = vips.TargetCustom()
    target.on_write(on_write)
    try:
        vips.Operation.call(operation, image, target, **options)
    except vips.Error:
        if problems:
            raise problems[0] from None
        raise


def with_density(image: Any, x: float, y: float) -> Any:
    """The image with these pixels per mm, unless they are nonsense. It may be changed in place afterwards."""
    return image.copy(xres=x, yres=y) if min(x, y) > 0 and max(x, y) < _MOST_PIXELS_PER_MM else image.copy()


def _explained(what: str, detail: str, hint: str) -> ImageError:
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    reason = lines[0] if lines else "its beginning is damaged"
    if any(words in reason for words in _UNSUPPORTED):
        hint = "It uses a part of the format that is not read here. Save it again as a plain PNG or TIFF."
    return ImageError(f"{what}: {printable(reason)}.", hint=hint)
