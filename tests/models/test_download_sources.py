"""What servers send instead of weights is never kept: login pages, Google Drive's questions, other bytes, half of them.

One server on the loopback interface plays the hub, GitHub and Google Drive.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from gsr_app.core.errors import InvalidArgument, WeightsError
from gsr_app.models import download, registry, weights
from gsr_app.models.registry import WeightFile
from tests.sites import BODY, SHA, Site, from_hub, leftovers, method

LOGIN = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to continue</body></html>"
QUESTION = b"""<html><body><p>Google Drive can't scan this file for viruses.</p>
<form action="https://example.org/other" method="get"><input type="hidden" name="q" value="search"></form>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" value="Download anyway"><input type="hidden" name="id" value="ABC">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="12-34"></form></body></html>"""
QUOTA = b"""<html><head><title>Google Drive - Quota exceeded</title></head><body>
<p>Too many users have viewed or downloaded this file recently.</p></body></html>"""
FIRST = "/download?id=ABC&export=download&confirm=t"
SECOND = FIRST + "&uuid=12-34"


@pytest.fixture
def drive(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(download, "DRIVE_ADDRESS", f"{site.address}/download")
    return site


def from_drive(**known: object) -> registry.Method:
    return method(WeightFile(url="drive:ABC", paths=("w.pth",), **known))  # type: ignore[arg-type]


def zipped() -> bytes:
    """The same bytes at each call: `ZipInfo` does not take the time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("data"), BODY)
    return file.getvalue()


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("known", [{}, {"bytes": len(BODY)}, {"sha256": SHA}])
def test_a_login_page_is_not_kept(site: Site, tmp_path: Path, declared: bool, known: dict) -> None:
    site.files["/w.pth"] = LOGIN
    site.pages = {"/w.pth"} if declared else set()
    with pytest.raises(WeightsError, match=r"web page instead|has 96 bytes, expected") as caught:
        weights.obtain(method(WeightFile(url=f"{site.address}/w.pth", **known)))
    assert caught.value.hint
    assert leftovers(tmp_path) == []


def test_a_page_from_the_hub_is_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/owner/name/resolve/main/a.pth"] = LOGIN
    with pytest.raises(WeightsError, match=r"a\.pth from .* is a web page instead of weights"):
        weights.obtain(from_hub("a.pth"))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("unannounced", [True, False])
def test_another_size_is_refused(site: Site, tmp_path: Path, unannounced: bool) -> None:
    site.files["/w.pth"], site.unannounced = BODY[:-1], unannounced
    with pytest.raises(WeightsError, match=r"has 1,023,999 bytes, expected 1,024,000|broke off"):
        weights.obtain(method(WeightFile(url=f"{site.address}/w.pth", bytes=len(BODY))))
    assert leftovers(tmp_path) == []


def test_a_cut_archive_of_unknown_size_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["/w.pth"], site.unannounced, site.cut_after = zipped(), True, 500_000
    wanted = method(WeightFile(url=f"{site.address}/w.pth"))
    with pytest.raises(WeightsError, match="is cut short: 500,000 bytes arrived"):
        weights.obtain(wanted)
    assert leftovers(tmp_path) == []
    site.cut_after = None
    assert weights.obtain(wanted).files[""].read_bytes() == zipped()


def test_the_name_that_git_gives_to_a_file_is_checked(site: Site, tmp_path: Path) -> None:
    git_sha1 = hashlib.sha1(b"blob 1024000\0" + BODY).hexdigest()
    wanted = method(WeightFile(url=f"{site.address}/w.pth", git_sha1=git_sha1))
    site.files["/w.pth"] = BODY[::-1]
    with pytest.raises(WeightsError, match="git's sha1"):
        weights.obtain(wanted)
    assert leftovers(tmp_path) == []
    site.files["/w.pth"] = BODY
    weights.obtain(wanted)
    assert weights.verify(wanted) is True


@pytest.mark.parametrize("fault", ["gone", "page", "wrong bytes", "cut"])
def test_a_mirror_is_used_when_the_first_address_fails(site: Site, fault: str) -> None:
    site.files["/mirror/w.pth"] = BODY
    if fault != "gone":
        site.files["/w.pth"] = {"page": LOGIN, "wrong bytes": BODY[::-1], "cut": BODY[:9]}[fault]
    file = WeightFile(url=f"{site.address}/w.pth", sha256=SHA, mirrors=(f"{site.address}/mirror/w.pth",))
    assert weights.obtain(method(file)).files[""].read_bytes() == BODY


def test_a_mirror_of_the_hub_is_kept_where_the_hubs_file_would_be(site: Site) -> None:
    site.files["/mirror/w.pth"], site.status["/owner/name/resolve/main/a.pth"] = BODY, 401
    file = WeightFile(repo="owner/name", paths=("a.pth",), sha256=SHA, mirrors=(f"{site.address}/mirror/w.pth",))
    assert weights.obtain(method(file)).files[""].read_bytes() == BODY
    assert weights.is_present(method(file))


def test_every_address_that_failed_is_named(site: Site) -> None:
    mirrors = (f"{site.address}/mirror/w.pth",)
    with pytest.raises(WeightsError, match=r"/w\.pth does not .* mirror .*/mirror/w\.pth does not exist"):
        weights.obtain(method(WeightFile(url=f"{site.address}/w.pth", sha256=SHA, mirrors=mirrors)))


# ---- Google Drive -----------------------------------------------------------------------------------------------


def test_a_file_of_google_drive_is_fetched(drive: Site) -> None:
    drive.files[FIRST] = BODY
    assert weights.obtain(from_drive(sha256=SHA)).files[""].read_bytes() == BODY
    assert [path for _, path, _ in drive.asked] == [FIRST]


def test_google_drives_question_is_answered_once_with_its_hidden_fields(drive: Site, tmp_path: Path) -> None:
    drive.files |= {FIRST: QUESTION, SECOND: BODY}
    drive.pages = {FIRST}
    assert weights.obtain(from_drive(bytes=len(BODY))).files[""].read_bytes() == BODY
    assert [path for _, path, _ in drive.asked] == [FIRST, SECOND]
    weights.remove(from_drive(bytes=len(BODY)))
    drive.files[SECOND], drive.pages = QUESTION, {FIRST, SECOND}
    with pytest.raises(WeightsError, match="Google Drive answered with a web page") as caught:
        weights.obtain(from_drive(bytes=len(BODY)))
    assert "https://drive.google.com/file/d/ABC/view" in caught.value.hint
    assert len(drive.asked) == 4
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("when", ["at once", "after the question"])
def test_google_drives_quota_is_said(drive: Site, tmp_path: Path, when: str) -> None:
    drive.files |= {FIRST: QUOTA if when == "at once" else QUESTION, SECOND: QUOTA}
    drive.pages = {FIRST, SECOND}
    with pytest.raises(WeightsError, match="it limits how often a file is fetched in a day") as caught:
        weights.obtain(from_drive(sha256=SHA))
    assert "tomorrow" in caught.value.hint
    assert leftovers(tmp_path) == []


def test_wrong_bytes_from_google_drive_are_not_kept(drive: Site, tmp_path: Path) -> None:
    drive.files[FIRST] = BODY[::-1]
    with pytest.raises(WeightsError, match=r"w\.pth from https://drive\.google\.com/file/d/ABC/view has sha256"):
        weights.obtain(from_drive(sha256=SHA))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("source", ['url = "drive:A"', 'repo = "o/n", mirrors = ["drive:A"]'])
def test_google_drive_without_a_hash_or_a_size_is_refused(source: str) -> None:
    table = '[a]\ntitle = "A"\nfamily = "f"\nkind = "pixels"\narch = "x"\ncode_licence = "MIT"\nfiles = [{ %s }]\n'
    with pytest.raises(InvalidArgument, match="need a hash or a size"):
        registry.read_catalogue(table % f'{source}, paths = ["a.pth"]')
    registry.read_catalogue(table % f'{source}, paths = ["a.pth"], bytes = 3')


# ---- the catalogue ----------------------------------------------------------------------------------------------


def test_at_most_three_methods_are_fetched_by_hand_each_with_a_link_to_its_files() -> None:
    everything = [*registry.packaged_catalogue().values(), *registry.starts().values(), *registry.measures().values()]
    pages = {found.id: found.page for found in everything if found.page}
    assert set(pages) == {"ciaosr-edsr", "ciaosr-rdn", "instant-gi"}
    for page in pages.values():
        assert page.endswith("/releases") or "drive.google.com/drive/folders/" in page


def test_addresses_are_pinned_to_a_commit_or_have_a_hash() -> None:
    for found in [*registry.packaged_catalogue().values(), *registry.measures().values()]:
        for file in found.files:
            for address in (file.url, *file.mirrors):
                if "raw.githubusercontent.com" in address:
                    assert len(address.split("/")[5]) == 40, address
                    assert file.has_hash, address
