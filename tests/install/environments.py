"""Fresh virtual environments that hold chosen distributions and nothing else, without a download.

A new environment gets links to the files of the distributions that this Python has and that the requirements name,
directly or through other distributions. Everything else that is installed here is absent there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# No setting of this machine reaches pip, and no index is asked.
PIP_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))},
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def clean_environment(**more: str) -> dict[str, str]:
    """The variables of this process, but without a path to other packages, and with some more."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **more}


def read_requirements(path: Path) -> list[str]:
    """The lines that name a distribution."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


class Environment:
    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python, self.gsr, self.other_gsr = (str(scripts / name) for name in ("python", "gsr", "gsr-app"))
        found = self.run("import site; print(site.getsitepackages()[0])")
        self.site = Path(found.stdout.strip())

    def add(self, requirements: Iterable[str]) -> None:
        """Link what the requirements name, and what that needs."""
        for name in closure(requirements):
            files = distribution(name).files or []
            for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
                if not (self.site / top).exists():
                    (self.site / top).symlink_to(Path(str(distribution(name).locate_file(top))))

    def pip(self, *words: str | Path) -> str:
        command = [sys.executable, "-m", "pip", "--python", self.python, *words]
        done = subprocess.run(command, env=PIP_ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of the distributions that the requirements need here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()

    def visit(requirement: Requirement, extra: str) -> None:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            return
        name = canonicalize_name(requirement.name)
        found.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                for line in distribution(name).requires or []:
                    visit(Requirement(line), wanted)

    for line in requirements:
        visit(Requirement(line), "")
    return found


@contextmanager
def serving(command: list[str], address: str, limit_s: float = 120, **options: object) -> Generator[None, None, None]:
    """A server in a process of its own, from when it answers at the address."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as process:
        try:
            began = time.monotonic()
            while True:
                try:
                    fetch(address)
                    break
                except OSError:
                    ended = process.poll() is not None
                    if ended or time.monotonic() - began > limit_s:
                        process.kill()
                        raise AssertionError(f"{command} did not serve: {process.communicate()[0]}") from None
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.communicate()


def fetch(address: str, headers: Mapping[str, str] = {}) -> str:
    request = urllib.request.Request(address, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()
