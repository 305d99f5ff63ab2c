"""Weights are found, fetched, checked and loaded; each way in which that can go wrong has its own error.

The servers are on the loopback interface and the files are made here.
"""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gsr_app.core.atomic import locked
from gsr_app.core.errors import Cancelled, WeightsError
from gsr_app.core.types import Progress
from gsr_app.models import checkpoint, download, weights
from gsr_app.models.registry import Method, WeightFile
from tests.sites import BODY, SHA, Site, from_hub, from_url, leftovers, method

# ---- fetching ---------------------------------------------------------------------------------------------------


def test_a_url_is_fetched_once_and_checked(site: Site) -> None:
    wanted = from_url(site)
    assert not weights.is_present(wanted)
    assert weights.find(wanted) is None
    seen: list[Progress] = []
    got = weights.obtain(wanted, report=seen.append)
    assert got.files[""].read_bytes() == BODY
    assert got.id.startswith("m@")
    assert (seen[-1].done, seen[-1].total) == (len(BODY), len(BODY))
    assert weights.obtain(wanted) == got
    assert len(site.asked) == 1
    assert weights.is_present(wanted)
    assert weights.verify(wanted)
    assert weights.remove(wanted) == len(BODY)
    assert not weights.is_present(wanted)


def test_a_download_that_breaks_off_is_taken_up_again(site: Site, tmp_path: Path) -> None:
    wanted = from_url(site)
    site.cut_after = 300_000
    with pytest.raises(WeightsError, match="broke off") as caught:
        weights.obtain(wanted)
    assert "goes on from there" in caught.value.hint
    assert leftovers(tmp_path) == []
    site.cut_after = None
    assert weights.obtain(wanted).files[""].read_bytes() == BODY
    assert site.asked[-1][2].startswith("bytes=")
    assert int(site.asked[-1][2].removeprefix("bytes=").rstrip("-")) > 0


def test_a_server_without_ranges_starts_from_the_beginning(site: Site) -> None:
    wanted = from_url(site)
    site.cut_after = 300_000
    with pytest.raises(WeightsError):
        weights.obtain(wanted)
    site.cut_after, site.ranges = None, False
    assert weights.obtain(wanted).files[""].read_bytes() == BODY


def test_a_part_is_not_trusted_where_nothing_can_check_the_whole(site: Site) -> None:
    wanted = from_url(site, sha256="")
    site.cut_after = 300_000
    with pytest.raises(WeightsError):
        weights.obtain(wanted)
    site.cut_after = None
    assert weights.obtain(wanted).files[""].read_bytes() == BODY
    assert site.asked[-1][2] == ""


def test_a_wrong_hash_is_refused_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has sha256 .*, expected 0000"):
        weights.obtain(from_url(site, sha256="0" * 64))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "does not exist any more"),
        (403, "is gated, private or gone"),
        (401, "is gated, private or gone"),
        (500, "HTTP 500"),
    ],
)
def test_what_a_server_refuses_is_said(site: Site, tmp_path: Path, status: int, text: str) -> None:
    site.status["/w.pth"] = status
    with pytest.raises(WeightsError, match=text) as caught:
        weights.obtain(from_url(site))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_no_connection_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = method(WeightFile(url="http://127.0.0.1:9/w.pth"))
    with pytest.raises(WeightsError, match="Cannot reach") as caught:
        weights.obtain(closed)
    assert "--weights PATH" in caught.value.hint
    monkeypatch.setenv("GSR_OFFLINE", "1")
    with pytest.raises(WeightsError, match="GSR_OFFLINE is set") as caught:
        weights.obtain(from_url(site))
    assert caught.value.hint.startswith("Unset it")
    assert site.asked == []


def test_a_folder_that_cannot_be_written_is_said(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="Cannot write") as caught:
        weights.obtain(from_url(site))
    assert "GSR_CACHE" in caught.value.hint


def test_a_report_may_stop_the_download(site: Site, tmp_path: Path) -> None:
    def stop(_: Progress) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        weights.obtain(from_url(site), report=stop)
    assert leftovers(tmp_path) == []


def test_a_wait_for_another_download_may_be_stopped(site: Site, tmp_path: Path) -> None:
    wanted = from_url(site)
    kept = weights.obtain(wanted).files[""]
    kept.unlink()

    def stop(_: Progress) -> None:
        raise Cancelled("Cancelled.")

    with ThreadPoolExecutor(1) as another, locked(Path(f"{kept}.lock")):  # as another process holds it
        with pytest.raises(Cancelled):
            another.submit(weights.obtain, wanted, report=stop).result(timeout=60)
        assert leftovers(tmp_path) == []


@pytest.mark.parametrize("source", ["address", "hub"])
def test_a_process_that_ends_before_the_check_leaves_no_weights(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    class Ended(BaseException): ...

    def end(*_: object) -> None:
        raise Ended

    site.files["/owner/name/resolve/main/a/w.pth"] = BODY
    wanted = from_url(site) if source == "address" else from_hub("a/w.pth", sha256=SHA)
    with monkeypatch.context() as context:
        context.setattr(download, "_checked", end)
        with pytest.raises(Ended):
            weights.obtain(wanted)
    assert weights.find(wanted) is None
    assert weights.obtain(wanted).files[""].read_bytes() == BODY
    assert leftovers(tmp_path) == ["w.pth"]


def test_the_hub_is_asked_for_each_candidate_in_turn(site: Site) -> None:
    site.files["/owner/name/resolve/main/new/encoder.pth"] = BODY
    wanted = from_hub("old/encoder.pth", "new/encoder.pth", sha256=SHA)
    seen: list[Progress] = []
    got = weights.obtain(wanted, report=seen.append)
    assert got.files[""].read_bytes() == BODY
    assert [path for verb, path, _ in site.asked if verb == "HEAD" and path != "/"] == [
        "/owner/name/resolve/main/old/encoder.pth",
        "/owner/name/resolve/main/new/encoder.pth",
    ]
    count = len(site.asked)
    assert weights.obtain(wanted) == got
    assert len(site.asked) == count
    assert seen == [] or seen[-1].done == len(BODY)


def test_the_hubs_refusals_are_said(site: Site, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"None of a\.pth, b\.pth is in huggingface\.co/owner/name"):
        weights.obtain(from_hub("a.pth", "b.pth"))
    site.status["/owner/name/resolve/main/a.pth"] = 403
    with pytest.raises(WeightsError, match="is gated, private or gone") as caught:
        weights.obtain(from_hub("a.pth"))
    assert "`hf auth login`" in caught.value.hint
    assert "HF_TOKEN" in caught.value.hint
    assert leftovers(tmp_path) == []


def test_a_wrong_hash_from_the_hub_is_refused_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.files["/owner/name/resolve/main/a.pth"] = BODY
    with pytest.raises(WeightsError, match="has sha256"):
        weights.obtain(from_hub("a.pth", sha256="1" * 64))
    assert leftovers(tmp_path) == []


def test_a_hub_that_cannot_be_reached_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="Cannot reach"):
        weights.obtain(from_hub("a.pth"))


# ---- finding ----------------------------------------------------------------------------------------------------


def two_parts(**where: Any) -> Method:
    files = (WeightFile(part=part, paths=(f"x/{part}.pth",), **where) for part in ("encoder", "decoder"))
    return method(*files, name="two")


def test_a_folder_with_a_file_per_part_is_taken(tmp_path: Path) -> None:
    wanted = two_parts(repo="o/n")
    for part in ("encoder", "decoder"):
        (tmp_path / f"{part}.pth").write_bytes(part.encode())
    assert set(weights.obtain(wanted, tmp_path).files) == {"encoder", "decoder"}
    with pytest.raises(WeightsError, match=r"needs encoder\.pth and decoder\.pth, found one file"):
        weights.obtain(wanted, tmp_path / "encoder.pth")
    (tmp_path / "decoder.pth").unlink()
    with pytest.raises(WeightsError, match=r"holds no decoder\.pth"):
        weights.obtain(wanted, tmp_path)


def test_a_given_path_wins_and_is_never_replaced_by_something_else(site: Site, tmp_path: Path) -> None:
    wanted = from_url(site)
    own = tmp_path / "own.pth"
    own.write_bytes(b"mine")
    assert weights.obtain(wanted, own).files[""] == own
    assert weights.obtain(wanted, tmp_path).files[""] == own, "the only weight file of a folder"
    with pytest.raises(WeightsError, match="There is no file or folder"):
        weights.obtain(wanted, tmp_path / "nothing")
    assert site.asked == []


def test_the_weights_folder_of_the_environment_comes_before_the_cache(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = from_url(site)
    fetched = weights.obtain(wanted)
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path / "own"))
    assert weights.obtain(wanted) == fetched
    (tmp_path / "own" / "m").mkdir(parents=True)
    (tmp_path / "own" / "m" / "w.pth").write_bytes(b"mine")
    got = weights.obtain(wanted)
    assert got.files[""].read_bytes() == b"mine"
    assert got.id != fetched.id


def test_a_missing_asset_is_said() -> None:
    with pytest.raises(WeightsError, match="ships with the app"):
        weights.obtain(method(WeightFile(asset="nothing.safetensors")))
    assert not weights.is_present(method(WeightFile(asset="nothing.safetensors")))


def test_a_method_without_weights_is_always_there() -> None:
    assert weights.is_present(method())
    assert weights.obtain(method()).files == {}


# ---- loading ----------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))


def same(module: nn.Module, path: Path) -> bool:
    loaded = checkpoint.load_files(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)), {"": path})
    state = module.state_dict()
    return all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"params": s},
        lambda s: {"params": {k: v * 0 for k, v in s.items()}, "params_ema": s},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": {"name": "net", "args": {"n": 2}, "sd": s}},
        lambda s: {"epoch": 1, "model": s, "best_psnr": 30.0},
        lambda s: {"params": {f"module.{k}": v for k, v in s.items()}},
    ],
)
def test_every_wrapping_in_use_is_unwrapped(wrap: Any, tmp_path: Path) -> None:
    torch.save(wrap(network().state_dict()), tmp_path / "w.pth")
    assert same(network(), tmp_path / "w.pth")


def test_safetensors_load_also_in_half_precision(tmp_path: Path) -> None:
    state = network().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    assert same(network(), tmp_path / "w.safetensors")
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "h.safetensors")
    half = checkpoint.load_files(network(), {"": tmp_path / "h.safetensors"})
    assert half.state_dict()["0.weight"].dtype == torch.float32


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_a_file_is_damaged_not_a_crash(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(network().state_dict(), path) if suffix == ".pth" else save_file(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="damaged or cut short") as caught:
        checkpoint.read_state(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="is empty"):
        checkpoint.read_state(path)


def test_the_start_of_a_pickle_is_refused_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "w.pth"
    for content in (b"\x80\x02", b"\x80\x04\x80\x63"):  # torch: an error without a text, and an unknown protocol
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"damaged or cut short .*: \w+"):
            checkpoint.read_state(path)
    assert not recwarn.list


def test_what_is_no_weight_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(WeightsError, match="is not a weight file"):
        checkpoint.read_state(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="does not hold a state dict"):
        checkpoint.read_state(path)
    with pytest.raises(WeightsError, match="There is no weight file"):
        checkpoint.read_state(tmp_path / "nothing.pth")


class Evil:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Evil, "ran", True)


def test_a_file_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"params": network().state_dict(), "evil": Evil()}, tmp_path / "zip.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("zip.pth", "old.pth"):
        with pytest.raises(WeightsError):
            checkpoint.read_state(tmp_path / name)
    assert not Evil.ran


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_weights_of_another_kind_are_named_by_file_and_key(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    state = network().state_dict()
    state["1.weight"] = torch.ones_like(state["1.weight"]).to(dtype)
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    wanted = rf"w{suffix} does not fit: 1\.weight holds {str(dtype)[6:]}, the network wants float32"
    with pytest.raises(WeightsError, match=wanted):
        checkpoint.load_files(network(), {"": path})


def test_sparse_weights_are_named(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({**state, "1.bias": state["1.bias"].to_sparse()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"1\.bias holds sparse_coo float32"):
        checkpoint.load_files(network(), {"": tmp_path / "w.pth"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_named_by_file_and_key(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    state = {key: tensor.to(dtype) for key, tensor in network().state_dict().items()}
    state["0.bias"][1] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors is damaged: 0\.bias holds values that are not numbers"):
        checkpoint.load_files(network(), {"": tmp_path / "w.safetensors"})


@pytest.mark.timeout(60)
def test_a_file_that_contains_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["params"] = {"state_dict": loop}
    torch.save(loop, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth does not hold a state dict"):
        checkpoint.read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("key", [0, None, ("a", 1), 2.5, b"weight"])
def test_keys_that_are_no_text_are_refused(tmp_path: Path, key: Any) -> None:
    torch.save({key: torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth does not hold a state dict"):
        checkpoint.read_state(tmp_path / "w.pth")


def test_keys_that_do_not_fit_are_named() -> None:
    state = dict(network().state_dict())
    state["extra.weight"] = state.pop("1.bias")
    with pytest.raises(WeightsError, match=r"is missing 1\.bias and has the unknown extra\.weight"):
        checkpoint.load_state(network(), state)
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)).state_dict()
    with pytest.raises(WeightsError, match=r"0\.weight is 8x3x3x3, the network wants 4x3x3x3"):
        checkpoint.load_state(network(), wide)
    with pytest.raises(WeightsError, match="and 1 more"):
        checkpoint.load_state(network(), {})


@pytest.mark.shared
@pytest.mark.parametrize("name", ["rt4ksr_x2.pth", "rt4ksr_x3.pth"])
def test_published_checkpoints_unwrap(shared: Path, name: str) -> None:
    state = checkpoint.read_state(shared / "weights" / name)
    assert "gamma" in state
    keys = json.loads((shared / "golden" / "others" / "rt4ksr" / f"{name[:-4]}_train_keys.json").read_text())
    assert len(state) == len(next(value for value in keys.values() if isinstance(value, list) and len(value) > 20))
