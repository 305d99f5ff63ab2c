"""The state that all visitors of one app share."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gsr_app.core import settings
from gsr_app.core.folders import cache_folder
from gsr_app.core.types import FieldHandle
from gsr_app.ui.current import MethodLists
from gsr_app.ui.engine import Engine
from gsr_app.ui.estimate import Estimates
from gsr_app.ui.examples import copy_examples
from gsr_app.ui.files import KEEP_OWN_S, KEEP_S, Files
from gsr_app.ui.plots import Run
from gsr_app.ui.runs import Runs
from gsr_app.ui.served import ServedSink
from gsr_app.ui.store import BoundedStore
from gsr_app.ui.visits import Visits
from gsr_app.viewer.comparison import Limits
from gsr_app.viewer.contract import Album, Scene


def _handles() -> BoundedStore[FieldHandle]:
    return BoundedStore(400, missing="This field is not known here.", hint="Encode the picture again.")


def _scenes() -> BoundedStore[Scene]:
    return BoundedStore(200, missing="This run is not known here any more.", hint="Run it again.")


def _albums() -> BoundedStore[Album]:
    return BoundedStore(200)


def _pictures() -> BoundedStore[str]:
    return BoundedStore(500)


def _history() -> BoundedStore[tuple[Run, ...]]:
    return BoundedStore(500)


@dataclass(eq=False)
class Task:
    """What is done with the weights of a method."""

    said: str = ""  # what came of it
    fraction: float | None = None  # of what is done; None: not known
    is_over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False)
class AppState:
    """What all visitors share."""

    engine: Engine
    files: Files
    runs: Runs = field(default_factory=Runs)
    visits: Visits = field(default_factory=Visits)
    handles: BoundedStore[FieldHandle] = field(default_factory=_handles)  # by keys that cannot be guessed
    scenes: BoundedStore[Scene] = field(default_factory=_scenes)  # the final scene of each run, by run id
    albums: BoundedStore[Album] = field(default_factory=_albums)  # by the ids of the runs in them
    pictures: BoundedStore[str] = field(default_factory=_pictures)  # the file of each picture, by the key of its source
    history: BoundedStore[tuple[Run, ...]] = field(default_factory=_history)  # by visitor
    estimates: Estimates = field(default_factory=Estimates)
    limits: Limits = field(default_factory=Limits)
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])  # the last ones, by method
    may_manage: bool = False  # whether visitors may fetch and remove weights: where only the owner can connect
    examples: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @functools.cached_property
    def lists(self) -> MethodLists:
        """What the page says about methods."""
        return MethodLists(self.engine)

    @property
    def first_example(self) -> str | None:
        return next((str(path) for path in self.examples.values()), None)

    @property
    def sink(self) -> ServedSink:
        """Where the pictures and fields of scenes are put."""
        return ServedSink(self.files, self.handles)


def upload_folder() -> Path:
    """Where Gradio keeps what browsers send: each file in a folder named by its hash."""
    return (settings.upload_folder() or Path(tempfile.gettempdir()) / "gradio").resolve()


def results_folder() -> Path:
    """Inside Gradio's own upload folder, the only one that it serves files from without further settings."""
    return upload_folder() / "gsr"


def timings_file() -> Path:
    """Where the app stores how long runs took on this machine."""
    return cache_folder() / "timings.json"


def create_app_state(
    engine: Engine, limits: Limits | None = None, *, timings: Path | None = None, may_manage: bool = False
) -> AppState:
    folder = results_folder()
    examples = copy_examples(folder.with_name("gsr-examples"))
    return AppState(
        engine, Files(folder, keep_s=KEEP_OWN_S if may_manage else KEEP_S), estimates=Estimates(timings),
        limits=limits or Limits(), may_manage=may_manage, examples=examples,
    )  # fmt: skip
