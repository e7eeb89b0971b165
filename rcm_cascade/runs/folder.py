"""A run's folder: whose it is, whether it is finished, and the record of what was run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole
from rcm_cascade.runs.config import TrainConfig, config_hash, differences, effective
from rcm_cascade.training.ranks import rank


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the files that it holds."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def split(self) -> Path:
        """Which mosaic was used for what."""
        return self.path / "split.csv"

    @property
    def best(self) -> Path:
        """The checkpoint to annotate with."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def metrics(self) -> Path:
        """Every logged number."""
        return self.path / "metrics.csv"

    @property
    def result(self) -> Path:
        """Written last: a run that has it is finished."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The page that tells the run."""
        return self.path / "report.html"

    def read_result(self) -> dict[str, Any]:
        """What `write_json` wrote into `result`."""
        content: dict[str, Any] = json.loads(self.result.read_text())
        return content


State = Literal["new", "interrupted", "finished"]


class FolderInUseError(InputError):
    """Another process is at work in the folder; what lies there is its business."""


@contextmanager
def claim(folder: RunFolder, config: TrainConfig) -> Iterator[State]:
    """Takes a run folder for this process and says in which state it is.

    Of several processes that train together, the first takes it, and the others only look.

    Raises:
        FolderInUseError: if another process is at work in it.
        InputError: if it holds a run of another configuration.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    if rank() > 0:
        yield state_of(folder, config)
        return
    lock = FileLock(folder.path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"run folder {folder.path} is in use by another process; wait for it, or choose another with run=NAME"
        ) from None
    try:
        state = state_of(folder, config)
        if state == "new":
            write_config(folder, config)
        yield state
    finally:
        lock.release()


def state_of(folder: RunFolder, config: TrainConfig) -> State:
    """Whether a folder's run is to begin, to go on, or done; a folder that is not there is to begin.

    Raises:
        InputError: if it holds a run of another configuration, or is a file.
    """
    if folder.path.is_file():
        raise InputError(f"run folder {folder.path} is a file; move it away, or choose another with run=NAME")
    if not folder.config.is_file():
        if folder.last.exists() or folder.result.exists():
            raise InputError(
                f"run folder {folder.path} holds results but no config.yaml; delete it, or choose another with run=NAME"
            )
        return "new"
    if not folder.last.exists() and not folder.result.exists():
        return "new"  # nothing was achieved here yet: a first attempt that failed early locks nothing
    old = yaml.safe_load(folder.config.read_text())
    if not isinstance(old, dict) or old.get("hash") != config_hash(config):
        changed = differences(effective(old), effective(config.to_plain())) if isinstance(old, dict) else []
        raise InputError(
            f"run folder {folder.path} holds another configuration ({'; '.join(changed) or 'unreadable config.yaml'}); "
            "choose another folder with run=NAME, or delete this one"
        )
    return "finished" if folder.result.is_file() else "interrupted"


def write_config(folder: RunFolder, config: TrainConfig) -> None:
    """Writes config.yaml: the resolved configuration, and the hash that `claim` compares."""
    plain = {"hash": config_hash(config)} | config.to_plain()
    with written_whole(folder.config) as temporary:
        temporary.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
