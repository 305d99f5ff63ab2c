"""The wheel and the sdist are whole: what is installed from them, away from the checkout, works like the checkout."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from skimage import data, io

from gsr_app import __version__
from tests.install.environments import (
    PIP_ENVIRONMENT,
    Environment,
    clean_environment,
    closure,
    fetch,
    read_requirements,
    serving,
)
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A wheel that was built from an unpacked sdist, as pip builds it; once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "wheel"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            sdist = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder]
            subprocess.run(sdist, cwd=ROOT, capture_output=True, check=True)
            made = next(folder.glob("*.tar.gz"))
            pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, made]
            subprocess.run(pip, cwd=folder, env=PIP_ENVIRONMENT, capture_output=True, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        return Parser().parsestr(opened.read(f"gsr_app-{__version__}.dist-info/METADATA").decode())


def test_it_holds_the_package_the_weights_and_the_kernels_sources_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        held = {name: opened.read(name) for name in opened.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT)): path
        for path in (ROOT / "gsr_app").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyi"}
    }
    kernels = [ROOT / "ext" / "flags.py", *(path for path in (ROOT / "ext" / "csrc").rglob("*") if path.is_file())]
    weights = (
        ROOT / "assets" / f"{name}.{kind}"
        for name in ("swift", "swift-photo", "quickstart")
        for kind in ("safetensors", "md")
    )
    expected |= {f"gsr_app/{path.relative_to(ROOT)}": path for path in (*kernels, *weights)}
    notes = {f"gsr_app/assets/swift-{name}" for name in ("held-out.csv", "photographs.csv", "photo.webp")}
    assert set(held) == set(expected) | notes
    assert all(held[name] == path.read_bytes() for name, path in expected.items())
    assert wheel.stat().st_size < 6_000_000


def test_the_sdist_holds_the_tests_and_what_they_read(wheel: Path) -> None:
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert {"tests/conftest.py", ".ci/run", "app.py", "assets/bench/README.md", "ext/setup.py", "LICENSE"} <= held
    assert not any(name.startswith((".git/", ".venv", "shared", "runs")) for name in held)


def test_its_metadata_describe_it(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("gsr-app", __version__)
    assert metadata["License-Expression"].startswith("Apache-2.0 AND CC-BY-4.0 AND ")
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    assert isinstance(text, str)
    assert text.startswith("# GSR\n")  # after the front matter of the Space
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []  # files of the repository are not there
    assert "[GSASR EDSR, DF2K](https://arxiv.org/abs/2501.06838)" in text


def text(one: Requirement) -> str:
    return f"{canonicalize_name(one.name)}{sorted(one.extras)}{one.specifier}"


def test_the_requirements_of_a_space_are_the_core_with_the_app_and_video(metadata: Message) -> None:
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    extras = {"app", "video", "ray", "cuda", "community", "export"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras | {"all"}

    def of(*chosen: str) -> set[str]:
        found = (one for one in needed if not one.marker or any(one.marker.evaluate({"extra": x}) for x in chosen))
        return {text(one) for one in found}

    listed = [Requirement(line) for line in read_requirements(ROOT / "requirements.txt")]
    here = [one for one in listed if not one.marker or one.marker.evaluate()]
    assert {text(one) for one in here} == of("", "app", "video")
    assert of("all") == of("", *extras)
    tools = {text(one) for one in map(Requirement, read_requirements(ROOT / "requirements-dev.txt"))}
    names = {one.partition("[")[0] for one in of("all")}
    assert {one for one in tools if one.partition("[")[0] in names} <= of("all")  # the same versions as in the extras


@pytest.mark.slow
@pytest.mark.compiler
def test_installed_with_the_core_alone_it_upscales_like_the_checkout_and_names_what_is_missing(
    wheel: Path, metadata: Message, tmp_path: Path
) -> None:
    core = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    installed = Environment(tmp_path / "environment")
    installed.add(core)
    installed.pip("install", "--no-deps", wheel)
    installed.pip("check")
    names = installed.run("from importlib.metadata import distributions as d; print(*(one.name for one in d()))").stdout
    listed = {canonicalize_name(name) for name in names.split()}
    assert listed == closure(core) | {"gsr-app"}
    assert not listed & {"gradio", "plotly", "av", "ray", "onnx", "scikit-image"}

    work = tmp_path / "work"
    work.mkdir()
    environment = clean_environment(GSR_CACHE=str(tmp_path / "cache"))

    def gsr(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)

    # The CPU kernels are compiled from the sources in the wheel.
    doctor = json.loads(gsr(installed.gsr, "doctor", "--json").stdout)
    assert (doctor["drawing"]["backend"], doctor["drawing"]["fell back"]) == ("cpu", False)
    assert doctor["weights"]["swift"] == "here"
    assert Path(doctor["folders"]["assets"]) == installed.site / "gsr_app" / "assets"
    library = next((tmp_path / "cache" / "kernels").glob("*.so"))
    seal = library.with_suffix(".sha256").read_text()

    io.imsave(work / "cat.png", data.chelsea()[100:136, 150:198], check_contrast=False)
    there = gsr(installed.other_gsr, "upscale", "cat.png", "-o", "there.png", "--scale", "2.7")
    assert there.returncode == 0, there.stderr
    environment["PYTHONPATH"] = str(ROOT)
    here = gsr(sys.executable, "-m", "gsr_app", "upscale", "cat.png", "-o", "here.png", "--scale", "2.7")
    del environment["PYTHONPATH"]
    assert here.returncode == 0, here.stderr
    assert (work / "there.png").read_bytes() == (work / "here.png").read_bytes()
    assert library.with_suffix(".sha256").read_text() == seal  # the checkout found the same library whole

    (work / "clip.mp4").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as used:  # another program's port hides nothing of what is missing
        app = ["app", "--port", str(used.getsockname()[1])]
        for words, extra in ((app, "app"), (["video", "clip.mp4", "-o", "out.mp4"], "video")):
            missing = gsr(installed.gsr, *words)
            assert missing.returncode == 1
            assert f"needs the extra '{extra}'" in missing.stderr
            assert f"pip install 'gsr-app[{extra}]'" in missing.stderr

    installed.add(
        re.sub(r";.*", "", line) for line in metadata.get_all("Requires-Dist", []) if re.search("extra == .app.", line)
    )
    port = free_port()
    page = f"http://127.0.0.1:{port}/"
    with serving([installed.gsr, "app", "--port", str(port)], page, cwd=work, env=environment):
        assert '"title":"GSR"' in fetch(page)
        assert "/upscale" in json.loads(fetch(f"{page}gradio_api/info"))["named_endpoints"]
