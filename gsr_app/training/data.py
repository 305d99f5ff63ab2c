"""Training pictures in memory, and the patches of a step.

The patches of a step depend only on (seed, step, process), so that a resumed run sees the same data as an uninterrupted
one. The low resolution is made from the patch itself, mirrored at its border, as tests make it from a picture.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.io.vips import explaining
from gsr_app.ops.resize import resize
from gsr_app.training.degrade import degrade, is_degraded
from gsr_app.training.pack import Entry, Pack, find_packs
from gsr_app.training.predict import Wanted
from gsr_app.training.recipe import NO_DEGRADATION, Data, Degradation

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif"})
_DAMAGED = "Get a whole copy of the file, or leave it out."


@dataclass(frozen=True)
class Targets:
    """Targets of one size, which are drawn and compared together."""

    hr: Tensor  # [n, 3, H, W], 0..1
    of: tuple[int, ...]  # for each the index of its low resolution
    weight: float = 1.0  # of each in the loss

    @property
    def wanted(self) -> Wanted:
        return Wanted((self.hr.shape[2], self.hr.shape[3]), self.of)


@dataclass(frozen=True)
class Batch:
    lr: Tensor  # [B, 3, patch, patch], 0..1 in steps of 1/255; of clips [B, T, 3, patch, patch], unrounded
    targets: tuple[Targets, ...]

    def to(self, device: torch.device) -> Batch:
        return Batch(self.lr.to(device), tuple(replace(one, hr=one.hr.to(device)) for one in self.targets))


@dataclass(frozen=True)
class Share:
    """Examples that make up a share of the patches: pictures, or a pack of tiles with a teacher's answers."""

    share: float
    examples: Sequence[Tensor] | Sequence[Entry]  # [3, H, W] uint8 each, or `lr`, `x2`, `x3`, …


def load_examples(place: Path, *, held_out: int = 0) -> Sequence[Tensor] | Sequence[Entry]:
    """Pictures of a folder or of a pack; or taught tiles of a pack or of a folder of packs.

    A folder with less than twice as many pictures as are to be held out is used whole.
    """
    packs = find_packs(place)
    if not packs:
        return load_pictures(place, held_out=held_out if len(find_pictures(place)) >= 2 * held_out else 0)
    entries = [entry for pack in packs for entry in Pack(pack)]
    if not entries:
        raise ImageError(f"{place} holds no pictures and no tiles.", hint="Write it again with `gsr pack`.")
    return entries if "lr" in entries[0] else [_picture_of(entry, place) for entry in entries]


def load_whole_pictures(place: Path) -> list[Tensor]:
    """Pictures of a folder or of a pack; taught tiles are none."""
    pictures = [one for one in load_examples(place) if isinstance(one, Tensor)]
    if not pictures:
        raise ImageError(f"{place} holds taught tiles, not pictures.", hint="Make a pack without --teacher.")
    return pictures


def _picture_of(entry: Entry, place: Path) -> Tensor:
    if "picture" in entry:
        return entry["picture"]
    return decode_file(entry["file"].numpy().tobytes(), f"A file of {place}")


def load_shares(places: Sequence[str], *, held_out: int = 0) -> list[Share]:
    """Examples of several places, each `PLACE` or `PLACE=SHARE`; without a number a place has a share of 1."""
    shares: list[Share] = []
    for place in places:
        folder, separator, number = place.rpartition("=")
        try:
            share = float(number) if separator and not Path(place).exists() else None
        except ValueError:
            share = None
        if share is None:  # no equals sign, or one of the path itself
            folder, share = place, 1.0
        if not (share > 0 and math.isfinite(share)):
            raise InvalidArgument(f"The share of {folder} must be more than 0, found {number}.", hint="Write =0.5.")
        shares.append(Share(share, load_examples(Path(folder or place), held_out=held_out)))
    return shares


def find_pictures(folder: Path, *, held_out: int = 0) -> list[Path]:
    """The picture files of a folder, less those that are held out, in the order of their names."""
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}.", hint="Name a folder of pictures.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise ImageError(f"{folder} holds no pictures.", hint=f"Looked for {', '.join(sorted(ENDINGS))}.")
    if held_out >= len(files):
        raise ImageError(
            f"{folder} holds {len(files)} pictures, and {held_out} are to be left out.",
            hint="Leave fewer out, or add pictures.",
        )
    excluded = frozenset(choose_held_out(files, held_out))
    return [file for file in files if file not in excluded]


def choose_held_out(files: Sequence[Path], count: int) -> list[Path]:
    """The files to keep out of training. A hash of the name decides, so the choice stays when files are added."""
    return sorted(sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())[:count])


def load_pictures(folder: Path, *, held_out: int = 0) -> list[Tensor]:
    """The pictures of a folder, less those that are held out, [3, H, W] uint8, in the order of their names."""
    return [load_picture(file) for file in find_pictures(folder, held_out=held_out)]


def decode_file(data: bytes, name: str) -> Tensor:  # [3, H, W] uint8
    """A picture from the bytes of its file, by Pillow: a machine for training may have no other library."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            array = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's own for a damaged file
        raise ImageError(f"{name} cannot be read as a picture: {error}.", hint=_DAMAGED) from None
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def load_picture(path: Path) -> Tensor:
    try:
        import pyvips
    except ImportError:
        return decode_file(path.read_bytes(), str(path))
    with explaining(f"Cannot read {path}", _DAMAGED):
        # Without fail_on, what a file lacks would be black or grey.
        picture = pyvips.Image.new_from_file(str(path), fail_on="error").autorot().colourspace("srgb")
        picture = picture.flatten() if picture.hasalpha() else picture
        array: np.ndarray = picture.cast("uchar").numpy()
    array = array.reshape(*array.shape[:2], -1)
    array = array.repeat(3, axis=2) if array.shape[2] == 1 else array
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def quantise(picture: Tensor) -> Tensor:
    """Rounded to the 256 levels of a file, still 0..1."""
    return (picture.clamp(0, 1) * 255).round() / 255


def to_bytes(picture: Tensor) -> Tensor:
    """From 0..1 to the 256 levels of a file, uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def resize_bytes(picture: Tensor, size: tuple[int, int]) -> Tensor:  # [3, H, W] -> [3, *size], uint8
    return to_bytes(resize(picture[None].float() / 255, size=size)[0])


def shrink(hr: Tensor, scale: float) -> Tensor:  # [3, H, W] -> [1, 3, ceil(H / scale), ceil(W / scale)]
    """The low resolution of a whole picture, as in published tests."""
    return quantise(resize(hr[None], scale=1 / scale))


def shrink_all(pictures: Sequence[Tensor], most_bytes: float) -> list[Tensor]:
    """Pictures [3, H, W] uint8, shrunk by one factor so that together they have at most so many bytes."""
    total = sum(picture.numel() for picture in pictures)
    factor = min(1.0, math.sqrt(most_bytes / max(1, total)))
    if factor == 1:
        return list(pictures)
    sizes = [(max(1, int(one.shape[1] * factor)), max(1, int(one.shape[2] * factor))) for one in pictures]
    return [resize_bytes(one, size) for one, size in zip(pictures, sizes, strict=True)]


class Example(NamedTuple):
    lr: Tensor  # [1, 3, patch, patch]
    hr: tuple[Tensor, ...]  # one target, or one for every scale that was taught
    weights: tuple[float, ...]


def _group(drawn: Sequence[Example]) -> tuple[Targets, ...]:
    """The targets of all examples, those of equal size and weight together."""
    groups: dict[tuple[torch.Size, float], list[tuple[int, Tensor]]] = {}
    for index, one in enumerate(drawn):
        for hr, weight in zip(one.hr, one.weights, strict=True):
            groups.setdefault((hr.shape, weight), []).append((index, hr))
    return tuple(
        Targets(torch.stack([hr for _, hr in group]), tuple(index for index, _ in group), weight)
        for (_, weight), group in groups.items()
    )


class Patches:
    """Random patches of pictures, of taught tiles, or of several shares of these."""

    def __init__(
        self,
        examples: Sequence[Tensor] | Sequence[Share],
        data: Data,
        degradation: Degradation = NO_DEGRADATION,
    ) -> None:
        shares = [one for one in examples if isinstance(one, Share)]
        shares = shares or [Share(1.0, [one for one in examples if isinstance(one, Tensor)])]
        total = sum(one.share for one in shares)
        self.data, self.degradation = data, degradation
        self.shares = [(one.share / total, self._make_source(one.examples)) for one in shares]

    def _make_source(self, examples: Sequence[Tensor] | Sequence[Entry]) -> PicturePatches | TaughtPatches:
        pictures = [one for one in examples if isinstance(one, Tensor)]
        if pictures or not examples:
            return PicturePatches(pictures, self.data, self.degradation)
        tiles = [one for one in examples if not isinstance(one, Tensor)]
        return TaughtPatches(tiles, self.data, self.degradation)

    def draw(self, *seed: int, count: int) -> Batch:
        """The patches of one step."""
        rng = np.random.default_rng(seed)
        scale = draw_scale(rng, self.data)
        drawn = [
            self._choose(rng).draw(rng, draw_scale(rng, self.data) if self.data.scale_per == "patch" else scale)
            for _ in range(count)
        ]
        return Batch(torch.cat([one.lr for one in drawn]), _group(drawn))

    def _choose(self, rng: np.random.Generator) -> PicturePatches | TaughtPatches:
        if len(self.shares) == 1:  # without touching the sequence of random numbers
            return self.shares[0][1]
        return self.shares[rng.choice(len(self.shares), p=[share for share, _ in self.shares])][1]


def check_taught(names: Iterable[str], side_px: int, data: Data) -> None:
    """Raise where tiles lack targets, `x2` and so on, that a recipe weighs, or are smaller than its patches."""
    lacking = sorted(set(data.taught_weights) - set(names))
    if lacking:
        raise InvalidArgument(
            f"The recipe weighs targets at {', '.join(lacking)}, which the taught tiles do not have.",
            hint="Name a --teacher for each of them, or leave them out of taught_weights.",
        )
    if side_px < data.patch_px:
        raise InvalidArgument(
            f"Taught tiles of {side_px} pixels are too small for patches of {data.patch_px}.",
            hint="Make larger tiles, or set a smaller patch_px in the recipe.",
        )


class TaughtPatches:
    """Patches of tiles whose targets a teacher made; every patch has several scales."""

    def __init__(self, tiles: Sequence[Entry], data: Data, degradation: Degradation) -> None:
        self.tiles, self.data, self.degradation = tiles, data, degradation
        for tile in tiles:
            check_taught(tile, min(tile["lr"].shape[1:]), data)

    def draw(self, rng: np.random.Generator, scale: float) -> Example:
        size_px = self.data.patch_px
        tile = self.tiles[int(rng.integers(len(self.tiles)))]
        top, left = (int(rng.integers(side - size_px + 1)) for side in tile["lr"].shape[1:])
        turns, is_flipped = int(rng.integers(4)), rng.random() < 0.5

        def cut(picture: Tensor, factor: int) -> Tensor:  # [3, patch * factor, patch * factor] float
            y, x, side = top * factor, left * factor, size_px * factor
            return turn(picture[:, y : y + side, x : x + side], turns, is_flipped)

        weights = self.data.taught_weights or {name: 1.0 for name in tile if name != "lr"}
        lr = cut(tile["lr"], 1)
        if is_degraded(rng, self.degradation):  # the teacher has answered to the clean tile
            lr = degrade(rng, lr, (size_px, size_px), self.degradation)
        return Example(
            lr[None],
            tuple(cut(tile[name], int(name[1:])) for name in weights),
            tuple(weight / sum(weights.values()) for weight in weights.values()),
        )


def turn(picture: Tensor, turns: int, is_flipped: bool) -> Tensor:
    """Quarter turns and a reflection of [3, H, W] uint8, as float in 0..1."""
    picture = picture.rot90(turns, (1, 2))
    return (picture.flip(2) if is_flipped else picture).float() / 255


class PicturePatches:
    """Patches of pictures, shrunk to the low resolution here."""

    def __init__(self, pictures: Sequence[Tensor], data: Data, degradation: Degradation) -> None:
        least_px = math.ceil(data.patch_px * data.scales[0])
        self.pictures = [one for one in pictures if min(one.shape[1:]) >= least_px]
        self.data, self.degradation = data, degradation
        if not self.pictures:
            raise InvalidArgument(
                f"None of {len(pictures)} pictures has {least_px} pixels on its shorter side.",
                hint="Train on larger pictures, or set a smaller patch_px in the recipe.",
            )

    def draw(self, rng: np.random.Generator, scale: float) -> Example:
        size, hr = (self.data.patch_px, self.data.patch_px), self._draw_patch(rng, scale)
        if is_degraded(rng, self.degradation):
            lr = degrade(rng, hr, size, self.degradation)[None]
        else:
            lr = quantise(resize(hr[None], size=size))
        return Example(lr, (hr,), (1.0,))

    def _draw_patch(self, rng: np.random.Generator, scale: float) -> Tensor:  # [3, H, W] float
        windows = [self._draw_window(rng, scale) for _ in range(self.data.busiest_of)]
        patch = max(windows, key=measure_detail) if len(windows) > 1 else windows[0]
        return turn(patch, int(rng.integers(4)), rng.random() < 0.5)

    def _draw_window(self, rng: np.random.Generator, scale: float) -> Tensor:  # [3, H, W] uint8
        picture = self.pictures[rng.integers(len(self.pictures))]
        height, width = picture.shape[1:]
        # A picture that is too small for the scale is used at the largest scale that it allows.
        side = min(max(round(scale * self.data.patch_px), self.data.patch_px), height, width)
        most = self.data.shrink_most
        taken = min(round(side * rng.uniform(1, most)), height, width) if most > 1 else side
        top, left = rng.integers(height - taken + 1), rng.integers(width - taken + 1)
        window = picture[:, top : top + taken, left : left + taken]
        return window if taken == side else resize_bytes(window, (side, side))


def draw_scale(rng: np.random.Generator, data: Data) -> float:
    low, high = data.scales
    if rng.random() < data.favourite_share:
        return float(rng.choice(data.favourites))
    return math.exp(rng.uniform(math.log(low), math.log(high))) if data.spread == "log" else rng.uniform(low, high)


def measure_detail(windows: Tensor) -> Tensor:  # [..., 3, H, W] uint8 -> [...]
    """The mean difference of neighbours in the green channel."""
    green = windows[..., 1, :, :].to(torch.int16)
    down, across = (green.diff(dim=axis).abs().float().mean((-2, -1)) for axis in (-2, -1))
    return down + across
