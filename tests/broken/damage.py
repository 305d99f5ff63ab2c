"""Damage to files and requests: what a bad disk does, and what an attacker would do."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Damage = Callable[[bytes, Rng], bytes]

_ODD_BYTES = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"]
_DEEP: list[Any] = []
for _ in range(200):
    _DEEP = [_DEEP]
_ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, -(10**18), 10**400, 1e308, -1e-308, 0.5, float("nan"),
    float("inf"), "", "0", "-1", "NaN", "null", "\0", "é\ud800", "x" * 5000, "../../etc/passwd", "<img src=x>", "%s%n",
    [], {}, [[]], [{}], {"": None}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, _DEEP,
]  # fmt: skip


def damage_bytes(head: int = 200, most: int = 3) -> Damage:
    """Up to `most` times: a bit flipped, bytes replaced, removed, added or repeated, or the end cut off.

    Half of the damage goes to the first `head` bytes, where it does most harm.
    """

    def damage(data: bytes, rng: Rng) -> bytes:
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, most + 1))):
            kind, at = rng.integers(0, 7), int(rng.integers(0, len(broken)))
            at = at if rng.random() < 0.5 else at % head % len(broken)
            if kind == 0:
                broken[at] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                broken[at : at + 4] = rng.choice(_ODD_BYTES)
            elif kind == 2:
                broken[at : at + 16] = rng.bytes(16)
            elif kind == 3:
                del broken[at : at + int(rng.integers(1, 40))]
            elif kind == 4:
                broken[at:at] = rng.bytes(int(rng.integers(1, 40)))
            elif kind == 5:
                del broken[max(at, 12) :]
            else:
                broken[at:at] = broken[at : at + 64]
            broken = broken or bytearray(b"\0")
        return bytes(broken)

    return damage


def damage_json(value: Any, rng: Rng) -> Any:
    """The value with one to three of its parts replaced, removed, repeated or changed."""
    for _ in range(int(rng.integers(1, 4))):
        value = _damage_part(value, rng)
    return value


def _damage_part(value: Any, rng: Rng) -> Any:
    places = [()] if not isinstance(value, list | dict) else list(_places(value))
    path = places[int(rng.integers(0, len(places)))] if places else ()
    if not path:
        return _odd_value(value, rng)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, kind = path[-1], int(rng.integers(0, 5))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(int(rng.integers(0, len(holder) + 1)), holder[key])
    elif kind == 1:
        holder[str(_odd_value(key, rng))[:5000]] = holder[key]
    else:
        holder[key] = _odd_value(holder[key], rng)
    return value


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if len(path) > 20:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from _places(part, (*path, key))


def _odd_value(value: Any, rng: Rng) -> Any:
    """Another value: one near the old one, or one from the list of odd ones."""
    kind = int(rng.integers(0, 4))
    if isinstance(value, str) and kind < 3:
        try:
            return json.dumps(damage_json(json.loads(value), rng))  # texts that hold JSON are damaged inside
        except ValueError:
            return value[: int(rng.integers(0, len(value) + 1))] + str(rng.choice(["", "0", "9", "e9", ";", "\n", "x"]))
    if isinstance(value, int | float) and kind < 2:
        return (-value, value + 1, value - 1, value * 2, value * 10**9, value // 3)[int(rng.integers(0, 6))]
    return _copy(_ODD_VALUES[int(rng.integers(0, len(_ODD_VALUES)))])


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def damage_tensor_header(data: bytes, rng: Rng) -> bytes:
    """A safetensors file with damage inside its JSON header, whose length is right."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(damage_json(json.loads(data[8 : 8 + length]), rng)).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def damage_zip_member(data: bytes, rng: Rng) -> bytes:
    """A zip file with damage inside one or two of its members, whose checksums are right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        names = source.namelist()
        chosen = {name for name in names if name.endswith(".pkl") and rng.random() < 0.8}
        chosen.add(str(rng.choice(names)))
        for name in names:
            content = source.read(name)
            if name in chosen and rng.random() < 0.05:
                continue
            entry = zipfile.ZipInfo(name)  # without the time, so that a seed gives the same file
            target.writestr(entry, damage_bytes(400)(content, rng) if name in chosen and content else content)
    return made.getvalue()


def damage_body(data: bytes, rng: Rng) -> bytes:
    """An HTTP request with damage inside its JSON body, most often inside the `data` of a call; its length is right."""
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        value = json.loads(body)
        if isinstance(value, dict) and "data" in value and rng.random() < 0.7:
            value["data"] = damage_json(value["data"], rng)
        else:
            value = damage_json(value, rng)
        changed = json.dumps(value).encode()
    except ValueError:
        changed = damage_bytes()(body or b"\0", rng)
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(changed)]) + b"\r\n\r\n" + changed


def write_damaged(
    folder: Path, seeds: Sequence[tuple[str, bytes]], damages: Sequence[Damage], count: int, seed: int
) -> None:
    """Files `00000.NAME` and so on: the seeds in turn, each damaged in one of the ways."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name, data = seeds[number % len(seeds)]
        damage = damages[int(rng.integers(0, len(damages)))]
        (folder / f"{number:05}.{name}").write_bytes(damage(data, rng))
