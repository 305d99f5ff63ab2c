"""Field files (`.gsr`): the same bytes on disk, sent to a browser, and embedded in a report.

A file is a safetensors file: eight bytes of length, a JSON header, arrays. `__metadata__` says what the numbers mean.
Gaussians lie sorted by grid cell, row by row, and `starts` says where each cell begins, so that the ones in a
rectangle are a few contiguous runs. `gsr_app/viewer/static/field.js` is the other reader.

float32     mean, sigma, rho and color unchanged, with their original order: loading restores every bit.
float16     20 bytes each, for transport. Means stay float32. Shapes are stored as half axes and tilt: sigma and rho in
            float16 would widen thin Gaussians, whose width depends on the last bits of rho.
Quantised   8 to 16 bits per number, packed without gaps: means and colours evenly between their extremes, half axes
            evenly in their logarithm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import FieldFileError, InvalidArgument
from gsr_app.core.reading import check_has_end
from gsr_app.core.types import GaussianField

SUFFIX = ".gsr"
FORMAT, VERSION = "gsr-field", 1
_UNITS = "source pixels, pixel centres at +0.5, y down"
_COLOUR_SPACE = "RGB as stored in the source picture, opacity multiplied in"
_PER_CELL = 64  # Gaussians, on average: few enough to skip quickly, enough to keep the index small
_NO_WINDOW = 1e9  # JSON cannot represent infinity
_MOST_HEADER_BYTES = 1 << 20
_MOST_SIDE_PX = 1 << 23  # of the source picture: no larger one can be drawn
_CHANNELS = (1, 3)  # of fields that are pictures
_LARGEST = 1e12  # what is drawn from larger numbers would overflow float32
_DAMAGED = "Get it again, or make it again from its picture."
_MIN_ONE_MINUS_RHO2 = 1e-6  # the renderer's limit for thin Gaussians


@dataclass(frozen=True, slots=True)
class Quantised:
    """Bits per number of each attribute, 8 to 16."""

    mean: int = 16
    axes: int = 16
    angle: int = 16
    color: int = 16

    def __post_init__(self) -> None:
        for name, bits in asdict(self).items():
            if not 8 <= bits <= 16:
                raise InvalidArgument(f"A quantised {name} has 8 to 16 bits, found {bits}.")

    @classmethod
    def evenly(cls, bits: int) -> Quantised:
        return cls(bits, bits, bits, bits)


Precision = Literal["float32", "float16"] | Quantised


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What a field file says about itself."""

    count: int
    source_size: tuple[int, int]  # (height, width)
    precision: Precision
    bytes: int
    method: str = ""
    licence: str = ""

    @property
    def bits_per_pixel(self) -> float:
        """Of the source picture."""
        return 8 * self.bytes / (self.source_size[0] * self.source_size[1])


# ---- writing ----------------------------------------------------------------------------------------------------


def save_field(
    field: GaussianField, path: Path, *, precision: Precision = "float32", method: str = "", licence: str = ""
) -> FieldFacts:
    """Write a field; a file that is there already is replaced."""
    data = pack_field(field, precision=precision, method=method, licence=licence)
    write_whole(path, data, error=FieldFileError)
    return FieldFacts(len(field), field.source_size, precision, len(data), method, licence)


def pack_field(field: GaussianField, *, precision: Precision = "float16", method: str = "", licence: str = "") -> bytes:
    """The bytes of a field file."""
    mean, sigma, rho, color = (_as_float32(a) for a in (field.mean, field.sigma, field.rho, field.color))
    for name, values in (("mean", mean), ("sigma", sigma), ("rho", rho), ("color", color)):
        if not np.isfinite(values).all():
            raise InvalidArgument(f"{name} must be finite.")
    if sigma.size and sigma.min() <= 0:
        raise InvalidArgument(f"sigma must be greater than 0, found {sigma.min():g}.")
    cell, order, starts = _sort_by_cell(mean, field.source_size)
    mean, sigma, rho, color = mean[order], sigma[order], rho[order], color[order]
    about: dict[str, Any] = {
        "count": len(mean),
        "source_size": list(field.source_size),
        "normalize": field.normalize,
        "window": field.window and [min(float(half), _NO_WINDOW) for half in field.window],
        "cell": cell,
        "precision": precision if isinstance(precision, str) else "quantised",
    }
    arrays: dict[str, NDArray[Any]] = {"starts": starts}
    if precision == "float32":
        arrays |= {"mean": mean, "sigma": sigma, "rho": rho, "color": color}
        if (np.diff(order.astype(np.int64)) != 1).any():
            arrays["order"] = order
    else:
        axes, angle = to_axes(sigma, rho)
        numbers = {"mean": mean, "axes": axes, "angle": angle[:, None], "color": color}
        if isinstance(precision, Quantised):
            coded = {name: _encode(name, values, asdict(precision)[name]) for name, values in numbers.items()}
            arrays |= {name: codes for name, (codes, _) in coded.items()}
            about["codes"] = {name: code for name, (_, code) in coded.items()}
        else:
            arrays |= {"mean": mean, "axes": _as_float16(axes), "color": _as_float16(color)}
            arrays["angle"] = np.round(angle * (65536 / math.pi)).astype(np.uint32).astype(np.uint16)
    texts = {"format": FORMAT, "version": str(VERSION), "units": _UNITS, "colour_space": _COLOUR_SPACE}
    texts |= {"method": method, "licence": licence}
    return write_tensors(arrays, texts | {name: json.dumps(value) for name, value in about.items()})


def write_tensors(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> bytes:
    """A safetensors file. The library's own writer orders the metadata differently each time."""
    names = {"float32": "F32", "float16": "F16", "uint32": "U32", "uint16": "U16", "uint8": "U8"}
    header: dict[str, Any] = {"__metadata__": dict(texts)}
    body: list[bytes] = []
    offset = 0
    # The widest dtypes first, so that every array is aligned to its item size.
    for name, values in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        data = values.tobytes()
        span = [offset, offset + len(data)]
        header[name] = {"dtype": names[values.dtype.name], "shape": list(values.shape), "data_offsets": span}
        offset += len(data)
        body.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *body])


def _as_float32(values: Any) -> NDArray[np.float32]:
    """From a numpy array or a torch tensor."""
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.ascontiguousarray(values, dtype=np.float32)


def _as_float16(values: NDArray[Any]) -> NDArray[np.float16]:
    # Avoid overflow to infinity, and underflow to zero.
    held = np.clip(values, -65504.0, 65504.0)
    return np.where(np.abs(held) < 6e-8, np.sign(held) * 6e-8, held).astype(np.float16)


def _sort_by_cell(
    mean: NDArray[np.float32], source_size: tuple[int, int]
) -> tuple[dict[str, float], NDArray[np.uint32], NDArray[np.uint32]]:
    height, width = source_size
    size = max(1.0, math.sqrt(height * width * _PER_CELL / max(1, len(mean))))
    columns, rows = math.ceil(width / size), math.ceil(height / size)
    at = np.clip(np.floor(mean / size), 0, (columns - 1, rows - 1)).astype(np.int64)
    key = at[:, 1] * columns + at[:, 0]
    order = np.argsort(key, kind="stable").astype(np.uint32)
    starts = np.searchsorted(key[order], np.arange(columns * rows + 1)).astype(np.uint32)
    return {"size": size, "columns": columns, "rows": rows}, order, starts


def to_axes(sigma: NDArray[Any], rho: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half axes [N, 2], the longer first, and the longer one's tilt [N] in 0..pi, from sigma and rho."""
    sx, sy = sigma.astype(np.float64).T
    rho = rho.astype(np.float64)
    narrow = np.sqrt(np.maximum((1 - rho) * (1 + rho), _MIN_ONE_MINUS_RHO2))
    tilt = 0.5 * np.arctan2(2 * rho * sx * sy, (sx - sy) * (sx + sy))
    middle, off = (sx * sx + sy * sy) / 2, np.hypot((sx - sy) * (sx + sy) / 2, rho * sx * sy)
    longer = np.sqrt(middle + off)
    # From the product of the half axes, sx * sy * narrow: a difference of squares would cancel.
    return np.stack([longer, sx * sy * narrow / np.maximum(longer, 1e-300)], 1), np.mod(tilt, math.pi)


def from_axes(axes: NDArray[Any], angle: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sigma [N, 2] and rho [N] from half axes and tilt."""
    axes = np.maximum(axes.astype(np.float64), 1e-30)
    c, s = np.cos(angle.astype(np.float64)), np.sin(angle.astype(np.float64))
    longer, shorter = axes.T
    sx, sy = np.hypot(longer * c, shorter * s), np.hypot(longer * s, shorter * c)
    rho = (longer - shorter) * (longer + shorter) * c * s / (sx * sy)
    return np.stack([sx, sy], 1).astype(np.float32), np.clip(rho, -1, 1).astype(np.float32)


def _encode(name: str, values: NDArray[Any], bits: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Packed codes [ceil(N * columns * bits / 8)] and how to read them."""
    values = values.astype(np.float64)
    logarithmic = name == "axes"
    if logarithmic:
        values = np.log(np.maximum(values, 1e-30))
    if name == "angle":  # periodic: 0 and pi are the same angle
        low, high = np.zeros(1), np.full(1, math.pi * (1 - 2.0**-bits))
        values = np.where(values > math.pi * (1 - 2.0 ** -(bits + 1)), 0.0, values)
    else:
        columns = values.shape[1]
        low = values.min(0) if len(values) else np.zeros(columns)
        high = values.max(0) if len(values) else np.ones(columns)
    step = np.where(high > low, high - low, 1.0) / (2**bits - 1)
    codes = np.clip(np.round((values - low) / step), 0, 2**bits - 1).astype(np.uint16).ravel()
    each = (codes[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint16)) & 1
    code = {"bits": bits, "columns": values.shape[1], "low": low.tolist(), "step": step.tolist(), "log": logarithmic}
    return np.packbits(each.astype(np.uint8).ravel()), code


# ---- reading ----------------------------------------------------------------------------------------------------


def load_field(path: Path) -> GaussianField:
    """The field in a file, with numpy arrays."""
    return unpack_field(_read_bytes(path), path.name)


def read_facts(path: Path) -> FieldFacts:
    """What a file says about itself."""
    data = _read_bytes(path)
    texts, about = _read_header(data, path.name)
    size, method, licence = about["source_size"], texts.get("method", ""), texts.get("licence", "")
    return FieldFacts(about["count"], (size[0], size[1]), about["precision"], len(data), method, licence)


def unpack_field(data: bytes, name: str = "the field") -> GaussianField:
    """The field in the bytes of a file. `name` is what an error calls it."""
    _, about = _read_header(data, name)
    try:
        arrays = read_tensors(data)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            mean, sigma, rho, color = _read_arrays(arrays, about)
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise FieldFileError(f"{name} is damaged: its arrays do not fit its header.", hint=_DAMAGED) from error
    for label, values in (("mean", mean), ("sigma", sigma), ("rho", rho), ("color", color)):
        if len(values) != about["count"] or not (np.abs(values) < _LARGEST).all():  # not so: NaN, too
            what = f"{label} has a wrong length or values that are not finite"
            raise FieldFileError(f"{name} is damaged: {what}.", hint=_DAMAGED)
    if len(sigma) and (sigma.min() <= 0 or np.abs(rho).max() > 1):
        what = "a sigma is not positive, or a rho is not within -1..1"
        raise FieldFileError(f"{name} is damaged: {what}.", hint=_DAMAGED)
    if color.shape[1] not in _CHANNELS:
        what = f"{color.shape[1]} channels: fields of 1 (grey) or 3 (RGB) are read"
        raise FieldFileError(f"{name} has {what}.", hint="It was written by another program.")
    window, size = about["window"], about["source_size"]
    return GaussianField(
        mean, sigma, rho, color, (size[0], size[1]), about["normalize"], window and (window[0], window[1])
    )


def _read_arrays(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> tuple[NDArray[np.float32], ...]:
    count = about["count"]
    if about["precision"] == "float32":
        found = [arrays[name] for name in ("mean", "sigma", "rho", "color")]
        if "order" in arrays:
            order = arrays["order"].astype(np.int64)
            if not np.array_equal(np.sort(order), np.arange(count)):
                raise ValueError("order is not a permutation")
            found = [_back_in_order(values, order) for values in found]
        mean, sigma, rho, color = found
    else:
        if about["precision"] == "float16":
            mean, axes, color = arrays["mean"], arrays["axes"], arrays["color"]
            angle = arrays["angle"] * (math.pi / 65536)
        else:
            numbers = {name: _decode(arrays[name], code, count) for name, code in about["codes"].items()}
            mean, axes, angle, color = numbers["mean"], numbers["axes"], numbers["angle"][:, 0], numbers["color"]
        if axes.shape != (count, 2) or angle.shape != (count,):
            raise ValueError("shapes do not fit")
        sigma, rho = from_axes(axes, angle)
    if mean.shape != (count, 2) or sigma.shape != (count, 2) or rho.shape != (count,) or color.ndim != 2:
        raise ValueError("shapes do not fit")
    return tuple(values.astype(np.float32, copy=False) for values in (mean, sigma, rho, color))


def _back_in_order(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    original = np.empty_like(values)
    original[order] = values
    return original


def _decode(packed: NDArray[np.uint8], code: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    bits, columns = int(code["bits"]), int(code["columns"])
    # unpackbits would fill in zeros for missing codes.
    if columns < 1 or packed.shape != (-(-count * columns * bits // 8),):
        raise ValueError("codes do not fit")
    each = np.unpackbits(packed, count=count * columns * bits).reshape(-1, bits)
    codes = each.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1))
    values = np.asarray(code["low"]) + codes.reshape(count, columns) * np.asarray(code["step"])
    return np.asarray(np.exp(values) if code["log"] else values, np.float64)


def _read_bytes(path: Path) -> bytes:
    try:
        check_has_end(path, path.name, "field", FieldFileError)
        return path.read_bytes()
    except OSError as error:
        raise FieldFileError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error


def _read_header(data: bytes, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts of a file's metadata, and the values of those that are JSON."""
    hint = "`gsr fit` writes field files; in Python, `gsr.encode(…).save(…)` does."
    length = int.from_bytes(data[:8], "little")
    try:
        if not 2 <= length <= min(_MOST_HEADER_BYTES, len(data) - 8):
            raise ValueError("no header")
        texts: dict[str, Any] = json.loads(data[8 : 8 + length])["__metadata__"]
        if texts["format"] != FORMAT:
            raise ValueError("another format")
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("texts")
        version = int(texts["version"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FieldFileError(f"{name} is not a field of Gaussians.", hint=hint) from error
    if version != VERSION:
        raise FieldFileError(
            f"{name} has version {version} of the field format; this program reads version {VERSION}.",
            hint="Update the program.",
        )
    try:
        names = ("count", "source_size", "normalize", "window", "cell", "precision")
        about = {key: json.loads(texts[key]) for key in names}
        _check_header(about)
        if about["precision"] not in ("float32", "float16"):
            about["codes"] = json.loads(texts["codes"])
            about["precision"] = Quantised(**{name: code["bits"] for name, code in about["codes"].items()})
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, InvalidArgument) as error:
        raise FieldFileError(f"{name} is damaged: its header is not valid.", hint=_DAMAGED) from error
    if max(about["source_size"]) > _MOST_SIDE_PX:
        raise FieldFileError(
            f"{name} is of a picture with more than {_MOST_SIDE_PX:,} pixels on a side: too large to be drawn.",
            hint=_DAMAGED,
        )
    return texts, about


def _check_header(about: Mapping[str, Any]) -> None:
    count, (height, width), window = about["count"], about["source_size"], about["window"]
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (count, height, width))
    if not whole or count < 0 or height < 1 or width < 1 or not isinstance(about["normalize"], bool):
        raise ValueError("sizes")
    if window is not None:
        is_pair = isinstance(window, list) and len(window) == 2  # pyright: ignore[reportUnknownArgumentType]
        if not is_pair or not all(type(half) in (int, float) and float(half) >= 0 for half in window):
            raise ValueError("window")
