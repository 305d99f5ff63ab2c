"""Model files of other authors: files with random weights that spandrel's own networks write."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gsr_app.core.errors import GsrError, UnknownMethod, WeightsError
from gsr_app.core.types import Scale
from gsr_app.engine import networks
from gsr_app.engine.session import Session
from gsr_app.harness import cli
from gsr_app.models import registry, weights
from gsr_app.models.community import files, loading, spandrel_import
from gsr_app.models.community.measuring import measure

ROOT = Path(__file__).resolve().parents[2]
NETWORKS: dict[str, dict[str, Any]] = {
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 4},
    "Compact": {"num_feat": 16, "num_conv": 4, "upscale": 2},
    "ESRGAN": {"num_filters": 16, "num_blocks": 1, "scale": 2},
    "SwinIR": {
        "window_size": 8, "depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "upscale": 2,
        "upsampler": "pixelshuffledirect",
    },
    "DAT": {"embed_dim": 16, "split_size": [8, 8], "depth": [2], "num_heads": [2], "expansion_factor": 2, "upscale": 2},
}  # fmt: skip


def network(name: str, **changed: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    module = importlib.import_module(f"spandrel.architectures.{name}")
    return getattr(module, name)(**{**NETWORKS[name], **changed}).eval()


@pytest.fixture(scope="module", autouse=True)
def spandrel() -> None:
    try:
        spandrel_import.import_spandrel()
    except GsrError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(loading, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("GSR_MODELS_DIR", str(tmp_path / "models"))
    yield tmp_path / "models"
    networks.forget_all()


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = 0.5 + 0.3 * np.sin(x / 5 + y / 9) + 0.2 * ((x // 11 + y // 7) % 2 - 0.5)
    return np.stack([waves, 0.8 * waves, 1 - waves], -1).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_loads_tiles_without_seams_and_runs_between_its_scales(folder: Path, name: str) -> None:
    module = network(name)
    torch.save({"params_ema": module.state_dict()}, folder / "mine.pth")
    method, architecture = registry.method("file:mine"), registry.architecture("file:mine")
    scale = NETWORKS[name].get("upscale") or NETWORKS[name]["scale"]
    assert (method.native_scale, method.weights_licence) == (scale, "not stated in the file")
    assert method.parameters == sum(value.numel() for value in module.parameters())
    assert method.note.startswith(name.replace("Compact", "RealESRGAN Compact"))
    assert "file:mine" in registry.catalogue()
    image = picture(40, 64)
    whole = Session("cpu", tile=96).upscale(image, method="file:mine", scale=scale).image
    with torch.inference_mode():
        direct = module(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy().clip(0, 1)
    assert np.abs(whole - direct).max() < 1e-4
    tiled = Session("cpu", tile=32).upscale(image, method="file:mine", scale=scale).image
    assert architecture.tileable
    assert np.abs(tiled - whole).max() < 1 / 255
    between = Session("cpu").upscale(
        (255 * image[:32, :48]).astype(np.uint8), method="file:mine", scale=Scale(2.7, 2.7)
    )
    assert between.image.shape == (86, 129, 3)
    assert between.image.dtype == np.uint8
    assert between.done == f"x{scale} network, then resized to x2.7"


def test_what_was_measured_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(network("Compact").state_dict(), folder / "a.safetensors")
    first = registry.architecture("file:a")
    for remembered in ("_describe", "_facts"):
        getattr(loading, remembered).cache_clear()
    monkeypatch.setattr(loading, "_inspect", lambda _: pytest.fail("the file was inspected again"))
    again = registry.architecture("file:a")
    assert (again.overlap, again.bytes_per_pixel) == (first.overlap, first.bytes_per_pixel)
    assert first.overlap == 8  # six 3x3 convolutions
    assert not first.reads_all
    # At least 16 channels of float32 in and out of a layer.
    assert 2 * 16 * 4 <= first.bytes_per_pixel <= 20 * 16 * 4


def test_a_network_that_reads_all_of_a_picture_is_known_by_what_it_does() -> None:
    def near(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 5, 1, 2)

    def all_of_it(x: torch.Tensor) -> torch.Tensor:
        return near(x) * x.var((-2, -1), keepdim=True) * 30

    assert measure(near, 1, 1)[:2] == (8, False)
    assert measure(all_of_it, 1, 1)[1]


def test_a_result_names_the_bytes_of_the_file_that_made_it(folder: Path) -> None:
    made: list[str] = []
    state = dict(network("Compact").state_dict())
    for factor in (1, 2, 1):
        save_file({name: factor * values for name, values in state.items()}, folder / "a.safetensors")
        made.append(Session("cpu").upscale(picture(20, 30), method="file:a", scale=2).weights_id)
        found = weights.find(registry.method("file:a"))
        assert found is not None
        assert found.id == made[-1]
    assert made[0] == made[2] != made[1]


@pytest.mark.parametrize("change", [{"upscale": 1}, {"num_in_ch": 1, "num_out_ch": 1}])
def test_networks_that_keep_the_size_and_grey_ones_run(folder: Path, change: dict[str, int]) -> None:
    torch.save(network("Compact", **change).state_dict(), folder / "a.pth")
    scale = change.get("upscale", 2)
    result = Session("cpu").upscale(picture(20, 30), method="file:a", scale=scale)
    assert result.image.shape == (20 * scale, 30 * scale, 3)
    # The skip connection of the network keeps the picture recognizable whatever its weights are.
    assert np.corrcoef(result.image[::scale, ::scale, 0].ravel(), picture(20, 30)[..., 0].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("damage", ["cut", "key", "shape", "nan", "code"])
def test_a_damaged_file_is_refused_and_left_out_of_the_catalogue(folder: Path, damage: str) -> None:
    state, path = dict(network("Compact").state_dict()), folder / "a.pth"
    words = "does not fit"
    if damage == "key":
        del state["body.2.weight"]
    elif damage == "shape":
        state["body.2.weight"] = state["body.2.weight"][:3]
    elif damage == "nan":
        state["body.2.weight"][0, 0, 0, 0] = float("nan")
        words = "body.2.weight holds values"
    torch.save({"params": state, "code": print} if damage == "code" else state, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
        words = "damaged or cut"
    with pytest.raises(WeightsError, match="more than tensors" if damage == "code" else words) as caught:
        registry.method("file:a")
    assert "\n" not in str(caught.value)
    assert "file:a" not in registry.catalogue()


def test_an_unknown_file_says_what_was_found_and_what_it_is_like(folder: Path) -> None:
    state = dict(network("SwinIR").state_dict())
    state.pop("conv_first.weight")
    torch.save(state, folder / "a.pth")
    with pytest.raises(
        WeightsError, match=r"is of no network .* holds \d+ tensors: conv_first\.bias 12, .*SwinIR"
    ) as caught:
        registry.method("file:a")
    assert "--weights" in caught.value.hint
    with pytest.raises(UnknownMethod, match="file:b"):
        registry.method("file:b")


def test_the_command_line_takes_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    torch.save(network("Compact").state_dict(), tmp_path / "mine.pth")
    Image.fromarray((255 * picture(12, 16)).astype(np.uint8)).save(tmp_path / "a.png")
    words = ["upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--model", str(tmp_path / "mine.pth")]
    assert cli.main([*words, "--scale", "2"]) == 0
    with Image.open(tmp_path / "b.png") as made:
        assert made.size == (32, 24)
        assert "file:mine" in str(made.text)  # type: ignore[attr-defined]
    compared = ["compare", words[1], "--methods", "bicubic", "--model", words[-1], "--scale", "2", "--table", "csv"]
    assert cli.main(compared) == 0
    assert "a.png,mine,here," in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    torch.save({name: 2 * x for name, x in network("Compact").state_dict().items()}, tmp_path / "other" / "mine.pth")
    assert cli.main([*compared, "--model", str(tmp_path / "other" / "mine.pth")]) == 2
    assert "Two model files would both be file:mine." in capsys.readouterr().err
    assert cli.main([*words, "--method", "bicubic"]) == 2
    assert cli.main([*words[:-1], str(tmp_path / "a.png")]) == 2
    assert "is not a model file" in capsys.readouterr().err
    assert cli.main([*words[:-1], str(tmp_path / "gone.pth")]) == 2
    assert "There is no model file" in capsys.readouterr().err


def test_a_file_that_was_added_in_the_app_is_found_again(folder: Path, tmp_path: Path) -> None:
    torch.save(network("Compact").state_dict(), tmp_path / "theirs.pth")
    assert loading.keep(tmp_path / "theirs.pth") == "file:theirs"
    (tmp_path / "theirs.pth").unlink()
    assert "file:theirs" in registry.catalogue()
    (tmp_path / "half.pth").write_bytes((tmp_path / "cache/models/theirs.pth").read_bytes()[:999])
    with pytest.raises(WeightsError):
        loading.keep(tmp_path / "half.pth")
    assert list(registry.catalogue())[-1] == "file:theirs"
    # Another file of that name takes its place, whatever its type.
    save_file(network("Compact").state_dict(), tmp_path / "theirs.SAFETENSORS")
    assert loading.keep(tmp_path / "theirs.SAFETENSORS") == "file:theirs"
    assert [path.name for path in (tmp_path / "cache/models").iterdir()] == ["theirs.SAFETENSORS"]
    assert list(registry.catalogue())[-1] == "file:theirs"
    # What was added can be removed; files elsewhere are left alone.
    torch.save(network("Compact").state_dict(), folder / "placed.pth")
    theirs, placed = registry.method("file:theirs"), registry.method("file:placed")
    assert (weights.availability(theirs).own, weights.availability(placed).own) == (True, False)
    assert weights.remove(theirs) > 0
    assert weights.remove(placed) == 0
    assert list(registry.catalogue())[-1] == "file:placed"


def test_a_file_that_cannot_be_used_is_read_once_until_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"weight": torch.zeros(3)}, folder / "other.pth")
    inspected: list[Path] = []
    inspect = loading._inspect
    monkeypatch.setattr(loading, "_inspect", lambda path: (inspected.append(path), inspect(path))[1])
    for _ in range(3):
        assert "file:other" not in registry.catalogue()
    assert len(inspected) == 1
    assert caplog.text.count("other.pth is left out") == 1
    with pytest.raises(WeightsError, match="is of no network"):
        registry.method("file:other")
    torch.save({"weight": torch.zeros(4)}, folder / "other.pth")
    assert "file:other" not in registry.catalogue()
    assert len(inspected) == 2


def test_nothing_of_it_is_imported_when_it_is_not_used() -> None:
    code = (
        "import sys; from gsr_app.engine.session import Session; from gsr_app.models import registry\n"
        "registry.catalogue(); Session('cpu')\n"
        "sys.exit(bool({'spandrel', 'gsr_app.models.community.loading'} & set(sys.modules)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GSR_MODELS_DIR"}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False).returncode == 0


def test_an_absent_package_is_one_line_that_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(network("Compact").state_dict(), folder / "mine.pth")
    spandrel_import.import_spandrel.cache_clear()
    monkeypatch.setitem(sys.modules, "spandrel", None)
    try:
        assert cli.main(["upscale", "a.png", "-o", "b.png", "--model", str(folder / "mine.pth")]) == 1
    finally:
        monkeypatch.undo()
        spandrel_import.import_spandrel.cache_clear()
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "needs the extra 'community'" in first
    assert "pip install" in second


def test_two_architectures_are_refused_where_torchvision_cannot_be_imported() -> None:
    found = spandrel_import.import_spandrel()
    assert len(list(found.module.MAIN_REGISTRY)) >= 42
    assert bool(found.torchvision_problem) == ("torchvision" not in sys.modules)
