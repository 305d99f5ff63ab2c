"""Field files: what is saved is what is drawn later."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from gsr_app import ops
from gsr_app.core.errors import FieldFileError, InvalidArgument
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.io.fields import (
    Quantised,
    from_axes,
    load_field,
    pack_field,
    read_facts,
    save_field,
    to_axes,
    unpack_field,
)

SOURCE = (40, 56)


def field_of(count: int = 3000, *, normalize: bool = False, needles: float = 0.05, seed: int = 1) -> GaussianField:
    """Additive or normalised, out of any spatial order, a few as thin as networks make them."""
    rng = np.random.default_rng(seed)
    height, width = SOURCE
    mean = np.stack([rng.uniform(-2, width + 2, count), rng.uniform(-2, height + 2, count)], 1)
    sigma = np.exp(rng.normal(-0.7, 0.4, (count, 2)))
    rho = np.tanh(rng.normal(0, 0.8, count))
    thin = rng.random(count) < needles
    rho[thin] = np.sign(rho[thin]) * (1 - 10 ** rng.uniform(-6, -2, thin.sum()))
    color = rng.uniform(0, 1, (count, 3)) if normalize else rng.normal(0.12, 0.2, (count, 3))
    parts = (np.float32(part) for part in (mean, sigma, rho, color))
    return GaussianField(*parts, SOURCE, normalize, None if normalize else (6.5, 5.25))


def draw(field: GaussianField, scale: float = 4.0) -> np.ndarray:
    return ops.render(field, View.whole(SOURCE, Scale(scale, scale))).numpy()


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((a.astype(np.float64) - b) ** 2), 1e-30)))


@pytest.mark.parametrize("normalize", [False, True])
def test_a_float32_field_is_drawn_bit_for_bit_as_before(tmp_path: Path, normalize: bool) -> None:
    field = field_of(normalize=normalize)
    save_field(field, tmp_path / "a.gsr")
    again = load_field(tmp_path / "a.gsr")
    for name in ("mean", "sigma", "rho", "color"):
        np.testing.assert_array_equal(getattr(again, name), getattr(field, name))
    assert (again.source_size, again.normalize, again.window) == (SOURCE, normalize, field.window)
    np.testing.assert_array_equal(draw(again), draw(field))


def test_a_field_of_torch_tensors_is_saved_alike() -> None:
    field = field_of(50)
    tensors = (torch.from_numpy(getattr(field, name)) for name in ("mean", "sigma", "rho", "color"))
    assert pack_field(GaussianField(*tensors, SOURCE, window=field.window)) == pack_field(field)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("precision", ["float16", Quantised()], ids=["float16", "16 bit"])
def test_sixteen_bits_cost_less_than_a_tenth_of_a_decibel(precision: object, normalize: bool) -> None:
    """Against a picture that the field itself meets at 40 dB: better than fits and networks come to."""
    field = field_of(normalize=normalize, needles=0.02)
    exact = draw(field)
    target = exact + np.random.default_rng(2).normal(0, 0.01, exact.shape)
    loss_db = psnr_db(exact, target) - psnr_db(draw(unpack_field(pack_field(field, precision=precision))), target)  # type: ignore[arg-type]
    print(f"{precision}: {loss_db:.4f} dB of {psnr_db(exact, target):.2f}")
    assert abs(loss_db) < 0.1


def test_each_bit_less_makes_a_smaller_file_and_a_larger_error(tmp_path: Path) -> None:
    field = field_of(4000, needles=0)
    exact, sizes, errors = draw(field), [], []
    for bits in (8, 10, 12, 14, 16):
        facts = save_field(field, tmp_path / "q.gsr", precision=Quantised.evenly(bits))
        assert facts == read_facts(tmp_path / "q.gsr")
        sizes.append(facts.bytes)
        errors.append(psnr_db(exact, draw(load_field(tmp_path / "q.gsr"))))
        assert 0 < facts.bits_per_pixel - 4000 * 8 * bits / (40 * 56) < 8  # the header and the cells
    print({bits: f"{error:.1f} dB" for bits, error in zip((8, 10, 12, 14, 16), errors, strict=True)})
    assert sizes == sorted(sizes)
    assert errors == sorted(errors)


def test_transport_takes_twenty_bytes_a_gaussian() -> None:
    assert len(pack_field(field_of(20_000))) / 20_000 < 20.2


def test_the_cell_index_finds_every_gaussian() -> None:
    field = field_of(5000)
    data = pack_field(field)
    arrays = read_tensors(data)
    texts = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    cell = json.loads(texts["cell"])
    at = np.clip(np.floor(arrays["mean"] / cell["size"]), 0, (cell["columns"] - 1, cell["rows"] - 1)).astype(int)
    starts, key = arrays["starts"], at[:, 1] * cell["columns"] + at[:, 0]
    assert starts[0] == 0
    assert starts[-1] == 5000
    np.testing.assert_array_equal(np.repeat(np.arange(len(starts) - 1), np.diff(starts)), key)
    assert 30 < 5000 / (len(starts) - 1) < 100


def test_axes_and_tilt_say_the_same_as_sigma_and_rho() -> None:
    field = field_of(5000, needles=0.2)
    axes, angle = to_axes(field.sigma, field.rho)
    c, s = np.cos(angle), np.sin(angle)
    sx, sy = field.sigma.astype(np.float64).T
    np.testing.assert_allclose((axes[:, 0] * c) ** 2 + (axes[:, 1] * s) ** 2, sx**2, rtol=1e-5)
    np.testing.assert_allclose((axes[:, 0] * s) ** 2 + (axes[:, 1] * c) ** 2, sy**2, rtol=1e-5)
    assert (axes[:, 0] >= axes[:, 1]).all()
    sigma, rho = from_axes(axes, angle)
    np.testing.assert_allclose(sigma, field.sigma, rtol=2e-6)
    np.testing.assert_allclose(rho, field.rho, atol=2e-6)


@pytest.mark.parametrize("precision", ["float32", "float16", Quantised.evenly(9)])
def test_empty_single_and_grey_fields_survive(precision: object) -> None:
    for count, channels in ((0, 3), (1, 3), (1, 1), (7, 1)):
        field = GaussianField(
            *(np.full(shape, 0.5, np.float32) for shape in ((count, 2), (count, 2), (count,), (count, channels))),
            (1, 1),
        )
        again = unpack_field(pack_field(field, precision=precision))  # type: ignore[arg-type]
        assert again.color.shape == (count, channels)
        np.testing.assert_allclose(again.sigma, field.sigma, rtol=1e-3)


def test_a_file_says_who_made_it_and_under_which_licence(tmp_path: Path) -> None:
    save_field(field_of(10), tmp_path / "a.gsr", precision="float16", method="swift", licence="CC BY 4.0")
    facts = read_facts(tmp_path / "a.gsr")
    assert (facts.method, facts.licence, facts.precision, facts.count) == ("swift", "CC BY 4.0", "float16", 10)


def test_what_cannot_be_drawn_is_not_saved() -> None:
    field = field_of(3)
    field.mean[1, 0] = math.nan
    with pytest.raises(InvalidArgument, match="mean must be finite"):
        pack_field(field)


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = pack_field(field_of(20), precision="float32")
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])["__metadata__"]
    arrays = read_tensors(good)
    nan = arrays | {"rho": np.full(20, np.nan, np.float32)}
    short = arrays | {"rho": arrays["rho"][:7]}
    repeated = arrays | {"order": np.zeros(20, np.uint32)}
    packed = pack_field(field_of(20), precision=Quantised())
    length = int.from_bytes(packed[:8], "little")
    quantised, codes = json.loads(packed[8 : 8 + length])["__metadata__"], read_tensors(packed)
    wild = {
        "empty": b"",
        "text": b"not a field at all, but long enough",
        "cut": good[: len(good) // 2],
        "weights": write_tensors({"a": np.zeros(3, np.float32)}, {"format": "pt"}),
        "newer": write_tensors(arrays, header | {"version": "2"}),
        "nan": write_tensors(nan, header),
        "short": write_tensors(short, header),
        "repeated": write_tensors(repeated, header),
        "negative": write_tensors(arrays | {"sigma": -arrays["sigma"]}, header),
        "count": write_tensors(arrays, header | {"count": "-1"}),
        "size": write_tensors(arrays, header | {"source_size": "[0, 1]"}),
        "padded": write_tensors(codes, quantised | {"count": "21"}),
        "endless": write_tensors(codes, quantised | {"count": "1000000000000"}),
        "coded": write_tensors(codes, quantised | {"codes": "[8]"}),
        "precise": write_tensors(codes, quantised | {"codes": '{"mean": {"bits": 64}}'}),
    }
    for name, data in wild.items():
        path = tmp_path / f"{name}.gsr"
        path.write_bytes(data)
        with pytest.raises(FieldFileError, match=name):
            load_field(path)
    with pytest.raises(FieldFileError, match="cannot be read"):
        load_field(tmp_path / "missing.gsr")


def test_saving_replaces_a_file_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.gsr"
    save_field(field_of(10), path)
    before = path.read_bytes()
    with pytest.raises(InvalidArgument):
        save_field(GaussianField(*(np.full(s, -1, np.float32) for s in ((1, 2), (1, 2), (1,), (1, 3))), (1, 1)), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.gsr"]
