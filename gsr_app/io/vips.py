"""libvips, loaded at first use, without its warnings, and with its errors as `ImageError`."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from gsr_app.core.errors import GsrError, ImageError, printable

_UNSUPPORTED = ("not supported", "nsupported", "not configured", "not implemented", "built without", "out of range",
                "not a whole number", "Sorry")  # fmt: skip


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


def _explained(what: str, detail: str, hint: str) -> ImageError:
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    reason = lines[0] if lines else "its beginning is damaged"
    if any(words in reason for words in _UNSUPPORTED):
        hint = "It uses a part of the format that is not read here. Save it again as a plain PNG or TIFF."
    return ImageError(f"{what}: {printable(reason)}.", hint=hint)
