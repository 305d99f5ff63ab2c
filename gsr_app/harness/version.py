"""`gsr --version`: also torch, what draws, and the default method's weights. Builds and fetches nothing."""

from __future__ import annotations

from gsr_app import __version__


def describe_version() -> str:
    """One line each; the first is the version alone."""
    from importlib.metadata import version

    from gsr_app.engine import devices
    from gsr_app.models import registry, weights

    device = devices.choose_device("auto")
    method = registry.method(weights.default_method())
    found = weights.find(method)
    return "\n".join(
        [
            f"gsr {__version__}",
            f"torch {version('torch')} on {devices.describe(device)}",
            f"drawing: {_describe_drawing(device.type)}",
            f"weights: {found.id if found and method.files else 'none'} (the default method {method.id})",
        ]
    )


def _describe_drawing(device_type: str) -> str:
    from gsr_app.core import settings
    from gsr_app.core.errors import BackendError
    from gsr_app.ops.build import find_cpu_library

    wanted = settings.backend()
    if wanted == "reference" or device_type not in {"cpu", "cuda"}:
        return "reference"
    if device_type == "cuda":
        return "cuda kernels, compiled at first use"
    try:
        return "cpu kernels" + ("" if find_cpu_library() else ", compiled at first use")
    except BackendError as error:
        return f"reference, because {error}"
