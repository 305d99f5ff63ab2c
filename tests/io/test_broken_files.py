"""Whatever is wrong with a file is said in one line: what was found, and what to do."""

from __future__ import annotations

import lzma
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import GsrError, ImageError, InvalidArgument
from gsr_app.io import foreign, heif, png, tiff_tags
from gsr_app.io.images import RowReader, read_image
from tests.files import (
    bmp_of,
    bmp_rows,
    heif_with,
    jpeg_with,
    pack_bits,
    png_chunk,
    png_of,
    qoi_of,
    rle4,
    tga_of,
    tiff_of,
)

Pixels = Callable[..., np.ndarray]
ROOT = Path(__file__).resolve().parents[2]


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "a.png is empty (zero bytes)."),
        ("a.png", b"hello, this is text", "a.png is not an image."),
        ("a.psd", b"8BPS" + b"\0" * 60, "a.psd is a Photoshop document."),
        ("a.bmp", b"BM" + b"\0" * 60, "a.bmp cannot be read as BMP"),
        ("a.png", b"%PDF-1.7", "a.png is a PDF document."),
        ("a.mp4", b"\0\0\0\x20ftypisom", "a.mp4 is a video or another ISO media file."),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a.png cannot be read as PNG"),
        ("a.png", b"\xff\xd8\xff\xe0", "a.png cannot be read as JPEG"),
        ("a.tif", b"II*\0\0\0\0\0", "a.tif cannot be read as TIFF"),
        ("a.csv", b"1,2,3\n4,5,6\n", "a.csv is not an image."),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg is an SVG drawing."),
    ],
)
def test_what_is_not_a_readable_image_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_missing_folders_devices_and_bad_names(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"There is no file gone\.png in"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder, not an image"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path / "a\0.png")
    with pytest.raises(ImageError, match="cannot be opened: File name too long"):
        read_image(tmp_path / ("n" * 300))
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="device, pipe or socket"):
            read_image(tmp_path / "pipe.png")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # a real one would not stop root
    with pytest.raises(ImageError, match=r"a\.png may not be read: permission denied"):
        read_image(tmp_path / "a.png")


def test_a_header_that_claims_100_gigapixels_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(1_000_000, 100_000))
    for read in (read_image, RowReader):
        with pytest.raises(ImageError, match=r"claims 1000000 x 100000 pixels \(100 gigapixels\)"):
            read(tmp_path / "a.png")


def test_the_limit_can_be_set_and_strips_may_go_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_pixels: Pixels
) -> None:
    Image.fromarray(random_pixels(20, 30, 3)).save(tmp_path / "a.png")
    monkeypatch.setenv("GSR_MAX_PIXELS", "599")
    with pytest.raises(ImageError, match="claims 30 x 20") as caught:
        read_image(tmp_path / "a.png")
    assert "GSR_MAX_PIXELS" in caught.value.hint
    assert RowReader(tmp_path / "a.png").rows(0, 20).shape == (20, 30, 3)
    monkeypatch.setenv("GSR_MAX_PIXELS", "6e2")
    assert read_image(tmp_path / "a.png").size == (20, 30)
    monkeypatch.setenv("GSR_MAX_PIXELS", "lots")
    with pytest.raises(InvalidArgument, match="GSR_MAX_PIXELS is 'lots'"):
        read_image(tmp_path / "a.png")


FORMATS = {
    "png": {},
    "jpg": {"quality": 90},
    "progressive.jpg": {"quality": 90, "progressive": True},
    "webp": {"lossless": True},
    "lossy.webp": {"quality": 80},
    "tif": {"compression": "tiff_lzw"},
    "plain.tif": {},
    "gif": {},
    "avif": {"quality": 80},
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_was_cut_off_is_an_error_not_grey_rows(
    tmp_path: Path, random_pixels: Pixels, kind: str, part: float
) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(random_pixels(120, 90, 3)).save(path, **FORMATS[kind])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match=r"cannot be (read|decoded)"):
        read_image(path)


FUZZ = """
import json, sys, time, traceback
from pathlib import Path
from gsr_app.core.errors import GsrError
from gsr_app.io.images import RowReader, read_image, write_image
folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    print("start", path.name, flush=True)
    began = time.perf_counter()
    try:
        picture = read_image(path)
        write_image(folder.parent / "out" / (path.name + ".png"), picture, overwrite=True, text={"method": "fuzz"})
        outcome = "read"
    except GsrError as error:
        outcome = "refused"
        assert str(error) and "\\n" not in str(error), repr(error)
    except BaseException:
        traceback.print_exc()
        outcome = "traceback"
    try:
        reader = RowReader(path)
        for top in range(0, reader.size[0], 32):
            reader.rows(top, min(top + 32, reader.size[0]))
    except GsrError:
        pass
    except BaseException:
        traceback.print_exc()
        outcome = "traceback"
    print(outcome, path.name, round(time.perf_counter() - began, 2), flush=True)
"""


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A file damaged as files get damaged, or as an attacker would."""
    broken = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        kind, at = rng.integers(0, 7), int(rng.integers(0, len(broken)))
        # Half of the damage goes to the headers, where it does most harm.
        at = at if rng.random() < 0.5 else at % 200 % len(broken)
        if kind == 0:
            broken[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            broken[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
        elif kind == 2:
            broken[at : at + 16] = rng.bytes(16)
        elif kind == 3:
            del broken[at : at + int(rng.integers(1, 40))]
        elif kind == 4:
            broken[at:at] = rng.bytes(int(rng.integers(1, 40)))
        elif kind == 5:
            del broken[max(at, 12) :]
        else:
            broken[at:at] = broken[at : at + 64]
        broken = broken or bytearray(b"\0")
    return bytes(broken)


def seeds_to_mutate(folder: Path, random_pixels: Pixels, profile: bytes) -> list[tuple[str, bytes]]:
    pixels = random_pixels(40, 56, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    rich = {"exif": exif, "icc_profile": profile}
    images = [
        ("rgb.png", Image.fromarray(pixels[..., :3]), rich),
        ("rgba.png", Image.fromarray(pixels), {}),
        ("palette.png", Image.fromarray(pixels[..., :3]).quantize(16), {"transparency": 3}),
        ("deep.png", Image.fromarray(random_pixels(40, 56, dtype=np.uint16)), {}),
        ("rgb.jpg", Image.fromarray(pixels[..., :3]), rich),
        ("progressive.jpg", Image.fromarray(pixels[..., :3]), {"progressive": True}),
        ("cmyk.jpg", Image.fromarray(pixels, mode="CMYK"), {"icc_profile": profile}),
        ("lossless.webp", Image.fromarray(pixels), {"lossless": True} | rich),
        ("lossy.webp", Image.fromarray(pixels[..., :3]), {"quality": 70}),
        ("rgb.tif", Image.fromarray(pixels[..., :3]), rich),
        ("lzw.tif", Image.fromarray(pixels), {"compression": "tiff_lzw"}),
        ("float.tif", Image.fromarray(random_pixels(40, 56, dtype=np.float32)), {"compression": "tiff_deflate"}),
        ("rgb.gif", Image.fromarray(pixels[..., :3]), {}),
        ("rgb.avif", Image.fromarray(pixels[..., :3]), {"quality": 60} | rich),
    ]
    for name, image, options in images:
        image.save(folder / name, **options)
    rgb, index = pixels[..., :3], pixels[..., 0] // 16
    twelve = random_pixels(40, 56, dtype=np.uint16) >> 4
    texts = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"text")) + png_chunk(b"iTXt", b"k\0\0\0en\0\0text")
    ours = [
        ("tiled.tif", tiff_of(rgb, compression=8, compress=zlib.compress, tile=16)),
        ("planes.tif", tiff_of(rgb, planar=True, tile=16)),
        ("lzma.tif", tiff_of(rgb, compression=34925, compress=lzma.compress)),
        ("12.tif", tiff_of(twelve, bits=12, pack=lambda part: pack_bits(part, 12))),
        ("lab.tif", tiff_of(rgb, tags={262: (3, [8])})),
        ("texts.png", png_of(rgb, texts + png_chunk(b"cICP", b"\x09\x10\0\1") + png_chunk(b"cHRM", bytes(range(32))))),
        ("rle4.bmp", bmp_of(rle4(index), index.shape, 4, compression=2, palette=rgb[0, :16])),
        ("masks.bmp", bmp_of(bmp_rows(twelve), index.shape, 16, compression=3, masks=(0xF800, 0x7E0, 0x1F))),
        ("rgb.ppm", b"P6\n56 40\n255\n" + rgb.tobytes()),
        ("text.pgm", b"P2\n56 40\n15\n" + b" ".join(b"%d" % value for value in index.ravel())),
        ("rgb.tga", tga_of(rgb)),
        ("rgb.qoi", qoi_of(rgb)),
    ]
    return [*((name, (folder / name).read_bytes()) for name, _, _ in images), *ours]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_each_end_in_a_picture_or_a_clear_error(
    tmp_path: Path, random_pixels: Pixels, rgb_profile: bytes, count: int
) -> None:
    for name in ("seeds", "broken", "out"):
        (tmp_path / name).mkdir()
    seeds = seeds_to_mutate(tmp_path / "seeds", random_pixels, rgb_profile)
    rng = np.random.default_rng(int(os.environ.get("GSR_FUZZ_SEED", "20240607")))
    for number in range(count):
        name, data = seeds[number % len(seeds)]
        (tmp_path / "broken" / f"{number:05}.{name}").write_bytes(mutate(data, rng))
    # In a process of their own, so that a crash or a hang is seen and named.
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path / "broken")],
        cwd=ROOT,
        env=os.environ | {"GSR_MAX_PIXELS": "1e6"},  # damage to a header may ask for any size
        capture_output=True,
        text=True,
        timeout=60 + count,
        check=False,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"crashed with {done.returncode} after {lines[-1:]}: {done.stderr[-2000:]}"
    outcomes = [line[0] for line in lines if line[0] != "start"]
    print({outcome: outcomes.count(outcome) for outcome in set(outcomes)})
    assert len(outcomes) == count
    assert "traceback" not in outcomes, done.stderr[-3000:]
    assert done.stderr == "", "libraries must not write to the user's terminal"
    seconds, slowest = max((float(line[2]), line[1]) for line in lines if line[0] != "start")
    assert seconds < 10, f"{slowest} took {seconds} s"
    assert outcomes.count("read") > 10, "the damage should not always be fatal, or it tests little"
    assert outcomes.count("refused") > 50


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_damaged_headers_are_no_problem_for_our_own_parsers(tmp_path: Path, count: int) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    text = png_chunk(b"iTXt", b"k\0\1\0en\0t\0" + zlib.compress(b"x" * 100))
    seeds: list[tuple[Callable[[Path], object], bytes]] = [
        (heif.read_heif, heif_with(b"hvc1")),
        (heif.is_encrypted, heif_with(b"av01").replace(b"meta", b"moov")),
        (tiff_tags.read_directory, tiff_of(pixels, tile=16)),
        (png.read_chunks, png_of(pixels, text)),
        (foreign.check_jpeg, jpeg_with(0xC0, 8)),
    ]
    rng = np.random.default_rng(int(os.environ.get("GSR_FUZZ_SEED", "20240607")))
    for number in range(count):
        parse, data = seeds[number % len(seeds)]
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(0, min(len(broken), 600)))
            broken[at : at + int(rng.integers(0, 5))] = rng.bytes(int(rng.integers(0, 6)))
        (tmp_path / "a").write_bytes(broken)
        with suppress(GsrError):
            parse(tmp_path / "a")
