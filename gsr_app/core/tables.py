"""TOML files as dataclasses: the annotations of the fields say which keys and types a table may have."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gsr_app.core.errors import InvalidArgument, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_Table = TypeVar("_Table")
_NAMES: dict[Any, str] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text; `file` names it in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # includes keys and tables that are there twice
        raise InvalidArgument(f"{file} is not valid TOML: {error}") from None


def construct(kind: type[_Table], table: Mapping[str, Any], file: str, *path: str) -> _Table:
    """A dataclass from the table at `path` of a file. Unknown and missing keys and values of other types are errors."""
    where = f"{file} [{'.'.join(path)}]" if path else file
    hints = get_type_hints(kind)
    known = {one.name: one for one in dataclasses.fields(cast("Any", kind))}
    for key in table:
        if key not in known:
            near = nearest(key, known)
            raise InvalidArgument(f"{where}: unknown key {key!r}." + (f" Did you mean {near!r}?" if near else ""))
    for name, one in known.items():
        if name not in table and one.default is one.default_factory is dataclasses.MISSING:
            raise InvalidArgument(f"{where}: {name!r} is missing.")
    return kind(**{key: _convert(value, hints[key], file, *path, key) for key, value in table.items()})


def _convert(value: Any, wanted: Any, file: str, *path: str) -> Any:
    """The value, with tuples for arrays and dataclasses for tables."""
    if get_origin(wanted) in (Union, types.UnionType):
        wanted = next((one for one in get_args(wanted) if _fits(value, one)), wanted)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if not _fits(value, wanted):
        where = f"{file} [{'.'.join(path[:-1])}]" if path[1:] else file
        raise InvalidArgument(f"{where}: {path[-1]} is {value!r}, expected {_describe(wanted)}.")
    if dataclasses.is_dataclass(wanted):
        return construct(cast("type[Any]", wanted), value, file, *path)
    if origin is tuple:
        kinds = arguments[:1] * len(value) if ... in arguments else arguments
        names = [f"{path[-1]}[{index}]" for index in range(len(value))]
        return tuple(_convert(*one, file, *path[:-1], name) for *one, name in zip(value, kinds, names, strict=True))
    if origin is Mapping:
        return {key: _convert(one, arguments[1], file, *path, key) for key, one in value.items()}
    return value


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of the outer type; what an array or a table holds is looked at when it is converted."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(wanted))
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(wanted))
    if origin is tuple:
        kinds = get_args(wanted)
        return isinstance(value, list) and (... in kinds or len(cast("list[Any]", value)) == len(kinds))
    if origin is Mapping or dataclasses.is_dataclass(wanted):
        return isinstance(value, dict)
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is wanted


def _describe(wanted: Any) -> str:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(one) for one in arguments if one is not type(None))
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin is tuple:
        return f"[{', '.join('…' if one is ... else _describe(one) for one in arguments)}]"
    return _NAMES.get(wanted, "a table")
