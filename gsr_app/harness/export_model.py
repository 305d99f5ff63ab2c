"""`gsr export --model`: a network as a folder that can be uploaded to the Hugging Face Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import InvalidArgument
from gsr_app.core.folders import ASSETS
from gsr_app.harness.outputs import check_ours, make_folder
from gsr_app.models import registry
from gsr_app.models.registry import Method


def write_model(method: Method, folder: Path, given: str | None) -> None:
    """Write config, tensors and model card; with the shipped weights, also what their card names."""
    from gsr_app.engine import networks
    from gsr_app.models.pretrained import Pretrained

    if not (method.arch and isinstance(registry.build(method.arch), Pretrained)):
        raise InvalidArgument(
            f"{method.id} has no form for the Hub.", hint="Methods that have one: swift and swift-photo."
        )
    make_folder(folder)
    check_ours(folder / "README.md", "library_name: gsr-app")
    network, weights_id = networks.obtain(method, given)
    assert isinstance(network, Pretrained)
    network.save_pretrained(folder)
    card = ASSETS / f"{method.id}.md"
    if given is None and card.is_file():
        write_whole(folder / "README.md", card.read_bytes())
        for path in (*ASSETS.glob(f"{method.arch}-*.csv"), *ASSETS.glob(f"{method.id}.webp")):
            shutil.copy(path, folder)
    else:
        write_whole(folder / "README.md", _card_of_own(method, weights_id))


def _card_of_own(method: Method, weights_id: str) -> str:
    """A card for weights that this app knows nothing about."""
    return f"""---
library_name: gsr-app
pipeline_tag: image-to-image
tags:
  - super-resolution
  - gaussian-splatting
---

# {method.title}

Weights {weights_id} of the architecture `{method.arch}`. Say here what they were trained on, and their licence.
"""
