"""Field files with invalid or hostile headers: each is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsr_app.core.errors import FieldFileError
from gsr_app.core.types import GaussianField
from gsr_app.io.fields import Precision, Quantised, pack_field, read_facts, unpack_field

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", Quantised())

TEXTS: list[Any] = [
    None, 0, -1, 10**18, 1.5, [], {}, "", "x", "NaN", "Infinity", "-1", "true", "null", "[]", "{}", '"5"', "[1]",
    "[1,2,3]", '["5","5"]', '{"0":1,"1":2}', "[NaN,1]", "[1e999,-1]", "[true,20]", "[20.0,20]", "[0,5]",
    "[1000000000000000000,1]", "[1,8388609]", "9" * 400, "[" * 100_000, '{"mean":5}', '{"mean":{"bits":8}}',
]  # fmt: skip
CODES: list[Any] = [None, 0, -1, 9.5, 10**18, 1e300, "x", [], {}, [1], [1, 2, 3], [None], ["a", "b"], [[1, 2], [3, 4]]]
DTYPES = ["BF16", "F8_E4M3", "I64", "BOOL", "U8", "F64", "C64", "x", None]
SHAPES: list[Any] = [[], [0], [30], [1, 30], [30, 2, 1], [10**18, 2], [-1], [15, 4], [2, 30], "x", [None]]


def field(channels: int = 3) -> GaussianField:
    generator = np.random.default_rng(0)
    spans = {"mean": (30, 2), "sigma": (30, 2), "rho": (30,), "color": (30, channels)}
    arrays = {name: generator.uniform(0.1, 0.9, shape).astype(np.float32) for name, shape in spans.items()}
    return GaussianField(**arrays, source_size=(20, 20))


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def altered(precision: Precision) -> Iterator[bytes]:
    """One value of the header replaced, each in turn."""
    data = pack_field(field(), precision=precision)
    for key in split(data)[0]["__metadata__"]:
        for text in TEXTS:
            header, body = split(data)
            header["__metadata__"][key] = text
            yield join(header, body)
    for name in (name for name in split(data)[0] if name != "__metadata__"):
        for key, values in (("dtype", DTYPES), ("shape", SHAPES)):
            for value in values:
                header, body = split(data)
                header[name][key] = value
                yield join(header, body)
    for name, code in json.loads(split(data)[0]["__metadata__"].get("codes", "{}")).items():
        for key in code:
            for value in CODES:
                header, body = split(data)
                codes = json.loads(header["__metadata__"]["codes"])
                codes[name][key] = value
                header["__metadata__"]["codes"] = json.dumps(codes)
                yield join(header, body)


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_a_header_is_either_read_or_refused_in_one_line(precision: Precision, tmp_path: Path) -> None:
    path, reasons, files = tmp_path / "odd.gsr", list[str](), list(altered(precision))
    for data in files:
        path.write_bytes(data)
        try:
            read = unpack_field(data, "odd.gsr")
            facts = read_facts(path)
        except FieldFileError as error:
            reasons.append(str(error) if error.hint else "without a hint")
            continue
        assert max(read.source_size) <= 1 << 23
        assert read.color.shape == (30, 3)
        assert read.window is None or all(type(half) in (int, float) for half in read.window)
        assert isinstance(facts.method, str)
    assert all(reason.startswith("odd.gsr ") for reason in reasons)
    assert len(files) > 200
    assert len(reasons) > 0.5 * len(files)


@pytest.mark.parametrize("size", [[10**18, 10**18], [1, (1 << 23) + 1]])
def test_a_picture_too_large_to_be_drawn_is_named(size: list[int]) -> None:
    header, body = split(pack_field(field()))
    header["__metadata__"]["source_size"] = json.dumps(size)
    with pytest.raises(FieldFileError, match="more than 8,388,608 pixels on a side"):
        unpack_field(join(header, body))


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_other_channels_than_grey_and_rgb_are_named(channels: int) -> None:
    for precision in PRECISIONS:
        with pytest.raises(FieldFileError, match=f"has {channels} channels: fields of 1 .grey. or 3 .RGB. are read"):
            unpack_field(pack_field(field(channels), precision=precision))


@pytest.mark.parametrize("name", ["mean", "sigma", "color"])
def test_numbers_that_would_overflow_when_they_are_drawn_are_damage(name: str) -> None:
    made = field()
    getattr(made, name)[7, 0] = 3e38
    with pytest.raises(FieldFileError, match=f"odd.gsr is damaged: {name} has"):
        unpack_field(pack_field(made, precision="float32"), "odd.gsr")
