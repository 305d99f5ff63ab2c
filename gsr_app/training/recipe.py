"""Training recipes, read from TOML. An unknown key is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gsr_app.core.errors import UnknownName
from gsr_app.core.tables import construct, parse_toml

SHIPPED = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    patch_px: int = 48  # side of a low-resolution patch
    batch: int = 8  # patches of one step, over all processes
    held_out: int = 0  # pictures of a larger folder that are not trained on, chosen by a hash of their names
    busiest_of: int = 1  # candidate windows per patch; the one with the most detail is used
    shrink_most: float = 1.0  # photographs are first shrunk by 1 to this, because they are soft at full size
    scales: tuple[float, float] = (1.0, 4.0)  # range of random scales
    scale_per: Literal["patch", "batch"] = "batch"
    spread: Literal["uniform", "log"] = "uniform"
    favourites: tuple[float, ...] = ()  # scales drawn more often
    favourite_share: float = 0.0  # share of patches at one of these
    taught_weights: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # the scales to use of taught tiles, as x2 = 2.0
    frames: int = 1  # video: frames of a window; scales are the tenths of the range,
    pairs_of: tuple[float, ...] = ()  # and pairs of two different ones of these, vertical and horizontal
    easy_epochs: int = 0  # video: first epochs, of which 4 in 10 use the largest scale and 2 in 10 whole scales
    epoch_steps: int = 1000


@dataclass(frozen=True)
class Degradation:
    """What the low resolution of a photograph goes through; nothing by default. Shares are probabilities."""

    share: float = 0.0  # patches that are degraded at all
    blur_share: float = 0.5
    blur: tuple[float, float] = (0.2, 1.2)  # sigma, pixels of the low resolution
    resized_share: float = 0.3
    resized: tuple[float, float] = (0.6, 1.5)  # by this factor and back, with the filters of other programs
    noise_share: float = 0.6
    noise: tuple[float, float] = (0.0, 12.0)  # sigma at mid-grey, levels of 255
    compressed_share: float = 0.85
    quality: tuple[int, int] = (30, 95)
    twice_share: float = 0.3
    webp_share: float = 0.15


NO_DEGRADATION = Degradation()


@dataclass(frozen=True)
class Optimizer:
    name: Literal["adam", "soap"] = "adam"
    rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0  # decoupled, as in AdamW
    clip_norm: float = 0.0  # 0: gradients are not clipped


@dataclass(frozen=True)
class Schedule:
    steps: int = 1000
    warmup_steps: int = 0
    kind: Literal["cosine", "halve", "restarts", "hold"] = "cosine"
    hold: float = 0.0  # hold: the fraction of the run at the full rate; from there a cosine takes it to zero
    halve_at: tuple[float, ...] = ()  # fractions of the run
    peaks: tuple[float, ...] = (1.0,)  # restarts: one cosine for each, from this factor of the rate
    ema: float = 0.999


@dataclass(frozen=True)
class Validation:
    every: int = 500
    scales: tuple[float, ...] = (2.0, 3.0, 4.0)
    convention: str = "basicsr"


@dataclass(frozen=True)
class Recipe:
    arch: str
    seed: int = 0
    amp: bool = False  # bfloat16 for the network, on a GPU only
    window_fraction: float | None = None  # field: half-width of a hard window in training, relative to half the frame
    loss: Mapping[str, float] = field(default_factory=lambda: {"l1": 1.0})
    data: Data = Data()
    degradation: Degradation = NO_DEGRADATION
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    validation: Validation = Validation()


def find_recipe(name: str) -> Path:
    """The path of a recipe: a file, or a shipped recipe by `name` or `recipes/name.toml`."""
    if (path := Path(name)).is_file():
        return path
    shipped = {one.stem: one for one in SHIPPED.glob("*.toml")}
    if path.stem not in shipped:
        raise UnknownName(name, shipped, what="Recipe", where="gsr_app/training/recipes")
    return shipped[path.stem]


def read_recipe(path: Path) -> Recipe:
    return construct(Recipe, parse_toml(path.read_text(encoding="utf-8"), path.name), path.name)
