"""`gsr compare`: the report from the command line, and the tally of blind votes."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.cli import main
from gsr_app.harness.tally import Vote, count_votes, format_tally, read_votes, tally_votes
from gsr_app.viewer.results import assign_results, name_result


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
    pdf = (tmp_path / "out" / "report_figure.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    streams = [zlib.decompress(part) for part in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]
    reference = pixels[6:18, 4:20].tobytes()  # the region of the whole picture, at twice its coordinates
    assert reference in streams, "the crop is in the file bit for bit"
    drawing = next(part for part in streams if part.startswith(b"q "))
    assert re.search(rb"\(Bicubic\) Tj", drawing)
    assert b"(noise \\(x2\\)) Tj" in drawing
    assert len(re.findall(rb"Tr \(\d+\.\d\d\) Tj 0 Tr \( / \) Tj . Tr \(0\.\d{4}\) Tj", drawing)) == 2
    assert len(re.findall(rb"\((0\.\d{4})\) Tj", drawing)) == 4, "SSIM and FLIP of two methods"
    assert b"(FLIP) Tj" in drawing
    assert drawing.count(b"2 Tr") == 3, "the best PSNR, the best SSIM and the best FLIP are bold"
    said = capsys.readouterr().out
    assert "bicubic" in said
    assert "dB" in said


def test_a_figure_has_the_width_of_its_column_and_a_table_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f"{name}_1.png")
        (tmp_path / "best").mkdir(exist_ok=True)
        Image.open(tmp_path / f"{name}_1.png").save(tmp_path / f"best/{name}_1.png")
    words = ["compare", str(tmp_path / "a_1.png"), str(tmp_path / "b_1.png"), "--scale", "2", "--round-trip"]
    words += ["--methods", "bicubic,nearest", "--results", f"The best & Größte={tmp_path / 'best'}"]
    assert main([*words, "--figure", str(tmp_path / "f.pdf")]) == 2
    assert "regions" in capsys.readouterr().err
    words += ["--region", "2,3,16,12", "--region", "8,8,12,12"]
    made: dict[str, tuple[float, float]] = {}
    for width, inches in (("column", 3.5), ("page", 7.16)):
        out = tmp_path / f"{width}.pdf"
        assert main([*words, "--figure", str(out), "--figure-width", width, "--table", "tex"]) == 0
        box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", out.read_bytes())
        assert box
        made[width] = float(box[1]), float(box[2])
        assert f"{inches:.2f} x {float(box[2]) / 72:.2f} in" in capsys.readouterr().out
        assert made[width][0] == pytest.approx(72 * inches, abs=0.01)
    data = (tmp_path / "page.pdf").read_bytes()
    drawing = next(
        found for part in re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL)
        if (found := zlib.decompress(part)).startswith(b"q ")
    )  # fmt: skip
    # Everything lies on the page: two overviews, and two regions with five crops each, of two pictures.
    boxes = [list(map(float, one)) for one in re.findall(rb"q ([\d.]+) 0 0 ([\d.]+) ([\d.]+) ([\d.]+) cm", drawing)]
    assert len(boxes) == 2 + 2 * 2 * 5
    for width, height, left, bottom in boxes:
        assert left >= -0.01
        assert left + width <= made["page"][0] + 0.01
        assert bottom >= -0.01
        assert bottom + height <= made["page"][1] + 0.01
    assert b"/F 7 Tf" in drawing
    assert b"(equal)" in drawing
    assert b"Grosste" in drawing  # the font has the letters of ASCII
    table = (tmp_path / "page_table.tex").read_text()
    assert r"Method & a\_1 & b\_1 & mean & Time \\" in table
    assert r"The best \& Größte & \textbf{equal} / \textbf{1.0000} / \textbf{0.0000} &" in table
    assert table.startswith("% PSNR in dB / SSIM / FLIP, ")
    assert table.count(r"\textbf") == 9, "the lowest FLIP is the best"
    assert table.count("made elsewhere") == 1
    capsys.readouterr()
    assert main([*words, "--table", "md"]) == 0
    assert "| The best & Größte | **equal** / **1.0000** / **0.0000** |" in capsys.readouterr().out
    assert main([*words, "--table", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("a_1.png,", "b_1.png,")) and line.endswith(",done") for line in lines) == 6


def test_a_pdf_reader_finds_the_text_the_font_and_the_crops(tmp_path: Path) -> None:
    if not shutil.which("pdfimages"):
        pytest.skip("needs poppler's commands")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    call = ["compare", str(tmp_path / "a.png"), "--methods", "bicubic,nearest", "--scale", "2", "--round-trip"]
    assert main([*call, "--region", "2,3,8,6", "--figure", str(tmp_path / "f.pdf")]) == 0

    def read(*words: str) -> str:
        return subprocess.run([*words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    text = read("pdftotext", "f.pdf", "-")
    assert "Bicubic" in text
    assert re.search(r"\d+\.\d\d / 0\.\d{4}", text)
    assert re.search(r"Aileron +TrueType +WinAnsi +yes", read("pdffonts", "f.pdf"))
    read("pdfimages", "-png", "f.pdf", "crop")
    crops = [np.asarray(Image.open(path)) for path in sorted(tmp_path.glob("crop-*.png"))]
    assert len(crops) == 5  # the overview, the input, two methods, the reference
    np.testing.assert_array_equal(crops[-1], pixels[6:18, 4:20])


def test_results_made_elsewhere_are_scored_and_shown_like_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for folder in ("mine", "half"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c"):
        smooth = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((64, 48), 3)
        smooth.save(tmp_path / f"{name}.png")
        smooth.save(tmp_path / f"mine/{name}_x2.png")
        smooth.resize((32, 24), 3).save(tmp_path / f"half/{name}.png")
    out, folders = tmp_path / "r.html", [f"Mine={tmp_path / 'mine'}", f"Half={tmp_path / 'half'}"]
    words = ["compare", *(str(tmp_path / f"{name}.png") for name in "abc"), "--scale", "2", "--round-trip"]
    words += ["--methods", "bicubic", "--report", str(out)]
    assert main([*words, "--results", folders[0], "--results", folders[1]]) == 0
    said = capsys.readouterr().out
    assert said.count("made elsewhere") == 6
    assert len(re.findall(r"Mine +made elsewhere +inf dB", said)) == 3  # the pictures themselves
    text = out.read_text()
    warning = "Half: made at 32×24 (×1), scored after a bicubic resize to 64×48"
    assert warning in text.replace("\\u00d7", "×")
    assert "made elsewhere: a_x2.png" in text
    one = ["compare", str(tmp_path / "a.png"), *words[4:]]
    assert main([*one, "--methods", "", "--result", f"X={tmp_path / 'mine/a_x2.png'}"]) == 0
    Image.new("RGB", (64, 64)).save(tmp_path / "square.png")
    capsys.readouterr()
    for bad, about in (
        (["--result", f"X={tmp_path / 'square.png'}"], "square.png is 64×64; the results here are 64×48"),
        (["--result", "X"], "NAME=PATH"),
        (["--results", f"X={tmp_path}"], ""),
        (["--results", f"X={tmp_path / 'none'}"], "is not a folder"),
        (["--result", f"X={tmp_path / 'a.png'}", "--result", f"X={tmp_path / 'b.png'}"], "Two results have the name"),
    ):
        code = main([*one, *bad])
        assert code == (2 if about else 0)
        assert about in capsys.readouterr().err


def test_results_are_compared_without_the_picture_that_they_were_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    reference = Image.fromarray(pixels).resize((64, 48), 3)
    for folder, size in (("truth", (64, 48)), ("same", (64, 48)), ("half", (32, 24))):
        (tmp_path / folder).mkdir()
        reference.resize(size, 3).save(tmp_path / folder / "a.png")
    same, half, truth = (str(tmp_path / folder / "a.png") for folder in ("same", "half", "truth"))
    words = ["compare", "--result", f"Half={half}", "--result", f"Same={same}", "--report", str(tmp_path / "r.html")]
    assert main([*words, "--scale", "2", "--reference", truth, "--region", "40,30,16,12"]) == 0
    assert re.search(r"Same +made elsewhere +inf dB", capsys.readouterr().out)
    text = (tmp_path / "r.html").read_text()
    assert "Half: made at 32×24, scored after" in text.replace("\\u00d7", "×")
    assert '"kind":"input"' not in text
    # Without a reference there are no scores; folders are matched by the stems of their files.
    folders = ["--results", f"Half={tmp_path / 'half'}", "--results", f"Same={tmp_path / 'same'}"]
    assert main(["compare", *folders, "--table", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "a.png,Half,elsewhere,,,,,,,,done", "a.png,Same,elsewhere,,,,,,,,done",
    ]  # fmt: skip
    for bad, about in ((["--methods", "bicubic"], "Methods need a picture"), (["--round-trip"], "A round trip needs")):
        assert main([*words, *bad]) == 2
        assert about in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("cat_x4_SwinIR", "SwinIR"), ("catx4-SwinIR-light", "SwinIR-light"), ("cat_SwinIR_x2.7", "SwinIR"),
        ("cat_2_mine", "mine"), ("cat", "cat"), ("cat_x4", "cat_x4"), ("caterpillar_x4", "caterpillar"),
    ],
)  # fmt: skip
def test_a_result_is_named_by_what_follows_its_picture(stem: str, name: str) -> None:
    assert name_result(stem, ["cat", "cat_2"]) == name


def test_files_are_assigned_to_the_pictures_whose_names_they_begin_with() -> None:
    pictures = [Path("in/cat.png"), Path("in/cat_2.png")]
    files = [(Path(name), "") for name in ("cat_A.png", "cat_2_B.png", "cat_2_A.png", "cat_2_GT.png")]
    one, two = assign_results([*files, (Path("cat_x.png"), "B")], pictures)
    assert [(result.name, result.path.name) for result in one.results] == [("A", "cat_A.png"), ("B", "cat_x.png")]
    assert [(result.name, result.path.name) for result in two.results] == [("B", "cat_2_B.png"), ("A", "cat_2_A.png")]
    assert {result.name: result.id for result in one.results} == {result.name: result.id for result in two.results}
    assert (one.reference, two.reference) == (None, Path("cat_2_GT.png"))
    (alone,) = assign_results([(Path("mine.png"), ""), (Path("HR.png"), "")], [])
    assert ([result.name for result in alone.results], alone.reference) == (["mine"], Path("HR.png"))
    for bad, about in (
        ([("dog_A.png", "")], "belongs to none"),
        ([("cat_A.png", ""), ("cat_b.png", "A")], "Two results"),
    ):
        with pytest.raises(InvalidArgument, match=about):
            assign_results([(Path(name), own) for name, own in bad], pictures)


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
    tally = tally_votes([a, b])
    standings = {standing.method: standing for standing in tally.standings}
    assert (standings["x"].wins, standings["x"].shown) == (2.5, 4)
    assert (standings["y"].wins, standings["y"].shown) == (0.5, 4)
    assert (standings["z"].wins, standings["z"].shown) == (1, 1)
    assert tally.raters == 2, "old files hold no rater: each counts as one"
    assert tally.preferred["x", "y"] == 2.5
    assert tally.preferred["z", "x"] == tally.preferred["z", "y"] == 1
    assert "2 raters" in format_tally(tally)


def test_the_votes_of_one_rater_are_of_one_rater_and_a_changed_mind_counts_once(tmp_path: Path) -> None:
    def file(name: str, rater: str, *best: str) -> Path:
        votes = [{"page": page, "shown": ["x", "y"], "best": one} for page, one in enumerate(best)]
        (tmp_path / name).write_text(json.dumps({"report": "r", "rater": rater, "votes": votes}))
        return tmp_path / name

    paths = [file("1.json", "ann", "x", "x"), file("2.json", "ann", "y", "x"), file("3.json", "bob", "x", "x")]
    assert [(vote.rater, vote.best) for vote in read_votes(paths)] == [
        ("ann", "y"), ("ann", "x"), ("bob", "x"), ("bob", "x"),
    ]  # fmt: skip
    assert tally_votes(paths).raters == 2


@pytest.mark.parametrize("change", [{"names": ["x"]}, {"page": {}}, {"shown": []}, {"best": "z"}])
def test_votes_of_another_form_are_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    vote = {"page": 0, "shown": ["x", "y"], "best": "x", **change}
    (tmp_path / "v.json").write_text(json.dumps({"report": "r", "rater": "ann", "votes": [vote]}))
    with pytest.raises(InvalidArgument, match="does not hold votes"):
        read_votes([tmp_path / "v.json"])


def test_with_two_methods_the_strengths_are_bradley_and_terrys() -> None:
    votes = [Vote(f"r{n}", ("x", "y"), "x" if n < 300 else "y") for n in range(400)]
    x, y = count_votes(votes).standings
    # Chosen three times as often: odds of 3. The standard error of the log odds is sqrt(1/300 + 1/100).
    assert x.strength / y.strength == pytest.approx(3, rel=0.005)
    spread = math.log(x.high / x.low)
    assert spread == pytest.approx(2 * 1.96 * math.sqrt(1 / 300 + 1 / 100) / 2, rel=0.1)


def test_simulated_raters_give_back_the_order_and_intervals_that_cover_the_truth() -> None:
    truth = {"a": 2.0, "b": 1.0, "c": 0.5, "d": 1.0}  # geometric mean 1
    names, covered, ordered = list(truth), dict.fromkeys(truth, 0), 0
    for run in range(100):
        random = np.random.default_rng(run)
        votes: list[Vote] = []
        for rater in range(24):
            own = np.log(list(truth.values())) + random.normal(0, 0.3, 4)  # people differ
            for _ in range(10):
                shown = random.choice(4, random.integers(2, 5), replace=False)
                share = np.exp(own[shown]) / np.exp(own[shown]).sum()
                best = "" if random.random() < 0.02 else names[random.choice(shown, p=share)]
                votes.append(Vote(str(rater), tuple(names[one] for one in shown), best))
        standings = count_votes(votes, seed=run).standings
        ordered += standings[0].method == "a" and standings[-1].method == "c"
        for one in standings:
            covered[one.method] += one.low <= truth[one.method] <= one.high
    assert ordered >= 95
    assert min(covered.values()) >= 90, covered


@pytest.mark.parametrize(
    "text", ["", "[]", '{"votes": 3}', '{"votes": [{"shown": ["a"], "best": "b"}]}', '{"votes": []}']
)
def test_what_is_not_votes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(InvalidArgument):
        tally_votes([tmp_path / "v.json"])
