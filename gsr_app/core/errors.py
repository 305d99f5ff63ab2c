"""One error family. Every error says what was found; its hint says what to do about it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class GsrError(Exception):
    """Something a user can act on. `str(error)` is one line; `.hint` is the next step, when there is one.

    Control characters, which a file or its name may contain and a terminal may obey, are replaced.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(_CONTROLS.sub("?", " ".join(message.split())))
        self.hint = _CONTROLS.sub("?", hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), self.hint)


def _rebuild(kind: type[GsrError], message: str, hint: str) -> GsrError:
    error = kind.__new__(kind)
    GsrError.__init__(error, message, hint=hint)
    return error


class InvalidScale(GsrError):
    """A scale or size that cannot be read or is out of range."""


class SizeOutOfReach(InvalidScale):
    """A size in pixels that is out of range for this picture, but not for every picture."""


class InvalidArgument(GsrError):
    """An argument that the library cannot use; the message names it."""


class ImageError(GsrError):
    """An image that cannot be read or written."""


class FieldFileError(GsrError):
    """A field of Gaussians that cannot be read from or written to a file."""


class VideoError(GsrError):
    """A video that cannot be read or written, or only in part."""


class WeightsError(GsrError):
    """Weights that are missing, broken, or do not fit the network."""


class BackendError(GsrError):
    """A forced backend that cannot run."""


class Cancelled(GsrError):
    """The work was stopped on request."""


class UnknownName(GsrError):
    """A name that is not in a known set."""

    def __init__(self, found: str, known: Iterable[str], *, what: str, where: str) -> None:
        choices = sorted(known)
        near = nearest(found, choices)
        suggestion = f" Did you mean {near!r}?" if near else f" Known: {', '.join(choices)}."
        super().__init__(f"{what} {found!r} is not in {where}.{suggestion}")
        self.nearest = near


class UnknownMethod(UnknownName):
    """A method id that the catalogue does not have."""

    def __init__(self, found: str, known: Iterable[str]) -> None:
        super().__init__(found, known, what="Method", where="the catalogue")
        self.hint = "List the methods with: python -m gsr_app models"


def nearest(found: str, known: Iterable[str]) -> str | None:
    """The known name most like `found`, or None when nothing is close."""
    close = difflib.get_close_matches(found.lower(), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def first_line(error: BaseException, most: int = 160) -> str:
    """What an error of another library says, for a message; its kind where it says nothing."""
    return printable(next(iter(str(error).splitlines()), "") or type(error).__name__)[:most]


def printable(text: str) -> str:
    """The text on one line, without the control characters that a file or its name may contain."""
    return "".join(c if c.isprintable() else "?" for c in text).rstrip(".")[:300]
