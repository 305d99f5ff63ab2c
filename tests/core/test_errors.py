"""Errors are one line, carry their next step, and survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from gsr_app.core import errors
from gsr_app.core.errors import Cancelled, GsrError, ImageError, InvalidScale, UnknownMethod, UnknownName, nearest

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GsrError)]


def test_a_message_is_always_one_line() -> None:
    error = ImageError("a\n  file\twith\n\nlines", hint="Look.")
    assert str(error) == "a file with lines"
    assert error.hint == "Look."


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    error = ImageError("the key \x1b[2J\0 of gr\u00f6\u00dfe.png", hint="see \x9b5m")
    assert str(error) == "the key ?[2J? of gr\u00f6\u00dfe.png"
    assert error.hint == "see ?5m"


def test_the_hint_is_empty_when_there_is_none() -> None:
    assert Cancelled("Stopped.").hint == ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_crosses_processes_whole(kind: type[GsrError]) -> None:
    if issubclass(kind, UnknownMethod):
        error: GsrError = kind("bicubik", ["bicubic"])
    elif issubclass(kind, UnknownName):
        error = kind("bicubik", ["bicubic"], what="Kernel", where="the list")
    else:
        error = kind("What was found.", hint="What to do.")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), back.hint) == (str(error), error.hint)


def test_an_unknown_method_names_the_nearest() -> None:
    error = UnknownMethod("gsasr-esdr", ["gsasr-edsr-df2k", "rgt-x4", "bicubic"])
    assert str(error) == "Method 'gsasr-esdr' is not in the catalogue. Did you mean 'gsasr-edsr-df2k'?"
    assert error.nearest == "gsasr-edsr-df2k"
    assert "models" in error.hint
    assert isinstance(error, UnknownName)


def test_an_unknown_name_lists_what_is_known_when_nothing_is_near() -> None:
    error = UnknownName("zzz", ["b", "a"], what="Kernel", where="the list")
    assert str(error) == "Kernel 'zzz' is not in the list. Known: a, b."
    assert error.nearest is None


def test_nearest_ignores_case_and_gives_up_when_nothing_is_close() -> None:
    assert nearest("BICUBIC", ["bicubic", "nearest"]) == "bicubic"
    assert nearest("quux", ["bicubic", "nearest"]) is None


def test_all_are_caught_as_one_family() -> None:
    with pytest.raises(GsrError):
        raise InvalidScale("x")
