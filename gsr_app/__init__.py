"""GSR: super-resolve an image at any scale and compare methods side by side.

    import gsr_app as gsr

    gsr.upscale("cat.png", 4).save("cat_x4.png")

The names below are imported when they are first used: `import gsr_app` imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gsr_app.api import Field, Result, Session, encode, fit, load, make_pair, measure, methods, upscale
    from gsr_app.core.errors import Cancelled, GsrError
    from gsr_app.core.types import GaussianField, Progress, Scale, Timing, View
    from gsr_app.models.registry import Architecture, Method, WeightFile, register, unregister
    from gsr_app.ops import splat

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Cancelled",
    "Field",
    "GaussianField",
    "GsrError",
    "Method",
    "Progress",
    "Result",
    "Scale",
    "Session",
    "Timing",
    "View",
    "WeightFile",
    "encode",
    "fit",
    "load",
    "make_pair",
    "measure",
    "methods",
    "register",
    "splat",
    "unregister",
    "upscale",
]

_HOMES = {
    "gsr_app.core.errors": {"Cancelled", "GsrError"},
    "gsr_app.core.types": {"GaussianField", "Progress", "Scale", "Timing", "View"},
    "gsr_app.models.registry": {"Architecture", "Method", "WeightFile", "register", "unregister"},
    "gsr_app.ops": {"splat"},
}


if not TYPE_CHECKING:  # type checkers read the imports above, and report names that are not there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((home for home, names in _HOMES.items() if name in names), "gsr_app.api")
        return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
