"""Packed data files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gsr_app.core.errors import ImageError
from gsr_app.training.pack import Pack, find_packs, write_pack


def make_entries() -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(4)
    sizes = ((5, 7), (3, 11), (8, 8))
    return [{"lr": torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)} for size in sizes]


def test_a_pack_gives_back_what_was_written(tmp_path: Path) -> None:
    entries = make_entries()
    entries[1]["x2"] = entries[1]["lr"].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert write_pack(tmp_path / "a.pack", iter(entries), {"seed": 3}) == 3
    pack = Pack(tmp_path / "a.pack")
    assert pack.about == {"seed": 3}
    assert [sorted(one) for one in pack] == [["lr"], ["lr", "x2"], ["lr"]]
    for written, found in zip(entries, pack, strict=True):
        for name, array in written.items():
            assert torch.equal(found[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pack"]


def test_views_that_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    picture = make_entries()[0]["lr"]
    write_pack(tmp_path / "a.pack", [{"lr": picture.mT}])
    assert torch.equal(Pack(tmp_path / "a.pack")[0]["lr"], picture.mT)


def test_changing_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    write_pack(tmp_path / "a.pack", make_entries())
    before = (tmp_path / "a.pack").read_bytes()
    Pack(tmp_path / "a.pack")[0]["lr"].fill_(0)
    assert (tmp_path / "a.pack").read_bytes() == before


def test_a_pack_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pack"
    write_pack(path, make_entries())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ImageError, match="not a pack, or was cut short"):
        Pack(path)
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="not a pack"):
        Pack(path)
    with pytest.raises(ImageError, match="no pack"):
        Pack(tmp_path / "b.pack")


def test_a_folder_of_packs_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_pack(tmp_path / f"{name}.pack", make_entries())
    assert [path.stem for path in find_packs(tmp_path)] == ["a", "b"]
    assert find_packs(tmp_path / "a.pack") == [tmp_path / "a.pack"]
