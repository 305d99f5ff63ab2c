"""A training that is killed again and again ends with the weights of one that was left alone."""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.context
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gsr_app.harness import train
from gsr_app.training.log import read_rows


def train_in_a_process(words: tuple[str, ...]) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    raise SystemExit(train.run(parser.parse_args(words)))


def write_inputs(folder: Path) -> tuple[str, ...]:
    """Pictures, and a recipe that saves after every tenth step; the words of the command."""
    from tests.training import test_train_command as small  # loads libvips, whose threads a fork server may not have

    recipe = folder / "small.toml"
    small.write_recipe(recipe, ("every = 1000", "every = 10"))
    (folder / "pictures").mkdir()
    small.write_pictures(folder / "pictures")
    return str(recipe), "--data", str(folder / "pictures"), "--device", "cpu", "--threads", "1"


@pytest.mark.timeout(1800)
@pytest.mark.slow
@pytest.mark.parametrize(("kills", "length"), [(20, 220)])
def test_a_training_that_is_killed_and_resumed_equals_one_that_was_not(tmp_path: Path, kills: int, length: int) -> None:
    context = multiprocessing.get_context("forkserver")  # its children need not import torch again
    context.set_forkserver_preload(["gsr_app.training.starts", "gsr_app.harness.curves", __name__])
    words = (*write_inputs(tmp_path), "--steps", str(length))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    rng = np.random.default_rng(0)

    def start(*more: str) -> multiprocessing.context.ForkServerProcess:
        process = context.Process(target=train_in_a_process, args=((*words, *more),))
        process.start()
        return process

    unbroken = start("--out", str(whole))
    unbroken.join()
    assert unbroken.exitcode == 0
    state, count, steps = killed / "last.pt", 0, list[int]()
    while count < kills:
        process = start("--out", str(killed), *(["--resume"] if state.exists() else []))
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.is_alive() and not (state.exists() and state.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.1)))
        process.kill()
        process.join()
        assert process.exitcode in (-9, 0), "it ended by itself, with an error"
        count += 1
        steps.append(torch.load(state, weights_only=True)["step"])
    last = start("--out", str(killed), "--resume")
    last.join()
    assert last.exitcode == 0
    print(f"\nkilled {count} times, at the steps {steps} of {length}")
    assert steps == sorted(steps)
    one, other = (load_file(folder / "final.safetensors") for folder in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    logs = [[(row["step"], row["loss"]) for row in read_rows(folder / "log.csv")] for folder in (whole, killed)]
    assert [step for step, _ in logs[0]] == [step for step, _ in logs[1]]
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
