"""Networks as folders in the form of the Hugging Face Hub.

The fields of the config are in `config.json`, the tensors in `model.safetensors`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from torch import nn

from gsr_app.core.atomic import write_whole
from gsr_app.core.errors import WeightsError
from gsr_app.core.tables import construct
from gsr_app.models import checkpoint, weights
from gsr_app.models.registry import Method, WeightFile

CONFIG, TENSORS = "config.json", "model.safetensors"
_Network = TypeVar("_Network", bound="Pretrained")


class Pretrained(nn.Module):
    """A network whose constructor takes `config`, a frozen dataclass, and nothing else."""

    config: Any

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder; the files of these names that it has are replaced."""
        from safetensors.torch import save

        folder = Path(folder)
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        write_whole(folder / CONFIG, json.dumps(dataclasses.asdict(self.config), indent=2) + "\n")
        write_whole(folder / TENSORS, save(state, metadata={"format": "pt"}))

    @classmethod
    def from_pretrained(cls: type[_Network], source: str | Path, *, revision: str = "main") -> _Network:
        """The network in a folder or in a repository of the Hub ("owner/name"), ready to run.

        A repository is fetched into the cache of the app once for each revision.
        """
        if Path(source).is_dir():
            files = {name: Path(source) / name for name in (CONFIG, TENSORS)}
        else:
            files = weights.obtain(_as_method(str(source), revision)).files
        config = construct(get_type_hints(cls.__init__)["config"], _read_config(files[CONFIG]), str(files[CONFIG]))
        network = cls(config=config)  # pyright: ignore[reportCallIssue]
        return checkpoint.load_files(network, {"": files[TENSORS]}).eval()  # pyright: ignore[reportReturnType]


def _as_method(repo: str, revision: str) -> Method:
    if repo.count("/") != 1:
        raise WeightsError(f"There is no folder {repo}.", hint='Give a folder, or a repository as "owner/name".')
    files = tuple(WeightFile(repo=repo, revision=revision, paths=(name,), part=name) for name in (CONFIG, TENSORS))
    return Method(repo, repo, family="", kind="field", code_licence="", files=files)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", hint="It is written by save_pretrained.") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path} is not a table.", hint="It is written by save_pretrained.")
    return found
