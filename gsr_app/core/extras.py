"""Optional packages, and the extras of the distribution that install them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from gsr_app.core.errors import GsrError
from gsr_app.core.folders import CHECKOUT

DISTRIBUTION = "gsr-app"


@contextmanager
def needs_extra(extra: str, user: str) -> Generator[None, None, None]:
    """Turn an import inside that fails into an error that says what to install. user: what needs the package."""
    try:
        yield
    except (ImportError, OSError) as error:
        raise GsrError(f"{user} needs the extra {extra!r}: {error}.", hint=install_hint(extra)) from error


def install_hint(extra: str) -> str:
    """The command that adds an extra to this copy of the app."""
    return f"pip install -e '{CHECKOUT}[{extra}]'" if CHECKOUT else f"pip install '{DISTRIBUTION}[{extra}]'"
