"""Swift as a folder of the Hugging Face Hub: written and read here, and by the Hub's own mixin."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gsr_app.core.errors import GsrError, InvalidArgument, WeightsError
from gsr_app.core.folders import ASSETS
from gsr_app.harness import cli
from gsr_app.models import registry
from gsr_app.models.swift import Swift, SwiftConfig

SMALL = SwiftConfig(channels=4, blocks=2, dilated=(1,))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network = Swift(SMALL)
    network.save_pretrained(tmp_path / "small")
    again = Swift.from_pretrained(tmp_path / "small")
    assert again.config == SMALL
    assert not again.training
    lr = torch.rand(1, 3, 9, 7)
    assert torch.equal(again.encode(lr), network.encode(lr))


def test_the_mixin_of_the_hub_reads_it(tmp_path: Path) -> None:
    from huggingface_hub import PyTorchModelHubMixin

    class HubSwift(PyTorchModelHubMixin, Swift):
        def __init__(self, config: SwiftConfig) -> None:  # the mixin reads the type of the argument
            super().__init__(config)

    network = Swift(SMALL)
    network.save_pretrained(tmp_path)
    read = HubSwift.from_pretrained(tmp_path)
    assert (read.config.channels, read.config.blocks) == (4, 2)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in read.state_dict().items())


def test_a_folder_that_does_not_fit_is_an_error_that_says_why(tmp_path: Path) -> None:
    Swift(SMALL).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"chanels": 4}')
    with pytest.raises(InvalidArgument, match="Did you mean 'channels'"):
        Swift.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"channels": 8}')
    with pytest.raises(WeightsError, match="does not fit"):
        Swift.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(WeightsError, match="cannot be read"):
        Swift.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="There is no folder"):
        Swift.from_pretrained(tmp_path / "absent")


def test_a_repository_is_not_fetched_when_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GSR_OFFLINE", "1")
    monkeypatch.setenv("GSR_CACHE", str(tmp_path))
    with pytest.raises(GsrError, match=r"config\.json for someone/swift is not here"):
        Swift.from_pretrained("someone/swift")


def test_the_exported_folder_holds_the_shipped_network_and_its_card(tmp_path: Path) -> None:
    out = tmp_path / "swift"
    assert cli.main(["export", "--model", str(out), "--method", "swift"]) == 0
    listed = {"README.md", "config.json", "model.safetensors", "swift-held-out.csv", "swift-photographs.csv"}
    assert {path.name for path in out.iterdir()} == listed
    state, shipped = Swift.from_pretrained(out).state_dict(), load_file(ASSETS / "swift.safetensors")
    assert state.keys() == shipped.keys()
    assert all(torch.equal(state[name], shipped[name]) for name in shipped)
    assert json.loads((out / "config.json").read_text())["channels"] == 40
    assert cli.main(["export", "--model", str(tmp_path / "other"), "--method", "bicubic"]) == 2
    photo = tmp_path / "photo"
    assert cli.main(["export", "--model", str(photo), "--method", "swift-photo"]) == 0
    assert {path.name for path in photo.iterdir()} == {*listed, "swift-photo.webp"}


def test_a_network_at_a_strength_is_exported_at_that_strength(tmp_path: Path) -> None:
    plain, photo = (load_file(ASSETS / f"{name}.safetensors") for name in ("swift", "swift-photo"))
    for strength in (0, 0.25):
        out = tmp_path / str(strength)
        assert cli.main(["export", "--model", str(out), "--method", f"swift-photo@{strength}"]) == 0
        found = load_file(out / "model.safetensors")
        for name, values in plain.items():
            torch.testing.assert_close(found[name], values + strength * (photo[name] - values), rtol=1e-6, atol=1e-7)
        card = (out / "README.md").read_text()
        assert re.search(rf"Weights swift-photo@{strength}@\w{{8}} {1 - strength:.2f} swift@\w{{8}} of", card)


@pytest.mark.parametrize(("name", "licence"), [("swift", "cc-by-4.0"), ("quickstart", "other")])
def test_the_cards_have_the_front_matter_of_the_hub(name: str, licence: str) -> None:
    front = (ASSETS / f"{name}.md").read_text(encoding="utf-8").split("---\n")[1]
    found = dict(re.findall(r"^(\w+): (.*)$", front, re.MULTILINE))
    assert (found["license"], found["library_name"], found["pipeline_tag"]) == (licence, "gsr-app", "image-to-image")


def test_the_scores_in_the_front_matter_and_the_catalogue_are_those_of_the_card() -> None:
    _, front, text = (ASSETS / "swift.md").read_text(encoding="utf-8").split("---\n", 2)
    stated = re.findall(r"x(\d)}\n\s+dataset: .*name: (\w+)}\n.*value: ([\d.]+)", front)
    rows = {name: re.search(rf"^\| {name} \|(.*)\|$", text, re.MULTILINE) for name in ("Set5", "Set14")}
    table = {name: row[1].replace(" ", "").split("|") for name, row in rows.items() if row}
    assert len(stated) == 6
    assert all(table[name][int(scale) - 2] == value for scale, name, value in stated)
    for score in registry.method("swift").published:
        name, scale, value = str(score["dataset"]), int(score["scale"]), f"{score['psnr_y']:.2f}"
        assert table[name][scale - 2] == value if scale <= 4 else f"x{scale} {value}" in text
