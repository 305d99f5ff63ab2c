"""EXIF, ICC and XMP as bytes: reads and changes only what the program needs."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from gsr_app.core.errors import InvalidArgument

_NAMESPACE = "urn:gsr:text#"
_SPACE = "__"  # what a space in a key becomes in the name of an XML element
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OURS = re.compile(rf'<rdf:Description rdf:about="" xmlns:gsr="{_NAMESPACE}">.*?</rdf:Description>'.encode(), re.DOTALL)
_EMPTY_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%s"></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>' % _RDF.encode()
)
_EXIF_HEADER = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_INTEGERS = {1: "B", _SHORT: "H", 4: "I"}  # readers take an orientation of any of these types


def upright_exif(exif: bytes) -> bytes | None:
    """EXIF of a picture that has been turned upright: orientation 1, no thumbnail. None when it cannot be read."""
    body = bytearray(exif.removeprefix(_EXIF_HEADER))
    found = _first_directory(body)
    if found is None:
        return None
    order, start, end = found
    for entry in range(start, end, 12):
        (tag,) = struct.unpack_from(order + "H", body, entry)
        if tag == _ORIENTATION_TAG:
            struct.pack_into(order + "HIHH", body, entry + 2, _SHORT, 1, 1, 0)
    struct.pack_into(order + "I", body, end, 0)  # no second directory: it holds the thumbnail of the old picture
    return _EXIF_HEADER + bytes(body)


def orientation_of_exif(exif: bytes) -> int | None:
    """The orientation, 1 to 8, if EXIF states one."""
    body = exif.removeprefix(_EXIF_HEADER)
    found = _first_directory(body)
    if found is None:
        return None
    order, start, end = found
    for entry in range(start, end, 12):
        tag, kind = struct.unpack_from(order + "HH", body, entry)
        if tag == _ORIENTATION_TAG and kind in _INTEGERS:
            (value,) = struct.unpack_from(order + _INTEGERS[kind], body, entry + 8)
            if 1 <= value <= 8:
                return value
    return None


def _first_directory(body: bytes | bytearray) -> tuple[str, int, int] | None:
    """(byte order, first entry, the end of the entries)."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(body[:2]))
    if order is None or len(body) < 14:
        return None
    magic, start = struct.unpack_from(order + "HI", body, 2)
    if magic != 42 or start + 2 > len(body):
        return None
    (count,) = struct.unpack_from(order + "H", body, start)
    end = start + 2 + 12 * count
    return (order, start + 2, end) if end + 4 <= len(body) else None


def upright_xmp(xmp: bytes) -> bytes:
    """XMP of a picture that has been turned upright."""
    for name in _tiff_prefixes(xmp):
        xmp = re.sub(rb"(\b%s:Orientation\s*(?:=\s*[\"']|>))\s*[2-8]" % name, rb"\g<1>1", xmp)
    return xmp


def orientation_of_xmp(xmp: bytes) -> int | None:
    """The orientation, 1 to 8, if XMP states one."""
    for name in _tiff_prefixes(xmp):
        if match := re.search(rb"\b%s:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]" % name, xmp):
            return int(match[1])
    return None


def _tiff_prefixes(xmp: bytes) -> set[bytes]:
    """What the namespace of TIFF's properties is called in an XMP packet."""
    return set(re.findall(rb"xmlns:([A-Za-z_][\w.-]*)\s*=\s*[\"']http://ns\.adobe\.com/tiff/1\.0/[\"']", xmp))


def icc_space(icc: bytes) -> str | None:
    """The colour space that an ICC profile describes, "RGB", "GRAY", "CMYK", "Lab" …; None if it is not a profile."""
    if len(icc) < 132 or icc[36:40] != b"acsp" or int.from_bytes(icc[:4], "big") > len(icc):
        return None
    return icc[16:20].decode("latin-1").strip()


def xmp_with_text(xmp: bytes | None, text: Mapping[str, str]) -> bytes | None:
    """The XMP packet with this program's entries, which replace those of an earlier run."""
    for key in text:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*([ _][A-Za-z0-9-]+)*", key):
            raise InvalidArgument(f"A metadata key is words of letters, digits and '-', found {key!r}.")
    packet = _OURS.sub(b"", xmp) if xmp else None
    if not text:
        return packet
    if packet is None or b"</rdf:RDF>" not in packet:
        packet = _EMPTY_XMP
    names = {key: key.replace(" ", _SPACE) for key in text}
    lines = "".join(f"<gsr:{names[key]}>{escape(_xml_text(value))}</gsr:{names[key]}>" for key, value in text.items())
    ours = f'<rdf:Description rdf:about="" xmlns:gsr="{_NAMESPACE}">{lines}</rdf:Description>'.encode()
    head, tail = packet.rsplit(b"</rdf:RDF>", 1)
    return head + ours + b"</rdf:RDF>" + tail


def text_of_xmp(xmp: bytes) -> dict[str, str]:
    """This program's entries in an XMP packet; also when another program has rewritten them as attributes."""
    if b"<!DOCTYPE" in xmp or _NAMESPACE.encode() not in xmp:
        return {}
    try:
        root = ElementTree.fromstring(xmp.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    prefix, found = f"{{{_NAMESPACE}}}", dict[str, str]()
    for node in root.iter(f"{{{_RDF}}}Description"):
        found |= {key.removeprefix(prefix): value for key, value in node.attrib.items() if key.startswith(prefix)}
        found |= {child.tag.removeprefix(prefix): child.text or "" for child in node if child.tag.startswith(prefix)}
    return {key.replace(_SPACE, " "): value for key, value in found.items()}


def _xml_text(value: str) -> str:
    """The value without characters that XML 1.0 cannot hold."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", value)
