"""Tables of TOML files become dataclasses, or errors that say where, what was found and what is expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.tables import construct, parse_toml
from gsr_app.models import registry
from gsr_app.training.recipe import read_recipe


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 0


@dataclass(frozen=True)
class Outer:
    title: str
    count: int = 1
    rate: float = 0.5
    is_on: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] | None = None
    many: tuple[int, ...] = ()
    weights: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    inner: Inner = Inner("none")
    files: tuple[Inner, ...] = ()


def read(text: str) -> Outer:
    return construct(Outer, parse_toml(text, "f.toml"), "f.toml")


def test_every_kind_of_value_is_read() -> None:
    found = read(
        'title = "t"\ncount = 3\nrate = 2\nis_on = true\nkind = "b"\npair = [1, 2.5]\nmany = [1, 2, 3]\n'
        'files = [{ name = "x" }, { name = "y", size = 4 }]\n[weights]\nl1 = 1\nnote = "n"\n[inner]\nname = "i"\n'
    )
    assert found == Outer(
        "t", 3, 2, True, "b", (1, 2.5), (1, 2, 3), {"l1": 1, "note": "n"}, Inner("i"), (Inner("x"), Inner("y", 4))
    )
    assert read('title = "t"') == Outer("t")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = 1", "f.toml: title is 1, expected a text."),
        ('count = "many"', "f.toml: count is 'many', expected a whole number."),
        ("count = 1.0", "f.toml: count is 1.0, expected a whole number."),
        ("count = true", "f.toml: count is True, expected a whole number."),
        ("rate = nan", "f.toml: rate is nan, expected a number."),
        ("rate = true", "f.toml: rate is True, expected a number."),
        ('rate = "0.5"', "f.toml: rate is '0.5', expected a number."),
        ("is_on = 1", "f.toml: is_on is 1, expected true or false."),
        ('kind = "c"', "f.toml: kind is 'c', expected one of 'a', 'b'."),
        ("pair = [1]", "f.toml: pair is [1], expected [a number, a number]."),
        ("pair = 1", "f.toml: pair is 1, expected [a number, a number]."),
        ('pair = [1, "x"]', "f.toml: pair[1] is 'x', expected a number."),
        ("many = 3", "f.toml: many is 3, expected [a whole number, …]."),
        ("many = [1, 2.5]", "f.toml: many[1] is 2.5, expected a whole number."),
        ("weights = { l1 = [] }", "f.toml [weights]: l1 is [], expected a number or a text."),
        ("inner = 3", "f.toml: inner is 3, expected a table."),
        ("inner = { name = 3 }", "f.toml [inner]: name is 3, expected a text."),
        ("inner = { size = 3 }", "f.toml [inner]: 'name' is missing."),
        ('files = [{ nam = "x" }]', "f.toml [files[0]]: unknown key 'nam'. Did you mean 'name'?"),
        ('files = [{ name = "x", size = "s" }]', "f.toml [files[0]]: size is 's', expected a whole number."),
        ("conut = 1", "f.toml: unknown key 'conut'. Did you mean 'count'?"),
        ("count = 1\ncount = 2", "f.toml is not valid TOML: .*"),
    ],
)
def test_what_does_not_fit_is_said(text: str, says: str) -> None:
    start = "" if text.startswith("title") else 'title = "t"\n'
    pattern = says if says.endswith(".*") else re.escape(says)
    with pytest.raises(InvalidArgument, match=f"^{pattern}$"):
        read(start + text)


def test_a_missing_key_is_said() -> None:
    with pytest.raises(InvalidArgument, match=r"^f\.toml: 'title' is missing\.$"):
        read("count = 1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[data]\npatch_px = "many"\n', r"mine\.toml \[data\]: patch_px is 'many', expected a whole number"),
        ('[schedule]\nkind = "slow"\n', r"mine\.toml \[schedule\]: kind is 'slow', expected one of 'cosine'"),
        ("[loss]\nl1 = true\n", r"mine\.toml \[loss\]: l1 is True, expected a number"),
        ("data = 3\n", r"mine\.toml: data is 3, expected a table"),
    ],
)
def test_a_recipe_with_a_wrong_type_is_refused(text: str, says: str, tmp_path: Any) -> None:
    (tmp_path / "mine.toml").write_text('arch = "swift"\n' + text)
    with pytest.raises(InvalidArgument, match=says):
        read_recipe(tmp_path / "mine.toml")


def test_a_catalogue_with_a_wrong_type_is_refused() -> None:
    head = '[a]\ntitle = "A"\nfamily = "f"\nkind = "resize"\nkernel = "bicubic"\ncode_licence = "MIT"\n'
    for text, says in (
        ("parameters = 1.5\n", r"catalog\.toml \[a\]: parameters is 1\.5, expected a whole number"),
        ("scales = [1]\n", r"catalog\.toml \[a\]: scales is \[1\], expected \[a number, a number\]"),
        ('files = "x"\n', r"catalog\.toml \[a\]: files is 'x', expected \[a table, …\]"),
        ("[b]\n", r"catalog\.toml \[b\]: 'title' is missing"),
    ):
        with pytest.raises(InvalidArgument, match=says):
            registry.read_catalogue(head + text)
    with pytest.raises(InvalidArgument, match=r"catalog\.toml: a is 3, expected a table"):
        registry.read_catalogue("a = 3")
