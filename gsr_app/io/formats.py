"""Which image formats are read and written, how they are recognised, and what each can hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gsr_app.core import settings
from gsr_app.core.errors import ImageError
from gsr_app.core.pixels import Depth

_GIGAPIXEL = 10**9


@dataclass(frozen=True)
class Format:
    """What a format can hold, and the libvips operations that read and write it."""

    id: str
    name: str
    suffixes: tuple[str, ...]
    loader: str
    saver: str | None  # None: read only
    depths: tuple[Depth, ...] = (8,)
    holds_grey: bool = True
    holds_alpha: bool = True
    max_side: int = 10_000_000
    lossless: bool = True

    def deepest(self, wanted: Depth) -> Depth:
        """The depth to store `wanted` in: the same where it exists, else the deepest below."""
        return max(depth for depth in self.depths if depth <= wanted)


FORMATS: dict[str, Format] = {
    fmt.id: fmt
    for fmt in (
        Format("png", "PNG", (".png",), "pngload", "pngsave", depths=(8, 16)),
        Format("tiff", "TIFF", (".tif", ".tiff"), "tiffload", "tiffsave", depths=(8, 16, 32)),
        Format("webp", "WebP", (".webp",), "webpload", "webpsave", holds_grey=False, max_side=16383),
        Format(
            "jpeg",
            "JPEG",
            (".jpg", ".jpeg", ".jpe", ".jfif"),
            "jpegload",
            "jpegsave",
            holds_alpha=False,
            max_side=65500,
            lossless=False,
        ),
        # 16 bits are reduced to 12, the most that AV1 has; encoders refuse larger frames.
        Format("avif", "AVIF", (".avif",), "heifload", "heifsave", depths=(8, 16), holds_grey=False, max_side=16384),
        # Read only: a palette of 256 colours loses most of what upscaling adds.
        Format("gif", "GIF", (".gif",), "gifload", None),
        # Read only, for old test sets; libvips has no reader.
        Format("bmp", "BMP", (".bmp", ".dib"), "", None),
        Format("pnm", "PNM", (".pnm", ".pbm", ".pgm", ".ppm", ".pam", ".pfm"), "", None),
        Format("tga", "TGA", (".tga",), "", None),
        Format("qoi", "QOI", (".qoi",), "", None),
    )
}

_HEIF_BRANDS = (b"avif", b"avis", b"mif1", b"mif2", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis",
                b"unif", b"avci", b"jpeg", b"j2ki", b"vvic")  # fmt: skip
_PNM_KINDS = b"1234567fF"


def sniff_format(head: bytes, named: Format | None = None) -> Format | None:
    """The format that a file's first bytes belong to. Its name matters only for TGA, which begins in no certain way."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return FORMATS["png"]
    if head.startswith(b"\xff\xd8\xff"):
        return FORMATS["jpeg"]
    if head.startswith((b"GIF87a", b"GIF89a")):
        return FORMATS["gif"]
    if head.startswith(b"BM"):
        return FORMATS["bmp"]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FORMATS["webp"]
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return FORMATS["tiff"]
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return FORMATS["avif"]
    if head.startswith(b"qoif"):
        return FORMATS["qoi"]
    if len(head) > 2 and head[:1] == b"P" and head[1] in _PNM_KINDS and head[2:3] in {b" ", b"\t", b"\n", b"\r", b"#"}:
        return FORMATS["pnm"]
    if named is FORMATS["tga"] and _looks_like_tga(head):
        return named
    return None


def _looks_like_tga(head: bytes) -> bool:
    return len(head) >= 18 and head[1] in {0, 1} and head[2] in {1, 2, 3, 9, 10, 11} and head[16] in {8, 15, 16, 24, 32}


def readable_suffixes() -> tuple[str, ...]:
    return tuple(suffix for fmt in FORMATS.values() for suffix in fmt.suffixes)


def writable_suffixes() -> tuple[str, ...]:
    return tuple(suffix for fmt in FORMATS.values() if fmt.saver for suffix in fmt.suffixes)


def format_of_name(path: Path) -> Format | None:
    return next((fmt for fmt in FORMATS.values() if path.suffix.lower() in fmt.suffixes), None)


def output_format(path: Path) -> Format:
    """The format that an output's name asks for."""
    fmt = format_of_name(path)
    if fmt is not None and fmt.saver:
        return fmt
    ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
    why = "is read, but not written" if fmt else "is not an output format"
    raise ImageError(
        f"The output {path.name!r} {ending}, which {why}.",
        hint=f"Choose one of: {', '.join(writable_suffixes())}",
    )


def by_number(path: Path) -> list[str | int]:
    """A sort key for frames: number 2 before number 10, however many digits their names have."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", path.name))]


def check_pixels(name: str, height: int, width: int, use: Literal["whole", "strips"]) -> None:
    """Refuse a picture of more pixels than GSR_MAX_PIXELS (64 times that in strips), before memory is allocated."""
    limit = settings.max_pixels() * (1 if use == "whole" else 64)
    if height * width > limit:
        raise ImageError(
            f"{name} claims {width} x {height} pixels ({height * width / _GIGAPIXEL:.3g} gigapixels); "
            f"the limit is {limit / _GIGAPIXEL:.3g}.",
            hint="If the size is real and memory suffices, raise GSR_MAX_PIXELS.",
        )


SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Adaptive filters at level 3 make photographs 40 % smaller than no filters at 6, in less time.
    "png": {"compression": 3, "filter": "all"},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
    "webp": {"lossless": True, "exact": True},  # exact: keep the colours below alpha 0
    "jpeg": {"Q": 95, "subsample_mode": "off", "optimize_coding": True},
    "avif": {"compression": "av1", "lossless": True, "subsample_mode": "off"},
}
