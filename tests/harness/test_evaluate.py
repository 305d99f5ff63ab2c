"""`gsr eval`: correct scores, the same from any number of workers, and no loss when it is stopped."""

from __future__ import annotations

import csv
import json
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gsr_app.core.errors import GsrError, ImageError
from gsr_app.harness import cli
from gsr_app.harness.dataset import list_pictures
from gsr_app.harness.evaluate import PROTOCOL_NAMES, Journal, Settings, evaluate
from gsr_app.harness.pool import WorkerDied, run_jobs
from gsr_app.harness.tables import Row, find_published, summarise, write_tables
from gsr_app.io.images import Picture, write_image
from gsr_app.models import build
from tests.harness.dying import DiesOnce
from tests.processes import start_gsr


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six small smooth pictures."""
    folder = tmp_path / "Waves"
    folder.mkdir()
    at = np.linspace(0, 1, 48)
    for i in range(6):
        waves = 0.5 + 0.5 * np.sin(6 * (i + 1) * at[:, None] + np.array([3, 5, 7]) * (i + 2) * at[None, :, None])
        waves = np.broadcast_to(waves, (48, 48, 3))
        write_image(folder / f"wave_{i}.png", Picture((waves * 255).round().astype(np.uint8)))
    return folder


def run_eval(folder: Path, out: Path, *more: str) -> int:
    return cli.main(
        ["eval", str(folder), "--methods", "bicubic,nearest", "--scales", "2,2.5", "--out", str(out), *more]
    )


def test_one_worker_and_two_write_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    assert run_eval(dataset, tmp_path / "one") == 0
    assert run_eval(dataset, tmp_path / "two", "--workers", "2") == 0
    for name in ("images.csv", "summary.json", "table.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len((tmp_path / "one" / "images.csv").read_text().splitlines()) == 1 + 6 * 2 * 2


@pytest.mark.slow
def test_ray_writes_the_same_bytes_as_one_process(dataset: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray (an optional extra)")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert run_eval(dataset, tmp_path / "ray", "--engine", "ray", "--workers", "2") == 0
        assert run_eval(dataset, tmp_path / "one") == 0
        assert (tmp_path / "ray" / "images.csv").read_bytes() == (tmp_path / "one" / "images.csv").read_bytes()
        check_that_ray_upscales_the_same_files(dataset, tmp_path)
        check_that_a_killed_ray_worker_is_replaced(tmp_path)
    finally:
        ray.shutdown()


def check_that_ray_upscales_the_same_files(dataset: Path, folder: Path) -> None:
    words = ["upscale", str(dataset), "--method", "bicubic", "--scale", "2"]
    assert cli.main([*words, "-o", str(folder / "of_one")]) == 0
    assert cli.main([*words, "-o", str(folder / "of_ray"), "--engine", "ray", "--workers", "2"]) == 0
    made = sorted(path.name for path in (folder / "of_one").iterdir())
    assert len(made) == 6
    for name in made:
        assert (folder / "of_one" / name).read_bytes() == (folder / "of_ray" / name).read_bytes()


def check_that_a_killed_ray_worker_is_replaced(folder: Path) -> None:
    results = list(run_jobs(DiesOnce(str(folder / "ray_died"), on=3), list(range(8)), engine="ray", workers=2))
    assert sorted(results) == [(job, job * job) for job in range(8)]
    assert (folder / "ray_died").exists()


def test_jobs_of_a_killed_worker_are_repeated_and_reported_once(tmp_path: Path) -> None:
    results = list(run_jobs(DiesOnce(str(tmp_path / "died"), on=3), list(range(8)), workers=2))
    assert sorted(results) == [(job, job * job) for job in range(8)]
    assert (tmp_path / "died").exists()


def test_a_job_that_always_kills_its_worker_does_not_stop_the_others(tmp_path: Path) -> None:
    results = dict(run_jobs(DiesOnce(str(tmp_path / "died"), on=0, always=True), list(range(6)), workers=2))
    assert isinstance(results.pop(0), WorkerDied)
    assert results == {job: job * job for job in range(1, 6)}


def test_a_process_that_is_killed_while_it_waits_loses_no_job() -> None:
    results = run_jobs(DiesOnce("", on=-1), list(range(12)), workers=2)
    found = [next(results) for _ in range(4)]
    for process in active_children():
        process.kill()
        process.join()
    found += results
    assert sorted(found) == [(job, job * job) for job in range(12)]  # type: ignore[type-var]


def test_an_error_of_a_worker_arrives_with_its_traceback_and_the_processes_end() -> None:
    with pytest.raises(TypeError) as raised:
        list(run_jobs(DiesOnce("", on=-1), [1, 2, None, 4], workers=2))  # type: ignore[list-item]
    assert "dying.py" in str(raised.value.__cause__)
    end = time.monotonic() + 10
    while active_children() and time.monotonic() < end:
        time.sleep(0.01)
    assert not active_children()


def test_a_killed_run_continues_and_writes_the_same_tables(dataset: Path, tmp_path: Path) -> None:
    journal = tmp_path / "killed" / "journal_basicsr_psnr+ssim.jsonl"
    words = ("--methods", "bicubic,nearest", "--scales", "2,2.5", "--out", tmp_path / "killed")
    program = start_gsr("eval", dataset, *words)
    while program.code is None and not (journal.exists() and journal.read_text().count("\n") >= 3):
        time.sleep(0.002)
    program.kill()
    known = journal.read_text().count("\n")
    assert known >= 3
    with journal.open("a") as file:
        file.write('{"dataset": "Waves", "ima')  # an incomplete last line
    assert run_eval(dataset, tmp_path / "killed") == 0
    assert run_eval(dataset, tmp_path / "whole") == 0
    for name in ("images.csv", "summary.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(Journal(journal).rows) == 24


def test_other_weights_of_the_same_name_are_scored_again(dataset: Path, tmp_path: Path) -> None:
    for picture in sorted(dataset.iterdir())[1:]:
        picture.unlink()
    scores: list[float] = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        save_file(build("rt4ksr-x2").state_dict(), tmp_path / "best.safetensors")
        settings = Settings(weights=str(tmp_path / "best.safetensors"))
        rows = evaluate([dataset], ["rt4ksr-x2"], [2.0], settings, tmp_path / "out")
        scores.append(rows[0].psnr_y or 0.0)
    assert scores[0] == scores[2] != scores[1]


def test_other_pictures_of_the_same_names_are_scored_again(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / dataset.name
    other.mkdir(parents=True)
    for number, path in enumerate(sorted(dataset.iterdir())):
        (other / path.name).write_bytes((dataset / f"wave_{5 - number}.png").read_bytes())
    out = tmp_path / "out"
    first, again, second = (
        [row.psnr_y for row in evaluate([folder], ["bicubic"], [2.0], Settings(), out)]
        for folder in (dataset, dataset, other)
    )
    assert first == again == second[::-1] != second
    assert (out / "journal_basicsr_psnr+ssim.jsonl").read_text().count("\n") == 12


def test_pictures_are_drawn_again_where_they_are_to_be_kept(dataset: Path, tmp_path: Path) -> None:
    for more, count in ((), 0), (("--save-images",), 24):
        assert run_eval(dataset, tmp_path / "out", *more) == 0
        assert len(list(tmp_path.glob("out/images/*/*/*.png"))) == count


def test_a_journal_of_another_form_is_named_in_the_error(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    for line in ('{"dataset": "Waves", "time": 1}', "no JSON"):
        (tmp_path / "out" / "journal_basicsr_psnr+ssim.jsonl").write_text(f"{line}\n")
        assert run_eval(dataset, tmp_path / "out") == 1
        assert "journal_basicsr_psnr+ssim.jsonl holds what this version did not write" in capsys.readouterr().err


def test_equal_pictures_leave_the_summary_valid_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "grey.png", Picture(np.full((48, 48, 3), 77, np.uint8)))
    assert run_eval(tmp_path, tmp_path / "out", "--json", "--scales", "2,x2") == 0

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for text in (capsys.readouterr().out, (tmp_path / "out" / "summary.json").read_text()):
        (bicubic, nearest) = json.loads(text, parse_constant=refuse)
        assert bicubic["psnr_y"] == nearest["psnr_rgb"] == "inf"
        assert bicubic["ssim_y"] == 1


def test_an_lr_is_found_by_its_whole_name(tmp_path: Path) -> None:
    names = ["frame.1.png", "frame.png", "img1.png", "img[1].png"]
    for part in ("HR", "LR"):
        (tmp_path / part).mkdir()
        for name in names:
            (tmp_path / part / name).touch()
    found = [picture.lr for picture in list_pictures(tmp_path, 2)]
    assert found == [tmp_path / "LR" / name for name in names]


def test_a_corrupt_picture_is_reported_and_the_means_say_so(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (dataset / "wave_0.png").read_bytes()
    (dataset / "wave_9.png").write_bytes(whole[: len(whole) // 2])
    assert run_eval(dataset, tmp_path / "out", "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert all(row["n"] == 6 and row["skipped"] == 1 for row in summary)
    rows = list(csv.DictReader((tmp_path / "out" / "images.csv").open()))
    broken = [row for row in rows if row["image"] == "wave_9"]
    assert len(broken) == 4
    assert all(row["error"].startswith("ImageError") and not row["psnr_y"] for row in broken)
    assert "4 picture(s) could not be scored" in (tmp_path / "out" / "table.md").read_text()
    scored = [
        float(row["psnr_y"]) for row in rows if row["method"] == "bicubic" and row["scale"] == "2" and row["psnr_y"]
    ]
    mean = next(row["psnr_y"] for row in summary if row["method"] == "bicubic" and row["scale"] == 2)
    assert mean == pytest.approx(np.mean(scored), abs=1e-6)


def test_grey_and_transparent_pictures_are_scored_too(tmp_path: Path) -> None:
    folder = tmp_path / "Odd"
    folder.mkdir()
    ramp = np.linspace(0, 255, 40 * 30).reshape(40, 30).astype(np.uint8)
    rgba = np.stack([ramp, ramp, ramp, 255 - ramp], 2)
    for name, pixels in (("grey", ramp), ("rgb", rgba[..., :3]), ("rgba", rgba)):
        write_image(folder / f"{name}.png", Picture(np.ascontiguousarray(pixels)))
    rows = evaluate([folder], ["bicubic"], [2.0], Settings(), tmp_path / "out")
    assert not [row.error for row in rows if row.error]
    assert len({(row.psnr_y, row.ssim_y) for row in rows}) == 1


def test_saved_images_have_the_same_score(dataset: Path, tmp_path: Path) -> None:
    from gsr_app.engine.flip import flip
    from gsr_app.engine.metrics import CONVENTIONS, psnr
    from gsr_app.io.images import read_image

    settings = Settings(measures=("flip",))
    rows = evaluate([dataset], ["bicubic"], [2.0], settings, tmp_path / "out", keep_images=True)
    drawn = read_image(tmp_path / "out" / "images" / "Waves" / "bicubic_x2" / "wave_1.png").pixels
    reference = read_image(dataset / "wave_1.png").pixels
    assert psnr(drawn, reference, by=CONVENTIONS["basicsr"], scale=2) == pytest.approx(rows[1].psnr_y, abs=1e-3)
    assert flip(drawn, reference, by=CONVENTIONS["basicsr"], scale=2) == pytest.approx(rows[1].flip, abs=1e-6)
    summary = summarise(rows, "basicsr")
    write_tables(tmp_path / "out", rows, summary, "basicsr")
    assert f"(FLIP {summary[0]['flip']:.4f})" in (tmp_path / "out" / "table.md").read_text()


def test_pairs_per_scale_are_found_and_a_missing_lr_is_an_error(tmp_path: Path) -> None:
    for part in ("HR", "LR"):
        (tmp_path / "Pairs" / "x2" / part).mkdir(parents=True)
    grey = Picture(np.full((8, 8, 3), 128, np.uint8))
    write_image(tmp_path / "Pairs" / "x2" / "HR" / "a.png", grey)
    with pytest.raises(ImageError, match=r"no LR for a\.png"):
        list_pictures(tmp_path / "Pairs", 2)
    write_image(tmp_path / "Pairs" / "x2" / "LR" / "ax2.png", grey)
    assert list_pictures(tmp_path / "Pairs", 2)[0].lr == tmp_path / "Pairs" / "x2" / "LR" / "ax2.png"
    with pytest.raises(ImageError, match="pairs for x2 only"):
        list_pictures(tmp_path / "Pairs", 3)


def test_the_command_knows_every_protocol() -> None:
    from gsr_app.engine.protocols import PROTOCOLS

    assert sorted(PROTOCOL_NAMES) == sorted(PROTOCOLS)


def test_tables_of_an_rgb_protocol_print_rgb_scores(dataset: Path, tmp_path: Path) -> None:
    rows = evaluate([dataset], ["bicubic"], [2.0], Settings("liif-div2k"), tmp_path)
    summary = summarise(rows, "liif-div2k")
    write_tables(tmp_path, rows, summary, "liif-div2k")
    table = (tmp_path / "table.md").read_text()
    assert "PSNR-RGB" in table
    assert f"{summary[0]['psnr_rgb']:.2f}/" in table
    assert abs(summary[0]["psnr_rgb"] - summary[0]["psnr_y"]) > 0.01


def test_published_scores_are_shown_for_the_same_protocol_only() -> None:
    assert find_published("bicubic", "Set5_pairs", 2, "basicsr") == {"psnr_y": 33.66}
    assert find_published("bicubic", "Set5", 2, "gsasr") == {}
    row = Row("Set5", "a", "bicubic", 2.0, psnr_y=33.7, ssim_y=0.9)
    assert summarise([row], "basicsr")[0]["difference"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scales", "0.5"], "numbers from 1 to 30"),
        (["--methods", "bicubik"], "Did you mean 'bicubic'?"),
        (["--measures", "lpisp"], "lpips, dists, niqe, flip"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(
    dataset: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", str(dataset), "--methods", "bicubic", "--out", str(tmp_path / "out"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_pictures_of_one_name_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = sorted(dataset.glob("*.png"))[0]
    twin.with_suffix(".bmp").write_bytes(twin.read_bytes())
    assert cli.main(["eval", str(dataset), "--methods", "bicubic", "--out", str(tmp_path / "out")]) == 2
    assert f"{twin.stem} is there twice" in capsys.readouterr().err


def test_missing_perceptual_weights_are_named_in_the_error(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gsr_app.engine import perceptual

    monkeypatch.setenv("GSR_OFFLINE", "1")
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "empty"))
    perceptual._network.cache_clear()
    rows = evaluate([dataset], ["bicubic"], [2.0], Settings(measures=("lpips",)), tmp_path / "out")
    assert all("alexnet-owt-7be5be79.pth for lpips-alex is not here" in row.error for row in rows)


@pytest.mark.shared
def test_bicubic_on_set5_gives_the_published_scores(shared: Path, tmp_path: Path) -> None:
    rows = evaluate([shared / "data" / "val" / "Set5"], ["bicubic"], [2.0, 3.0, 4.0], Settings(), tmp_path)
    for row, published in zip(summarise(rows, "basicsr"), (33.66, 30.39, 28.42), strict=True):
        assert row["psnr_y"] == pytest.approx(published, abs=0.03)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("scale", "y", "shaved"),
    [pytest.param(2, 36.0986, 36.1446, marks=pytest.mark.slow), (3, 32.1562, 32.2045)],
)
def test_the_real_rt4ksr_weights_give_the_recorded_figures(
    shared: Path, tmp_path: Path, scale: int, y: float, shaved: float
) -> None:
    folder, method = shared / "data" / "val" / "Set5_pairs", f"rt4ksr-x{scale}"
    for protocol, expected in (("rt4ksr", y), ("basicsr", shaved)):
        settings = Settings(protocol, weights=str(shared / "weights" / f"rt4ksr_x{scale}.pth"))
        rows = evaluate([folder], [method], [float(scale)], settings, tmp_path / protocol)
        assert summarise(rows, protocol)[0]["psnr_y"] == pytest.approx(expected, abs=0.02)


def test_no_workers_is_an_error() -> None:
    with pytest.raises(GsrError, match="workers must be at least 1"):
        list(run_jobs(DiesOnce("", on=-1), [1], workers=0))
