"""Files appear whole or not at all, whatever happens in between, and one lock holds between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gsr_app.core.atomic import locked, remove_abandoned, replacing, write_whole
from gsr_app.core.errors import GsrError, ImageError

ROOT = Path(__file__).resolve().parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.parent == tmp_path, "on the same file system"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_fails_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half" * 10_000 + "\ud800", encoding="utf-8")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_of_another_process_is_not_replaced_without_leave(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "a.txt", overwrite=False, error=ImageError) as temporary:
            temporary.write_text("ours")
            (tmp_path / "a.txt").write_text("theirs")

    with pytest.raises(ImageError, match=r"a\.txt appeared meanwhile"):
        write()
    assert (tmp_path / "a.txt").read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_system_without_links_is_served_by_a_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with replacing(tmp_path / "a.txt", overwrite=False) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_bytes_and_texts_are_written_and_their_folder_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "one" / "two" / "a.txt", "größer")
    write_whole(tmp_path / "b.bin", b"\0\1")
    assert (tmp_path / "one" / "two" / "a.txt").read_bytes() == "größer".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\0\1"


def test_the_reason_is_said_in_one_printable_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GsrError) as caught:
        write_whole(tmp_path / "file" / "a\x1b[31m\n.txt", "text")
    assert str(caught.value) == "The output a?[31m?.txt cannot be written: Not a directory."
    assert "Is the disk full?" in caught.value.hint


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("n" * 255), "text")
    assert names(tmp_path) == ["n" * 255]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from gsr_app.core.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], cwd=ROOT, check=False)
    assert done.returncode == -9
    (left,) = names(tmp_path)
    (tmp_path / f".gsr-{os.getpid()}-00ff.part").touch()
    (tmp_path / "b.part").touch()
    assert remove_abandoned([tmp_path, tmp_path, tmp_path / "nowhere"]) == 1
    assert names(tmp_path) == [f".gsr-{os.getpid()}-00ff.part", "b.part"]
    assert left not in names(tmp_path)


def test_a_lock_holds_against_another_process_and_ends_with_its_own(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gsr_app.core.atomic import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / "lock"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError), locked(lock, wait=False):
        pass
    other.kill()
    other.communicate()
    with locked(lock), pytest.raises(BlockingIOError), locked(lock, wait=False):
        pass
    with locked(lock, wait=False):
        pass
