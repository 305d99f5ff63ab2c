"""`import gsr_app as gsr`: what goes in, what comes out, and that it is what the command line makes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import gsr_app as gsr
from gsr_app.core.errors import ImageError, InvalidArgument, UnknownName
from gsr_app.engine import protocols
from gsr_app.harness import cli
from gsr_app.io.images import read_image

ROOT = Path(__file__).resolve().parents[1]


def picture(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    return values if dtype == np.float32 else np.round(values * np.iinfo(dtype).max).astype(dtype)


def photo(height: int = 30, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 40
    return np.round(np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], 2) * 255).astype(np.uint8)


# ---- importing --------------------------------------------------------------------------------------------------


def test_importing_imports_nothing_and_reading_images_needs_no_torch() -> None:
    code = (
        "import sys, gsr_app as gsr\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert set(gsr.__all__) <= set(dir(gsr))\n"
        "gsr.methods(), gsr.Scale(2, 2), gsr.register, gsr.Result\n"
        "sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", gsr.__all__)
def test_every_public_name_is_there_and_has_an_example_if_it_is_of_the_api(name: str) -> None:
    found = getattr(gsr, name)
    if found.__module__ == "gsr_app.api":
        assert "Example: `" in found.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="upscail"):
        gsr.upscail  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


# ---- in and out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_an_array_comes_back_as_its_own_kind(channels: tuple[int, ...], dtype: Any) -> None:
    image = picture((5, 7, *channels), dtype)
    same = gsr.upscale(image, 1, method="nearest")
    np.testing.assert_array_equal(same.array, image)
    larger = gsr.upscale(image, gsr.Scale(2, 3), method="nearest")
    assert larger.array.dtype == image.dtype
    np.testing.assert_array_equal(np.asarray(larger), image.repeat(2, 0).repeat(3, 1))
    assert larger.pil().size == (21, 10)


def test_a_path_a_pil_picture_an_array_and_a_result_are_the_same_image(tmp_path: Path) -> None:
    pixels = photo()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels]
    forms.append(gsr.upscale(pixels, 1, method="nearest"))
    for form in forms:
        np.testing.assert_array_equal(
            gsr.upscale(form, "2.5x4", method="bicubic"), gsr.upscale(pixels, gsr.Scale(2.5, 4), method="bicubic")
        )


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", ()), ("L", ()), ("LA", (2,)), ("P", (3,)), ("RGB", (3,)), ("RGBA", (4,)), ("CMYK", (3,)), ("I;16", ())],
)
def test_the_modes_of_pil_become_pixels(mode: str, shape: tuple[int, ...]) -> None:
    deep = Image.fromarray(picture((30, 40), np.uint16))
    source = deep if mode == "I;16" else Image.fromarray(photo()).convert(mode)
    read = gsr.upscale(source, 1, method="nearest").array
    assert read.shape == (30, 40, *shape)
    assert read.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    if mode in {"P", "CMYK"}:
        np.testing.assert_array_equal(read, np.asarray(source.convert("RGB")))


@pytest.mark.parametrize(("mode", "kept"), [("RGB", True), ("P", True), ("PA", True), ("CMYK", False), ("LAB", False)])
def test_the_profile_stays_with_the_values_that_it_describes(mode: str, kept: bool) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(picture((6, 5, 3))).convert("P" if mode == "PA" else mode).convert(mode)
    image.info["icc_profile"] = profile
    assert gsr.upscale(image, 2, method="nearest").metadata.icc == (profile if kept else None)


def test_a_palette_with_a_transparent_colour_keeps_its_alpha() -> None:
    source = Image.fromarray(photo()).convert("P")
    source.info["transparency"] = source.getpixel((0, 0))
    assert gsr.upscale(source, 1, method="nearest").array[0, 0, 3] == 0


@pytest.mark.parametrize(
    "wrong", [3, [1, 2], np.zeros(5, np.uint8), np.zeros((4, 4), np.int64), np.zeros((0, 3), "u1")]
)
def test_what_is_not_an_image_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="image must be"):
        gsr.upscale(wrong, 2)


@pytest.mark.parametrize(
    ("wanted", "size"),
    [({}, (120, 160)), ({"scale": 2.5}, (75, 100)), ({"scale": "x2"}, (60, 80)), ({"size": "80x"}, (60, 80)),
     ({"size": "fit:100x60"}, (60, 80)), ({"size": (45, 50)}, (45, 50))],
)  # fmt: skip
def test_scales_and_sizes(wanted: dict[str, Any], size: tuple[int, int]) -> None:
    assert gsr.upscale(photo(), **wanted, method="nearest").size == size


def test_a_scale_and_a_size_are_one_too_many() -> None:
    with pytest.raises(InvalidArgument, match="not both"):
        gsr.upscale(photo(), 2, size="80x")


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bicubic", "swift"])
def test_saving_writes_the_very_file_that_the_command_line_writes(method: str, tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    exif = Image.Exif()
    exif[0x010E] = "a drawing"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo()).save(source, icc_profile=profile, exif=exif, dpi=(300, 300))
    assert cli.main(["upscale", str(source), "-o", str(tmp_path / "a.png"), "--method", method, "--scale", "2.5"]) == 0
    path = gsr.upscale(source, 2.5, method=method).save(tmp_path / "b.png")
    assert path.read_bytes() == (tmp_path / "a.png").read_bytes()
    saved = read_image(path).meta
    assert saved.text["method"] == method
    assert "2.5" in saved.text["done"]
    assert saved.icc == profile


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    result, field = gsr.upscale(photo(), 2, method="nearest"), gsr.fit(photo(), steps=1, gaussians=10)
    for save, name, error in ((result.save, "a.png", ImageError), (field.save, "a.gsr", InvalidArgument)):
        (tmp_path / name).write_text("mine")
        with pytest.raises(error, match="exists"):
            save(tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"
        save(tmp_path / name, overwrite=True)
        assert (tmp_path / name).stat().st_size > 100


# ---- fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
def test_a_field_draws_what_upscale_makes_and_outlives_the_cache(channels: int) -> None:
    image = picture((20, 24, channels), np.uint16)
    session = gsr.Session("cpu")
    field = session.encode(image)
    session.close()
    drawn = field.render(3)
    np.testing.assert_array_equal(drawn, session.upscale(image, 3))
    assert (drawn.method, drawn.scale, drawn.array.dtype) == ("swift", gsr.Scale(3, 3), np.uint16)
    part = field.render(gsr.View((6, 4), (8, 10), (24, 30)))
    np.testing.assert_array_equal(part, drawn.array[12:36, 18:48])
    assert field.render("2x3", dtype=np.float32).array.dtype == np.float32


def test_a_saved_field_draws_the_same_picture(tmp_path: Path) -> None:
    field = gsr.encode(photo(), device="cpu")
    loaded = gsr.load(field.save(tmp_path / "a.gsr"), device="cpu")
    assert (loaded.method, loaded.source_size, len(loaded)) == ("swift", (30, 40), len(field))
    np.testing.assert_array_equal(loaded.render(2.5), field.render(2.5))
    small = field.save(tmp_path / "b.gsr", bits=10)
    assert small.stat().st_size < (tmp_path / "a.gsr").stat().st_size / 2
    drawn = loaded.render(2)
    assert read_image(drawn.save(tmp_path / "a.png")).meta.text["method"] == "swift"


def test_a_field_saved_without_its_transparency_says_so(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    opaque, clear = picture((8, 9, 4)), picture((8, 9, 4))
    opaque[..., 3], clear[:4, :, 3] = 255, 0
    gsr.encode(opaque, device="cpu").save(tmp_path / "opaque.gsr")
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"clear\.gsr does not hold the transparency"):
        gsr.encode(clear, device="cpu").save(tmp_path / "clear.gsr")


def test_a_field_is_not_saved_as_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="name of a picture") as caught:
        gsr.encode(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "cat.png")
    assert "render" in caught.value.hint
    assert not (tmp_path / "cat.png").exists()


def test_a_mistyped_kind_of_methods_is_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'pixels'"):
        gsr.methods("pixel")  # type: ignore[arg-type]


def test_a_fit_draws_its_image_in_the_images_dtype() -> None:
    image = picture((24, 24, 3), np.uint16) // 8 + np.uint16(20_000)
    field = gsr.fit(image, steps=60, gaussians=60, start="random")
    drawn = field.render()
    assert drawn.array.dtype == np.uint16
    assert gsr.measure(drawn, image, protocol="whole-rgb").psnr_db > 25
    assert field.done.startswith("fitted to ")
    assert drawn.method == "fit-random"


def test_a_fit_of_values_that_are_not_finite_is_refused() -> None:
    for wrong in (np.nan, np.inf):
        image = picture((12, 12, 3), np.float32)
        image[3, 4, 1] = wrong
        with pytest.raises(InvalidArgument, match="finite"):
            gsr.fit(image, steps=2, gaussians=20)


def test_a_field_is_drawn_as_pixels_that_can_be_stored() -> None:
    field = gsr.encode(picture((12, 12, 3)))
    assert field.render(dtype="uint16").array.dtype == np.uint16
    for wrong in ("int16", "bool", "float64"):
        with pytest.raises(InvalidArgument, match="uint8, uint16, float32"):
            field.render(dtype=wrong)


# ---- measuring --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 2.5, 3.7])
@pytest.mark.parametrize("protocol", ["basicsr", "savsr", "liif-div2k"])
def test_measure_gives_the_scores_of_the_protocol(protocol: str, scale: float) -> None:
    pair = gsr.make_pair(photo(63, 71), scale, protocol=protocol)
    result = gsr.upscale(pair.lr, scale, method="bicubic")
    by = protocols.protocol(protocol)
    expected = protocols.score(result.array, pair, by.main)
    assert gsr.measure(result, pair, protocol=protocol) == expected
    height, width = pair.reference.shape[:2]
    assert gsr.measure(result.array[:height, :width], pair.reference, protocol=protocol, scale=scale) == expected


def test_a_border_that_depends_on_the_scale_asks_for_it() -> None:
    one, two = photo(), 255 - photo()
    with pytest.raises(InvalidArgument, match="depends on the scale"):
        gsr.measure(one, two)
    assert gsr.measure(one, two, protocol="whole-y").psnr_db < 20
    result = gsr.upscale(photo(15, 20), 2, method="bicubic")
    assert gsr.measure(result, one) == gsr.measure(result.array, one, scale=2)


# ---- methods, sessions, notebooks -------------------------------------------------------------------------------


def test_methods_are_those_of_the_catalogue_and_the_registered_ones() -> None:
    assert {"bicubic", "swift"} <= {method.id for method in gsr.methods()}
    assert {method.kind for method in gsr.methods("field")} == {"field"}
    gsr.register(gsr.Method("rgt-mine", "Mine", "rgt", "pixels", "MIT", arch="rgt-x4"))
    assert gsr.methods()[-1].id == "rgt-mine"
    gsr.unregister("rgt-mine")
    assert "rgt-mine" not in {method.id for method in gsr.methods()}


def test_progress_is_told_and_an_error_in_it_stops_the_run() -> None:
    told = list[gsr.Progress]()
    session = gsr.Session("cpu", tile=16)
    session.upscale(photo(), 2, on_progress=told.append)
    assert [progress.stage for progress in told].count("encode") == 6

    def stop(_: gsr.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.upscale(photo(), 2, on_progress=stop)


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_a_notebook_shows_a_result_and_a_large_one_smaller(channels: tuple[int, ...]) -> None:
    shown = Image.open(io.BytesIO(gsr.upscale(picture((30, 40, *channels)), 60, method="nearest")._repr_png_()))
    assert shown.size == (1024, 768)
    small = gsr.upscale(picture((30, 40, *channels), np.uint16), 1, method="nearest")
    assert Image.open(io.BytesIO(small._repr_png_())).size == (40, 30)


def test_results_and_fields_say_what_they_are() -> None:
    field = gsr.encode(photo())
    assert Image.open(io.BytesIO(field._repr_png_())).size == (40, 30)
    assert repr(field) == "<field of 4,800 Gaussians for 40x30 by swift: encoded for x4>"
    assert repr(field.render(2)) == "<80x60 uint8 by swift: field of 4,800 Gaussians drawn at x2>"


def test_splat_is_the_drawing_op() -> None:
    import torch

    from gsr_app import ops

    assert gsr.splat is ops.splat
    drawn = gsr.splat(torch.tensor([[2.0, 1.0]]), torch.ones(1, 2), torch.zeros(1), torch.ones(1, 1), (3, 5))
    assert drawn[0].argmax() == 7
