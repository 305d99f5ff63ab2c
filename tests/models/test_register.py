"""Methods that live outside the package: registered by a call, or by an installed plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument, UnknownMethod, UnknownName
from gsr_app.engine.session import Session
from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method, WeightFile

ROOT = Path(__file__).resolve().parents[2]


class Inverter(nn.Module):
    """Doubles the size and inverts the values."""

    def forward(self, lr: Tensor) -> Tensor:
        return 1 - lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


ARCH = Architecture("inverter", Inverter, "pixels", native_scale=2)
METHOD = Method("inverter", "Inverter", "test", "pixels", "MIT")


@pytest.fixture
def inverter() -> Iterator[Method]:
    yield registry.register(METHOD, ARCH)
    registry.unregister(METHOD.id)


def test_a_registered_method_is_in_the_catalogue_and_runs_without_weight_files(inverter: Method) -> None:
    assert list(registry.catalogue())[-1] == "inverter"
    assert "inverter" not in registry.packaged_catalogue()
    assert registry.method("inverter") == inverter
    assert (inverter.arch, inverter.native_scale) == ("inverter", 2)
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    up = Session("cpu").upscale(image, method="inverter", scale=2)
    np.testing.assert_array_equal(up.image, 255 - image.repeat(2, 0).repeat(2, 1))
    assert up.done == "x2 network"


def test_after_unregister_it_is_gone() -> None:
    registry.register(METHOD, ARCH)
    registry.unregister("inverter")
    with pytest.raises(UnknownMethod):
        registry.method("inverter")
    with pytest.raises(UnknownName):
        registry.architecture("inverter")
    with pytest.raises(UnknownName, match="the registered methods"):
        registry.unregister("inverter")


def test_another_network_under_the_same_id_replaces_the_loaded_one() -> None:
    image = np.full((4, 4, 3), 200, np.uint8)
    answers = list[int]()
    for offset in (0.0, 0.2):

        class Shifter(nn.Module):
            def forward(self, lr: Tensor, offset: float = offset) -> Tensor:
                return lr - offset

        registry.register(METHOD, replace(ARCH, build=Shifter, native_scale=1))
        answers.append(int(Session("cpu").upscale(image, method="inverter", scale=1).image[0, 0, 0]))
        registry.unregister("inverter")
    assert answers == [200, 149]


@pytest.mark.usefixtures("inverter")
def test_ids_are_used_once() -> None:
    with pytest.raises(InvalidArgument, match="'inverter' is taken"):
        registry.register(METHOD, ARCH)
    with pytest.raises(InvalidArgument, match="'swift' is taken"):
        registry.register(replace(METHOD, id="swift"), ARCH)
    with pytest.raises(InvalidArgument, match="architecture id 'inverter' is taken"):
        registry.register(replace(METHOD, id="second"), replace(ARCH, overlap=3))
    with pytest.raises(InvalidArgument, match="architecture id 'rgt-x4' is taken"):
        registry.register(replace(METHOD, id="second"), replace(ARCH, id="rgt-x4"))


@pytest.mark.usefixtures("inverter")
def test_several_methods_may_share_an_architecture_of_the_package_or_of_their_own() -> None:
    own = registry.register(replace(METHOD, id="second", arch="inverter"))
    ours = registry.register(Method("rgt-mine", "RGT, mine", "rgt", "pixels", "MIT", arch="rgt-x4", native_scale=4))
    assert registry.architecture(own.arch) is ARCH
    assert registry.architecture(ours.arch).native_scale == 4
    registry.unregister("second")
    registry.unregister("rgt-mine")


@pytest.mark.parametrize(
    ("method", "arch", "says"),
    [
        (replace(METHOD, kind="field"), ARCH, "does not belong"),
        (replace(METHOD, arch="rgt-x4"), ARCH, "does not belong"),
        (METHOD, None, "names a kernel, everything else an arch"),
        (replace(METHOD, arch="unheard-of"), None, "Architecture 'unheard-of'"),
        (replace(METHOD, files=(WeightFile(),)), ARCH, "comes from"),
    ],
)
def test_a_method_that_contradicts_itself_is_refused(method: Method, arch: Architecture | None, says: str) -> None:
    with pytest.raises((InvalidArgument, UnknownName), match=says):
        registry.register(method, arch)
    assert "inverter" not in registry.catalogue()


def test_an_installed_plugin_appears_in_the_command_line_and_a_broken_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "plugged.py").write_text(
        "from gsr_app.models.registry import Architecture, Method, register\n"
        "def build():\n    raise AssertionError('not called')\n"
        "def add():\n"
        "    arch = Architecture('plugged', build, 'pixels')\n"
        "    register(Method('plugged', 'Plugged', 'test', 'pixels', 'MIT'), arch)\n"
        "def fail():\n    raise RuntimeError('no such file')\n"
    )
    about = tmp_path / "plugged-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gsr.methods]\na = plugged:fail\nb = plugged:add\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "gsr_app", "models"]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    table = [line for line in answer.stdout.splitlines() if " by hand: " not in line]
    assert table[-1].startswith("plugged ")
    assert "plugged:fail is left out: RuntimeError: no such file" in answer.stderr


def test_registering_needs_no_torch_before_the_method_runs() -> None:
    code = (
        "import sys; from gsr_app.models.registry import *\n"
        "register(Method('mine', 'Mine', 'own', 'pixels', 'MIT'), Architecture('mine', object, 'pixels'))\n"
        "assert 'mine' in catalogue(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
