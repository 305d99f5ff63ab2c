"""The catalogue can be read, agrees with the architectures, and refuses what it does not understand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gsr_app.core.errors import InvalidArgument, UnknownMethod, UnknownName
from gsr_app.models import registry

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = '[a]\ntitle = "A"\nfamily = "f"\nkind = "resize"\nkernel = "bicubic"\ncode_licence = "MIT"\n'


def test_the_four_classical_resizes_are_there() -> None:
    classical = {m.kernel for m in registry.catalogue().values() if m.kind == "resize"}
    assert classical == {"bicubic", "lanczos3", "bilinear", "nearest"}


@pytest.mark.parametrize("method_id", registry.catalogue())
def test_every_entry_says_what_its_architecture_says(method_id: str) -> None:
    found = registry.method(method_id)
    assert re.fullmatch(r"#[0-9a-f]{6}", found.color)
    if found.kind == "resize":
        return
    arch = registry.architecture(found.arch)
    assert found.kind == arch.kind
    assert found.native_scale == arch.native_scale
    assert found.files, "a network needs weights"
    assert found.weights_licence, "whoever runs it must know what the weights may be used for"
    assert {file.part for file in found.files} == (set(arch.parts) or {""})


def test_an_architecture_is_in_the_file_that_its_id_begins_with() -> None:
    ids = registry.architecture_ids()
    assert len(set(ids)) == len(ids)
    assert {registry.architecture(arch_id).id for arch_id in ids} == set(ids)
    with pytest.raises(UnknownName, match=r"Architecture 'rgt-x9' is not in the registry\. Did you mean 'rgt-x[234]'"):
        registry.architecture("rgt-x9")


def test_published_scores_name_their_convention() -> None:
    for found in registry.catalogue().values():
        if found.published:
            assert found.convention, found.id
            assert all({"dataset", "scale"} < set(score) for score in found.published), found.id


def test_an_unknown_key_is_an_error_with_the_nearest_known_one() -> None:
    with pytest.raises(InvalidArgument, match=r"unknown key 'titel'\. Did you mean 'title'"):
        registry.read_catalogue(SMALLEST + 'titel = "B"\n')


def test_a_missing_key_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="'family' is missing"):
        registry.read_catalogue(SMALLEST.replace('family = "f"\n', ""))


def test_an_id_that_is_used_twice_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="not valid TOML"):
        registry.read_catalogue(SMALLEST + SMALLEST)


def test_a_weight_file_has_exactly_one_source() -> None:
    network = SMALLEST.replace('kind = "resize"\nkernel = "bicubic"', 'kind = "pixels"\narch = "x"')
    registry.read_catalogue(network + 'files = [{ url = "https://example.org/a.pth" }]\n')
    with pytest.raises(InvalidArgument, match="comes from"):
        registry.read_catalogue(network + 'files = [{ url = "https://example.org/a.pth", asset = "a.pth" }]\n')
    with pytest.raises(InvalidArgument, match="comes from"):
        registry.read_catalogue(network + 'files = [{ page = "https://example.org" }]\n')
    with pytest.raises(InvalidArgument, match="unknown key 'sha265'"):
        registry.read_catalogue(network + 'files = [{ asset = "a", sha265 = "" }]\n')


def test_a_misspelt_method_meets_its_nearest_neighbour() -> None:
    with pytest.raises(UnknownMethod, match=r"'bicubik' is not in the catalogue\. Did you mean 'bicubic'"):
        registry.method("bicubik")


def test_the_catalogue_is_read_without_torch() -> None:
    code = "import sys; from gsr_app.models import registry; registry.catalogue(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
