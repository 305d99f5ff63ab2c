"""What a file is that is not read as an image, and which part of a format it is that is not read."""

from __future__ import annotations

import re
from pathlib import Path

from gsr_app.core.errors import ImageError, printable

HEAD_BYTES = 1024  # as much of a file as the functions here look at
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"\x8aMNG\r\n\x1a\n", "an MNG animation"),
    (b"\x8bJNG\r\n\x1a\n", "a JNG image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
    (b"farbfeld", "a farbfeld image"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"DDS ", "a DDS texture"),
    (b"\xabKTX", "a KTX texture"),
    (b"\0\0\1\0", "an ICO icon"),
    (b"\0\0\2\0\1\0", "a CUR cursor"),
    (b"icns", "an ICNS icon"),
    (b"\x0a\x05\x01", "a PCX image"),
    (b"\x0a\x03\x01", "a PCX image"),
    (b"\x01\xda", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"gimp xcf", "a GIMP document"),
    (b"SIMPLE  =", "a FITS image"),
    (b"AT&TFORM", "a DjVu document"),
    (b"FORM", "an IFF file"),
    (b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (b"FUJIFILMCCD-RAW", "the raw values of a camera"),
    (b"FOVb", "the raw values of a camera"),
    (b"IIU\0", "the raw values of a camera"),
    (b"IIRO", "the raw values of a camera"),
    (b"MMOR", "the raw values of a camera"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_VIDEOS: tuple[tuple[bytes, str], ...] = (
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"FLV\1", "an FLV video"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"\x30\x26\xb2\x75", "a Windows Media file"),
    (b"OggS", "an Ogg file"),
)
_JPEG_NOT_READ = {
    0xC3: "without loss",
    0xC5: "in a hierarchy of sizes",
    0xC6: "in a hierarchy of sizes",
    0xC7: "without loss",
    0xCB: "without loss",
    0xCD: "in a hierarchy of sizes",
    0xCE: "in a hierarchy of sizes",
    0xCF: "without loss",
}
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA, *_JPEG_NOT_READ}
_MOST_SEGMENTS = 1000
_HEIF_CODECS = {
    "hvc1": "a HEIC image (HEVC inside)",
    "hev1": "a HEIC image (HEVC inside)",
    "lhv1": "a HEIC image (layered HEVC inside)",
    "vvc1": "a HEIF image with VVC inside",
    "avc1": "a HEIF image with H.264 inside",
    "unci": "an uncompressed HEIF image",
    "jpeg": "a HEIF image with JPEG inside",
    "j2k1": "a HEIF image with JPEG 2000 inside",
    "mski": "a HEIF file with a mask only",
}


def describe_foreign(head: bytes) -> tuple[str, bool]:
    """(what the file is, whether it is a video), from its first bytes."""
    for magic, what in _SIGNATURES:
        if head.startswith(magic):
            return what, False
    for magic, what in _VIDEOS:
        if head.startswith(magic):
            return what, True
    if head[4:8] == b"ftyp" or head[4:8] in {b"moov", b"mdat", b"wide"}:
        return "a video or another ISO media file", True
    if head[:4] == b"RIFF":
        return ("an AVI video", True) if head[8:12] == b"AVI " else ("a RIFF file, such as sound", False)
    if head[40:44] == b" EMF":
        return "an EMF drawing", False
    if head[128:132] == b"DICM":
        return "a DICOM file", False
    return _describe_text(head), False


def _describe_text(head: bytes) -> str:
    text = head.decode("utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace").lower()
    element = re.search(r"<(?![?!])\s*([a-z:]+)", text)
    if element and text.lstrip().startswith("<"):
        name = element[1].rpartition(":")[2]
        if name == "svg":
            return "an SVG drawing"
        return "a web page, not an image" if name in {"html", "head", "body"} else "an XML file, not an image"
    return "not an image"


def describe_heif(codec: str) -> str | None:
    """What a HEIF file is that is not AVIF."""
    return None if codec in {"av01", ""} else _HEIF_CODECS.get(codec, f"a HEIF image in the codec {codec!r}")


def check_jpeg(path: Path) -> None:
    """Raise `ImageError` for the kinds of JPEG that decoders of ordinary photographs do not know."""
    with path.open("rb") as file:
        file.seek(2)
        for _ in range(_MOST_SEGMENTS):
            head = file.read(4)
            if len(head) < 4 or head[0] != 0xFF:
                return  # the decoder reports damage
            marker, length = head[1], int.from_bytes(head[2:], "big")
            if marker == 0xFF:  # a fill byte
                file.seek(-3, 1)
                continue
            if marker in _JPEG_FRAMES:
                bits = file.read(1)[:1]
                what = _JPEG_NOT_READ.get(marker) or (f"of {bits[0]} bits" if bits and bits[0] != 8 else "")
                if what:
                    raise ImageError(
                        f"{printable(path.name)} is a JPEG {what}, which is not read.",
                        hint="Convert it to PNG or TIFF with the program that made it.",
                    )
                return
            file.seek(length - 2, 1)
