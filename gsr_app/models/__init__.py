"""Networks, the catalogue of methods, and their weights.

A file of networks ends with `ARCHS`, one `registry.Architecture` each. Beside the calls of its kind (described at
`registry.Kind`), four things tell the engine and the training how to run it:

- `fuse() -> Module`, optional: the same function in fewer layers, as a new network; the trained one does not change.
  The engine calls it once after loading the weights, training before it validates.
- `fields(features) -> GaussianField` with `gap`, optional: the Gaussians of a batch, picture after picture, each in
  its own coordinates, if they do not depend on the scale. Training then draws a batch at once, its pictures `gap`
  source pixels apart: further than any Gaussian reaches.
- `overlap`: source pixels of context on each side of a tile, in pixels of the network's input. From the receptive
  radius on tiles are exact; below it, measure the error of a tile's centre and state it beside the number.
- `bytes_per_pixel`: the peak memory of a forward pass per source pixel, on a GPU in float32. It sizes the first tiles;
  when memory runs out, the engine halves them. Too small costs retries, too large costs overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def build(arch_id: str) -> nn.Module:
    """A network with fresh weights, in eval mode: `build("rgt-x4")`."""
    from gsr_app.models import registry

    return registry.build(arch_id)


__all__ = ["build"]
