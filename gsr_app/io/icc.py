"""ICC profiles for files that say what their colours are in another way: by code points, or by gamma and primaries."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.pixels import Depth
from gsr_app.io.picture import ColorTags

# Code points of ITU-T H.273: x and y of red, green, blue and white.
_D65 = (0.3127, 0.3290)
_PRIMARIES: dict[int, tuple[float, ...]] = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_PRIMARY_NAMES = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFER_NAMES = {8: "linear", 1: "BT.709", 13: "sRGB", 16: "PQ", 18: "HLG"}
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CURVE_ENTRIES = 4096
_SRGB_GAMMA, _SRGB_CHROMATICITIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_SRGB_SLACK = 100  # files round these numbers differently

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # from values to light, both 0..1


def is_srgb(color: ColorTags) -> bool:
    """Whether the tags say no more than everybody assumes of a file without them."""
    if color.cicp is not None:
        return color.cicp == (1, 13, True)
    gamma = color.gamma or _SRGB_GAMMA
    found = color.chromaticities or _SRGB_CHROMATICITIES
    return color.srgb_intent is not None or (
        abs(gamma - _SRGB_GAMMA) <= _SRGB_SLACK
        and all(abs(a - b) <= _SRGB_SLACK for a, b in zip(found, _SRGB_CHROMATICITIES, strict=True))
    )


def describe(color: ColorTags) -> str:
    """The tags in a few words: "BT.2020, PQ"."""
    if color.cicp is not None:
        primaries, transfer, full = color.cicp
        named = _PRIMARY_NAMES.get(primaries, f"primaries {primaries}")
        return f"{named}, {_TRANSFER_NAMES.get(transfer, f'transfer {transfer}')}" + ("" if full else ", narrow range")
    return f"gamma {100_000 / (color.gamma or _SRGB_GAMMA):.3g}" + (", own primaries" if color.chromaticities else "")


def make_profile(color: ColorTags, *, grey: bool, depth: Depth = 8) -> bytes | None:
    """A profile that says the same of values of this depth; None where the tags cannot be said by one."""
    if color.cicp is not None:
        primaries, transfer, full = color.cicp
        curve, corners = _transfer(transfer), _PRIMARIES.get(primaries)
        if curve is None or corners is None:
            return None
        if not full:  # the curve says it all: not all readers of code points in a profile know the narrow range
            return _profile(corners, _sampled(_narrow(curve, min(depth, 16))), describe(color), grey=grey)
        code_points = bytes([primaries, transfer, 0, 1])
        return _profile(corners, _sampled(curve), describe(color), grey=grey, code_points=code_points)
    exponent = 100_000 / (color.gamma or _SRGB_GAMMA)
    values = [one / 100_000 for one in color.chromaticities or _SRGB_CHROMATICITIES]
    corners = (*values[2:], *values[:2])
    if not 0.1 < exponent < 10 or min(corners[1::2]) <= 0 or max(corners) > 1 or not _is_triangle(corners):
        return None
    trc = b"para" + bytes(8) + struct.pack(">i", round(exponent * 65536))
    return _profile(corners, trc, describe(color), grey=grey)


def _is_triangle(corners: tuple[float, ...]) -> bool:
    rx, ry, gx, gy, bx, by = corners[:6]
    return abs((gx - rx) * (by - ry) - (bx - rx) * (gy - ry)) > 1e-4


def _transfer(number: int) -> Curve | None:
    """The light of a value, from the transfer characteristics of H.273."""
    if number in {1, 6, 14, 15}:
        return lambda v: np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))
    if number == 13:
        return lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    if number == 16:
        return _pq
    if number == 18:
        return _hlg
    exponent = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}.get(number)
    return None if exponent is None else lambda v: v**exponent


def _narrow(curve: Curve, bits: int) -> Curve:
    """The curve of values in which black is 16 and white 235, times a power of two, of all that so many bits hold."""
    unit = (1 << (bits - 8)) / ((1 << bits) - 1)
    return lambda v: curve(np.clip((v - 16 * unit) / (219 * unit), 0, 1))


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    root = v ** (1 / 78.84375)
    return (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)


def _sampled(curve: Curve) -> bytes:
    light = curve(np.linspace(0, 1, _CURVE_ENTRIES))
    numbers = np.rint(np.clip(light, 0, 1) * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", _CURVE_ENTRIES) + numbers.tobytes()


def _profile(
    corners: tuple[float, ...], curve: bytes, name: str, *, grey: bool, code_points: bytes | None = None
) -> bytes:
    """A display profile of version 4.4: primaries adapted to D50, and one curve for all channels."""
    matrix, adaptation = _to_d50(corners)
    tags: dict[bytes, bytes] = {
        b"desc": _multilingual(name),
        b"cprt": _multilingual("No copyright, use freely"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + struct.pack(">9i", *(round(one * 65536) for one in adaptation.ravel())),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        for column, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"] = _xyz(tuple(matrix[:, column]))
            tags[letter + b"TRC"] = curve
    if code_points is not None:
        tags[b"cicp"] = b"cicp" + bytes(4) + code_points
    table, body, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", places[data], len(data))
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04400000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", *(round(one * 65536) for one in _D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _to_d50(corners: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(primaries as columns of XYZ, the adaptation of white): the eye adapted from their white to D50 by Bradford."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(corners[::2], corners[1::2], strict=True)]).T
    white, primaries = xyz[:, 3], xyz[:, :3]
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return adaptation @ (primaries * np.linalg.solve(primaries, white)), adaptation


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(one * 65536) for one in values))


def _multilingual(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
