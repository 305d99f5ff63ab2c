"""A small network, and a recipe for it that takes a tenth of a second a step."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method
from gsr_app.models.swift import Swift, SwiftConfig
from gsr_app.training.recipe import Data, Optimizer, Recipe, Schedule, Validation

SMALL = "small-swift"


def register_small() -> None:
    """Swift with few blocks, under an id of its own."""
    registry.register(
        Method(SMALL, SMALL, "own", "field", "Apache-2.0"),
        Architecture(SMALL, lambda: Swift(SwiftConfig(channels=16, blocks=2, dilated=())), "field", lattice=2),
    )


def draw_pictures(count: int, size: tuple[int, int] = (56, 64)) -> list[torch.Tensor]:
    """Discs and bars on gradients: edges of every direction, [3, H, W] uint8."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    pictures = []
    for _ in range(count):
        picture = np.stack([(x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) + rng.uniform(60, 200) for _ in range(3)])
        for _ in range(6):
            color = rng.uniform(0, 255, 3)[:, None]
            cx, cy, r = rng.uniform(0, size[1]), rng.uniform(0, size[0]), rng.uniform(3, 16)
            inside = np.hypot(x - cx, y - cy) < r if rng.random() < 0.5 else abs(x - cx + (y - cy) * r / 9) < 2
            picture[:, inside] = color
        pictures.append(torch.from_numpy(picture.clip(0, 255).astype(np.uint8)))
    return pictures


def small_recipe(**changes: object) -> Recipe:
    recipe = Recipe(
        arch=SMALL,
        data=Data(patch_px=14, batch=2, scales=(1.5, 3.0), scale_per="patch"),
        optimizer=Optimizer("soap", rate=3e-3, betas=(0.95, 0.95), clip_norm=1.0),
        schedule=Schedule(steps=6, warmup_steps=2, ema=0.9),
        validation=Validation(every=3, scales=(2.0,)),
    )
    return dataclasses.replace(recipe, **changes)
