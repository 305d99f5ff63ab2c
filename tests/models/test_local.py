"""Weights that somebody brings along: what fits is used, what does not is refused by name, nothing is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gsr_app.core.errors import WeightsError
from gsr_app.models import local, registry, weights

METHOD = registry.method("rt4ksr-x2")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GSR_WEIGHTS_DIR", raising=False)
    return tmp_path / "cache"


def save(path: Path, **changes: object) -> Path:
    torch.save({**registry.build(METHOD.arch).state_dict(), **changes}, path)
    return path


def test_weights_that_fit_are_found_from_then_on_and_can_be_removed(tmp_path: Path) -> None:
    path = save(tmp_path / "any name.pth")
    assert local.keep(METHOD, [path]) == path.stat().st_size
    found = weights.find(METHOD)
    assert found is not None
    assert found.files[""].read_bytes() == path.read_bytes()
    assert weights.is_local(METHOD)
    assert weights.verify(METHOD) is None  # nobody says that they are the published ones
    assert weights.remove(METHOD) == path.stat().st_size
    assert weights.find(METHOD) is None


@pytest.mark.parametrize("key", ["surplus.weight", "head.0.weight"])
def test_what_does_not_fit_is_named_and_not_kept(key: str, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", **{key: torch.zeros(2)})
    with pytest.raises(WeightsError, match=key.replace(".", r"\.")):
        local.keep(METHOD, [path])
    assert not weights.is_local(METHOD)


class _Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_file_that_holds_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": _Code(tmp_path / "ran")}, path)
    with pytest.raises(WeightsError, match="more than tensors"):
        local.keep(METHOD, [path])
    assert not (tmp_path / "ran").exists()


def test_a_method_of_two_files_wants_both_by_name(tmp_path: Path) -> None:
    method = registry.method("gsasr-edsr-df2k")
    with pytest.raises(WeightsError, match=r"encoder\.pth and decoder\.pth, found w\.pth"):
        local.keep(method, [save(tmp_path / "w.pth")])
    with pytest.raises(WeightsError, match="not a weight file"):
        local.keep(METHOD, [tmp_path / "picture.png"])


def test_the_ending_of_a_file_may_be_in_capitals(tmp_path: Path) -> None:
    save_file(registry.build(METHOD.arch).state_dict(), tmp_path / "NET.SAFETENSORS")
    assert local.keep(METHOD, [tmp_path / "NET.SAFETENSORS"]) > 0
    assert weights.is_local(METHOD)
