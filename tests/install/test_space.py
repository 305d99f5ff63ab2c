"""The files of a Space, with the packages that its requirements name and no others, serve the app."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.install.environments import Environment, clean_environment, fetch, read_requirements, serving
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
HOST = "someone-gsr.hf.space"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_space_serves_the_page_under_its_own_name(tmp_path: Path) -> None:
    space = tmp_path / "space"
    subprocess.run([ROOT / ".ci" / "space", space], check=True)
    wanted = read_requirements(space / "requirements.txt")
    front = dict(re.findall(r"^(\w+): (.*)$", (space / "README.md").read_text().split("---")[1], re.MULTILINE))
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    gradio = next(one for one in map(Requirement, wanted) if one.name == "gradio")
    assert Version(front["sdk_version"]) in gradio.specifier
    assert not list(space.rglob("__pycache__"))

    fresh = Environment(tmp_path / "environment")
    fresh.add(wanted)
    port = free_port()
    environment = clean_environment(
        GRADIO_SERVER_NAME="0.0.0.0",
        GRADIO_SERVER_PORT=str(port),
        SPACE_HOST=HOST,
        SPACE_ID="someone/gsr",
        GSR_CACHE=str(tmp_path / "cache"),
        GSR_BACKEND="reference",
    )
    page = f"http://127.0.0.1:{port}/"
    with serving([fresh.python, front["app_file"]], page, cwd=space, env=environment):
        assert '"title":"GSR"' in fetch(page, {"Host": HOST})
        assert "/upscale" in json.loads(fetch(f"{page}gradio_api/info"))["named_endpoints"]
