"""Texts of the app: pure functions from facts to what people read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gsr_app.core.types import MAX_SCALE, Scale
from gsr_app.engine.strength import Wear
from gsr_app.engine.verification import Check
from gsr_app.models.registry import Method
from gsr_app.models.weights import Availability
from gsr_app.ui.estimate import Estimates, Expected
from gsr_app.viewer.panes import licences

_WORTH_IT = 0.3  # from this strength on, removing noise and compression is recommended
KINDS = {
    "resize": "interpolation",
    "field": "Gaussians",
    "continuous": "implicit",
    "pixels": "network",
    "video": "video",
}


def scales(method: Method) -> str:
    if method.scales is None:
        return "any scale"
    low, high = method.scales
    return f"trained ×{low:g}" if low == high else f"trained ×{low:g}–{high:g}"


def bytes_text(count: int) -> str:
    if count >= 5e5:
        return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"
    return f"{max(1, round(count / 1e3))} kB"


def megapixels(count: int) -> str:
    """ "2.2 MP", "0.019 MP"."""
    return f"{count / 1e6:.1f} MP" if count >= 1e5 else f"{count / 1e6:.2g} MP"


def parameters(method: Method) -> str:
    if not method.parameters:
        return ""
    count = method.parameters / 1e6
    return f"{count:.2g} M parameters" if count < 10 else f"{count:.0f} M parameters"


def method_card(method: Method, availability: Availability) -> dict[str, Any]:
    """One line of the list of methods."""
    if availability.here:
        status, state = "Ready", "here"
    elif availability.reason:
        status, state = "Not installed", "offline"
    else:
        status = bytes_text(availability.download_bytes) if availability.download_bytes else "Download"
        state = "fetch"
    return {
        "id": method.id,
        "title": method.title,
        "family": method.family,
        "colour": method.color,
        "facts": f"{_facts(method)} · {licences(method)}",
        "status": status,
        "state": state,
        "reason": availability.reason,
        "note": method.note,
    }


def method_choice(method: Method, availability: Availability) -> str:
    """A method in a list of names, with the size of its download where one is needed."""
    if availability.here or not availability.download_bytes:
        return method.title
    return f"{method.title} ({bytes_text(availability.download_bytes)})"


def _facts(method: Method) -> str:
    facts = (KINDS.get(method.kind, method.kind), scales(method), parameters(method))
    return " · ".join(fact for fact in facts if fact)


def score_text(score: Mapping[str, Any]) -> str:
    """ "Urban100 ×4 27.34 dB, SSIM 0.8134", from a line of the catalogue."""
    parts = [str(score.get("dataset", ""))]
    if "scale" in score:
        parts[0] += f" ×{score['scale']:g}" + (f"/{score['scale_x']:g}" if "scale_x" in score else "")
    names = {
        "psnr_y": "{:.2f} dB",
        "psnr_rgb": "{:.2f} dB RGB",
        "ssim_y": "SSIM {:.4f}",
        "lpips": "LPIPS {:.4f}",
        "dists": "DISTS {:.4f}",
    }
    parts += [form.format(score[name]) for name, form in names.items() if isinstance(score.get(name), (int, float))]
    return parts[0] + " " + ", ".join(parts[1:])


def model_row(
    method: Method,
    availability: Availability,
    *,
    may_manage: bool,
    message: str = "",
    busy: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One line of the Models tab."""
    actions: list[tuple[str, str]] = []
    if may_manage and method.files:
        if availability.here:
            actions.append(("verify", "Verify"))
        elif not (method.page or availability.reason):
            actions.append(("fetch", "Download"))
        actions.append(("add", "Add files"))
        if availability.here and (availability.own or not method.is_packaged):
            actions.append(("remove", "Remove"))
    elif may_manage and availability.own:
        actions.append(("remove", "Remove"))
    scores = sorted(method.published, key=lambda score: -float(score.get("scale", 0)))
    return {
        **method_card(method, availability),
        "facts": _facts(method),
        "licence": licences(method),
        "scores": [score_text(score) for score in scores],
        "convention": method.convention,
        "paper": method.paper,
        "paper_url": method.paper_url,
        "status": weights_text(method, availability),
        "files": [
            {"name": file.name, "size": bytes_text(file.bytes) if file.bytes else "", "link": file.link}
            for file in method.files
        ],
        "actions": actions,
        "said": message or ("" if method.page else availability.reason),
        "busy": busy,
    }


def weights_text(method: Method, availability: Availability) -> str:
    """The state of a method's weights."""
    if not method.files:
        return "Ready" if method.kind != "resize" else "Needs no weights"
    if availability.here:
        return "Ready: your own weights" if availability.own else "Ready"
    if method.page:
        return f"Download {', '.join(file.name for file in method.files)} by hand, then add it"
    if availability.reason:
        return "Not installed"
    return f"Download {bytes_text(availability.download_bytes)}" if availability.download_bytes else "Download"


def checks_text(checks: Sequence[Check]) -> str:
    """What verifying a method found, in one line."""
    return "; ".join(f"{'' if check.outcome == 'passed' else f'{check.outcome}: '}{check.text}" for check in checks)


def wear_text(wear: Wear, methods: Sequence[Method]) -> str:
    """What a picture has gone through, and the method that helps."""
    helps = next((method.title for method in methods if method.blends_with), "")
    return f"{wear}: {helps} recommended" if helps and wear.strength >= _WORTH_IT else str(wear)


def duration(ms: float) -> str:
    if ms < 950:
        return f"{max(10, round(ms, -1)):.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s" if ms < 9_500 else f"{ms / 1000:.0f} s"
    return f"{ms / 60_000:.0f} min"


def largest_scale(size: tuple[int, int], most_pixels: int) -> float:
    """The largest factor, in tenths, whose result has at most so many pixels; 0 if there is none from 1 on."""
    most = math.sqrt(most_pixels / (size[0] * size[1])) + 0.1
    for tenths in range(min(int(10 * most), int(10 * MAX_SCALE)), 9, -1):
        height, width = Scale(tenths / 10, tenths / 10).output_size(size)
        if height * width <= most_pixels:
            return tenths / 10
    return 0.0


def small_size(size: tuple[int, int], scale: Scale, protocol: str) -> tuple[int, int]:
    """The size that a round trip shrinks a picture to."""
    from gsr_app.engine import protocols  # it imports torch

    return protocols.check_pair_size(size, scale, protocols.find(protocol)[0]).lr


def forecast(
    size: tuple[int, int] | None,
    scale: Scale | None,
    methods: list[str],
    estimates: Estimates,
    *,
    round_trip: str = "",  # the protocol or convention by which the picture is shrunk first
) -> str:
    """The size of the result, and the time that it takes where that is known."""
    if size is None or scale is None:
        return ""
    before = ""
    if round_trip:
        size = small_size(size, scale, round_trip)
        before = f"{size[1]} × {size[0]} "
    height, width = scale.output_size(size)
    axes = "" if scale.is_uniform else f"vertical ×{scale.y:.4g}, horizontal ×{scale.x:.4g} "
    text = f"{before}{axes}→ {width} × {height}, {megapixels(height * width)}"
    if not methods:
        return text
    expected = estimates.expected(methods, size[0] * size[1], height * width)
    return f"{text} · {time_text(expected, len(methods))}"


def time_text(expected: Expected, count: int, what: str = "method") -> str:
    """How long a run of several methods, or of several pictures, takes, as far as it is known."""
    known = count - expected.unmeasured
    if not known:
        return "time not measured for this size"
    low, high = duration(expected.low_ms), duration(expected.high_ms)
    between = low if low == high else f"{low} to {high}"
    rest = f", {expected.unmeasured} not measured for this size" if expected.unmeasured else ""
    first = ", the first time longer" if expected.first else ""
    return f"{between} for {known} {what}{'s' if known > 1 else ''}{rest}{first}"
