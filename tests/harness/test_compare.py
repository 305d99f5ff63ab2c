"""`gsr compare`: the report from the command line, and the tally of blind votes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.cli import main
from gsr_app.harness.tally import tally_votes, wilson


def votes_file(path: Path, votes: list[tuple[list[str], str]]) -> Path:
    data = {"votes": [{"image": str(i), "shown": shown, "best": best} for i, (shown, best) in enumerate(votes)]}
    path.write_text(json.dumps(data))
    return path


def test_a_report_is_written_with_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    out = tmp_path / "out" / "report.html"
    call = ["compare", str(tmp_path / "noise.png"), "--methods", "bicubic,nearest", "--scale", "2", "--round-trip"]
    assert main([*call, "--region", "2,3,8,6,corner", "--report", str(out)]) == 0
    text = out.read_text()
    assert text.count("data:image/png") >= 4
    assert '"corner"' in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert (tmp_path / "out" / "report_figure.png").stat().st_size > 1000
    assert (tmp_path / "out" / "report_figure.pdf").read_bytes().startswith(b"%PDF")
    said = capsys.readouterr().out
    assert "bicubic" in said
    assert "dB" in said


@pytest.mark.parametrize(
    "words",
    [["--report", "noise.png"], ["--report", "a.html", "--carry", "swfit"], ["--report", "a.html", "--repeat", "0"]],
)
def test_a_slip_in_a_call_writes_nothing(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("noise.png")
    before = Path("noise.png").read_bytes()
    assert main(["compare", "noise.png", *words]) == 2
    assert Path("noise.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["noise.png"]


def test_the_report_beside_its_picture_leaves_the_picture_alone(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "cat.png")
    before = (tmp_path / "cat.png").read_bytes()
    call = ["compare", str(tmp_path / "cat.png"), "--methods", "nearest", "--region", "2,2,8,8"]
    assert main([*call, "--report", str(tmp_path / "cat.html")]) == 0
    assert (tmp_path / "cat_figure.png").exists()
    assert (tmp_path / "cat.png").read_bytes() == before


@pytest.mark.parametrize("region", ["1,2,3", "a,b,c,d", "1,2,0,4", "-1,0,2,2", "10,0,8,8"])
def test_a_bad_region_is_refused(region: str, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    assert main(["compare", str(tmp_path / "x.png"), f"--region={region}", "--report", str(tmp_path / "r.html")]) == 2


def test_the_tally_counts_wins_and_shares_what_nobody_could_tell(tmp_path: Path) -> None:
    a = votes_file(tmp_path / "a.json", [(["x", "y"], "x"), (["y", "x"], "x"), (["x", "y"], "")])
    b = votes_file(tmp_path / "b.json", [(["x", "y", "z"], "z")])
    standings = {standing.method: standing for standing in tally_votes([a, b])}
    assert (standings["x"].wins, standings["x"].shown) == (2.5, 4)
    assert (standings["y"].wins, standings["y"].shown) == (0.5, 4)
    assert (standings["z"].wins, standings["z"].shown) == (1, 1)


def test_the_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"votes": 3}', '{"votes": [{"shown": ["a"], "best": "b"}]}', '{"votes": []}']
)
def test_what_is_not_votes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(InvalidArgument):
        tally_votes([tmp_path / "v.json"])
