"""Downloading weight files. The only module that uses the network.

An incomplete or wrong file never has its final name: bytes go to a `.part` beside it (from Hugging Face, into a folder
`.parts`), which is checked, then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import html.parser
import http.client
import inspect
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gsr_app.core import settings
from gsr_app.core.atomic import locked
from gsr_app.core.errors import WeightsError
from gsr_app.core.types import Progress
from gsr_app.models.registry import DRIVE, Method, WeightFile, address_text

Report = Callable[[Progress], None]
"""Called during a download; may raise to stop it."""

DRIVE_ADDRESS = "https://drive.usercontent.google.com/download"
_CHUNK_BYTES = 1 << 18
_PAGE_BYTES = 1 << 20  # of a web page, at most
_TIMEOUT_S = 20
_LOGIN = "If it is gated, accept its terms in a browser, then log in with `hf auth login` or set HF_TOKEN."
_QUOTA_WORDS = ("quota", "too many users have viewed or downloaded")


def fetch(method: Method, file: WeightFile, targets: list[Path], report: Report) -> Path:
    """Download a file from the first of its sources that has it. Any failure is a `WeightsError` with a hint.

    targets: where it is kept; one path per candidate of a Hugging Face repository, otherwise one.
    """
    if file.page:
        raise WeightsError(
            f"The weights of {method.id} are not here, and their authors offer no direct download.",
            hint=f"Get {file.name} from {file.page}, then give it with --weights, in the app under Models, "
            f"or put it into $GSR_WEIGHTS_DIR/{method.id}/.",
        )
    if settings.is_offline():
        raise WeightsError(
            f"{file.name} for {method.id} is not here, and GSR_OFFLINE is set (or HF_HUB_OFFLINE).",
            hint=f"Unset it to download the file. {_by_hand(method)}",
        )
    failures: list[WeightsError] = []
    for address in [file.url, *file.mirrors]:  # an empty address stands for the repository
        try:
            targets[0].parent.mkdir(parents=True, exist_ok=True)
            if not address:
                return _fetch_hub(method, file, targets, report)
            return _fetch_url(method, file, address, targets[0], report)
        except WeightsError as error:
            failures.append(error)
        except OSError as error:  # a full disk, a folder that may not be written
            raise WeightsError(
                f"Cannot write {file.name} for {method.id} to {targets[0].parent}: {error.strerror or error}.",
                hint="Free some space or choose another folder with GSR_CACHE.",
            ) from None
    others = " ".join(f"Nor did its mirror help: {error}" for error in failures[1:])
    raise WeightsError(f"{failures[0]} {others}", hint=failures[-1].hint)


# ---- checking ---------------------------------------------------------------------------------------------------


_digests: dict[tuple[int, int, int, int, bool], str] = {}
_MOST_DIGESTS = 256


def digest_of(path: Path, git: bool = False) -> str:
    """The SHA-256 of a file, or the SHA-1 by which git names it; remembered as long as the file does not change."""
    stat = path.stat()
    key = stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size, git  # the same for a file that was renamed
    if key not in _digests:
        while len(_digests) >= _MOST_DIGESTS:
            _digests.pop(next(iter(_digests)), None)
        _digests[key] = _digest(path, git, stat.st_size)
    return _digests[key]


def _digest(path: Path, git: bool, size_bytes: int) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False) if git else hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fits_catalogue(file: WeightFile, path: Path) -> bool:
    """Whether a file has the hash and the size of the catalogue, as far as it knows them."""
    return not _misfit(file, path)


def _misfit(file: WeightFile, path: Path) -> str:
    """What differs from the catalogue; empty if nothing does."""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"has {size:,} bytes, expected {file.bytes:,}"
    for kind, expected, git in (("sha256", file.sha256, False), ("git's sha1", file.git_sha1, True)):
        if expected and not (found := digest_of(path, git)).startswith(expected):
            return f"has {kind} {found[:12]}…, expected {expected[:12]}…"
    return ""


def _checked(file: WeightFile, path: Path, source: str) -> Path:
    """The path, if these can be the weights; otherwise deletes the file and raises."""
    problem, hint = _misfit(file, path), "The file was changed or damaged on the way; try again, or report it."
    with path.open("rb") as stream:
        head = stream.read(512)
    if _is_page(head):
        problem, hint = "is a web page instead of weights", f"Open {source} in a browser to see what it says."
    elif not problem and head.startswith(b"PK") and not zipfile.is_zipfile(path):
        problem = f"is cut short: {path.stat().st_size:,} bytes arrived"
    if problem:
        path.unlink()
        raise WeightsError(f"{file.name} from {source} {problem}.", hint=hint)
    return path


def _is_page(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return b"\0" not in head and text[:1] == b"<" and (text[1:2] in b"!?" or text[1:2].isalpha())


def _locked(target: Path, report: Report) -> contextlib.AbstractContextManager[None]:
    """Wait for another process, or another thread, that downloads the same file."""
    return locked(Path(f"{target}.lock"), waiting=lambda: report(Progress("download", 0, 1)))


# ---- addresses --------------------------------------------------------------------------------------------------


def _fetch_url(method: Method, file: WeightFile, address: str, target: Path, report: Report) -> Path:
    """Download to a `.part` next to the target, then rename. A part is resumed only if the hash can be checked."""
    part = target.with_name(target.name + ".part")
    with _locked(target, report):
        if target.is_file():  # another process was first
            return target
        if not file.has_hash:
            part.unlink(missing_ok=True)
        if address.startswith(DRIVE):
            query = {"id": address[len(DRIVE) :], "export": "download", "confirm": "t"}
            page = _download(method, file, address, _with_query(DRIVE_ADDRESS, query), part, report)
            # A large file: Google asks whether to download what it did not scan for viruses.
            if page and (fields := _DownloadForm.fields_of(page)):
                page = _download(method, file, address, _with_query(DRIVE_ADDRESS, fields), part, report)
            if page:
                raise _drive_error(file, address, page)
        elif _download(method, file, address, address, part, report):
            raise WeightsError(
                f"{address_text(address)} answered with a web page instead of {file.name} for {method.id}.",
                hint=f"Open it in a browser to see what it says. {_by_hand(method)}",
            )
        os.replace(_checked(file, part, address_text(address)), target)
    return target


def _with_query(address: str, query: dict[str, str]) -> str:
    return f"{address}?{urllib.parse.urlencode(query)}"


def _download(method: Method, file: WeightFile, source: str, address: str, part: Path, report: Report) -> str:
    """Append to the part until it is complete; returns the text of a web page that came instead, or nothing."""
    have, total, length = part.stat().st_size if part.is_file() else 0, 0, None
    request = urllib.request.Request(address, headers={"User-Agent": "gsr"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
                return answer.read(_PAGE_BYTES).decode(errors="replace") or "<html>"
            if answer.status != 206:  # the server starts from the beginning
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else file.bytes or 0
            if file.bytes is not None and length and total != file.bytes:
                part.unlink(missing_ok=True)
                raise WeightsError(
                    f"{file.name} from {address_text(source)} has {total:,} bytes, expected {file.bytes:,}.",
                    hint=f"The file was replaced there. {_by_hand(method)}",
                )
            with part.open("ab" if have else "wb") as stream:
                while chunk := answer.read(_CHUNK_BYTES):
                    stream.write(chunk)
                    have += len(chunk)
                    report(Progress("download", have, max(total, have)))
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # longer than the file, so it is not a part of it
            part.unlink()
            return _download(method, file, source, address, part, report)
        raise _http_error(method, address_text(source), error.code) from None
    except http.client.IncompleteRead:  # of a body whose length was not announced
        total, length = max(file.bytes or 0, have + 1), None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _unreachable(method, address_text(source), getattr(error, "reason", error)) from None
    if total and have < total:
        reached = f"{have:,} of {total:,}" if length else f"{have:,}"
        raise WeightsError(
            f"The download of {file.name} for {method.id} broke off at {reached} bytes.",
            hint="Run it again" + (": it goes on from there." if file.has_hash else "."),
        )
    return ""


class _DownloadForm(html.parser.HTMLParser):
    """Reads the hidden fields of Google Drive's form "download-form"."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._inside = False

    @classmethod
    def fields_of(cls, page: str) -> dict[str, str]:
        parser = cls()
        parser.feed(page)
        return parser.fields

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = values.get("id") == "download-form"
        elif tag == "input" and self._inside and values.get("type") == "hidden" and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


def _drive_error(file: WeightFile, address: str, page: str) -> WeightsError:
    link = address_text(address)
    if any(words in page.lower() for words in _QUOTA_WORDS):
        return WeightsError(
            f"Google Drive does not hand out {file.name} today: it limits how often a file is fetched in a day.",
            hint=f"Try again tomorrow, or fetch it by hand from {link}.",
        )
    return WeightsError(
        f"Google Drive answered with a web page instead of {file.name}.", hint=f"Open {link} to see what it says."
    )


# ---- Hugging Face -----------------------------------------------------------------------------------------------


def _fetch_hub(method: Method, file: WeightFile, targets: list[Path], report: Report) -> Path:
    """Through huggingface_hub, which handles tokens, resuming and locks. Candidates are tried in turn."""
    from huggingface_hub import errors, hf_hub_download

    endpoint = settings.hub_address()
    _check_reachable(method, file, endpoint)
    incoming = targets[0].with_name(targets[0].name + ".parts")
    options: dict[str, Any] = {"endpoint": endpoint, "local_dir": incoming}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # huggingface_hub 1.1 and later
        options["tqdm_class"] = _reporting_bar(report)
    with _locked(targets[0], report):
        for path, target in zip(file.paths, targets, strict=True):
            if target.is_file():  # another process was first
                return target
            try:
                found = hf_hub_download(file.repo, path, revision=file.revision, **options)
            except errors.LocalEntryNotFoundError as error:  # before EntryNotFoundError, of which it is one
                raise _unreachable(method, file.source, error.__cause__ or "the hub is set to offline") from None
            except errors.EntryNotFoundError:
                continue
            except errors.HfHubHTTPError as error:  # the hub answers 401 for repositories that do not exist, too
                raise _http_error(method, file.source, getattr(error.response, "status_code", 0)) from None
            except OSError as error:
                if getattr(error, "errno", None) is not None:
                    raise
                raise WeightsError(
                    f"The download of {file.name} for {method.id} broke off: {error}", hint="Run it again."
                ) from None
            checked = _checked(file, Path(found), file.source)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(checked, target)
            shutil.rmtree(incoming, ignore_errors=True)
            return target
    raise WeightsError(
        f"None of {', '.join(file.paths)} is in huggingface.co/{file.repo} ({file.revision}).",
        hint=_by_hand(method, first=True),
    )


def _check_reachable(method: Method, file: WeightFile, endpoint: str) -> None:
    """Check the connection once: without one, huggingface_hub would retry for half a minute."""
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_TIMEOUT_S / 2).close()
    except urllib.error.HTTPError:
        return  # it answers
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise _unreachable(method, file.source, getattr(error, "reason", error)) from None


def _reporting_bar(report: Report) -> type[Any]:
    from tqdm.auto import tqdm

    class ReportingBar(tqdm):  # type: ignore[type-arg]
        """A progress bar for huggingface_hub that reports and draws nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._total, self._done = int(options.get("total") or 0), int(options.get("initial") or 0)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            report(Progress("download", self._done, max(self._total, self._done)))
            return None

    return ReportingBar


# ---- errors -----------------------------------------------------------------------------------------------------


def _http_error(method: Method, source: str, status: int) -> WeightsError:
    if status in {401, 403}:
        return WeightsError(f"{source} is gated, private or gone (HTTP {status}).", hint=f"{_LOGIN} {_by_hand(method)}")
    if status in {404, 410}:
        return WeightsError(f"{source} does not exist any more (HTTP {status}).", hint=_by_hand(method, first=True))
    return WeightsError(f"{source} answered HTTP {status} for {method.id}.", hint="Try again later.")


def _unreachable(method: Method, source: str, reason: object) -> WeightsError:
    return WeightsError(
        f"Cannot reach {source} for the weights of {method.id}: {reason}.",
        hint=f"Check the connection. {_by_hand(method)}",
    )


def _by_hand(method: Method, *, first: bool = False) -> str:
    """first: nothing else is advised before."""
    names = " and ".join(f"{file.part}.pth" if file.part else file.name for file in method.files)
    verb = "Fetch" if first else "Or fetch"
    return f"{verb} {names} by hand and give it with --weights PATH, or in the app under Models."
