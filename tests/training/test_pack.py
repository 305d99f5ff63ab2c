"""Packed data files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app.core.errors import ImageError
from gsr_app.harness import cli
from gsr_app.training.data import load_picture, load_whole_pictures, shrink_all
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


def test_pictures_are_shrunk_by_one_factor_to_fit_a_pack() -> None:
    pictures = [torch.full((3, 40, 60), 90, dtype=torch.uint8), torch.full((3, 20, 20), 200, dtype=torch.uint8)]
    total = sum(one.numel() for one in pictures)
    assert [one.shape for one in shrink_all(pictures, total)] == [one.shape for one in pictures]
    small = shrink_all(pictures, total / 4)
    assert [tuple(one.shape) for one in small] == [(3, 20, 30), (3, 10, 10)]
    assert [int(one.unique()) for one in small] == [90, 200]
    assert sum(one.numel() for one in shrink_all(pictures, 1000)) <= 1000


def test_a_pack_of_files_gives_pictures_without_the_picture_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    for index, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / "in" / f"{index}.png")
    assert cli.main(["pack", str(tmp_path / "in"), str(tmp_path / "a.pack"), "--files"]) == 0
    assert "a.pack: 2 pictures" in capsys.readouterr().out
    assert cli.main(["pack", str(tmp_path / "in"), str(tmp_path / "none.pack"), "--held-out", "2"]) == 1
    assert "holds 2 pictures, and 2 are to be left out" in capsys.readouterr().err
    assert not (tmp_path / "none.pack").exists()
    for place in (tmp_path / "a.pack", tmp_path / "in"):
        found = load_whole_pictures(place)
        assert [one.permute(1, 2, 0).tolist() for one in found] == pixels.tolist()
    write_pack(tmp_path / "broken.pack", [{"file": torch.zeros(40, dtype=torch.uint8)}])
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        load_whole_pictures(tmp_path / "broken.pack")


@pytest.mark.parametrize("has_pyvips", [True, False])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_picture_that_was_cut_off_is_refused_by_name(
    name: str, has_pyvips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_pyvips:
        monkeypatch.setitem(sys.modules, "pyvips", None)
    path = tmp_path / "pictures" / name
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    assert load_picture(path).shape == (3, 64, 64)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert cli.main(["pack", str(path.parent), str(tmp_path / "a.pack")]) == 1
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "a.pack").exists()
